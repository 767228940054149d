"""Score-CAM (Wang et al. 2020): a map weighs what the class's probability is of the image seen through it."""

import numpy as np

from explain.methods.evidence import Evidence, repeated, stretched

# The model runs once per map; beyond the strongest the picture no longer changes.
_MAPS = 64


def scorecam(evidence: Evidence, inputs: list[np.ndarray], chosen: np.ndarray, effort) -> np.ndarray:
    """float32 (N, h, w)."""
    size, found = inputs[0].shape[1], []
    for row, every in enumerate(evidence.last_maps(inputs, chosen)[0]):
        strongest = np.argsort(-every.std(axis=(0, 1)), kind="stable")[:_MAPS]
        maps = np.moveaxis(every[..., strongest], -1, 0)
        masks = stretched(maps, size)
        low, high = masks.min(axis=(1, 2), keepdims=True), masks.max(axis=(1, 2), keepdims=True)
        masks = np.divide(masks - low, high - low, out=np.zeros_like(masks), where=high > low)
        seen = repeated(inputs, row, len(maps))
        seen[0] = seen[0] * masks[..., None]
        weights = evidence.probabilities(seen, np.full(len(maps), chosen[row]))
        found.append(np.tensordot(weights, maps, 1))
    return np.stack(found)
