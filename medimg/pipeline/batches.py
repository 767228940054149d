"""Batches of cached pixels, for training in a seeded order and for prediction in the Dataset's."""

from collections.abc import Callable, Iterator

import numpy as np

from medimg.pipeline.pixels import PixelCache


def steady(stream):
    """A tf.data stream with its parallelism as it is written.

    TensorFlow's autotuner would have nothing to choose, and the end of a stream waits until it wakes: up to 30 s.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)


def batches(cache: PixelCache, batch_size: int):
    """tf.data of float32 (B, S, S, C) in 0..255, in order."""
    import tensorflow as tf

    starts = tf.data.Dataset.range(0, len(cache), batch_size)

    def fetch(start):
        raw = tf.numpy_function(
            lambda at: cache.take(np.arange(at, min(at + batch_size, len(cache)))),
            [start],
            tf.as_dtype(cache.dtype),
            stateful=False,
        )
        raw.set_shape((None, *cache.shape[1:]))
        return to_pixels(raw)

    return steady(starts.map(fetch, num_parallel_calls=2).prefetch(2))


def with_columns(pixels, columns: np.ndarray | None, batch_size: int) -> Iterator[list]:
    """Inputs of a model, batch by batch: pixels, and the same rows' columns (N, F) where it takes them."""
    for number, batch in enumerate(pixels):
        beside = [] if columns is None else [columns[number * batch_size : (number + 1) * batch_size]]
        yield [batch, *beside]


def training_batches(
    cache: PixelCache,
    targets: np.ndarray,
    order: Callable[[int], np.ndarray],
    batch_size: int,
    epochs: tuple[int, int],
    sample_weights: np.ndarray | None = None,
    augmentation=None,
    columns: np.ndarray | None = None,
):
    """tf.data of (pixels, targets[, sample weights]) over several epochs, one iterator for all of them.

    Args:
        cache: raw pixels.
        targets: (N,) class indices or (N, classes) of 0 and 1.
        order: epoch -> indices into the cache; all of an epoch's randomness of order is here.
        batch_size: images in a batch; an epoch's last one may be smaller.
        epochs: first and one past the last.
        sample_weights: float32 (N,) or None.
        augmentation: `medimg.pipeline.augmentation.Augmentation` or None.
        columns: float32 (N, F), which then come with the pixels; or None.
    """
    import tensorflow as tf

    # The labels live in the graph; only pixels come through Python, once per batch.
    all_targets = tf.constant(targets)
    all_columns = None if columns is None else tf.constant(columns)
    all_weights = None if sample_weights is None else tf.constant(sample_weights, tf.float32)

    def fetch(epoch, chosen):
        pixels = training_pixels(cache, epoch, chosen, augmentation)
        inputs = pixels if all_columns is None else (pixels, tf.gather(all_columns, chosen))
        batch = (inputs, tf.gather(all_targets, chosen))
        return batch if all_weights is None else (*batch, tf.gather(all_weights, chosen))

    return by_epoch(order, (), fetch, epochs, batch_size)


def by_epoch(
    rows: Callable[[int], np.ndarray], shape: tuple, fetch: Callable, epochs: tuple[int, int], batch_size: int = 0
):
    """tf.data of what `fetch` makes of (epoch, indices), for each of `rows(epoch)`, or so many of them together.

    Args:
        rows: epoch -> integers (N, *shape).
        shape: of one of the rows.
        fetch: of tensors, for use in a graph.
        epochs: first and one past the last.
        batch_size: rows that go together; 0: each alone.
    """
    import tensorflow as tf

    def one_epoch(epoch):
        chosen = tf.numpy_function(lambda e: rows(int(e)).astype(np.int64), [epoch], tf.int64)
        chosen.set_shape((None, *shape))
        each = tf.data.Dataset.from_tensor_slices(chosen)
        return (each.batch(batch_size) if batch_size else each).map(lambda some: (epoch, some))

    epochs_in_turn = tf.data.Dataset.range(*epochs).flat_map(one_epoch)
    # deterministic: batches keep their order whichever thread is done first.
    return steady(epochs_in_turn.map(fetch, num_parallel_calls=2, deterministic=True).prefetch(4))


def training_pixels(cache: PixelCache, epoch, chosen, augmentation=None):
    """Some images as an epoch shows them; for use in a tf.data graph.

    Args:
        cache: raw pixels.
        epoch: int64 scalar.
        chosen: int64 (B,), indices into the cache.
        augmentation: `medimg.pipeline.augmentation.Augmentation` or None.

    Returns:
        float32 (B, S, S, C) in 0..255.
    """
    import tensorflow as tf

    raw = tf.numpy_function(cache.take, [chosen], tf.as_dtype(cache.dtype), stateful=False)
    raw.set_shape((None, *cache.shape[1:]))
    pixels = to_pixels(raw)
    return pixels if augmentation is None else augmentation.apply(pixels, epoch, chosen)


def to_pixels(raw):
    """TensorFlow twin of `as_pixels`."""
    import tensorflow as tf

    pixels = tf.cast(raw, tf.float32)
    return pixels / 257.0 if raw.dtype == tf.uint16 else pixels
