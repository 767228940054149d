"""Which rows of a split are explained one by one, and which class of theirs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.comparison.reading import read
from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.run import Run


def split_rows(dataset: Dataset, split: str) -> pd.DataFrame:
    """Rows of a part.

    Raises:
        InputError: it has none.
    """
    rows = dataset.rows(split)
    if rows.empty:
        raise InputError(f"--split {split}: {dataset.root} has no {dataset.unit} there")
    return rows


def classes_in_turn(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """At most `count` rows, drawn by seed, the classes in turn so that rare ones are seen."""
    shuffled = rows.sample(frac=1.0, random_state=seed)
    turn = shuffled.groupby("label").cumcount().sort_values(kind="stable").index
    return shuffled.loc[turn[:count]]


def mistaken(run: Run, rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Those of the rows that are among the `count` which the Run's evaluation was most wrong about, the worst first."""
    if not count or not (run.root / "metrics.json").is_file():
        return rows[:0]
    evaluated = read(run)
    data_folder = str(run.dataset().root.resolve())
    if evaluated.metrics.get("data", data_folder) != data_folder:
        return rows[:0]
    names = evaluated.rows[evaluated.unit].iloc[[mistake.row for mistake in evaluated.worst(count)]]
    places = dict(zip(rows["image"], rows.index, strict=True))
    return rows.loc[[places[name] for name in names if name in places]]


def predicted(chances: np.ndarray, thresholds: list[float], task: str) -> np.ndarray:
    """int (N,): binary by the threshold that the Run was evaluated with, else the most probable class.

    Args:
        chances: probabilities (N, classes).
        thresholds: per class.
        task: `binary`, `multiclass` or `multilabel`.
    """
    if task == "binary":
        return (chances[:, 1] >= thresholds[1]).astype(int)
    return chances.argmax(axis=1)


def positive_entry(task: str, classes: Sequence[str], chances: np.ndarray, thresholds: list[float]) -> dict:
    """What is written of a row's positive class: `positive_class`, `positive_probability`, `threshold`; else nothing.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: class names.
        chances: probabilities (classes,).
        thresholds: per class.
    """
    name = positive_class(task, classes)
    if not name:
        return {}
    return {"positive_class": name, "positive_probability": float(chances[1]), "threshold": thresholds[1]}
