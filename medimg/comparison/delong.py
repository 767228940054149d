"""DeLong's test of two AUROCs on the same rows, of one patient or several.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; the computation by midranks is that of Sun
and Xu, Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21, 2014; several rows a patient:
Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53, 1997.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import norm, rankdata

from medimg.evaluation.exact_differences import if_alike, least_p, p_of_agreeing
from medimg.evaluation.intervals import LEVEL, Interval, numbered
from medimg.evaluation.mover import wider


@dataclass(frozen=True)
class DeLong:
    """The difference of two AUROCs.

    Attributes:
        difference: AUROC of the first less that of the second.
        low, high: 95% interval of it.
        z: the statistic; None where the variance is 0, and the rest that of `medimg.evaluation.exact`.
        p: two-sided.
    """

    difference: float
    low: float | None
    high: float | None
    z: float | None
    p: float


def auroc_covariance(
    truth: np.ndarray, scores: np.ndarray, patients: Sequence | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs of several models on the same rows, and how they vary together.

    Args:
        truth: bool (N,) with at least two of each kind.
        scores: float64 (models, N), higher = more positive; ties count half.
        patients: length N; only rows of different patients are independent. None: every row has its own.

    Returns:
        float64 (models,) and float64 (models, models).

    Raises:
        ValueError: fewer than two positives or negatives, or fewer than two patients who have them.
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
    aurocs = below.mean(axis=1)
    number = _numbered(patients, len(truth))
    with_positives, with_negatives = (len(np.unique(number[of])) for of in (truth, ~truth))
    if min(with_positives, with_negatives) < 2:
        raise ValueError("positives and negatives of at least two patients each are needed")
    # Each patient's share of the AUROC, as positives and as negatives: these, not rows, are independent.
    sums = np.zeros((2, len(scores), int(number.max()) + 1))
    for model in range(len(scores)):
        np.add.at(sums[0, model], number[truth], (below[model] - aurocs[model]) / positives)
        np.add.at(sums[1, model], number[~truth], (above[model] - aurocs[model]) / negatives)
    as_positive, as_negative = sums
    both = as_positive @ as_negative.T
    covariance = (
        as_positive @ as_positive.T * _unbiased(with_positives)
        + as_negative @ as_negative.T * _unbiased(with_negatives)
        + (both + both.T) * _unbiased(sums.shape[2])
    )
    return aurocs, covariance


def _numbered(patients: Sequence | None, rows: int) -> np.ndarray:
    return np.arange(rows) if patients is None else numbered(patients)


def _unbiased(patients: int) -> float:
    return patients / (patients - 1)


def delong(truth: np.ndarray, first: np.ndarray, second: np.ndarray, patients: Sequence | None = None) -> DeLong | None:
    """Test whether two scores have the same AUROC.

    Args:
        truth: bool (N,).
        first: float64 (N,), the one score.
        second: float64 (N,), the other.
        patients: length N, the patient of each row; None: every row has its own.

    Returns:
        None when there are fewer than two positives or negatives, or fewer than two patients who have them.
    """
    truth = np.asarray(truth, bool)
    number = _numbered(patients, len(truth))
    fewest = min(len(np.unique(number[truth])), len(np.unique(number[~truth])))
    if fewest < 2:
        return None
    aurocs, covariance = auroc_covariance(truth, np.stack([first, second]), patients)
    difference = float(aurocs[0] - aurocs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Two scores that rank alike leave a variance of rounding errors.
    if variance < 1e-15:
        interval = if_alike(difference, fewest)
        return DeLong(difference, interval.low, interval.high, None, p_of_agreeing(difference, fewest))
    deviation = math.sqrt(variance)
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * deviation
    z = difference / deviation
    interval = Interval(difference - reach, difference + reach)
    # Of few patients the normal distribution says more than they can tell.
    if least_p(fewest) > 1 - LEVEL:
        interval = wider(interval, if_alike(difference, fewest))
    p = max(float(2 * norm.sf(abs(z))), least_p(fewest))
    return DeLong(difference, interval.low, interval.high, z, p)
