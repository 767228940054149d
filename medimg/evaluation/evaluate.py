"""`medimg evaluate`: a Run and labelled images to metrics, predictions and figures; `medimg.report` writes of them."""

from dataclasses import replace
from pathlib import Path

from medimg import atomic
from medimg.data import synthetic_rows
from medimg.data.dataset import Dataset
from medimg.data.positive import plain, positive_class
from medimg.data.splits import parts_note
from medimg.errors import InputError
from medimg.evaluation import floor
from medimg.evaluation.classes import targets_in_order
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.copied_rows import copied_rows, copies_note, equal_note
from medimg.evaluation.operating_point import OperatingPoint, operating_point
from medimg.evaluation.overlap import find_overlap, require_others
from medimg.evaluation.own_threshold import rule_of
from medimg.evaluation.places import beside, place_of
from medimg.evaluation.predictions import Predictions, as_written
from medimg.evaluation.subgroups import gap_note, groupings, summarise_subgroups
from medimg.evaluation.subject import Subject, subject_of
from medimg.evaluation.summary import site_notes, summarise, summarise_sites
from medimg.evaluation.thresholds import Rule
from medimg.listener import Progress
from medimg.lock import writes
from medimg.privacy.ledger import is_private
from medimg.privacy.release import reference_split
from medimg.run import Run
from medimg.untrusted.json_file import read_json

# What `medimg.report` makes of an evaluation, in its folder.
REPORT = ("report.html", "report.json", "model_card.md", "figures/decision_curve.png")


@writes("run")
def evaluate(run: Run, config: EvaluateConfig, progress: Progress | None = None) -> dict:
    """Measure a Run's model and write metrics.json, predictions.csv and figures/; a report of before goes.

    The Run's own test part is written into the Run, unless an evaluation of other options is there; that and anything
    else into a folder of `RUN/evaluations/` (`medimg.evaluation.places`).

    Args:
        run: the Run.
        config: options of the command.
        progress: called with images done and images in all.

    Returns:
        The content of metrics.json, and where it lies: `report`, the path that `medimg.report` gives its page.

    Raises:
        InputError: an option, the Run or the data can't be used.
    """
    rule = rule_of(run, config.threshold)
    description = run.description()
    config.require_effect(f"{description['task']} tasks")
    if config.prevalence is not None and not positive_class(description["task"], description["classes"]):
        raise InputError(f"--prevalence {config.prevalence}: a {description['task']} task has no positive class")
    by = groupings(config.by) if config.by else []
    # Damaged, it is found before anything is replaced.
    history, environment = run.history(), run.environment()
    subject = subject_of(run, config, description)
    for grouping in by:
        grouping.of(subject.rows)
    training = run.dataset_here()
    if config.data is not None and training is not None and is_private(run.config["options"]):
        require_others(subject.dataset, subject.rows, training, f"--data {subject.dataset.root}")
    _check_calibration(config, run, training)
    # Here: what computes takes seconds to import, and a mistaken option should not.
    from medimg.evaluation import calibrate

    predictions, raw, point = _answered(run, config, description, subject, training, rule, progress)
    calibrator = description.get("calibrator")
    summary = _summary(predictions, raw, calibrator, subject.rows, by, config)
    copies = copied_rows(subject.dataset, subject.rows)
    unsure = calibrate.notes(summary["calibration"], calibrator, subject.split, config.data is None)
    summary["calibration"]["notes"] = unsure
    notes = _notes_of_rows(run, config, subject) + copies_note(copies, len(subject.rows)) + unsure
    notes += _notes(run, environment, subject, training, predictions.positive)
    metrics = _metrics(description, subject, config, point, summary, notes)
    metrics |= {"copies": copies} if copies else {}
    metrics |= _floors(run, config, subject, training, predictions)
    metrics["notes"] += floor.words(metrics)
    if config.calibrate is not None:
        calibrate.keep(run.root, description)
    folder = _folder(run, config, subject, metrics)
    _write(folder, history, subject, predictions, metrics, raw if calibrator else None)
    return {**metrics, "report": str(folder / REPORT[0])}


