"""`--calibrate`: a calibrator fitted on a Run's validation part, kept in the Run, and what metrics.json says of it."""

from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.answers import Answers
from medimg.evaluation.calibrator import fit
from medimg.evaluation.classes import match_classes, targets_in_order
from medimg.evaluation.predictions import Predictions, as_written
from medimg.evaluation.recalibration import calibration_of, miscalibration
from medimg.run import CALIBRATOR


def require_validation(method: str, dataset: Dataset) -> None:
    """Refuse a calibration without rows to fit it on.

    Raises:
        InputError: names --calibrate.
    """
    if dataset.rows("val", labelled=True).empty:
        raise InputError(
            f"--calibrate {method}: fitted on validation, and {dataset.root} has no labelled {dataset.unit} in part val"
        )


def fit_on_validation(method: str, dataset: Dataset, answers: Answers, to_come: int = 0) -> np.ndarray:
    """Give the description of `answers` a calibrator.

    Args:
        method: `temperature`, `platt` or `isotonic`.
        dataset: the Run's own.
        answers: the Run's model.
        to_come: rows that will be asked about afterwards.

    Returns:
        Logits of the labelled rows of part val, float32 (N, classes).

    Raises:
        InputError: there is none.
    """
    require_validation(method, dataset)
    description, rows = answers.description, dataset.rows("val", labelled=True)
    task, classes = description["task"], tuple(description["classes"])
    targets = targets_in_order(dataset, rows, match_classes(dataset, task, classes))
    logits = answers.logits(dataset, rows, to_come)
    as_written(logits)  # a model that has diverged is named before anything is fitted
    truth = Predictions(task, classes, targets, logits).truth
    description["calibrator"] = fit(method, logits, truth, task, classes)
    return logits


def keep(folder: Path, description: dict) -> None:
    """Write the calibrator into a Run, or take it away; first goes what was measured of other probabilities."""
    (folder / "metrics.json").unlink(missing_ok=True)
    if "calibrator" in description:
        atomic.write_json(folder / CALIBRATOR, description["calibrator"])
    else:
        (folder / CALIBRATOR).unlink(missing_ok=True)


def measure(
    calibrator: dict | None, raw: Predictions, calibrated: Predictions, patients, resamples: int, seed: int
) -> dict:
    """`calibration` of metrics.json.

    Args:
        calibrator: the Run's.
        raw: predictions with the model's own probabilities.
        calibrated: with those that are given.
        patients: of each row.
        resamples: of the calibration error by chance.
        seed: of them.

    Returns:
        `method`, `fitted_on`, what `calibration_of` says of the given probabilities, and the same as `before` (the
        model's own) and `after`.
    """
    before = calibration_of(raw, patients, resamples, seed)
    after = calibration_of(calibrated, patients, resamples, seed) if calibrator else before
    return {
        "method": calibrator["method"] if calibrator else "none",
        "fitted_on": _fitted_on(calibrator) if calibrator else None,
        **after,
        "before": before,
        "after": after,
    }


def _fitted_on(calibrator: dict) -> dict:
    """A recipe fits it where the model is asked of other patients, and says where."""
    more = {"rows": calibrator["fitted_on"]} if "fitted_on" in calibrator else {}
    return {"split": "val", "n": calibrator["n"], **more}


def notes(calibration: dict, calibrator: dict | None, split: str, own_data: bool = True) -> list[str]:
    """What has to be read first of the probabilities.

    Args:
        calibration: of `measure`, or of `calibration_of`.
        calibrator: the Run's.
        split: part that was evaluated.
        own_data: of the Run's own Dataset.
    """
    sentences = [*calibrator["notes"]] if calibrator else []
    if calibrator and own_data and split in ("val", "all"):
        sentences.append(
            "the calibrator was fitted on rows that are measured here: the calibration looks better than it is"
        )
    reasons = miscalibration(calibration)
    if reasons:
        mend = "" if calibrator else "; 'medimg evaluate RUN --calibrate temperature' fits them to the validation part"
        sentences.insert(0, f"don't take the probabilities at their word: {'; '.join(reasons)}{mend}")
    return sentences
