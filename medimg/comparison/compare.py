"""`medimg compare`: Runs evaluated on the same rows to paired tests, a table, a figure and a page."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from medimg.comparison.alignment import align
from medimg.comparison.baselines import baseline, folds_of, tested_to_trained, training_data
from medimg.comparison.candidates import Candidate, candidates, constant
from medimg.comparison.config import CompareConfig
from medimg.comparison.folds import fold_tests
from medimg.comparison.output import write
from medimg.comparison.pairs import ALPHA, tested_pairs
from medimg.comparison.reading import Evaluated, read
from medimg.comparison.seeds import seed_tests
from medimg.comparison.verdict import verdict
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation.copied_rows import copies_note
from medimg.evaluation.exact import bounded
from medimg.evaluation.intervals import LEVEL, cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import LOWER_IS_BETTER, METRICS
from medimg.evaluation.places import require_place
from medimg.evaluation.summary import not_the_bootstraps
from medimg.listener import Progress
from medimg.lock import require_other, writes
from medimg.options import of_data
from medimg.run import Run
from medimg.tables.sklearn_models import wanted
from medimg.untrusted.json_file import read_json


@writes("out")
def compare(runs: list[Run], out: Path, config: CompareConfig, progress: Progress | None = None) -> dict:
    """Compare Runs with each other and, of a table, with scikit-learn's baselines.

    Args:
        runs: evaluated Runs of one task on the same rows; one is enough for a table with baselines.
        out: folder that gets comparison.json, comparison.csv, comparison.png and comparison.html.
        config: options of the command.
        progress: called with steps done and steps in all.

    Returns:
        The content of comparison.json.

    Raises:
        InputError: the Runs can't be compared (names which and why), an option or the folder can't be used.
    """
    names = wanted(config.baseline)
    _check_options(config, out)
    request = {"runs": [str(run.root.resolve()) for run in runs], "options": config.given()}
    require_place(out, request, _request_of)
    if not runs:
        raise InputError("no RUN is given; name at least two, or one of a table")
    evaluated, notes = align([read(run.with_data_at(config.data)) for run in runs])
    first = evaluated[0]
    _check_truth(first)
    models = candidates(evaluated)
    config.require_effect(of_data(first.unit == "row"))
    names = names if first.unit == "row" else ()
    if len(models) + len(names) < 2:
        why = "the Runs differ in --seed only" if len(runs) > 1 else "one Run is given"
        raise InputError(f"{first.place}: {why}, which leaves nothing to compare it with; name a Run of another model")
    if config.data and not names and not folds_of(first.run):
        raise InputError(f"--data {config.data}: nothing of it is read for this comparison; leave it out")
    steps = _Steps(progress, len(names) + len(models) + len(names) + 1)
    if names:
        whole = training_data(first.run)
        models += steps.each(names, lambda name: baseline(name, first, whole, config.seed))
    models.append(constant(first.predictions))
    models = _uniquely_named(models)
    result = _measured(first, models, config, steps, notes) | request
    write(out, result)
    return result


def _request_of(folder: Path) -> dict | None:
    path = folder / "comparison.json"
    comparison = read_json(path) if path.is_file() else None
    return comparison and {key: comparison.get(key) for key in ("runs", "options")}


class _Steps:
    """Counts what is done over several lists."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def each(self, items, function) -> list:
        results = []
        for item in items:
            results.append(function(item))
            self.done += 1
            if self.progress:
                self.progress(self.done, self.total)
        return results


def _check_options(config: CompareConfig, out: Path) -> None:
    if config.metric not in METRICS:
        raise InputError(f"--metric {config.metric}: choose one of {', '.join(METRICS)}")
    require_other(out)


def _check_truth(first: Evaluated) -> None:
    truth = first.predictions.truth
    if not (truth.any(axis=0) & ~truth.all(axis=0)).any():
        raise InputError(
            f"{first.place}/predictions.csv: every {first.unit} has the same label, which tells no model from another; "
            "evaluate on a part with two classes"
        )


def _uniquely_named(models: list[Candidate]) -> list[Candidate]:
    """A Run's folder may be called like a baseline."""
    runs = {model.name for model in models if model.kind == "run"}
    return [
        replace(model, name=f"{model.name} ({model.kind})") if model.kind != "run" and model.name in runs else model
        for model in models
    ]


def _measured(first: Evaluated, models: list[Candidate], config: CompareConfig, steps: _Steps, notes: list) -> dict:
    patients = first.rows["patient"]
    resamples = config.bootstrap if patients.nunique() > 1 else 0
    everything = np.ones((1, len(patients)))
    values = np.stack([model.measure(everything)[0] for model in models])
    _check_defined(first, models, values, config.metric)

    def resample(model: Candidate) -> np.ndarray:
        if not resamples:
            return np.empty((0, len(METRICS)))
        return cluster_bootstrap(model.measure, patients, resamples, config.seed)

    resampled = np.stack(steps.each(models, resample))
    over_folds, ratio = _over_folds(first, models, config.metric, notes)
    result = {
        "metric": config.metric,
        "lower_is_better": config.metric in LOWER_IS_BETTER,
        "task": first.metrics["task"],
        "classes": list(first.metrics["classes"]),
        "positive_class": positive_class(first.metrics["task"], first.metrics["classes"]),
        "dataset": first.metrics.get("dataset", ""),
        "split": first.metrics["split"],
        "unit": first.unit,
        "n": len(patients),
        "patients": int(patients.nunique()),
        "reference": models[0].name,
        "models": _described(models, values, resampled, config.metric, over_folds, patients),
        "pairs": tested_pairs(models, config.metric, values, resampled, over_folds, ratio, patients),
        "folds": _tests_over_folds(models, over_folds, ratio),
        "seeds": _tests_over_seeds(models, config.metric),
        "bootstrap": {"resamples": resamples, "seed": config.seed, "level": LEVEL},
    }
    tried = [entry["metrics"] for entry in result["models"] if entry["kind"] != "majority"]
    result["notes"] = notes + not_the_bootstraps(*tried) + _notes(first, models, resamples) + _floor(result)
    return {**result, "verdict": verdict(result)}


