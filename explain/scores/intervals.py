"""Means over images with 95% intervals by patient."""

import numpy as np

from medimg.evaluation.intervals import Measured, cluster_bootstrap, percentile_interval, wilson_interval

_RESAMPLES = 1000


def mean(values: np.ndarray, patients: np.ndarray, seed: int = 0) -> dict:
    """{value, low, high}; images whose value is NaN are left out, of one patient alone there is no interval.

    Args:
        values: float (N,).
        patients: (N,), whose image it is.
        seed: of the resamples.
    """
    defined = ~np.isnan(values)
    values, patients = values[defined], np.asarray(patients)[defined]
    if len(set(patients)) < 2:
        return Measured(float(values.mean()) if len(values) else None)._asdict()
    draws = cluster_bootstrap(lambda w: w @ values / w.sum(axis=1), patients, _RESAMPLES, seed)
    return percentile_interval(draws).around(values.mean())


def ratio(numerators: np.ndarray, denominators: np.ndarray, patients: np.ndarray, seed: int = 0) -> dict:
    """{value, low, high} of the ratio of two means, arguments as of `mean`."""
    if not denominators.sum() > 0 or len(set(patients)) < 2:
        return Measured()._asdict()
    # A resample may have nothing below.
    draws = cluster_bootstrap(
        lambda w: np.divide(w @ numerators, w @ denominators, out=np.full(len(w), np.nan), where=w @ denominators > 0),
        patients,
        _RESAMPLES,
        seed,
    )
    return percentile_interval(draws).around(numerators.sum() / denominators.sum())


def share(hits: np.ndarray, patients: np.ndarray) -> dict:
    """{value, low, high} of a rate, Wilson's with the number of patients for n.

    Images of one patient are alike, so this is the cautious count; unlike the bootstrap it has a width at 0 and 1.
    """
    if not len(hits):
        return Measured()._asdict()
    clusters = len(set(np.asarray(patients)))
    low, high = wilson_interval(float(hits.mean()) * clusters, clusters)
    return Measured(float(hits.mean()), float(low), float(high))._asdict()
