"""SHAP values of image regions by the Partition explainer (Lundberg and Lee 2017; Owen 1977).

Partition asks the model only for outputs, so every architecture works, and it needs no background images: hidden
regions are blurred. Regions are halved where the output changes most until the evaluations are spent; they end at cells
of a grid, since trees of single pixels took shap minutes that the model did not need.
"""

import numpy as np

from explain.methods.evidence import Evidence, blurred, repeated

# Cells of a side at most; with some hundred evaluations no region becomes as small.
_GRID = 32
_BATCH = 64


def shap_partition(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, S, S), signed; an image's sum is score(image) - score(blurred image)."""
    import shap

    size, hidden = inputs[0].shape[1], blurred(inputs[0])
    grid = min(_GRID, size)
    # Which cell a pixel is in, and the share that it has of it.
    place = np.arange(size) * grid // size
    share = 1.0 / np.bincount(place).astype(np.float64)[place]
    masker = shap.maskers.Image(np.zeros((grid, grid, 1), np.float32))
    maps = []
    for row, target in enumerate(targets):

        def score(cells, row=row, target=target):
            shown = cells[:, place][:, :, place]
            masked = repeated(inputs, row, len(cells))
            masked[0] = np.where(shown > 0, masked[0], hidden[row])
            return evidence.scores(masked, np.full(len(cells), target)).astype(np.float64)

        explainer = shap.PartitionExplainer(score, masker)
        values = (
            explainer(np.ones((1, grid, grid, 1), np.float32), max_evals=effort.samples, batch_size=_BATCH, silent=True)
            .values[0]
            .reshape(grid, grid)
        )
        maps.append(values[place][:, place] * share[:, None] * share)
    return np.stack(maps).astype(np.float32)
