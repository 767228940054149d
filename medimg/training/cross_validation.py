"""cross_validate(): K Runs, each tested on patients that its model has not seen, and their pooled evaluation."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.parts import parts_of
from medimg.data.positive import positive_class
from medimg.data.splits import parts_note
from medimg.errors import InputError
from medimg.evaluation import floor
from medimg.evaluation.calibrate import notes as calibration_notes
from medimg.evaluation.clinical_use import clinical_use
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.copied_rows import copied_rows, copies_note
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.intervals import LAST_DIGIT, LEVEL
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.recalibration import calibration_of
from medimg.evaluation.summary import site_notes, summarise, summarise_sites
from medimg.listener import Listener
from medimg.lock import writes
from medimg.options import of_data
from medimg.privacy import ledger
from medimg.privacy.folds import together
from medimg.privacy.release import reference_split
from medimg.resuming import run_to_resume
from medimg.run import Run, environment
from medimg.training.any_model import with_pixels_alone
from medimg.training.longer import longer
from medimg.training.open_options import settled, tell
from medimg.training.train import train_or_go_on
from medimg.untrusted.csv_cells import read_csv


@writes("out")
def cross_validate(
    data: Path,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    on_fold: Callable[[int, dict], None] = lambda fold, metrics: None,
) -> dict:
    """Train and evaluate a model per fold; pool the predictions that each made for patients it had not seen.

    Args:
        data: a prepared Dataset folder; its own parts are not used.
        out: gets `fold-1` to `fold-K`, ordinary Runs, and `metrics.json`, `predictions.csv` and
            `figures/` of the pooled predictions, of which `medimg.report` writes.
        config: options with `folds` set.
        resume: go on with the folds that are not finished.
        overwrite: replace the Run at `out`.
        listener: is told of progress.
        on_fold: called with each fold's number and metrics.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: as `train`, or folds that the patients don't allow.
    """
    if config.dp_budget == "dataset":
        raise InputError(
            "--dp-budget dataset: the first of --folds would take all of it; give each fold a budget of its own by "
            "--dp-budget run"
        )
    # As each fold's training has it: who is joined with whom depends on other patients' rows.
    dataset = Dataset.load(data, joins_copies=not config.is_private)
    config_given, (config, by_rule) = config, settled(config, dataset)
    config_given.require_effect(of_data(dataset.is_table), resolved=config)
    for fold in range(1, config.folds + 1):
        parts_of(dataset, {**config.to_dict(), "fold": fold})
    run = _claim(dataset, data, out, config, resume, overwrite)
    if not resume:
        tell(run, config_given, by_rule, listener or Listener())
    measured = []
    for fold in range(1, config.folds + 1):
        measured.append(_one_fold(data, run.root / f"fold-{fold}", config, fold, listener))
        on_fold(fold, measured[-1])
    if config.is_private:
        spent = [ledger.read(run.root / f"fold-{n}") for n in range(1, config.folds + 1)]
        atomic.write_json(run.root / ledger.FILE, together(spent))
    return _pool(run, dataset, config, measured)


def over_folds(values: list[float | None], tested: list[int], trained: list[int]) -> dict:
    """Mean, standard deviation and 95% interval of a metric over folds.

    Args:
        values: the metric in each fold, None where it is undefined there.
        tested: rows that each fold was tested on.
        trained: rows that its model was trained on.

    Returns:
        `values`, `mean`, `sd` (n - 1), `low`, `high`; None where fewer than one (mean) or two folds define it, and the
        ends where all folds agree.
    """
    defined = np.array([v for v in values if v is not None], float)
    result = {"values": values, "mean": None, "sd": None, "low": None, "high": None}
    if len(defined):
        result["mean"] = float(defined.mean())
    if len(defined) < 2:
        return result
    deviation = float(defined.std(ddof=1))
    ratio = float(np.mean(np.asarray(tested) / np.asarray(trained)))
    error = deviation * math.sqrt(1 / len(defined) + ratio)
    # Folds that agree tell nothing of how others would vary: a point would look like certainty.
    if deviation < LAST_DIGIT:
        return {**result, "sd": deviation}
    half = float(t.ppf(0.5 + LEVEL / 2, len(defined) - 1)) * error
    # Every metric lies between 0 and 1; Student's t does not know.
    low, high = max(0.0, result["mean"] - half), min(1.0, result["mean"] + half)
    return {**result, "sd": deviation, "low": low, "high": high}


def _claim(dataset, data: Path, out: Path, config: TrainConfig, resume: bool, overwrite: bool) -> Run:
    if not resume:
        run = Run.create(out, data, "train", config.to_dict(), overwrite)
        atomic.write_json(run.root / "environment.json", environment(dataset, config.seed))
        return run
    run = run_to_resume(out, dataset)
    for name in longer(run, config):
        run.require_extendable(name, getattr(config, name))
        run.extend(name, config.to_dict())
    return run


def _one_fold(data: Path, out: Path, config: TrainConfig, fold: int, listener: Listener | None) -> dict:
    config = dataclasses.replace(config, fold=fold)
    run = train_or_go_on(data, out, config.with_given_names(()), listener)
    with_pixels_alone(data, run, config, listener)
    return evaluate(run, EvaluateConfig(seed=config.seed))


def _pool(run: Run, dataset: Dataset, config: TrainConfig, measured: list[dict]) -> dict:
    first = Run.load(run.root / "fold-1")
    classes = tuple(first.description()["classes"])
    rows, tables, thresholds, alone = [], [], [], []
    trained = []
    fitted_on, evaluation = reference_split(config.to_dict()), EvaluateConfig(seed=config.seed)
    for number, result in enumerate(measured, start=1):
        part = parts_of(dataset, {**config.to_dict(), "fold": number})
        tested = part.rows("test", labelled=True)
        table = read_csv(run.root / f"fold-{number}" / "predictions.csv", dtype=str)
        rows.append(tested)
        tables.append(table.assign(fold=number))
        thresholds.append(_thresholds(result, len(tested), classes))
        trained.append(len(part.rows("train", labelled=True)))
        fold = Run.load(run.root / f"fold-{number}")
        alone.append(floor.alone(fold, part, fitted_on, part, tested, evaluation.seed, evaluation.batch_size))
    everything = pd.concat(rows)
    table = pd.concat(tables, ignore_index=True)
    predictions = Predictions(
        task=dataset.task,
        classes=classes,
        targets=dataset.targets(everything),
        probabilities=table[[f"p_{name}" for name in classes]].to_numpy(np.float64),
        threshold=None if dataset.task == "multiclass" else np.concatenate(thresholds),
    )
    metrics = _metrics(first, dataset, config, predictions, everything, measured, trained)
    beside = floor.compared(
        predictions, floor.pooled(alone), everything["patient"], evaluation.bootstrap, evaluation.seed
    )
    metrics |= {**beside, "notes": [*metrics["notes"], *floor.words({**metrics, **beside})]}
    _write(run, dataset, predictions, everything, table, metrics)
    return metrics


def _thresholds(result: dict, n: int, classes: tuple[str, ...]) -> np.ndarray:
    """A fold's threshold for each of its rows: (n,), or (n, classes) of a multilabel task."""
    value = result["threshold"]["value"]
    if isinstance(value, dict):
        return np.tile([value[name] for name in classes], (n, 1))
    return np.full(n, np.nan if value is None else value)


