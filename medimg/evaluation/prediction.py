"""Probabilities of a model on rows of a Dataset."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.calibrator import activation, calibrated
from medimg.evaluation.classes import check_kind
from medimg.pipeline.batches import batches, with_columns
from medimg.pipeline.pixels import PixelCache
from medimg.tables.preprocessing import Preprocessing

# Rows of a table preprocessed and predicted at once.
_ROWS = 16_384


def probabilities(logits: np.ndarray, task: str, calibrator: dict | None = None) -> np.ndarray:
    """Softmax over classes, or a sigmoid per class when the task is multilabel; or what a calibrator makes of logits.

    Args:
        logits: float (N, classes).
        task: `binary`, `multiclass` or `multilabel`.
        calibrator: the Run's (`calibrator` of its description).

    Returns:
        float32 (N, classes).
    """
    answers = calibrated(logits, task, calibrator) if calibrator else activation(logits, task)
    return answers.astype(np.float32)


def predict(
    model,
    dataset: Dataset,
    rows: pd.DataFrame,
    description: dict,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Probabilities for the rows, in their order, in memory of a few batches.

    Args:
        model: raw pixels 0..255 float32 (B, S, S, C), or a table's preprocessed columns (B, F), in; logits out.
        dataset: where the images are.
        rows: rows of its manifest.
        description: the Run's description (`image_size`, `channels`, `task`, `calibrator`; of a table
            `preprocessing`).
        batch_size: images in a step.
        progress: called with rows done and rows in all.

    Returns:
        float32 (N, classes).
    """
    check_kind(dataset, description)
    return predict_rows(model, rows, description, dataset.root, batch_size, progress)


def predict_rows(
    model,
    rows: pd.DataFrame,
    description: dict,
    root: Path,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """`predict` of rows that need not be of a Dataset: of images with the column `image`, paths below `root`.

    Raises:
        InputError: a column is missing, or an image or a value can't be read.
    """
    logits = logits_of(model, rows, description, root, batch_size, progress)
    return probabilities(logits, description["task"], description.get("calibrator"))


def logits_of(
    model,
    rows: pd.DataFrame,
    description: dict,
    root: Path,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """`predict_rows` before there are probabilities: float32 (N, classes)."""
    is_table = "preprocessing" in description
    if not is_table and "image" not in rows:
        raise InputError("rows: no column 'image'; this model needs images, whose paths it has")
    chunk = _ROWS if is_table else batch_size * 16
    forward = _of_columns if is_table else _of_images
    logits = []
    for start in range(0, len(rows), chunk):
        part = rows.iloc[start : start + chunk]
        logits.extend(forward(model, root, part, description, batch_size))
        if progress:
            progress(start + len(part), len(rows))
    if not logits:
        return np.zeros((0, len(description["classes"])), np.float32)
    return np.concatenate(logits)


def _of_images(model, root: Path, rows: pd.DataFrame, description: dict, batch_size: int):
    size, channels = description["image_size"], description["channels"]
    columns = None
    if "metadata" in description:
        columns = Preprocessing.from_dict(description["metadata"]).transform(rows)
    cache = PixelCache.in_memory([root / image for image in rows["image"]], size, channels)
    inputs_of_batches = with_columns(batches(cache, batch_size), columns, batch_size)
    return [model(inputs, training=False).numpy() for inputs in inputs_of_batches]


def _of_columns(model, root: Path, rows: pd.DataFrame, description: dict, batch_size: int):
    # Dense layers on a few columns: the batch size that fits images would be all overhead.
    columns = Preprocessing.from_dict(description["preprocessing"]).transform(rows)
    return [model(columns, training=False).numpy()]
