"""What a training reads: pixels, targets, weights and order of the training part, pixels and targets of validation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.augmentation import STRENGTHS, Augmentation
from medimg.pipeline.balance import class_weights, epoch_order, image_weights, positive_weights
from medimg.pipeline.pixels import PixelCache


@dataclass
class Material:
    """Everything that the loop needs of the data.

    Attributes:
        train: pixels of the training part; of a table its preprocessed columns, float32 (N, F).
        targets: int (N,) or float (N, classes).
        sample_weights: float32 (N,) or None.
        positive_weights: float32 (classes,) for a multilabel loss, or None.
        order: epoch -> indices.
        augmentation: or None.
        val: the same of the validation part.
        val_targets: its targets.
        patients: (N,), the patient of each training example.
        columns: float32 (N, F) beside the pixels, of training examples, or None.
        val_columns: the same of validation.
    """

    train: PixelCache | np.ndarray
    targets: np.ndarray
    sample_weights: np.ndarray | None
    positive_weights: np.ndarray | None
    order: Callable[[int], np.ndarray]
    augmentation: Augmentation | None
    val: PixelCache | np.ndarray
    val_targets: np.ndarray
    patients: np.ndarray
    columns: np.ndarray | None = None
    val_columns: np.ndarray | None = None

    def close(self) -> None:
        """Free memory and disk."""
        for part in (self.train, self.val):
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
    caches, targets = {}, {}
    for split in ("train", "val"):
        rows = dataset.rows(split, labelled=True)
        targets[split] = dataset.targets(rows)
        caches[split] = PixelCache.build(
            dataset.paths(rows),
            config.image_size,
            channels,
            # Validation gets what training leaves of the budget's half; it is read as often but is smaller.
            config.cache_budget * (0.75 if split == "train" else 0.25),
            folder,
            split,
            lambda done, total, split=split: progress(f"decode {split}", done, total),
        )
    n = len(targets["train"])
    sample_weights, positives, drawing = weighting(targets["train"], len(dataset.classes), config.balance)
    augmentation = None
    if config.augment != "none":
        augmentation = Augmentation.seeded(STRENGTHS[config.augment], n, config.seed, config.views)
    return Material(
        train=caches["train"],
        targets=targets["train"],
        sample_weights=sample_weights,
        positive_weights=positives,
        order=epoch_order(n, config.seed, drawing),
        augmentation=augmentation,
        val=caches["val"],
        val_targets=targets["val"],
        patients=dataset.rows("train", labelled=True)["patient"].to_numpy(),
    )


def weighting(targets: np.ndarray, classes: int, balance: str) -> tuple:
    """What `--balance` does with the training part.

    Returns:
        Sample weights (N,), positive weights (classes,) and drawing probabilities (N,), each or None.
    """
    if balance == "class-weight":
        if targets.ndim == 2:
            return None, positive_weights(targets), None
        return class_weights(targets, classes)[targets], None, None
    if balance == "weighted-sampling":
        return None, None, image_weights(targets, classes)
    return None, None, None
