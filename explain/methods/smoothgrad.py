"""SmoothGrad (Smilkov et al. 2017): the gradient by the pixels, its mean over noisy copies of the image."""

import numpy as np

from explain.methods.evidence import Evidence, repeated

# Copies, and the noise's standard deviation as a share of the image's range.
_COPIES, _NOISE = 20, 0.15


def smoothgrad(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), the largest magnitude over channels: a dark finding has a negative gradient."""
    draw, maps = np.random.default_rng(effort.seed), []
    for row, image in enumerate(inputs[0]):
        noisy = repeated(inputs, row, _COPIES)
        spread = _NOISE * float(image.max() - image.min())
        noisy[0] = noisy[0] + draw.normal(0, spread, noisy[0].shape).astype(np.float32)
        gradient = evidence.gradients(noisy, np.full(_COPIES, targets[row])).mean(axis=0)
        maps.append(np.abs(gradient).max(axis=-1))
    return np.stack(maps)
