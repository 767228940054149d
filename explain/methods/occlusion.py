"""Occlusion (Zeiler and Fergus 2014): what the score loses where a patch of the image is hidden."""

import math

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated


def patches(size: int, samples: int) -> list[tuple[slice, slice]]:
    """At most `samples` squares, twice as wide as they are apart, that cover the image."""
    across = max(2, math.isqrt(samples))
    side = max(1, math.ceil(2 * size / (across + 1)))
    starts = np.unique(np.linspace(0, size - side, across).round().astype(int))
    return [(slice(y, y + side), slice(x, x + side)) for y in starts for x in starts]


def occlusion(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed: the mean loss over the patches that cover a pixel; a hidden patch is blurred."""
    size, hidden = inputs[0].shape[1], blurred(inputs[0])
    squares = patches(size, effort.samples)
    covered = np.zeros((size, size), np.float32)
    for square in squares:
        covered[square] += 1
    losses = np.zeros((len(targets), size, size), np.float32)
    scores = evidence.scores(inputs, targets)
    for row, target in enumerate(targets):
        occluded = repeated(inputs, row, len(squares))
        for image, square in zip(occluded[0], squares, strict=True):
            image[square] = hidden[row][square]
        drops = scores[row] - evidence.scores(occluded, np.full(len(squares), target))
        for square, loss in zip(squares, drops, strict=True):
            losses[row][square] += loss
    return losses / covered
