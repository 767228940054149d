"""RISE (Petsiuk et al. 2018): the mean of random masks, weighed by the score of the image seen through each.

The score's mean is taken off the weights: it changes no map in expectation, and few masks suffice. What is masked is
blurred rather than black.
"""

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated, stretched

# Cells of a mask's side, and the share of them that is seen.
GRID, SEEN = 8, 0.5


def masks(count: int, size: int, seed: int) -> np.ndarray:
    """float32 (count, size, size) in 0..1: random cells, smoothly enlarged and shifted by up to a cell."""
    draw = np.random.default_rng(seed)
    cell = -(-size // GRID)
    cells = (draw.random((count, GRID + 1, GRID + 1)) < SEEN).astype(np.float32)
    wide = stretched(cells, (GRID + 1) * cell)
    shifts = draw.integers(0, cell, (count, 2))
    return np.stack([mask[y : y + size, x : x + size] for mask, (y, x) in zip(wide, shifts, strict=True)])


def rise(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S)."""
    size, hidden = inputs[0].shape[1], blurred(inputs[0])
    weights, maps = masks(effort.samples, size, effort.seed), []
    for row, target in enumerate(targets):
        masked = repeated(inputs, row, len(weights))
        masked[0] = hidden[row] + weights[..., None] * (masked[0] - hidden[row])
        scores = evidence.scores(masked, np.full(len(weights), target))
        maps.append(np.tensordot(scores - scores.mean(), weights, 1) / (SEEN * len(weights)))
    return np.stack(maps).astype(np.float32)
