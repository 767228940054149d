"""DeLong's test of two AUROCs on the same rows.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; the computation by midranks is that of Sun
and Xu, Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21, 2014.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import norm, rankdata

LEVEL = 0.95


@dataclass(frozen=True)
class DeLong:
    """The difference of two AUROCs.

    Attributes:
        difference: AUROC of the first less that of the second.
        low, high: 95% interval of it.
        z: the statistic; None where the variance is 0.
        p: two-sided; None where it is undefined.
    """

    difference: float
    low: float
    high: float
    z: float | None
    p: float | None


def auroc_covariance(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs of several models on the same rows, and how they vary together.

    Rows are taken as independent: with several rows a patient the variance comes out too small.

    Args:
        truth: bool (N,) with at least two of each kind.
        scores: float64 (models, N), higher = more positive; ties count half.

    Returns:
        float64 (models,) and float64 (models, models).

    Raises:
        ValueError: fewer than two positives or negatives.
    """
    truth = np.asarray(truth, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) < 2:
        raise ValueError(f"{positives} positives and {negatives} negatives: two of each are needed")
    scores = np.atleast_2d(np.asarray(scores, np.float64))
    everywhere = np.stack([rankdata(row) for row in scores])
    among_positives = np.stack([rankdata(row[truth]) for row in scores])
    among_negatives = np.stack([rankdata(row[~truth]) for row in scores])
    # The share of negatives below each positive, and of positives above each negative.
    below = (everywhere[:, truth] - among_positives) / negatives
    above = 1 - (everywhere[:, ~truth] - among_negatives) / positives
    covariance = np.cov(below) / positives + np.cov(above) / negatives
    return below.mean(axis=1), np.atleast_2d(covariance)


def delong(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong | None:
    """Test whether two scores have the same AUROC.

    Args:
        truth: bool (N,).
        first, second: float64 (N,).

    Returns:
        None when there are fewer than two positives or negatives.
    """
    truth = np.asarray(truth, bool)
    if min(truth.sum(), (~truth).sum()) < 2:
        return None
    aurocs, covariance = auroc_covariance(truth, np.stack([first, second]))
    difference = float(aurocs[0] - aurocs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Two scores that rank alike leave a variance of rounding errors.
    if variance < 1e-15:
        return DeLong(difference, difference, difference, None, 1.0 if difference == 0 else None)
    deviation = math.sqrt(variance)
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * deviation
    z = difference / deviation
    return DeLong(difference, difference - reach, difference + reach, z, float(2 * norm.sf(abs(z))))
