"""HiResCAM (Draelos and Carin 2020): each cell of the last maps by its own gradient, not by the mean over the map.

Where the maps are averaged and weighed by one layer, as in all models here without columns, a cell is its share of the
score.
"""

import numpy as np

from explain.methods.evidence import Evidence


def hirescam(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, h, w)."""
    maps, gradients = evidence.last_maps(inputs, targets)
    return (maps * gradients).sum(axis=-1)
