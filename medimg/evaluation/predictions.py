"""Predictions: labels, probabilities and decisions side by side, and the metrics over classes."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation.metrics import METRICS, OneVsRest, ratio


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of N labelled rows.

    Attributes:
        task: `binary`, `multiclass` or `multilabel`.
        classes: class names in the order of the model's outputs; of a binary task the second is the positive one.
        targets: int64 (N,) of class indices, or 0/1 (N, classes) when the task is multilabel.
        probabilities: float64 (N, classes).
        threshold: binary: of the positive class; multilabel: float64 (classes,), one per class; with a leading N, one
            per row (folds of a cross-validation); multiclass: None, the most probable class decides.
    """

    task: str
    classes: tuple[str, ...]
    targets: np.ndarray
    probabilities: np.ndarray
    threshold: float | np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def positive(self) -> str:
        """The positive class of a binary task, else ''."""
        return positive_class(self.task, self.classes)

    @cached_property
    def truth(self) -> np.ndarray:
        """Bool (N, classes): the row has the class."""
        if self.task == "multilabel":
            return np.asarray(self.targets) > 0.5
        return np.asarray(self.targets)[:, None] == np.arange(len(self.classes))

    @cached_property
    def decisions(self) -> np.ndarray:
        """Bool (N, classes): the row is called the class. A probability at the threshold is."""
        if self.task == "multilabel":
            return self.probabilities >= np.asarray(self.threshold)
        if self.task == "binary":
            chosen = (self.probabilities[:, 1] >= self.threshold).astype(np.int64)
        else:
            chosen = self.probabilities.argmax(axis=1)
        return chosen[:, None] == np.arange(len(self.classes))

    @cached_property
    def one_vs_rest(self) -> list[OneVsRest]:
        """Each class against the rest."""
        scores = list(self.probabilities.T)
        if self.task == "binary":
            # One ranking for both classes: p and 1 - p differ in the last digits and in their ties.
            scores[0] = -self.probabilities[:, 1]
        return [
            OneVsRest(self.truth[:, i], self.probabilities[:, i], self.decisions[:, i], scores[i])
            for i in range(len(self.classes))
        ]

    def measure(self, weights: np.ndarray) -> np.ndarray:
        """Headline and per-class metrics of every sample.

        The headline of a binary task is its positive class. With more classes it is the mean over
        the classes for which the metric is defined in the unweighted rows, with two exceptions in
        a multiclass task: accuracy is the share of right rows and balanced accuracy the mean
        sensitivity. A sample in which one of those classes is undefined has no headline.

        Args:
            weights: float64 (samples, N), whole numbers.

        Returns:
            float64 (samples, 1 + classes, len(METRICS)), NaN where undefined; the headline first.
        """
        each = np.stack([one.measure(weights) for one in self.one_vs_rest], axis=1)
        if self.task == "binary":
            return np.concatenate([each[:, 1:2], each], axis=1)
        headline = self._mean_over_defined(each)
        if self.task == "multiclass":
            right = (self.truth & self.decisions).any(axis=1)
            headline[:, METRICS.index("accuracy")] = ratio(weights @ right, weights.sum(axis=1))
            sensitivity = headline[:, METRICS.index("sensitivity")]
            headline[:, METRICS.index("balanced_accuracy")] = sensitivity
        return np.concatenate([headline[:, None], each], axis=1)

    @cached_property
    def defined(self) -> np.ndarray:
        """Bool (classes, len(METRICS)): the metric is defined for the class on these rows."""
        everything = np.ones((1, len(self)))
        return ~np.isnan(np.stack([one.measure(everything)[0] for one in self.one_vs_rest]))

    def _mean_over_defined(self, each: np.ndarray) -> np.ndarray:
        number = self.defined.sum(axis=0)
        total = np.where(self.defined, each, 0.0).sum(axis=1)
        return ratio(total, np.broadcast_to(number, total.shape))

    def confusion_matrix(self) -> np.ndarray:
        """Int64 (classes, classes), labels in rows; multilabel: (classes, 2, 2), one per class."""
        if self.task == "multilabel":
            return np.stack([one.counts() for one in self.one_vs_rest])
        return self.truth.T.astype(np.int64) @ self.decisions.astype(np.int64)

    def majority_accuracy(self) -> float:
        """Accuracy of always giving the commonest answer of these rows (mean over labels)."""
        share = self.truth.mean(axis=0)
        if self.task == "multilabel":
            return float(np.maximum(share, 1 - share).mean())
        return float(share.max())

    def names(self, chosen: np.ndarray, negative: str = "") -> list[str]:
        """Class names of bool rows (N, classes), several joined by `|`, none is `negative`."""
        names = np.asarray(self.classes, object)
        return [SEPARATOR.join(names[row]) if row.any() else negative for row in chosen]

    def take(self, chosen: np.ndarray) -> "Predictions":
        """Some of the rows.

        Args:
            chosen: bool (N,).
        """
        return replace(
            self,
            targets=np.asarray(self.targets)[chosen],
            probabilities=self.probabilities[chosen],
            threshold=self.threshold[chosen] if self.decided_by_row else self.threshold,
        )

    @property
    def decided_by_row(self) -> bool:
        """Every row has a threshold of its own."""
        return self.threshold is not None and np.ndim(self.threshold) == 1 + (self.task == "multilabel")

    def table(self, rows: pd.DataFrame, negative: str = "") -> pd.DataFrame:
        """`predictions.csv`: image (of a table: row), patient, site, label, predicted and p_<class>.

        Args:
            rows: the manifest rows, in order.
            negative: what a multilabel row without any class is called.
        """
        unit = "image" if "image" in rows else "row"
        table = rows[[unit, "patient", "site"]].reset_index(drop=True)
        table["label"] = self.names(self.truth, negative)
        table["predicted"] = self.names(self.decisions, negative)
        for name, column in zip(self.classes, self.probabilities.T, strict=True):
            table[f"p_{name}"] = column
        return table


def as_written(probabilities: np.ndarray) -> np.ndarray:
    """Float32 probabilities as the shortest decimals that name them, in float64.

    Those are the numbers that `predictions.csv` and `metrics.json` show; measured on them, a
    threshold read back from the file decides every row as it did here.

    Raises:
        InputError: a probability is not a number: the training has diverged.
    """
    probabilities = np.asarray(probabilities, np.float32)
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise InputError(
            f"model.keras: gives no number for {broken} of {len(probabilities)} rows; "
            "the training has diverged: train again with a lower --learning-rate"
        )
    return probabilities.astype(str).astype(np.float64)
