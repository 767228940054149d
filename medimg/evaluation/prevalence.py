"""Predictive values at another prevalence than the sample's, by Bayes' theorem from sensitivity and specificity."""

from collections.abc import Sequence

import numpy as np

from medimg.evaluation.exact import PatientCounts, clopper_pearson
from medimg.evaluation.few_faults import is_of_few
from medimg.evaluation.intervals import LEVEL, Interval, percentile_interval
from medimg.evaluation.metrics import METRICS, OneVsRest, ratio

_RATES = [METRICS.index("sensitivity"), METRICS.index("specificity")]


def at_prevalence(
    prevalence: float, values: np.ndarray, replicates: np.ndarray, one: OneVsRest, patients: Sequence
) -> dict:
    """PPV and NPV of the positive class with 95% intervals, from the resamples that the other metrics have.

    Where every resample agrees, from the exact bounds of sensitivity and specificity that hold together; where the
    faults of either are of few patients, the further ends of both intervals.

    Args:
        prevalence: share of the population that has the positive class, between 0 and 1.
        values: float64 (METRICS,) on the sample.
        replicates: float64 (resamples, METRICS).
        one: the N rows, of the positive class.
        patients: length N, the patient of each row.

    Returns:
        `prevalence`, and `ppv` and `npv` as {"value", "low", "high"}.
    """
    rates = values[_RATES]
    counted = PatientCounts.of(one, patients)
    bounds = zip(rates, (counted.positive, counted.negative), strict=True)
    few = any(is_of_few(name, one, patients) for name in ("sensitivity", "specificity"))
    exact = np.array([clopper_pearson(rate, n, (1 - LEVEL) / 2) for rate, n in bounds])
    result: dict = {"prevalence": prevalence}
    for name, of in (("ppv", _ppv), ("npv", _npv)):
        interval = percentile_interval(of(replicates[:, _RATES], prevalence))
        if interval.low is not None and (few or interval.is_flat):
            # Both grow with sensitivity and with specificity.
            low, high = (float(end) for end in of(exact.T, prevalence))
            interval = Interval(float(np.fmin(low, interval.low)), float(np.fmax(high, interval.high)))
        result[name] = interval.around(of(rates[None], prevalence)[0])
    return result


def _ppv(rates: np.ndarray, prevalence: float) -> np.ndarray:
    right = rates[:, 0] * prevalence
    return ratio(right, right + (1 - rates[:, 1]) * (1 - prevalence))


def _npv(rates: np.ndarray, prevalence: float) -> np.ndarray:
    right = rates[:, 1] * (1 - prevalence)
    return ratio(right, right + (1 - rates[:, 0]) * prevalence)
