"""Probabilities of a model on rows of a Dataset."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from medimg.dataset import Dataset
from medimg.pipeline import PixelCache, batches


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax over classes, or a sigmoid per class when the task is multilabel.

    Args:
        logits: float (N, classes).
        task: `binary`, `multiclass` or `multilabel`.

    Returns:
        float32 (N, classes).
    """
    logits = np.asarray(logits, np.float64)
    if task == "multilabel":
        return (0.5 * (1.0 + np.tanh(0.5 * logits))).astype(np.float32)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def predict(
    model,
    dataset: Dataset,
    rows: pd.DataFrame,
    description: dict,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Probabilities for the rows' images, in their order, in memory of a few batches.

    Args:
        model: raw pixels 0..255 float32 (B, S, S, C) in, logits (B, classes) out.
        dataset: where the images are.
        rows: rows of its manifest.
        description: the Run's description (`image_size`, `channels`, `task`).
        batch_size: images in a step.
        progress: called with images done and images in all.

    Returns:
        float32 (N, classes).
    """
    size, channels = description["image_size"], description["channels"]
    paths = dataset.paths(rows)
    logits = []
    chunk = batch_size * 16
    for start in range(0, len(paths), chunk):
        cache = PixelCache.in_memory(paths[start : start + chunk], size, channels)
        logits.extend(
            model(pixels, training=False).numpy() for pixels in batches(cache, batch_size)
        )
        if progress:
            progress(min(start + chunk, len(paths)), len(paths))
    if not logits:
        return np.zeros((0, len(dataset.classes)), np.float32)
    return probabilities(np.concatenate(logits), description["task"])
