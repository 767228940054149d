"""What an evaluation is of: the labelled rows of a part, with the classes in the model's order."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medimg.data.dataset import SPLITS, Dataset
from medimg.errors import InputError
from medimg.evaluation.classes import check_kind, match_classes
from medimg.evaluation.config import EvaluateConfig
from medimg.privacy.release import require_unprotected
from medimg.run import Run


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Attributes:
        dataset: the Dataset.
        split: train, val, test or all.
        rows: labelled rows of its manifest.
        unlabelled: rows left out for want of a label.
        order: position in the Dataset of each class of the model.
    """

    dataset: Dataset
    split: str
    rows: pd.DataFrame
    unlabelled: int
    order: list[int]


def subject_of(run: Run, config: EvaluateConfig, description: dict) -> Subject:
    """The labelled rows that an evaluation is of.

    Args:
        run: whose model is measured.
        config: `data` and `split`.
        description: of the Run.

    Raises:
        InputError: the data are of another kind or of other classes, the part has no label, or a private Run protects
            its patients.
    """
    if config.data is None:
        require_unprotected(run.config["options"], config.split)
        dataset = run.dataset()
    else:
        dataset = Dataset.load(Path(config.data))
    check_kind(dataset, description)
    order = match_classes(dataset, description["task"], tuple(description["classes"]))
    split = None if config.split == "all" else config.split
    everything, rows = dataset.rows(split), dataset.rows(split, labelled=True)
    if rows.empty:
        counts = {name: len(dataset.rows(name, labelled=True)) for name in SPLITS}
        labelled_counts = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"--split {config.split}: no labelled {dataset.unit} of {dataset.root} is in it "
            f"(labelled {dataset.unit}s: {labelled_counts}); choose another split"
        )
    rows = rows.reset_index(drop=True)
    return Subject(dataset, config.split, rows, len(everything) - len(rows), order)
