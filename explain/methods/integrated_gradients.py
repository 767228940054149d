"""Integrated gradients (Sundararajan et al. 2017) and their mean over images of others, SHAP by expected gradients.

A path's pieces add up to the score's difference between its ends (completeness), but for the error of the sum that
stands for the integral: steps are doubled until that is under a hundredth of the difference. Expected gradients (Erion
et al. 2021) draw their points at random and complete in expectation only; here every background image has a whole path.
"""

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated

TOLERANCE = 0.01
_STEPS, _MOST_STEPS = 16, 512


def integrated_gradients(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed: from the blurred image to the image."""
    starts = blurred(inputs[0])
    return np.stack([_paths(evidence, inputs, row, starts[row : row + 1], targets[row]) for row in range(len(targets))])


def expected_gradients(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed: from images of the population, `effort.background`, to the image."""
    return np.stack([_paths(evidence, inputs, row, effort.background, targets[row]) for row in range(len(targets))])


def _paths(evidence: Evidence, inputs, row: int, starts: np.ndarray, target: int) -> np.ndarray:
    """The mean over paths from K images (K, S, S, C); float32 (S, S)."""
    begin = repeated(inputs, row, len(starts))
    begin[0] = starts
    classes = np.full(len(starts), target)
    difference = float(
        evidence.scores(repeated(inputs, row, 1), classes[:1])[0] - evidence.scores(begin, classes).mean()
    )
    steps = max(_STEPS // len(starts), 4)
    while True:
        attribution = np.mean([_path(evidence, inputs, row, start, target, steps) for start in starts], axis=0)
        if (
            abs(float(attribution.sum()) - difference) <= TOLERANCE * abs(difference)
            or steps * len(starts) >= _MOST_STEPS
        ):
            return attribution.astype(np.float32)
        steps *= 2


def _path(evidence: Evidence, inputs, row: int, start: np.ndarray, target: int, steps: int) -> np.ndarray:
    points = repeated(inputs, row, steps)
    way = points[0][0] - start
    share = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    points[0] = start + share[:, None, None, None] * way
    gradient = evidence.gradients(points, np.full(steps, target)).mean(axis=0, dtype=np.float64)
    return (gradient * way).sum(axis=-1)
