"""Features of a frozen backbone, computed once: the head then trains on vectors instead of images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.models.head import DROPOUT, LOGITS, POOL
from medimg.pipeline.augmentation import Augmentation
from medimg.pipeline.batches import steady, training_batches
from medimg.pipeline.pixels import PixelCache

Forward = Callable[[tf.Tensor], tf.Tensor]
_REMEMBERED: ContextVar[dict | None] = ContextVar("remembered", default=None)


@contextmanager
def remembering() -> Iterator[dict]:
    """While trainings of one Dataset go on, features of the same backbone and views are computed once.

    Yields:
        key of `remembered` -> features.
    """
    features: dict = {}
    token = _REMEMBERED.set(features)
    try:
        yield features
    finally:
        _REMEMBERED.reset(token)


def features_key(config: TrainConfig, part: str, augmentation: Augmentation | None) -> tuple:
    """All that features depend on, of one Dataset."""
    model = (config.model, tuple(sorted(config.model_arg.items())), config.weights, config.norm)
    pixels = (config.image_size, config.channels, config.normalize, config.paradigm, config.labelled_fraction)
    views = None if augmentation is None else (repr(augmentation.strength), augmentation.views)
    return (*model, *pixels, config.seed, part, views)


def remembered(key: tuple, features: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
    """Features that were computed under this key, or are now.

    Args:
        key: all that they depend on.
        features: computes them.
    """
    remembered_features = _REMEMBERED.get()
    if remembered_features is None:
        return features()
    if key not in remembered_features:
        remembered_features[key] = features()
    return remembered_features[key]


def forward_function(model: tf.keras.Model) -> Forward:
    """The model in inference mode as one graph for any batch size."""
    signature = [tf.TensorSpec((None, *one.shape[1:]), tf.float32) for one in model.inputs]
    return tf.function(lambda *inputs: model(list(inputs), training=False), input_signature=signature)


def extractor(model: tf.keras.Model) -> tf.keras.Model:
    """Pixels -> pooled features (B, F)."""
    return tf.keras.Model(model.input, model.get_layer(POOL).output)


def head(model: tf.keras.Model) -> tf.keras.Model:
    """Pooled features -> logits, made of the model's own last layers: training it trains the model."""
    features = tf.keras.Input(model.get_layer(POOL).output.shape[1:], name="features")
    return tf.keras.Model(features, model.get_layer(LOGITS)(model.get_layer(DROPOUT)(features)), name="head")


def compute(
    forward: Forward,
    cache: PixelCache,
    batch_size: int,
    augmentation: Augmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Features of every image, one array per view (a single one without augmentation).

    Returns:
        list over views of float32 (N, F).
    """
    n = len(cache)
    views = augmentation.views if augmentation else 1
    rows = np.arange(n)
    stream = training_batches(cache, rows, lambda _: rows, batch_size, (0, views), augmentation=augmentation)
    done, parts = 0, []
    for pixels, chosen in stream:
        parts.append(forward(pixels).numpy())
        done += len(chosen)
        if progress:
            progress(done, n * views)
    everything = np.concatenate(parts)
    return [everything[view * n : (view + 1) * n] for view in range(views)]


def inputs_of(features: list[np.ndarray]) -> Callable:
    """A function of (epoch, indices), tensors, to some examples' features: epoch e shows view e mod K."""

    def take(epoch, chosen):
        return features[int(epoch) % len(features)][chosen]

    def inputs(epoch, chosen):
        batch = tf.numpy_function(take, [epoch, chosen], tf.as_dtype(features[0].dtype))
        batch.set_shape((None, *features[0].shape[1:]))
        return batch

    return inputs


def feature_batches(
    features: list[np.ndarray],
    targets: np.ndarray,
    order: Callable[[int], np.ndarray],
    batch_size: int,
    epochs: tuple[int, int],
    sample_weights: np.ndarray | None = None,
):
    """tf.data of (features, targets[, sample weights]), the twin of `training_batches`: epoch e shows view e mod K."""
    columns = [targets] if sample_weights is None else [targets, sample_weights]
    types = (features[0].dtype, *(column.dtype for column in columns))

    def epoch_arrays(epoch):
        chosen = order(int(epoch))
        return [features[int(epoch) % len(features)][chosen], *(c[chosen] for c in columns)]

    def one_epoch(epoch):
        arrays = tf.numpy_function(epoch_arrays, [epoch], [tf.as_dtype(t) for t in types])
        for array, source in zip(arrays, [features[0], *columns], strict=True):
            array.set_shape((None, *source.shape[1:]))
        return tf.data.Dataset.from_tensor_slices(tuple(arrays)).batch(batch_size)

    return steady(tf.data.Dataset.range(*epochs).flat_map(one_epoch).prefetch(4))
