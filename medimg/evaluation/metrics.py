"""Metrics of classifiers on weighted rows: one sample, or a thousand resamples at once.

Every function takes weights (samples, N): how often each row occurs in each sample. Scores are
sorted once; a weighted metric is then a few cumulative sums. With weights of 1 it is the plain
metric, with whole numbers exactly the metric of the rows repeated that often.

Sources: Hanley and McNeil, Radiology 143, 1982 (AUROC, ties count half); Davis and Goadrich, ICML
2006 (AUPRC as average precision, without interpolation); Brier, Monthly Weather Review 78, 1950.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medimg.evaluation.calibration import BINS, residuals_by_bin

# Name, and what it tells, for readers who do not compute such numbers daily.
METRIC_NAMES = {
    "auroc": ("AUROC", "chance that a random positive is ranked above a random negative"),
    "auprc": ("AUPRC", "mean precision over all sensitivities; a random ranking gives prevalence"),
    "accuracy": ("Accuracy", "share of right answers"),
    "balanced_accuracy": ("Balanced accuracy", "mean of sensitivity and specificity"),
    "precision": ("Precision", "share of calls that are right (positive predictive value)"),
    "sensitivity": ("Sensitivity", "share of positives that are called (recall)"),
    "specificity": ("Specificity", "share of negatives that are not called"),
    "f1": ("F1", "harmonic mean of precision and sensitivity"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "ece": ("ECE", f"mean gap of probability and frequency over {BINS} bins; lower is better"),
}
LOWER_IS_BETTER = ("brier", "ece")

METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "sensitivity",
    "specificity",
    "f1",
    "brier",
    "ece",
)
# Metrics that say nothing unless rows of both kinds are there.
NEED_BOTH = ("auroc", "auprc", "balanced_accuracy", "precision", "f1")


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """One class against the rest.

    Attributes:
        truth: bool (N,), the row has the class.
        probability: float64 (N,), the predicted probability of the class.
        decision: bool (N,), the row is called the class.
        score: float64 (N,), what AUROC and AUPRC rank by; the probability by default.
    """

    truth: np.ndarray
    probability: np.ndarray
    decision: np.ndarray
    score: np.ndarray | None = None

    def measure(self, weights: np.ndarray) -> np.ndarray:
        """All METRICS of every sample.

        Args:
            weights: float64 (samples, N), whole numbers.

        Returns:
            float64 (samples, len(METRICS)), NaN where undefined.
        """
        auroc, auprc = self.ranked(weights)
        sums = weights @ self._columns
        tp, fp, fn, tn, squared = sums[:, :5].T
        total = tp + fp + fn + tn
        sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
        values = {
            "auroc": auroc,
            "auprc": auprc,
            "accuracy": ratio(tp + tn, total),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "precision": ratio(tp, tp + fp),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "brier": ratio(squared, total),
            "ece": ratio(np.abs(sums[:, 5:]).sum(axis=1), total),
        }
        one_kind = (tp + fn == 0) | (tn + fp == 0)
        for name in NEED_BOTH:
            values[name] = np.where(one_kind, np.nan, values[name])
        return np.stack([values[name] for name in METRICS], axis=1)

    def counts(self) -> np.ndarray:
        """Confusion matrix [[tn, fp], [fn, tp]], int64."""
        tp, fp, fn, tn = self._columns[:, :4].sum(axis=0).astype(np.int64)
        return np.array([[tn, fp], [fn, tp]])

    @cached_property
    def _columns(self) -> np.ndarray:
        # What is summed over rows: the four cells, the squared error, and each bin's residuals.
        truth, called = self.truth, self.decision
        cells = [truth & called, ~truth & called, truth & ~called, ~truth & ~called]
        squared = (self.probability - truth) ** 2
        residuals = residuals_by_bin(truth, self.probability, BINS)
        return np.column_stack([*cells, squared, residuals]).astype(np.float64)

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Rows by falling score, and where each run of equal scores ends: ties move together.
        score = self.probability if self.score is None else self.score
        order = np.argsort(-score, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
        return order, ends, self.truth[order]

    def ranked(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision of every sample, each float64 (samples,)."""
        if self.truth.all() or not self.truth.any():
            undefined = np.full(len(weights), np.nan)
            return undefined, undefined
        order, ends, truth = self._order
        ranked = weights[:, order]
        called = np.cumsum(ranked, axis=1)
        ranked *= truth
        hits = np.cumsum(ranked, axis=1)
        if len(ends) < len(order):
            called, hits = called[:, ends], hits[:, ends]
        new_hits = np.diff(hits, axis=1, prepend=0)
        positives, negatives = hits[:, -1], called[:, -1] - hits[:, -1]
        # Average precision: precision at each score, weighted by the positives found there.
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        auprc = ratio(np.einsum("ij,ij->i", new_hits, precision), positives)
        # AUROC: negatives ranked below each positive, those at the same score counting half.
        alarms = called
        alarms -= hits
        ties = np.diff(alarms, axis=1, prepend=0)
        above = np.einsum("ij,ij->i", new_hits, alarms) - np.einsum("ij,ij->i", new_hits, ties) / 2
        auroc = 1 - ratio(above, positives * negatives)
        return auroc, auprc


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """over / under, NaN where under is 0."""
    return np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under != 0)
