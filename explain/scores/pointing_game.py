"""The pointing game (Zhang et al. 2018): is the hottest point of a map inside the finding?

Without tolerance around the finding, and beside the rates of a random point and of the image's centre.
"""

import numpy as np

from medimg.evaluation.intervals import Measured, wilson_interval


def hit(heat_map: np.ndarray, region: np.ndarray) -> float:
    """1 when the maximum lies in the region, 0 when not; the share that does when several points have the maximum.

    Args:
        heat_map: float (S, S).
        region: bool (S, S).
    """
    return float(region[heat_map == heat_map.max()].mean())


def judge(heat_maps: np.ndarray, found: np.ndarray, patients: np.ndarray) -> dict:
    """Hit rate with its 95% interval, and the two controls.

    The interval is Wilson's with the number of patients for n: images of one patient are alike, so this is the
    cautious count.

    Args:
        heat_maps: float (N, S, S).
        found: bool (N, S, S).
        patients: (N,) patient of each image.

    Returns:
        `hit_rate` {value, low, high}, `random` (the mean share of the image that is finding: the exact rate of a
        uniformly random point), `centre`, `n`, `patients`.
    """
    hits = np.array([hit(m, r) for m, r in zip(heat_maps, found, strict=True)])
    middle = found.shape[1] // 2
    clusters = len(np.unique(patients))
    low, high = wilson_interval(hits.mean() * clusters, clusters)
    return {
        "hit_rate": Measured(float(hits.mean()), float(low), float(high))._asdict(),
        "random": float(found.mean()),
        "centre": float(found[:, middle, middle].mean()),
        "n": len(hits),
        "patients": clusters,
    }
