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

from medimg.evaluation.auroc_interval import auroc_interval
from medimg.evaluation.few_faults import FEW, SHARES, is_of_few
from medimg.evaluation.intervals import LEVEL, Interval
from medimg.evaluation.metrics import METRICS, OneVsRest
from medimg.evaluation.mover import wider
from medimg.evaluation.predictions import Predictions


@dataclass(frozen=True)
class PatientCounts:
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
    def of(cls, one: OneVsRest, patients: Sequence) -> "PatientCounts":
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
    low, high = clopper_pearson_of_counts(share * n, n, error)
    return float(low), float(high)


def clopper_pearson_of_counts(hits, n, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact bounds of proportions, each wrong with probability at most error / 2: (low, high), float64.

    Args:
        hits: successes, 0..n, a number or an array of them.
        n: independent trials, likewise.
        error: 1 less the coverage of both.
    """
    from scipy.stats import beta

    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    # Where a bound needs none, the quantile's arguments are only made such as it takes.
    low = np.where(hits > 0, beta.ppf(error / 2, np.where(hits > 0, hits, 1), n - hits + 1), 0.0)
    high = np.where(hits < n, beta.ppf(1 - error / 2, hits + 1, np.where(hits < n, n - hits, 1)), 1.0)
    return low, high


def bounded_share(interval: Interval, share: float, n: int, few: bool = False) -> Interval:
    """A bootstrap's interval of a share, or where every resample agrees the exact one of n independent trials.

    Args:
        interval: the bootstrap's.
        share: on the sample.
        n: patients.
        few: its faults are of few of them (`medimg.evaluation.few_faults`): the further ends of both count.
    """
    if interval.low is None or interval.high is None or (not interval.is_flat and not few):
        return interval
    return wider(interval, Interval(*clopper_pearson(share, n)))


NOTE = (
    "exact interval, since every resample agrees ({}): Clopper-Pearson's bound, each patient counted once, which is "
    "careful; AUROC by pairs of which no patient is in two"
)


WIDER = (
    "interval wider than the bootstrap's ({}): of something that it is made of all faults, or all that is right, are "
    f"of fewer than {FEW} patients, so that Clopper-Pearson's bounds, or Newcombe's of an AUROC, count too"
)


def bounded(
    interval: Interval, value: float, predictions: Predictions, patients: Sequence, name: str, position: int = 0
) -> dict:
    """{"value", "low", "high"} with a bootstrap interval, or where that has no width the exact one, if there is one.

    The latter is marked by "interval": "exact", one that few patients' faults make wider by "widened". Where there is
    none, as of an AUROC between 0 and 1 of a patient a class, low and high are None, marked by "interval": "none": a
    point would look like certainty. An ECE has none either but where it is 0: chance gaps make it larger, and those of
    a resample larger still, so that the bootstrap's lies above that of right probabilities always;
    `medimg.evaluation.recalibration` says what is chance.

    Args:
        interval: the bootstrap's.
        value: on the sample.
        predictions: of N rows.
        patients: length N, the patient of each row.
        name: of METRICS.
        position: as `Predictions.measure` has it: 0 is the headline, then the classes.
    """
    if interval.low is None or interval.high is None or (name == "auroc" and _is_constant(predictions)):
        return interval.around(value)
    if name != "ece" and not interval.is_flat:
        wider = _of_few(interval, value, predictions, patients, name, position)
        return interval.around(value) if wider == interval else wider.around(value) | {"interval": "widened"}
    exact = _exact(value, predictions, patients, name, position)
    if exact is None:
        return Interval(None, None).around(value) | {"interval": "none"}
    return exact.around(value) | {"interval": "exact"}


def _is_constant(predictions: Predictions) -> bool:
    """Of a model that says the same of everybody: its AUROC is 0.5 of whomever, which is certain."""
    return bool((predictions.probabilities == predictions.probabilities[:1]).all())


def _exact(value: float, predictions: Predictions, patients: Sequence, name: str, position: int) -> Interval | None:
    name, classes = _behind(predictions, name, position)
    values = [value]
    if len(classes) > 1:
        measured = predictions.measure(np.ones((1, len(predictions))))[0]
        values = measured[1 + np.array(classes), METRICS.index(name)]
    error = (1 - LEVEL) / len(classes)
    each = [
        _of_one(name, float(share), PatientCounts.of(predictions.one_vs_rest[i], patients), error)
        for share, i in zip(values, classes, strict=True)
    ]
    if None in each:
        return None
    low, high = np.mean(np.array(each), axis=0)
    return Interval(float(low), float(high))


def _of_few(
    interval: Interval, value: float, predictions: Predictions, patients: Sequence, name: str, position: int
) -> Interval:
    """The bootstrap's interval, or a wider one where the faults of a share that it is made of are of few patients.

    Of one share the further ends of both; of a mean what the exact bounds of those shares add to the bootstrap's, as if
    independent of it (MOVER: Zou and Donner, Statistics in Medicine 27, 2008). Of an AUROC Newcombe's are those bounds.
    """
    name, classes = _behind(predictions, name, position)
    halves = ("sensitivity", "specificity") if name == "balanced_accuracy" else (name,)
    each = predictions.one_vs_rest
    parts = [(half, each[i]) for i in classes for half in halves]
    if name == "accuracy" and predictions.task == "multiclass" and not position:
        right = (predictions.truth & predictions.decisions).any(axis=1)
        parts = [(name, OneVsRest(right, each[0].probability, np.full(len(right), True)))]
    few = [(half, one) for half, one in parts if is_of_few(half, one, patients)]
    if not few:
        return interval
    shares = [float(one.measure(np.ones((1, len(predictions))))[0, METRICS.index(half)]) for half, one in few]
    if len(parts) == 1:
        # Of several seeds their mean.
        shares = [value]
    # What is of rows of different patients errs independently; of the same ones all bounds hold together (Bonferroni).
    apart = predictions.task != "multilabel" and {half for half, _ in few} <= {"sensitivity", "specificity"}
    error = (1 - LEVEL) / (1 if apart else len(few))
    bounds = [_between(half, share, one, patients, error) for (half, one), share in zip(few, shares, strict=True)]
    low, high = np.transpose(bounds)
    if len(parts) == 1:
        return wider(interval, Interval(*bounds[0]))
    summed = math.hypot if apart else lambda *gaps: sum(gaps)
    below, above = (summed(*gaps) / len(parts) for gaps in (shares - low, high - shares))
    below, above = math.hypot(value - interval.low, below), math.hypot(interval.high - value, above)
    return Interval(max(0.0, value - below), min(1.0, value + above), interval.left_out)


def _between(name: str, share: float, one: OneVsRest, patients: Sequence, error: float) -> tuple[float, float]:
    """Bounds of a share of few, wherever between 0 and 1 it lies."""
    n = PatientCounts.of(one, patients)
    if name == "f1":
        measured = one.measure(np.ones((1, len(one.truth))))[0]
        of = [(measured[METRICS.index(key)], key) for key in ("sensitivity", "precision")]
        low, high = np.transpose([clopper_pearson(part, _trials(key, n), error / 2) for part, key in of])
        return _harmonic(*low), _harmonic(*high)
    return newcombe(share, n, error) if name == "auroc" else clopper_pearson(share, _trials(name, n), error)


def newcombe(area: float, n: PatientCounts, error: float = 1 - LEVEL) -> tuple[float, float]:
    """Of an AUROC of patients; those who have rows of both kinds count once in all."""
    once = min(1.0, n.every / (n.positive + n.negative)) if n.every else 0.0
    return auroc_interval(area, n.positive * once, n.negative * once, error)


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


def _trials(name: str, n: PatientCounts) -> int:
    """How many patients a share is of."""
    return {
        "sensitivity": n.positive,
        "specificity": n.negative,
        "precision": n.called,
        # A patient who has rows of both kinds is in one pair only.
        "auroc": min(n.positive, n.negative, n.every // 2),
    }.get(name, n.every)


def _of_one(name: str, value: float, n: PatientCounts, error: float) -> tuple[float, float] | None:
    if value not in (0, 1) and name not in SHARES:
        return None
    if name == "ece" and value == 1:
        return None
    if name in (*SHARES, "auroc", "brier", "ece"):
        return clopper_pearson(value, _trials(name, n), error)
    positive, negative, called = (
        clopper_pearson(value, _trials(key, n), error / 2) for key in ("sensitivity", "specificity", "precision")
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
