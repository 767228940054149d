"""Two models on the same patients: the bootstrap of their difference, McNemar's test.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Davison and Hinkley, Bootstrap Methods
and their Application, 1997 (the 1 in the p-value); McNemar, Psychometrika 12, 1947; several rows a patient: Durkalski,
Palesch, Lipsitz and Rust, Statistics in Medicine 22, 2003 (whose test this is with exact p-values).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import convolve
from scipy.stats import binom

from medimg.evaluation.exact_differences import tested_difference
from medimg.evaluation.intervals import numbered
from medimg.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Difference:
    """A difference with its 95% bootstrap interval; None where too few resamples define it.

    Attributes:
        value: first less second.
        low, high: the interval.
        p: two-sided.
        left_out: resamples in which it is undefined.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    left_out: int = 0


@dataclass(frozen=True)
class McNemar:
    """Rows that one of two models alone has right.

    Attributes:
        first_only, second_only: their numbers.
        p: exact, two-sided; patients are what is independent.
    """

    first_only: int
    second_only: int
    p: float


def difference(
    first: float, second: float, first_resampled: np.ndarray, second_resampled: np.ndarray, patients: int
) -> Difference:
    """The difference of a metric of two models, measured on the same resamples.

    Interval and p-value are those of `medimg.evaluation.exact_differences`.

    Args:
        first: the one model's metric on the rows.
        second: the other's.
        first_resampled: float64 (R,), the one's metric on R resamples, NaN where undefined.
        second_resampled: float64 (R,), the other's on the same resamples.
        patients: how many tell a difference (`counted_for_difference`).
    """
    replicates = np.asarray(first_resampled) - np.asarray(second_resampled)
    value = float(first - second)
    interval, p = tested_difference(replicates, value, patients)
    return Difference(value, interval.low, interval.high, p, interval.left_out)


def mcnemar(first: Predictions, second: Predictions, patients: Sequence | None = None) -> McNemar:
    """Test whether two models are right equally often, row by row, each with its own decisions.

    Were they, a patient for whom the first is right in d rows more would as likely have d fewer: the sum of d has the
    distribution of all signs. With one row a patient it is McNemar's exact test.

    Args:
        first: of the one model, binary or multiclass.
        second: of the other, of the same rows.
        patients: length N, the patient of each row; None: every row has its own.
    """
    right, other = ((one.truth & one.decisions).any(axis=1).astype(np.int64) for one in (first, second))
    number = np.arange(len(right)) if patients is None else numbered(patients)
    more = np.zeros(int(number.max()) + 1, np.int64)
    np.add.at(more, number, right - other)
    return McNemar(int((right > other).sum()), int((right < other).sum()), _all_signs(more))


def _all_signs(values: np.ndarray) -> float:
    """Chance that a sum of these numbers with random signs is as far from 0 as theirs."""
    total, chances = abs(int(values.sum())), np.ones(1)
    for size, count in zip(*np.unique(np.abs(values[values != 0]), return_counts=True), strict=True):
        spread = np.zeros(size * count + 1)
        spread[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = convolve(chances, spread)
    # Position i holds the chance that the positive ones make i in all, so that the sum is 2i less all of them.
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return float(np.clip(chances[np.abs(sums) >= total].sum(), 0.0, 1.0))
