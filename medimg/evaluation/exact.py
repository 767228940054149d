"""Bounds of a score for which every bootstrap resample agrees, as all do of a perfect one: exact, and wide with few.

Images of a patient are alike, so patients are counted, each once: a score without a fault is n patients without one,
and Clopper and Pearson's bound (Biometrika 26, 1934) of n successes in n trials holds. What is made of several such
shares (balanced accuracy, F1, a mean over classes) takes their bounds at a level at which all hold together
(Bonferroni). AUROC: of min(n+, n-) pairs of a positive and a negative, no patient in two, each is ordered rightly with
the AUROC's probability; Obuchowski and Lieber, Academic Radiology 9, 2002, on bounds where the area is 1. AUPRC: the
share of positives above their lowest score, and of negatives below their highest, have the bounds of n successes in n,
since the largest of n uniform draws is below u with probability u^n; the worst precision with both is integrated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medimg.evaluation.intervals import LEVEL, Interval
from medimg.evaluation.metrics import METRICS, OneVsRest
from medimg.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Patients:
    """How many patients could have shown a fault of one class against the rest.

    Attributes:
        every: all.
        positive, negative, called: with a row that has the class, that has not, that is called the class.
        prevalence: share of the rows that have the class.
    """

    every: int
    positive: int
    negative: int
    called: int
    prevalence: float

    @classmethod
    def of(cls, one: OneVsRest, patients: Sequence) -> "Patients":
        """Count them.

        Args:
            one: N rows.
            patients: length N, the patient of each row.
        """
        patients = np.asarray(patients)
        rows = (np.full(len(patients), True), one.truth, ~one.truth, one.decision)
        return cls(*(len(set(patients[chosen])) for chosen in rows), float(one.truth.mean()))


def clopper_pearson(share: float, n: int, error: float = 1 - LEVEL) -> tuple[float, float]:
    """The exact interval of a proportion; (0, 1) of no trials.

    Args:
        share: of successes; times n it need not be whole, as where rows of a patient differ.
        n: independent trials.
        error: 1 less the coverage.
    """
    from scipy.stats import beta

    hits = share * n
    low = beta.ppf(error / 2, hits, n - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - error / 2, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def bounded_share(interval: Interval, share: float, n: int) -> Interval:
    """A bootstrap's interval of a share, or where every resample agrees the exact one of n independent trials."""
    if interval.low is None or interval.low != interval.high:
        return interval
    return Interval(*clopper_pearson(share, n), interval.left_out)


NOTE = (
    "exact interval, since every resample agrees ({}): Clopper-Pearson's bound, each patient counted once, which is "
    "careful; AUROC by pairs of which no patient is in two"
)


# What every row counts in alike.
_OF_ALL_ROWS = ("accuracy", "brier", "ece")
# Resamples that agree may do so but for it.
_LAST_DIGIT = 1e-12


def bounded(
    interval: Interval, value: float, predictions: Predictions, patients: Sequence, name: str, position: int = 0
) -> dict:
    """{"value", "low", "high"} with a bootstrap interval, or where that has no width the exact one, if there is one.

    The latter is marked by "interval": "exact". Where there is none either, as of an AUROC between 0 and 1 of a patient
    a class, low and high are None, marked by "interval": "none": a point would look like certainty.

    Args:
        interval: the bootstrap's.
        value: on the sample.
        predictions: of N rows.
        patients: length N, the patient of each row.
        name: of METRICS.
        position: as `Predictions.measure` has it: 0 is the headline, then the classes.
    """
    if interval.low is None or interval.low < interval.high or (name == "auroc" and _is_constant(predictions)):
        return interval.around(value)
    exact = _exact(value, predictions, patients, name, position)
    if exact is None:
        return Interval(None, None).around(value) | {"interval": "none"}
    return exact.around(value) | {"interval": "exact"}


def _is_constant(predictions: Predictions) -> bool:
    """Of a model that says the same of everybody: its AUROC is 0.5 of whomever, which is certain."""
    return bool((predictions.probabilities == predictions.probabilities[:1]).all())


