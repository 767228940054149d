"""`--adapt DATA2`: a model made for another source by that source's images, without their labels.

Only the training part of DATA2 is read, so that its test part can tell whether it helped (`medimg validate`).
Sources: AdaBN (Li et al. 2017), Deep CORAL (Sun and Saenko 2016).
"""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.leakage import content_hashes
from medimg.errors import InputError
from medimg.learners.coral import coral
from medimg.models.head import POOL
from medimg.pipeline.balance import epoch_order, going_round
from medimg.pipeline.batches import batches, by_epoch, training_pixels
from medimg.pipeline.pixels import PixelCache
from medimg.training.data import Material
from medimg.training.few_labels import Views
from medimg.training.loop import Stage

# What environment.json calls it.
FIELD = "adapted_to"
# A mean over all pixels of so many images is known well enough.
_MOST_IMAGES = 1024


def other_source(dataset: Dataset, config: TrainConfig) -> Dataset | None:
    """DATA2; None without `--adapt`.

    Raises:
        InputError: it can't be used so.
    """
    if not config.adapt:
        return None
    if config.is_private:
        raise InputError("--adapt: learns from DATA2's images without noise; not with --dp-epsilon")
    if config.folds:
        raise InputError("--adapt: not with --folds")
    if config.is_semi_supervised:
        raise InputError(f"--adapt: not with --paradigm {config.paradigm}")
    other = Dataset.load(Path(config.adapt))
    if other.is_table or dataset.is_table:
        raise InputError(f"--adapt {config.adapt}: is for images")
    if other.fingerprint() == dataset.fingerprint():
        raise InputError(f"--adapt {config.adapt}: is the Dataset that is trained on; give another source's")
    if config.adapt_method == "coral" and config.freeze == "backbone" and not config.fine_tune_epochs:
        raise InputError("--adapt-method coral: a frozen backbone's features can't move; give --fine-tune-epochs")
    if config.adapt_method == "adabn" and config.norm != "batch":
        raise InputError(f"--adapt-method adabn: --norm {config.norm} keeps no statistics; use coral")
    if other.rows("train").empty:
        raise InputError(f"--adapt {config.adapt}: no image in split 'train'; prepare with another --split")
    _require_unseen(dataset, other, f"--adapt {config.adapt}")
    return other


def _require_unseen(dataset: Dataset, other: Dataset, option: str) -> None:
    """Refuse images that judge what is learnt; names of patients are each source's own and say nothing here."""
    judging = dataclasses.replace(dataset, manifest=dataset.manifest[dataset.manifest["split"] != "train"])
    hashes = set(content_hashes(judging)[0]) - {""}
    rows = other.rows("train")
    both = rows.loc[content_hashes(dataclasses.replace(other, manifest=rows))[0].isin(hashes).to_numpy(), "image"]
    if len(both):
        raise InputError(
            f"{option}: {len(both)} of the images in its split 'train' are in val or test of {dataset.root} as well, "
            f"e.g. {both.iloc[0]}; leave them out"
        )


def record(other: Dataset | None, config: TrainConfig) -> dict:
    """What environment.json says of it."""
    if other is None:
        return {}
    entry = {"data": str(other.root.resolve()), "fingerprint": other.fingerprint(), "method": config.adapt_method}
    return {FIELD: {**entry, "images": len(other.rows("train"))}}


def pixels_of(other: Dataset | None, config: TrainConfig, description: dict, folder: Path) -> PixelCache | None:
    """The images of its training part, at the model's size."""
    if other is None:
        return None
    paths = other.paths(other.rows("train"))
    return PixelCache.build(paths, config.image_size, description["channels"], config.cache_budget / 4, folder, "adapt")


def with_coral(stage: Stage, views: Views, material: Material, config: TrainConfig) -> Stage:
    """A supervised stage on pixels that keeps both sources' features alike.

    Args:
        stage: as without them.
        views: of the training images.
        material: with the other source's images.
        config: options.
    """
    others, targets, weights = material.others, material.targets, material.sample_weights
    size = min(config.batch_size, len(targets))
    beside = min(size, len(others))
    steps = len(targets) // size
    order = epoch_order(len(targets), config.seed)
    rest = going_round(epoch_order(len(others), config.seed + 1), len(others), steps * beside)

    def rows(epoch):
        labelled = order(epoch)[: steps * size].reshape(steps, size)
        return np.concatenate([labelled, rest(epoch).reshape(steps, beside)], axis=1)

    all_targets = tf.constant(targets)
    all_weights = None if weights is None else tf.constant(weights, tf.float32)

    def fetch(epoch, chosen):
        labelled = chosen[:size]
        images = views.weak(epoch, labelled), training_pixels(others, epoch, chosen[size:])
        batch = images, tf.gather(all_targets, labelled)
        return batch if all_weights is None else (*batch, tf.gather(all_weights, labelled))

    return dataclasses.replace(
        stage,
        model=coral(stage.model, POOL, config.adapt_weight),
        batches=lambda epochs: by_epoch(rows, (size + beside,), fetch, epochs),
        examples=steps * config.batch_size,
    )


def adapt_statistics(model: tf.keras.Model, others: PixelCache, batch_size: int) -> None:
    """AdaBN: every BatchNorm's mean and variance become those of the other source's images.

    Layer by layer, from the input up, since what a layer is given depends on those below it; of at most 1,024 images.

    Raises:
        InputError: the model has none.
    """
    norms = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    if not norms:
        raise InputError(f"--adapt-method adabn: {model.name} has no BatchNorm; use coral")
    some = PixelCache.of(others.take(np.arange(min(len(others), _MOST_IMAGES))))
    for layer in norms:
        input_of_norm = tf.function(tf.keras.Model(model.input, layer.input), reduce_retracing=True)
        count, total, squares = 0, 0.0, 0.0
        for pixels in batches(some, batch_size):
            values = tf.cast(input_of_norm(pixels, training=False), tf.float64)
            axes = list(range(len(values.shape) - 1))
            count += int(np.prod([values.shape[axis] for axis in axes]))
            total += tf.reduce_sum(values, axes).numpy()
            squares += tf.reduce_sum(values**2, axes).numpy()
        mean = total / count
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(squares / count - mean**2, 0.0))
