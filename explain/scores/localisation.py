"""Is a map where the finding is? Pointing game (Zhang et al. 2018), energy in the finding, and overlap (IoU)."""

import numpy as np

# Of a map's maximum: where a map may be cut to be laid over a finding.
CUTS = np.linspace(0.05, 0.95, 19)


def hit(heat_map: np.ndarray, region: np.ndarray) -> float:
    """1 when the maximum lies in the region, 0 when not; the share that does when several points have the maximum.

    Without tolerance around the finding.

    Args:
        heat_map: float (S, S).
        region: bool (S, S).
    """
    return float(region[heat_map == heat_map.max()].mean())


def energy(heat_map: np.ndarray, region: np.ndarray) -> float:
    """Share of the evidence for the class that lies in the region (Wang et al. 2020); NaN where there is none.

    Arguments as of `hit`.
    """
    evidence = np.maximum(heat_map, 0.0)
    total = float(evidence.sum())
    return float(evidence[region].sum()) / total if total > 0 else np.nan


def overlaps(heat_map: np.ndarray, region: np.ndarray) -> np.ndarray:
    """float64 (19,): intersection over union of the region and the map above each of `CUTS`.

    Arguments as of `hit`.
    """
    hot = heat_map >= CUTS[:, None, None] * max(float(heat_map.max()), np.finfo(np.float32).tiny)
    return (hot & region).sum(axis=(1, 2)) / np.maximum((hot | region).sum(axis=(1, 2)), 1)