def _answered(
    run: Run,
    config: EvaluateConfig,
    description: dict,
    subject: Subject,
    training: Dataset | None,
    rule: Rule,
    progress: Progress | None,
) -> tuple[Predictions, Predictions, OperatingPoint]:
    """Of the rows the predictions, the same before calibration, and the threshold that decides them.

    By `--calibrate` the calibrator of `description` becomes another, or none.
    """
    from medimg.evaluation import calibrate
    from medimg.evaluation.answers import Answers
    from medimg.evaluation.prediction import probabilities

    answers = predict = Answers(run.model(), description, config.batch_size, progress)
    if config.calibrate == "none":
        description.pop("calibrator", None)
    elif config.calibrate:
        on_val = calibrate.fit_on_validation(config.calibrate, training, answers, len(subject.rows))
        predict = lambda *_: answers.probabilities(on_val)  # noqa: E731
    point = operating_point(rule, run, training, description, predict, len(subject.rows))
    logits = answers.logits(subject.dataset, subject.rows)
    predictions = Predictions(
        task=description["task"],
        classes=tuple(description["classes"]),
        targets=targets_in_order(subject.dataset, subject.rows, subject.order),
        probabilities=as_written(answers.probabilities(logits)),
        threshold=point.threshold,
    )
    raw = replace(predictions, probabilities=as_written(probabilities(logits, predictions.task)))
    return predictions, raw, point


def _summary(predictions: Predictions, raw: Predictions, calibrator: dict | None, rows, by: list, config) -> dict:
    """All that is measured of the rows, with its intervals.

    Args:
        predictions: of the rows.
        raw: the same before calibration.
        calibrator: of the Run.
        rows: of the manifest.
        by: groupings of `--by`.
        config: options.
    """
    from medimg.evaluation import calibrate
    from medimg.evaluation.clinical_use import clinical_use

    patients, bootstrap = rows["patient"], (config.bootstrap, config.seed)
    summary = summarise(predictions, patients, *bootstrap, config.prevalence)
    summary["calibration"] = calibrate.measure(calibrator, raw, predictions, patients, *bootstrap)
    summary |= clinical_use(predictions, patients, *bootstrap)
    summary["sites"] = summarise_sites(predictions, rows, *bootstrap)
    if by:
        summary["subgroups"] = summarise_subgroups(predictions, rows, by, *bootstrap)
    return summary


def _folder(run: Run, config: EvaluateConfig, subject: Subject, metrics: dict) -> Path:
    """Where an evaluation is written; one of other data, part or options stays."""
    request = _request_in(metrics)
    below, name = run.root / "evaluations", f"{subject.dataset.name}-{config.split}"
    if config.data is not None or config.split != "test":
        return beside(below, name, request, _request_of)
    from medimg.evaluation.gallery import FIGURES

    files = ["predictions.csv", *(f"figures/{figure}.png" for figure in FIGURES), *REPORT, "metrics.json"]
    return place_of(run.root, below, name, request, _request_of, files)


def _request_in(metrics: dict) -> dict:
    """What an evaluation answers; of before options were written down without them."""
    return {key: metrics.get(key) for key in ("data", "split", "options") if key in metrics}


def _request_of(folder: Path) -> dict | None:
    path = folder / "metrics.json"
    return _request_in(read_json(path)) if path.is_file() else None


def _check_calibration(config: EvaluateConfig, run: Run, training: Dataset | None) -> None:
    if config.calibrate is None:
        return
    if config.data is not None or config.split != "test":
        raise InputError(
            f"--calibrate {config.calibrate}: changes the Run's probabilities and threshold, which are measured on its "
            "own test part: leave out --data and --split, then evaluate those"
        )
    if training is None and config.calibrate != "none":
        raise InputError(
            f"--calibrate {config.calibrate}: fitted on the validation part of the Run's own data, which are not at "
            f"{run.config['data']}; put them back"
        )


