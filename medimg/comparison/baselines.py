"""The scikit-learn baselines of a table Run: fitted on the Run's own training rows, asked about the Run's own rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.comparison.candidates import Candidate
from medimg.comparison.reading import Decided, Evaluated
from medimg.data.dataset import Dataset
from medimg.data.parts import parts_of
from medimg.errors import InputError
from medimg.evaluation.predictions import Predictions, as_written
from medimg.privacy.ledger import is_private
from medimg.run import Run

# Of a binary task: validation is used for nothing, so no threshold is chosen on it.
THRESHOLD = 0.5


def baseline(name: str, evaluated: Evaluated, whole: Dataset, seed: int) -> Candidate:
    """Fit a baseline where the Run was trained and predict the rows that it was evaluated on.

    A cross-validated Run has it refitted in every fold.

    Args:
        name: one of `medimg.tables.sklearn_models.BASELINES`.
        evaluated: a table's Run.
        whole: the Run's Dataset.
        seed: of the fit.

    Raises:
        InputError: the Dataset lacks a row, or has no training rows of two classes.
    """
    from medimg.tables.fit import complete_rows
    from medimg.tables.preprocessing import Preprocessing
    from medimg.tables.sklearn_models import fit_baseline

    where = {row: i for i, row in enumerate(evaluated.rows[evaluated.unit])}
    probabilities = np.full((len(where), len(whole.classes)), np.nan)
    for run, dataset in parts(evaluated.run, whole):
        training = dataset.rows("train", labelled=True)
        if run.config["options"].get("missing") == "drop-rows":
            training = complete_rows(dataset, training)
        preprocessing = Preprocessing.from_dict(run.description()["preprocessing"])
        predict = fit_baseline(name, dataset, training, preprocessing, seed)
        tested = dataset.rows("test", labelled=True)
        tested = tested[tested["row"].isin(where.keys())]
        probabilities[[where[row] for row in tested["row"]]] = predict(tested)
    unknown = np.isnan(probabilities).any(axis=1)
    if unknown.any():
        row = evaluated.rows[evaluated.unit].iloc[int(unknown.argmax())]
        raise InputError(
            f"{evaluated.place}/predictions.csv: row '{row}' is not in the test part of {whole.root}, which has "
            "changed since; evaluate the Run again, or give --baseline none"
        )
    return Candidate(name, "baseline", (_decided(evaluated.predictions, probabilities),))


def training_data(run: Run) -> Dataset:
    """The Dataset of a Run, with the parts that it was trained on.

    Raises:
        InputError: it is not there, has changed since the training, or its patients are protected.
    """
    if is_private(run.config["options"]):
        raise InputError(
            f"{run.root}: is private: baselines would learn from the patients that it protects without noise; give "
            "--baseline none"
        )
    if not Path(run.config["data"]).exists():
        raise InputError(
            f"{run.root}: its data are not at {run.config['data']}, so no baseline can be fitted; "
            "give their place now as --data, or --baseline none"
        )
    dataset = run.dataset()
    if run.environment().get("data_fingerprint") not in (None, dataset.fingerprint()):
        raise InputError(
            f"{run.root}: the Dataset at {dataset.root} has changed since the training, so baselines would learn from "
            "other rows; train again, or give --baseline none"
        )
    return dataset


def parts(run: Run, whole: Dataset) -> Iterator[tuple[Run, Dataset]]:
    """A Run and its Dataset, or each fold's."""
    folds = folds_of(run)
    if not folds:
        yield run, whole
    for number in folds:
        fold = Run.load(run.root / f"fold-{number}")
        yield fold, _in_fold(whole, run.config["options"], number)


def folds_of(run: Run) -> range:
    """1 to K of a cross-validated Run; empty for any other."""
    count = int(run.config["options"].get("folds") or 0)
    return range(1, count + 1) if (run.root / "fold-1").is_dir() else range(0)


def tested_to_trained(evaluated: Evaluated) -> tuple[float, str]:
    """Test rows over training rows, the mean over folds; and a note where the data are not here to count.

    Args:
        evaluated: a cross-validated Run.
    """
    run, tested = evaluated.run, pd.Series(evaluated.folds).value_counts()
    path = Path(run.config["data"])
    if path.exists():
        whole, options = Dataset.load(path), run.config["options"]
        trained = {k: len(_in_fold(whole, options, k).rows("train", labelled=True)) for k in tested.index}
        return float(np.mean([tested[k] / trained[k] for k in tested.index])), ""
    note = (
        f"{run.root}: its data are not at {path}; the test over folds takes all rows outside a fold for training rows, "
        "validation too, and is a little too sure"
    )
    return float((tested / (len(evaluated.rows) - tested)).mean()), note


def _in_fold(whole: Dataset, options: dict, fold: int) -> Dataset:
    return parts_of(whole, {**options, "fold": fold})


def _decided(of: Predictions, probabilities: np.ndarray) -> Decided:
    written = as_written(probabilities)
    plain = Predictions(of.task, of.classes, of.targets, written, THRESHOLD)
    return Decided(of.task, of.classes, of.targets, written, called=plain.decisions)