def counted_for_difference(predictions: Predictions, patients: Sequence, name: str) -> int:
    """How many independent patients say whether two models on the same rows differ in a metric.

    Of what is made of each class, those of the class, or of the rest, that has fewest.

    Args:
        predictions: of either model.
        patients: length N, the patient of each row.
        name: of METRICS.
    """
    if name in _OF_ALL_ROWS:
        return len(set(np.asarray(patients)))
    each = [Patients.of(one, patients) for one in predictions.one_vs_rest]
    return min((min(one.positive, one.negative) for one in each if one.positive and one.negative), default=0)


def bounded_difference(interval: Interval, value: float, patients: int) -> Interval:
    """The bootstrap's interval of a difference between -1 and 1, or where that has no width a wider one.

    That all of n patients differ alike leaves Clopper and Pearson's bound of 0 in n, r, for the share of others, who
    differ by -1 or by 1 at most: (1 - r) value - r to (1 - r) value + r.

    Args:
        interval: the bootstrap's.
        value: on the sample.
        patients: n.
    """
    if interval.low is None or interval.high is None or interval.high - interval.low > _LAST_DIGIT:
        return interval
    others = clopper_pearson(0.0, patients)[1]
    alike = (1 - others) * value
    return Interval(alike - others, alike + others, interval.left_out)


def p_of_agreeing(value: float, patients: int) -> float:
    """The smallest level at which the interval of `bounded_difference` leaves out 0, two-sided.

    Of patients of whom one model alone is right each time, that of McNemar's exact test.
    """
    return min(1.0, 2 * (1 + abs(value)) ** -patients)


def _exact(value: float, predictions: Predictions, patients: Sequence, name: str, position: int) -> Interval | None:
    name, classes = _behind(predictions, name, position)
    values = [value]
    if len(classes) > 1:
        measured = predictions.measure(np.ones((1, len(predictions))))[0]
        values = measured[1 + np.array(classes), METRICS.index(name)]
    error = (1 - LEVEL) / len(classes)
    each = [
        _of_one(name, float(share), Patients.of(predictions.one_vs_rest[i], patients), error)
        for share, i in zip(values, classes, strict=True)
    ]
    if None in each:
        return None
    low, high = np.mean(np.array(each), axis=0)
    return Interval(float(low), float(high))


def _behind(predictions: Predictions, name: str, position: int) -> tuple[str, list[int]]:
    """The metric, and the classes whose mean it is."""
    if position:
        return name, [position - 1]
    if predictions.task == "binary":
        return name, [1]
    if predictions.task == "multiclass" and name == "accuracy":
        return name, [0]
    if predictions.task == "multiclass" and name == "balanced_accuracy":
        name = "sensitivity"
    return name, np.flatnonzero(predictions.defined[:, METRICS.index(name)]).tolist()


def _of_one(name: str, value: float, n: Patients, error: float) -> tuple[float, float] | None:
    trials = {
        "accuracy": n.every,
        "sensitivity": n.positive,
        "specificity": n.negative,
        "precision": n.called,
        # A patient who has rows of both kinds is in one pair only.
        "auroc": min(n.positive, n.negative, n.every // 2),
        "brier": n.every,
        "ece": n.every,
    }
    if value not in (0, 1) and name not in ("accuracy", "sensitivity", "specificity", "precision"):
        return None
    if name == "ece" and value == 1:
        return None
    if name in trials:
        return clopper_pearson(value, trials[name], error)
    positive, negative, called = (
        clopper_pearson(value, trials[key], error / 2) for key in ("sensitivity", "specificity", "precision")
    )
    if name == "balanced_accuracy":
        return (positive[0] + negative[0]) / 2, (positive[1] + negative[1]) / 2
    if name == "f1":
        return _harmonic(positive[0], called[0]), _harmonic(positive[1], called[1])
    return (_least_auprc(positive[0], negative[0], n.prevalence), 1.0) if value == 1 else None


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0


def _least_auprc(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Average precision if all precision is lost that may be: the false alarms of the threshold with this sensitivity
    and specificity come first, and beyond it every negative."""

    def area(start: float, stop: float, alarms: float) -> float:
        # Integral of p r / (p r + alarms) over the sensitivity r.
        ends = (prevalence * stop + alarms) / (prevalence * start + alarms)
        return stop - start - alarms / prevalence * math.log(ends)

    negatives = 1 - prevalence
    return area(0, sensitivity, negatives * (1 - specificity)) + area(sensitivity, 1, negatives)
