"""The classes of another Dataset brought into the order of a model's outputs."""

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.positive import plain
from medimg.errors import InputError


def check_kind(dataset: Dataset, description: dict) -> None:
    """Refuse images for a model of a table, and the reverse."""
    if ("preprocessing" in description) != dataset.is_table:
        have, needs = ("rows of a table", "images") if dataset.is_table else ("images", "a table")
        raise InputError(f"{dataset.root}: holds {have}; this model needs {needs}")


def match_classes(dataset: Dataset, task: str, classes: tuple[str, ...]) -> list[int]:
    """For each class of the model, the position of the same class in the Dataset.

    Names are the same when they differ only in case, spaces, underscores and hyphens.

    Args:
        dataset: what the model is evaluated on.
        task: the model's task.
        classes: the model's classes, in the order of its outputs.

    Raises:
        InputError: the tasks or the sets of names differ, or two names are the same.
    """
    place = f"{dataset.root}/dataset.yaml"
    both = f"the model has {', '.join(classes)}; the data have {', '.join(dataset.classes)}"
    if dataset.task != task:
        raise InputError(
            f"{place}: a {dataset.task} Dataset for a {task} model ({both}); give --data with the model's task"
        )
    theirs = [plain(name) for name in dataset.classes]
    ours = [plain(name) for name in classes]
    if len(set(theirs)) < len(theirs) or len(set(ours)) < len(ours):
        raise InputError(f"{place}: classes differ only in case or spaces ({both}); rename one")
    if set(theirs) != set(ours):
        raise InputError(f"{place}: classes do not match: {both}; rename them there and in manifest.csv")
    return [theirs.index(name) for name in ours]


def targets_in_order(dataset: Dataset, rows: pd.DataFrame, order: list[int]) -> np.ndarray:
    """Labels of labelled rows as the model counts them.

    Args:
        dataset: where the rows are from.
        rows: labelled rows of its manifest.
        order: what match_classes returned.

    Returns:
        int64 (N,), or bool (N, classes) when the task is multilabel.
    """
    targets = dataset.targets(rows)
    if dataset.task == "multilabel":
        return targets[:, order] > 0.5
    return np.argsort(order)[targets]
