"""The interval of an AUROC by the areas that it does not contradict, which needs no resamples.

Those t from which the measured area is no further than the normal quantile times the deviation that a sample of an area
t has by Hanley and McNeil (Radiology 143, 1982): method 5 of Newcombe, Statistics in Medicine 25, 2006, pages 559 to
573, who found it to cover as it says from a few of a kind and near 1 as well, where the bootstrap does not.
"""

import math
from statistics import NormalDist

from scipy.optimize import brentq

from medimg.evaluation.intervals import LEVEL

_EDGE = 1e-12


def auroc_interval(area: float, positives: float, negatives: float, error: float = 1 - LEVEL) -> tuple[float, float]:
    """Lower and upper end; (0, 1) without anybody of a kind.

    Args:
        area: measured, between 0 and 1.
        positives: independent patients of the one kind.
        negatives: those of the other.
        error: 1 less the coverage.
    """
    if min(positives, negatives) <= 0:
        return 0.0, 1.0
    lower = _lower(area, positives, negatives, error)
    return lower, 1 - _lower(1 - area, positives, negatives, error)


def _lower(area: float, positives: float, negatives: float, error: float) -> float:
    reach, both = NormalDist().inv_cdf(1 - error / 2), (positives + negatives) / 2 - 1

    def beyond(t: float) -> float:
        variance = t * (1 - t) * (1 + both * ((1 - t) / (2 - t) + t / (1 + t))) / (positives * negatives)
        return area - t - reach * math.sqrt(variance)

    # Further than the reach at 0, within it just below the area itself.
    high = min(area, 1 - _EDGE)
    return brentq(beyond, _EDGE, high) if high > _EDGE and beyond(_EDGE) > 0 > beyond(high) else 0.0
