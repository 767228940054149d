"""Score-CAM (Wang et al. 2020): a map weighs what the class's probability is of the image seen through it."""

import numpy as np

from explain.methods.evidence import Evidence, repeated, stretched

# The model runs once per map; beyond the strongest the picture no longer changes.
_MAPS = 64


def scorecam(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, h, w)."""
    size, heat = inputs[0].shape[1], []
    for row, activations in enumerate(evidence.last_maps(inputs, targets)[0]):
        strongest = np.argsort(-activations.std(axis=(0, 1)), kind="stable")[:_MAPS]
        maps = np.moveaxis(activations[..., strongest], -1, 0)
        masks = stretched(maps, size)
        low, high = masks.min(axis=(1, 2), keepdims=True), masks.max(axis=(1, 2), keepdims=True)
        masks = np.divide(masks - low, high - low, out=np.zeros_like(masks), where=high > low)
        masked = repeated(inputs, row, len(maps))
        masked[0] = masked[0] * masks[..., None]
        weights = evidence.probabilities(masked, np.full(len(maps), targets[row]))
        heat.append(np.tensordot(weights, maps, 1))
    return np.stack(heat)
