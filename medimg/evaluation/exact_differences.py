"""What so few patients tell of a difference of two models on the same rows: its bounds, and its smallest p-value."""

import math
from collections.abc import Sequence

import numpy as np

from medimg.evaluation.exact import PatientCounts, clopper_pearson
from medimg.evaluation.intervals import LAST_DIGIT, LEVEL, Interval, percentile_interval
from medimg.evaluation.mover import wider
from medimg.evaluation.predictions import Predictions

# What every row counts in alike.
_OF_ALL_ROWS = ("accuracy", "brier", "ece")


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
    each = [PatientCounts.of(one, patients) for one in predictions.one_vs_rest]
    return min((min(one.positive, one.negative) for one in each if one.positive and one.negative), default=0)


def tested_difference(replicates: np.ndarray, value: float, patients: int) -> tuple[Interval, float | None]:
    """The bootstrap's interval of a difference between -1 and 1, or where that knows too little a wider one; its p.

    It does so of patients of whom so few tell a difference (`telling`) that no test of them could say so at this level:
    then the interval has 0 and what is left open if all are alike (`if_alike`).

    The p-value is the smallest level at which the percentile interval leaves out 0; with R resamples it is never below
    2 / (R + 1), nor below what so few patients can tell. Where every resample agrees, it is that of `p_of_agreeing`:
    that two models answer a few patients alike is no certainty.

    Args:
        replicates: float (resamples,), NaN where undefined.
        value: on the sample.
        patients: n.

    Returns:
        Interval and two-sided p, both without values where fewer than two resamples define the difference.
    """
    interval = percentile_interval(replicates)
    if interval.low is None or interval.high is None:
        return interval, None
    alike = if_alike(value, patients, interval.left_out)
    if interval.is_flat:
        return alike, p_of_agreeing(value, patients)
    defined = replicates[~np.isnan(replicates)]
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    least = least_p(telling(replicates, patients))
    p = min(1.0, max(2 * (int(tail) + 1) / (len(defined) + 1), least))
    if least > 1 - LEVEL:
        interval = wider(wider(interval, alike), Interval(0.0, 0.0, interval.left_out))
    return interval, p


def bounded_difference(replicates: np.ndarray, value: float, patients: int) -> Interval:
    """The interval of `tested_difference`."""
    return tested_difference(replicates, value, patients)[0]


def telling(replicates: np.ndarray, patients: int) -> float:
    """How many patients tell a difference: of k that do, a share of exp(-k) of the resamples draws none and has none.

    Args:
        replicates: float (resamples,), NaN where undefined.
        patients: n, of whom there are no more.
    """
    defined = replicates[~np.isnan(replicates)]
    same = float((np.abs(defined) < LAST_DIGIT).mean())
    return min(patients, -math.log(same)) if same else patients


def if_alike(value: float, patients: int, left_out: int = 0) -> Interval:
    """What a difference is at most where all of n patients differ alike.

    Clopper and Pearson's bound of 0 in n, r, is left for the share of others, who differ by -1 or by 1 at most:
    (1 - r) value - r to (1 - r) value + r.
    """
    others = clopper_pearson(0.0, patients)[1]
    alike = (1 - others) * value
    return Interval(alike - others, alike + others, left_out)


def least_p(patients: float) -> float:
    """The smallest two-sided p-value that a difference of n patients can have: that all are better off with one of two
    models alike happens once in 2^(n - 1) by chance, however much better. Source: Fisher, The Design of Experiments,
    1935.
    """
    return min(1.0, 2.0 ** (1 - patients))


def p_of_agreeing(value: float, patients: int) -> float:
    """The smallest level at which the interval of `if_alike` leaves out 0, two-sided.

    Of patients of whom one model alone is right each time, that of McNemar's exact test.
    """
    return min(1.0, 2 * (1 + abs(value)) ** -patients)
