"""Does the model use what a map shows? Regions are hidden, by the blurred image, and the model asked again."""

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated

STEPS = 10
# Subsets: cells of a side, and the share of them that is hidden.
_GRID, _HIDDEN, _SUBSETS = 12, 0.2, 48


def areas(
    evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, maps: np.ndarray, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Areas under deletion and insertion curves (Petsiuk et al. 2018): a class's probability while pixels go, or come.

    Pixels go in the order of the map, the hottest first, from the image to the blurred image; insertion is the way back
    from the blurred image in the same order.

    Args:
        evidence: of the model.
        inputs: of N images.
        targets: int (N,).
        maps: float (N, S, S).
        steps: of a curve.

    Returns:
        Each float64 (N,), from 0 to 1: a good map has a small first and a large second one.
    """
    hidden = blurred(inputs[0])
    under = np.empty((2, len(targets)))
    for row, target in enumerate(targets):
        image, blank = inputs[0][row], hidden[row]
        # 0 for the hottest pixel.
        place = np.empty(maps[row].size, int)
        place[np.argsort(-maps[row].ravel(), kind="stable")] = np.arange(maps[row].size)
        counts = np.linspace(0, place.size, steps + 1, dtype=int)
        deleted = place.reshape(1, *maps[row].shape, 1) < counts[:, None, None, None]
        perturbed = repeated(inputs, row, 2 * len(counts))
        perturbed[0] = np.concatenate([np.where(deleted, blank, image), np.where(deleted, image, blank)])
        curves = evidence.probabilities(perturbed, np.full(2 * len(counts), target)).reshape(2, -1).astype(np.float64)
        under[:, row] = (curves[:, :-1] + curves[:, 1:]).mean(axis=1) / 2
    return under[0], under[1]


def subsets(size: int, seed: int) -> np.ndarray:
    """bool (48, size, size): what is hidden, a fifth of the cells of a grid drawn at random."""
    draw = np.random.default_rng(seed)
    grid = min(_GRID, size)
    cells = draw.random((_SUBSETS, grid, grid)) < _HIDDEN
    place = np.arange(size) * grid // size
    return cells[:, place][:, :, place]


def drops(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """float64 (N, M): what the score loses when each of M subsets bool (M, S, S) is hidden."""
    blank, scores, losses = blurred(inputs[0]), evidence.scores(inputs, targets), []
    for row, target in enumerate(targets):
        perturbed = repeated(inputs, row, len(hidden))
        perturbed[0] = np.where(hidden[..., None], blank[row], perturbed[0])
        losses.append(scores[row] - evidence.scores(perturbed, np.full(len(hidden), target)))
    return np.stack(losses).astype(np.float64)


def faithfulness(maps: np.ndarray, hidden: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Faithfulness correlation (Bhatt et al. 2020): of a subset's attribution and what the score loses by it.

    Args:
        maps: float (N, S, S).
        hidden: bool (M, S, S).
        losses: float (N, M), of `drops`.

    Returns:
        float64 (N,), Pearson's; NaN where either does not vary.
    """
    sums = maps.reshape(len(maps), -1).astype(np.float64) @ hidden.reshape(len(hidden), -1).T
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (sums, losses))
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), spread, out=np.full(len(a), np.nan), where=spread > 0)
