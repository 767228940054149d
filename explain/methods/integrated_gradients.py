"""Integrated gradients (Sundararajan et al. 2017) and their mean over images of others, SHAP by expected gradients.

A path's pieces add up to the score's difference between its ends (completeness), but for the error of the sum that
stands for the integral: steps are doubled until that is under a hundredth of the difference. Expected gradients (Erion
et al. 2021) draw their points at random and complete in expectation only; here every background image has a whole path.
"""

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated

TOLERANCE = 0.01
_STEPS, _MOST_STEPS = 16, 512


def integrated_gradients(evidence: Evidence, inputs: list[np.ndarray], chosen: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed: from the blurred image to the image."""
    starts = blurred(inputs[0])
    return np.stack([_paths(evidence, inputs, row, starts[row : row + 1], chosen[row]) for row in range(len(chosen))])


def expected_gradients(evidence: Evidence, inputs: list[np.ndarray], chosen: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed: from images of the population, `effort.background`, to the image."""
    return np.stack([_paths(evidence, inputs, row, effort.background, chosen[row]) for row in range(len(chosen))])


def _paths(evidence: Evidence, inputs, row: int, starts: np.ndarray, chosen: int) -> np.ndarray:
    """The mean over paths from K images (K, S, S, C); float32 (S, S)."""
    begin = repeated(inputs, row, len(starts))
    begin[0] = starts
    classes = np.full(len(starts), chosen)
    whole = float(evidence.scores(repeated(inputs, row, 1), classes[:1])[0] - evidence.scores(begin, classes).mean())
    steps = max(_STEPS // len(starts), 4)
    while True:
        found = np.mean([_path(evidence, inputs, row, start, chosen, steps) for start in starts], axis=0)
        if abs(float(found.sum()) - whole) <= TOLERANCE * abs(whole) or steps * len(starts) >= _MOST_STEPS:
            return found.astype(np.float32)
        steps *= 2


def _path(evidence: Evidence, inputs, row: int, start: np.ndarray, chosen: int, steps: int) -> np.ndarray:
    points = repeated(inputs, row, steps)
    way = points[0][0] - start
    share = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    points[0] = start + share[:, None, None, None] * way
    gradient = evidence.gradients(points, np.full(steps, chosen)).mean(axis=0, dtype=np.float64)
    return (gradient * way).sum(axis=-1)
