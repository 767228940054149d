"""Floors of a model of images that see almost nothing: thumbnails of 8 by 8 pixels, and the image's border alone.

What they reach, a model may have reached without a look at the finding: by brightness and position, or by markers,
collimation and text at the edge. Logistic regression on standardised pixels, fitted on the training part.

Source: Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic detection from X-ray images",
Information Fusion 76, 2021 (the lungs blacked out).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset

SIDE, BLOCKS, BORDER = 32, 8, 2
# What each of them sees, in words.
SEEN = {
    "thumbnails": f"{BLOCKS} by {BLOCKS} pixel thumbnails",
    "borders": f"border pixels (the outer {BORDER / SIDE:.0%} on each side)",
}
# Training rows that a fit of some hundred numbers has use for.
MOST_ROWS = 4000


def pixel_floors(
    training: Dataset, part: str, subject: Dataset, rows: pd.DataFrame, classes: Sequence[str], seed: int = 0
) -> dict[str, tuple[dict, np.ndarray]]:
    """What thumbnails and borders alone say of rows.

    Args:
        training: the Run's own Dataset, of images.
        part: of it, that they are fitted on.
        subject: the Dataset that is evaluated.
        rows: of its manifest.
        classes: in the model's order.
        seed: of the choice of training rows, where there are more than MOST_ROWS.

    Returns:
        By name in metrics.json `method`, `fitted_on`, `rows` and probabilities, float64 (N, classes); empty where the
        part has nothing to fit.
    """
    fitted = training.rows(part, labelled=True)
    if len(fitted) > MOST_ROWS:
        fitted = fitted.sample(MOST_ROWS, random_state=seed)
    order = [training.classes.index(name) for name in classes]
    targets = training.targets(fitted)
    multilabel = training.task == "multilabel"
    if multilabel:
        targets = targets[:, order]
    elif len(np.unique(targets)) < 2:
        return {}
    of_fitted, of_rows = _pixels(training, fitted), _pixels(subject, rows)
    description = {"method": "logistic-regression", "fitted_on": part, "rows": len(fitted)}
    floors = {}
    for name, columns in (("thumbnails", _thumbnails), ("borders", _borders)):
        if multilabel:
            each = [_fitted(columns(of_fitted), truth, 2)(columns(of_rows))[:, 1] for truth in targets.T]
            chances = np.stack(each, axis=1)
        else:
            chances = _fitted(columns(of_fitted), targets, len(training.classes))(columns(of_rows))[:, order]
        floors[name] = description, chances
    return floors


def _pixels(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """uint8 or uint16 (N, SIDE, SIDE, 3)."""
    from medimg.pipeline.pixels import PixelCache

    return PixelCache.in_memory(dataset.paths(rows), SIDE, 3).take(np.arange(len(rows)))


def _thumbnails(pixels: np.ndarray) -> np.ndarray:
    step = SIDE // BLOCKS
    blocks = pixels.reshape(len(pixels), BLOCKS, step, BLOCKS, step, 3)
    return blocks.mean(axis=(2, 4)).reshape(len(pixels), -1)


def _borders(pixels: np.ndarray) -> np.ndarray:
    ring = np.ones((SIDE, SIDE), bool)
    ring[BORDER:-BORDER, BORDER:-BORDER] = False
    return pixels[:, ring].mean(axis=-1)


def _fitted(columns: np.ndarray, targets: np.ndarray, classes: int):
    """A function from float (N, F) to float64 (N, classes); of one class alone its certain answer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    there = np.unique(targets).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
    if len(there) > 1:
        model.fit(columns, targets)

    def answer(evaluated: np.ndarray) -> np.ndarray:
        chances = np.zeros((len(evaluated), classes))
        chances[:, there] = model.predict_proba(evaluated) if len(there) > 1 else 1.0
        return chances

    return answer
