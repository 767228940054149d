"""Two models on the same patients: the bootstrap of their difference, McNemar's test, Holm's correction.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Davison and Hinkley, Bootstrap Methods
and their Application, 1997 (the 1 in the p-value); McNemar, Psychometrika 12, 1947; Holm, Scandinavian
Journal of Statistics 6, 1979.
"""

from dataclasses import dataclass

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test
from statsmodels.stats.multitest import multipletests

from medimg.evaluation.intervals import percentile_interval
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
        p: exact, two-sided.
    """

    first_only: int
    second_only: int
    p: float


def difference(
    first: float, second: float, first_resampled: np.ndarray, second_resampled: np.ndarray
) -> Difference:
    """The difference of a metric of two models, measured on the same resamples.

    The p-value is the smallest level at which the percentile interval leaves out 0; with R resamples it is
    never below 2 / (R + 1).

    Args:
        first, second: the metric on the rows.
        first_resampled, second_resampled: float64 (R,), the metric on the same R resamples, NaN where undefined.
    """
    replicates = np.asarray(first_resampled) - np.asarray(second_resampled)
    interval = percentile_interval(replicates)
    value = float(first - second)
    if interval.low is None:
        return Difference(value, None, None, None, interval.left_out)
    known = replicates[~np.isnan(replicates)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    p = min(1.0, 2 * (int(tail) + 1) / (len(known) + 1))
    return Difference(value, interval.low, interval.high, p, interval.left_out)


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Test whether two models are right equally often, row by row, each with its own decisions.

    Rows are taken as independent.

    Args:
        first, second: binary or multiclass, of the same rows.
    """
    right, other = (
        (one.truth & one.decisions).any(axis=1).astype(np.int64) for one in (first, second)
    )
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, (1 - right, 1 - other), 1)
    result = mcnemar_test(table, exact=True)
    return McNemar(int(table[0, 1]), int(table[1, 0]), float(min(1.0, result.pvalue)))


def holm(p_values: list[float | None]) -> list[float | None]:
    """P-values corrected for their number by Holm's method; None is no test and stays None."""
    made = [i for i, p in enumerate(p_values) if p is not None]
    corrected: list[float | None] = [None] * len(p_values)
    if made:
        adjusted = multipletests([p_values[i] for i in made], method="holm")[1]
        for i, p in zip(made, adjusted, strict=True):
            corrected[i] = float(p)
    return corrected