def _metrics(
    description: dict,
    subject: Subject,
    config: EvaluateConfig,
    point: OperatingPoint,
    summary: dict,
    notes: list[str],
) -> dict:
    metrics = {
        "model": description["name"],
        "task": description["task"],
        "dataset": subject.dataset.name,
        "data": str(subject.dataset.root.resolve()),
        "split": subject.split,
        # How many images are in a step changes nothing; a calibrator changes the Run, whose evaluation this is.
        "options": {k: v for k, v in config.given().items() if k not in ("data", "split", "batch_size", "calibrate")},
        "n": len(subject.rows),
        "patients": int(subject.rows["patient"].nunique()),
        "unlabelled": subject.unlabelled,
        "classes": list(description["classes"]),
    }
    if description["task"] == "binary":
        metrics["positive_class"] = positive_class(description["task"], description["classes"])
    metrics["threshold"] = point.described
    sites = site_notes(summary["sites"])
    gaps = [gap_note(column, subgroup) for column, subgroup in summary.get("subgroups", {}).items()]
    return {**metrics, **summary, "notes": notes + sites + [gap for gap in gaps if gap] + summary["notes"]}


def _floors(run: Run, config: EvaluateConfig, subject: Subject, training: Dataset | None, of: Predictions) -> dict:
    part = reference_split(run.config["options"])
    # On rows that it was fitted to it would be no floor.
    part = None if config.data is None and subject.split in (part, "all") else part
    alone = floor.alone(run, training, part, subject.dataset, subject.rows, config.seed, config.batch_size)
    return floor.compared(of, alone, subject.rows["patient"], config.bootstrap, config.seed)


def _notes_of_rows(run: Run, config: EvaluateConfig, subject: Subject) -> list[str]:
    notes = parts_note(subject.dataset.preparation) if config.split == "test" else []
    # Of training rows, private training tells nothing that carries no noise.
    if config.data is None and not is_private(run.config["options"]):
        notes += equal_note(subject.dataset, subject.rows)
    return notes


def _notes(run: Run, environment: dict, subject: Subject, training: Dataset | None, positive: str) -> list[str]:
    notes = []
    if plain(positive) != plain(subject.dataset.positive):
        notes.append(f"'{positive}' is positive, as in the Run; the Dataset says '{subject.dataset.positive}'")
    if training is None:
        unknown = "whether the model has seen these patients is not checked"
        notes.append(f"the Run's own data are not at {run.config['data']}: {unknown}")
    elif overlap := find_overlap(subject.dataset, subject.rows, training).note(len(subject.rows)):
        notes.append(overlap)
    fingerprint = environment.get("data_fingerprint")
    if environment.get("extra"):
        notes.append(synthetic_rows.note(environment["extra"], subject.dataset.unit))
    if training is not None and fingerprint and fingerprint != training.fingerprint():
        notes.append("the Run's data have changed since its training: labels or splits may differ")
    if subject.unlabelled:
        notes.append(f"{subject.unlabelled} {subject.dataset.unit}s without a label are left out")
    return notes


def _write(folder: Path, history, subject: Subject, predictions: Predictions, metrics: dict, before) -> None:
    from medimg.evaluation.gallery import write_figures

    # Of other numbers.
    for name in REPORT:
        (folder / name).unlink(missing_ok=True)
    table = predictions.table(subject.rows, subject.dataset.negative)
    atomic.write_csv(folder / "predictions.csv", table)
    paths = None if subject.dataset.is_table else subject.dataset.paths(subject.rows)
    write_figures(folder / "figures", predictions, metrics, history, paths, before)
    # Last: where metrics.json is, all the rest is.
    atomic.write_json(folder / "metrics.json", metrics)