def _metrics(first, dataset, config, predictions, rows, measured, trained) -> dict:
    patients = rows["patient"]
    summary = summarise(predictions, patients, EvaluateConfig().bootstrap, config.seed)
    summary |= clinical_use(predictions, patients, EvaluateConfig().bootstrap, config.seed)
    summary["sites"] = summarise_sites(predictions, rows, EvaluateConfig().bootstrap, config.seed)
    summary["calibration"] = _calibration(predictions, patients, config)
    tested = [result["n"] for result in measured]
    metrics = {
        "model": first.description()["name"],
        "task": dataset.task,
        "dataset": dataset.name,
        "data": str(dataset.root.resolve()),
        "split": "cross-validation",
        "n": len(rows),
        "patients": int(patients.nunique()),
        "unlabelled": len(dataset.manifest) - len(rows),
        "classes": list(first.description()["classes"]),
        "n_folds": config.folds,
        "folds": {
            name: over_folds([result["metrics"][name]["value"] for result in measured], tested, trained)
            for name in METRICS
        },
        "threshold": {
            "rule": measured[0]["threshold"]["rule"],
            "value": None,
            "chosen_on": "val",
            "note": "each fold decides by its own threshold, chosen on its validation part",
        },
    }
    if dataset.task == "binary":
        metrics["positive_class"] = positive_class(metrics["task"], metrics["classes"])
    copies = copied_rows(dataset, rows)
    metrics |= {"copies": copies} if copies else {}
    notes = [
        *parts_note(dataset.preparation, folds=True),
        *copies_note(copies, len(rows)),
        *summary["calibration"]["notes"],
        f"pooled predictions of {config.folds} models, each for patients that it had not seen; the Dataset's own parts "
        "were not used",
        *site_notes(summary["sites"]),
        *summary["notes"],
    ]
    return {**metrics, **summary, "notes": notes}


def _calibration(predictions, patients, config) -> dict:
    """The model's own probabilities are not kept: what calibration changed is told fold by fold."""
    calibration = calibration_of(predictions, patients, EvaluateConfig().bootstrap, config.seed)
    is_calibrated = config.calibrate != "none"
    return {
        "method": config.calibrate,
        "fitted_on": {"split": "val", "n": None} if is_calibrated else None,
        **calibration,
        "before": None if is_calibrated else calibration,
        "after": calibration,
        "notes": calibration_notes(calibration, {"notes": []} if is_calibrated else None, "test"),
    }


def _write(run, dataset, predictions, rows, table, metrics) -> None:
    from medimg.evaluation.gallery import write_figures

    order = np.argsort(rows.index.to_numpy(), kind="stable")
    atomic.write_csv(run.root / "predictions.csv", table.iloc[order])
    paths = None if dataset.is_table else dataset.paths(rows)
    write_figures(run.root / "figures", predictions, metrics, pd.DataFrame(), paths)
    # Last: where metrics.json is, all the rest is.
    atomic.write_json(run.root / "metrics.json", metrics)
