"""Which classes are made, and how many images of each."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.privacy.class_counts import noisy_class_counts
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.units import Units


@dataclass(frozen=True, eq=False)
class ClassMix:
    """Labels and their shares.

    Attributes:
        labels: as in the manifest; in a multilabel set every combination that train has.
        conditions: float32 (labels, classes), what the networks are told.
        shares: float64 (labels,), sum 1.
    """

    labels: tuple[str, ...]
    conditions: np.ndarray
    shares: np.ndarray

    def equal(self) -> "ClassMix":
        """The same labels, as often each."""
        return replace(self, shares=np.full(len(self.labels), 1 / len(self.labels)))

    def drawn(self, rows: int, random: np.random.Generator) -> np.ndarray:
        """Conditions (rows, classes) drawn by the shares."""
        return self.conditions[random.choice(len(self.labels), rows, p=self.shares)]

    def counts(self, images: int) -> np.ndarray:
        """Images of each label, int64 (labels,), nearest to the shares (largest remainders)."""
        exact = self.shares * images
        counts = np.floor(exact).astype(np.int64)
        largest = np.argsort(counts - exact, kind="stable")[: images - counts.sum()]
        counts[largest] += 1
        return counts


def class_mix(dataset: Dataset, rows: pd.DataFrame) -> ClassMix:
    """The labels of the rows and how often each is."""
    counts = rows["label"].value_counts(sort=False).sort_index()
    return _mix(dataset, tuple(counts.index), counts.to_numpy(float))


def private_class_mix(dataset: Dataset, rows: pd.DataFrame, units: Units, secret: Secret) -> ClassMix:
    """The classes and how often each is, by the Gaussian mechanism: its event is `class_counts.COUNTING`.

    Each patient counts with their images' classes, scaled to a norm of at most 1.

    Args:
        dataset: binary or multiclass; its classes are public.
        rows: of the training part.
        units: of the rows.
        secret: of the training.
    """
    one_hot = np.eye(len(dataset.classes))[dataset.targets(rows)]
    counts = noisy_class_counts(one_hot, units, secret)
    return _mix(dataset, dataset.classes, counts if counts.any() else np.ones_like(counts))


def equal_mix(dataset: Dataset) -> ClassMix:
    """Every class of the Dataset as often; looks at no patient."""
    return _mix(dataset, dataset.classes, np.ones(len(dataset.classes)))


def conditions_of(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """What the networks are told of each row: float32 (N, classes), one-hot or multi-hot."""
    targets = dataset.targets(rows)
    return targets if targets.ndim == 2 else np.eye(len(dataset.classes), dtype=np.float32)[targets]


def _mix(dataset: Dataset, labels: tuple[str, ...], counts: np.ndarray) -> ClassMix:
    conditions = conditions_of(dataset, pd.DataFrame({"label": labels}))
    return ClassMix(labels, conditions, counts / counts.sum())