def _check_defined(first: Evaluated, models, values: np.ndarray, metric: str) -> None:
    for model, value in zip(models, values[:, METRICS.index(metric)], strict=True):
        if np.isnan(value) and model.kind != "majority":
            where = model.places[0] if model.places else f"baseline {model.name}"
            raise InputError(
                f"{where}: {metric} is undefined on these {len(first.rows)} {first.unit}s; choose another --metric"
            )


def _over_folds(first: Evaluated, models: list[Candidate], metric: str, notes: list) -> tuple[np.ndarray | None, float]:
    """The metric of each model in each fold, float64 (C, K), and test rows over training rows."""
    if first.folds is None:
        return None, 0.0
    weights = (first.folds == np.unique(first.folds)[:, None]).astype(np.float64)
    column = METRICS.index(metric)
    values = np.stack([model.measure(weights)[:, column] for model in models])
    tested = [model.kind != "majority" for model in models]
    if len(weights) < 2 or np.isnan(values[tested]).any():
        notes.append(f"{metric} is undefined in a fold, so no test over folds is made")
        return None, 0.0
    ratio, note = tested_to_trained(first)
    notes.extend([note] if note else [])
    return values, ratio


def _described(models, values, resampled, metric: str, over_folds, patients) -> list[dict]:
    """The entries `models` of comparison.json."""
    entries = []
    for number, model in enumerate(models):
        metrics = {}
        for column, name in enumerate(METRICS):
            interval, value = percentile_interval(resampled[number][:, column]), values[number, column]
            # Of a perfect score all seeds decide alike.
            metrics[name] = bounded(interval, value, model.members[0], patients, name)
        entry = {"name": model.name, "kind": model.kind, "runs": list(model.places)}
        if len(model.members) > 1:
            each = model.member_values(metric)
            entry["seeds"] = {
                "seeds": list(model.seeds),
                "values": each.tolist(),
                "mean": float(each.mean()),
                "sd": float(each.std(ddof=1)),
            }
        if over_folds is not None:
            by_fold = over_folds[number]
            entry["folds"] = {
                "values": by_fold.tolist(),
                "mean": float(by_fold.mean()),
                "sd": float(by_fold.std(ddof=1)),
            }
        entries.append({**entry, "metrics": metrics})
    return entries


def _tests_over_folds(models, over_folds, ratio: float) -> dict | None:
    if over_folds is None:
        return None
    tested = [i for i, model in enumerate(models) if model.kind != "majority"]
    return {
        "n": over_folds.shape[1],
        "models": [models[i].name for i in tested],
        "test_to_train": ratio,
        **asdict(fold_tests(over_folds[tested])),
    }


def _tests_over_seeds(models, metric: str) -> dict | None:
    replicated = [model for model in models if len(model.members) > 1]
    if len(replicated) < 2:
        return None
    tests = asdict(seed_tests([model.member_values(metric) for model in replicated]))
    names = [model.name for model in replicated]
    tests["tukey"] = [{"first": names[i], "second": names[j], **test} for (i, j), test in tests["tukey"].items()]
    return {"models": names, **tests}


def _floor(result: dict) -> list[str]:
    """With many pairs the smallest p-value that the resamples can give may be too large for any evidence."""
    pairs, resamples = result["pairs"], result["bootstrap"]["resamples"]
    if result["folds"] or not resamples or 2 * len(pairs) / (resamples + 1) < ALPHA:
        return []
    needed = int(2 * len(pairs) / ALPHA) + 1
    return [
        f"with {resamples} resamples no corrected p-value of {len(pairs)} pairs can fall below {ALPHA}: give "
        f"--bootstrap {needed} or more"
    ]


def _notes(first: Evaluated, models: list[Candidate], resamples: int) -> list[str]:
    notes = []
    rows, patients = len(first.rows), first.rows["patient"].nunique()
    if not resamples:
        notes.append("no intervals: all rows are of one patient")
    elif patients < 30:
        notes.append(f"only {patients} patients: intervals and tests are rough")
    if patients < rows:
        notes.append(
            f"{rows} {first.unit}s of {patients} patients: DeLong's and McNemar's tests sum over each patient's "
            f"{first.unit}s, since only patients are independent; the bootstrap draws whole patients"
        )
    notes += copies_note(first.metrics.get("copies"), rows)
    if first.metrics["split"] == "cross-validation":
        notes.append(
            "pooled values mix the scores of the folds' models, whose scales may differ; the tests over folds "
            "compare within folds"
        )
    if any(model.kind == "baseline" for model in models):
        notes.append(
            f"baselines learnt from the training rows of {first.place} with scikit-learn's defaults, untuned; "
            "they decide by the most probable class, since validation rows are used for nothing"
        )
    alone = [m.name for m in models if m.kind == "run" and len(m.members) == 1]
    if alone and any(len(model.members) > 1 for model in models):
        notes.append(f"one seed only, so not in the tests over seeds: {', '.join(alone)}")
    return notes
