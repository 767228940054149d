"""What a training reads: pixels, targets, weights and order of the training part, pixels and targets of validation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.augmentation import STRENGTHS, Augmentation
from medimg.pipeline.balance import class_weights, epoch_order, image_weights
from medimg.pipeline.oversampling import smote
from medimg.pipeline.pixels import PixelCache
from medimg.training.losses import balanced_loss


@dataclass
class Material:
    """Everything that the loop needs of the data.

    Attributes:
        train: pixels of the training part; of a table its preprocessed columns, float32 (N, F). Unlabelled images come
            after the N.
        targets: int (N,) or float (N, classes).
        sample_weights: float32 (N,) or None.
        loss: on logits.
        order: epoch -> indices of the N.
        augmentation: or None.
        val: the same of the validation part.
        val_targets: its targets.
        patients: (N,), the patient of each training example.
        columns: float32 (N, F) beside the pixels, of training examples, or None.
        val_columns: the same of validation.
        others: images of another source that the model is adapted to, or None.
    """

    train: PixelCache | np.ndarray
    targets: np.ndarray
    sample_weights: np.ndarray | None
    loss: tf.keras.losses.Loss
    order: Callable[[int], np.ndarray]
    augmentation: Augmentation | None
    val: PixelCache | np.ndarray
    val_targets: np.ndarray
    patients: np.ndarray
    columns: np.ndarray | None = None
    val_columns: np.ndarray | None = None
    others: PixelCache | None = None

    @property
    def unlabelled(self) -> np.ndarray:
        """Places of the unlabelled images, int64."""
        return np.arange(len(self.targets), len(self.train))

    def close(self) -> None:
        """Free memory and disk."""
        for part in (self.train, self.val, self.others):
            if isinstance(part, PixelCache):
                part.close()


def check(dataset: Dataset) -> None:
    """Refuse a Dataset that can't be trained on.

    Raises:
        InputError: an empty part, or fewer than two classes in train.
    """
    for split in ("train", "val"):
        if dataset.rows(split, labelled=True).empty:
            raise InputError(
                f"{dataset.root}/manifest.csv: no labelled {dataset.unit} in split '{split}'; "
                "prepare with another --split"
            )
    targets = dataset.targets(dataset.rows("train", labelled=True))
    if dataset.task == "multilabel":
        varied = (targets.min(axis=0) != targets.max(axis=0)).any()
    else:
        varied = len(np.unique(targets)) > 1
    if not varied:
        raise InputError(f"{dataset.root}/manifest.csv: split 'train' has one class only; a classifier needs two")


def gather(
    dataset: Dataset, config: TrainConfig, channels: int, folder: Path, progress: Callable[[str, int, int], None]
) -> Material:
    """Decode both parts and settle order, weights and augmentation."""
    labelled, val = (dataset.rows(split, labelled=True) for split in ("train", "val"))
    read = labelled
    if config.is_semi_supervised:
        rows = dataset.rows("train")
        read = pd.concat([labelled, rows[rows["label"] == ""]])

    def decoded(split: str, rows: pd.DataFrame, share: float) -> PixelCache:
        return PixelCache.build(
            dataset.paths(rows),
            config.image_size,
            channels,
            config.cache_budget * share,
            folder,
            split,
            lambda done, total: progress(f"decode {split}", done, total),
        )

    # Validation gets what training leaves of the budget; it is read as often but is smaller.
    train, val_pixels = decoded("train", read, 0.75), decoded("val", val, 0.25)
    targets = dataset.targets(labelled)
    sample_weights, drawing = weighting(targets, len(dataset.classes), config.balance)
    return Material(
        train=train,
        targets=targets,
        sample_weights=sample_weights,
        loss=balanced_loss(config.balance, targets, len(dataset.classes)),
        order=epoch_order(len(targets), config.seed, drawing),
        augmentation=augmentation(config, config.augment, len(read), config.views),
        val=val_pixels,
        val_targets=dataset.targets(val),
        patients=labelled["patient"].to_numpy(),
    )


def augmentation(config: TrainConfig, strength: str, images: int, views: int) -> Augmentation | None:
    """Of so many images by the Run's seed; None for the strength `none`."""
    return None if strength == "none" else Augmentation.seeded(STRENGTHS[strength], images, config.seed, views)


def weighting(targets: np.ndarray, classes: int, balance: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What `--balance` does with the examples of the training part.

    Returns:
        Sample weights (N,) and drawing probabilities (N,), each or None.
    """
    if balance == "class-weight" and targets.ndim == 1:
        return class_weights(targets, classes)[targets], None
    if balance == "weighted-sampling":
        return None, image_weights(targets, classes)
    return None, None


def with_made_rows(material: Material, views: list[np.ndarray], seed: int) -> tuple[Material, list[np.ndarray]]:
    """With examples that SMOTE makes of every view of the rows, (N, F) each."""
    oversampled = [smote(view, material.targets, seed) for view in views]
    targets = np.concatenate([material.targets, oversampled[0][1]])
    longer = replace(material, targets=targets, order=epoch_order(len(targets), seed))
    return longer, [np.concatenate([view, rows]) for view, (rows, _) in zip(views, oversampled, strict=True)]


def with_made_images(material: Material, config: TrainConfig) -> Material:
    """With images that SMOTE makes of the training images' pixels.

    Raises:
        InputError: the pixels as numbers take more than the budget.
    """
    counts = np.bincount(material.targets)
    shape = material.train.shape[1:]
    # Four bytes a number, of all examples that there will be and of those that there are.
    need = (len(material.targets) + np.count_nonzero(counts) * counts.max()) * int(np.prod(shape)) * 4 / 1e9
    if need > config.cache_budget:
        raise InputError(
            f"--balance smote: takes {need:.1f} GB for pixels, above --cache-budget {config.cache_budget:g}; "
            "give more, a smaller --image-size, or --freeze backbone, with which it works on features"
        )
    raw = material.train.take(np.arange(len(material.targets)))
    longer, (pixels,) = with_made_rows(material, [raw.reshape(len(raw), -1).astype(np.float32)], config.seed)
    images = np.round(pixels[len(raw) :]).astype(raw.dtype).reshape(-1, *shape)
    return replace(
        longer,
        train=PixelCache.of(np.concatenate([raw, images])),
        augmentation=augmentation(config, config.augment, len(longer.targets), config.views),
    )
