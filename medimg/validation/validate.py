"""`medimg validate`: a Run on another hospital's patients, to a verdict, validation.json and a page."""

from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation.answers import Answers
from medimg.evaluation.calibrate import notes as calibration_notes
from medimg.evaluation.intervals import Measured
from medimg.evaluation.operating_point import metrics_of, operating_point
from medimg.evaluation.own_threshold import rule_of
from medimg.evaluation.places import beside, require_place
from medimg.evaluation.recalibration import calibration_of
from medimg.listener import Step
from medimg.lock import locked, require_other
from medimg.privacy.ledger import is_private
from medimg.run import Run
from medimg.style.figures import save
from medimg.untrusted.json_file import read_json
from medimg.validation import performance
from medimg.validation.config import ValidateConfig
from medimg.validation.figure import images_figure, summary_figure
from medimg.validation.page import page
from medimg.validation.patients import opened, patients_of
from medimg.validation.sides import Side, kinds, own_side, patients_of_classes, shifts, side_of
from medimg.validation.verdict import verdict

FILE = "validation.json"


def validate(
    run: Run, data: Path, config: ValidateConfig, out: Path | None = None, progress: Step | None = None
) -> tuple[dict, Path]:
    """Compare what a Run is worth on other patients with what it was on its own test part.

    Args:
        run: the Run.
        data: DATA2: a Dataset or a folder of images.
        config: options.
        out: folder of the result; RUN/validations/NAME by default.
        progress: called with what is done, done and in all.

    Returns:
        The content of validation.json, and its folder, which also has `validation.html`, `predictions.csv`, `figures/`
        and, of a folder of images, what was left out (`rejected.csv`, as `prepare` writes it).

    Raises:
        InputError: DATA2, a class or an option can't be used, or DATA2 has patients whom a private Run protects.
    """
    step = progress or (lambda what, done, total: None)
    description, data = run.description(), Path(data)
    config.require_effect(f"{description['task']} tasks")
    options = {key: value for key, value in config.given().items() if key != "batch_size"}
    request = {"run": str(run.root.resolve()), "data": str(data.resolve()), "options": options}
    if out:
        require_other(out)
        require_place(Path(out), request, _request_of)
    prepared = opened(data, description, config, lambda *counts: step("prepare", *counts))
    with locked(out or run.root), prepared as dataset:
        training, private = run.dataset_here(), is_private(run.config["options"])
        patients = patients_of(dataset, description, config, training, private)
        answers = Answers(run.model(), description, config.batch_size, lambda *counts: step("predict", *counts))
        rule, threshold = _decision(run, training, description, answers, len(patients.rows))
        internal = own_side(training, description, answers, threshold)
        external = side_of(patients, description, answers, threshold)
        result = _measured(run, data, description, internal, external, patients, rule, config, step)
        result["verdict"], result["reasons"] = verdict(result)
        result |= request
        folder = Path(out) if out else beside(run.root / "validations", data.resolve().name, request, _request_of)
        _write(folder, result, internal, external, description)
    return result, folder


def _request_of(folder: Path) -> dict | None:
    """What the validation in a folder answers; one of before options were written down without them."""
    path = folder / FILE
    content = read_json(path) if path.is_file() else None
    return content and {key: content[key] for key in ("run", "data", "options") if key in content}


def _decision(run: Run, training: Dataset | None, description: dict, answers: Answers, to_come: int):
    """The Run's rule and its threshold: as its evaluation has chosen it, else chosen on its validation part now."""
    metrics = metrics_of(run)
    chosen = metrics["threshold"] if metrics else None
    rule = rule_of(run, chosen["rule"] if chosen and chosen["rule"] != "argmax" else None)
    if chosen is None:
        return rule, operating_point(rule, run, training, description, answers, to_come).threshold
    value = chosen["value"]
    return rule, np.array([value[name] for name in description["classes"]]) if isinstance(value, dict) else value


def _measured(run, data, description, internal: Side | None, external: Side, patients, rule, config, step) -> dict:
    classes, predictions = description["classes"], external.predictions
    support = predictions.truth.sum(axis=0) if predictions else np.zeros(len(classes), int)
    result = {
        "model": description["name"],
        "task": description["task"],
        "classes": list(classes),
        "positive_class": positive_class(description["task"], classes),
        "dataset": data.resolve().name,
        "split": config.split,
        "modality": {"here": external.dataset.modality, "own": internal.dataset.modality if internal else ""},
        "unit": external.dataset.unit,
        "n": len(external.rows),
        "patients": int(external.rows["patient"].nunique()),
        "labelled": int(external.labelled.sum()),
        "support": {name: int(count) for name, count in zip(classes, support, strict=True)},
        "kinds": kinds(predictions),
        "patients_of": patients_of_classes(external),
        "own_rows": patients.own,
        "own": {"n": len(internal.rows), "patients": int(internal.patients.nunique())} if internal else None,
        "calibrated": "calibrator" in description,
        "shift": shifts(internal, external, description, step),
        "notes": list(patients.notes),
    }
    if internal is None:
        result["notes"].append("the Run's own test part is not here: no shift and no drop can be measured")
    counts = result["patients_of"] if result["task"] == "binary" else {}
    result["few"] = [name for name, count in counts.items() if 0 < count < performance.FEWEST]
    result["notes"] += adapted_note(run, external.dataset, config.split)
    result |= _worth(internal, external, rule, config, bool(result["few"]))
    return result


def adapted_note(run: Run, dataset: Dataset, split: str) -> list[str]:
    """Whether `train --adapt` has used the images that are validated on."""
    adapted = run.environment().get("adapted_to")
    if not adapted or split == "test" or adapted["fingerprint"] != dataset.fingerprint():
        return []
    return [
        f"the model has adapted to the {adapted['images']} images of this Dataset's training part (no labels): "
        "those of --split test are others"
    ]


def _worth(internal: Side | None, external: Side, rule, config: ValidateConfig, few: bool) -> dict:
    """`auroc`, `drop`, `threshold`, `calibration`, `subgroups` of validation.json: of few, none of both kinds."""
    none = {name: Measured()._asdict() for name in performance.MEASURED}
    if external.predictions is None:
        empty = {"value": None, "transported": None, "own": None, "rechosen": None}
        return {"auroc": None, "drop": none, "threshold": empty, "calibration": None, "subgroups": {}}
    predictions, patients, settings = external.predictions, external.patients, (config.bootstrap, config.seed)
    at_own = performance.at_threshold(internal.predictions, internal.patients, *settings) if internal else None
    transported = performance.at_threshold(predictions, patients, *settings)
    if few:
        # A bootstrap of one patient never varies.
        transported["auroc"] = none["auroc"]
    drop = performance.drop(at_own, transported) if internal else none
    again = None if few else performance.rechosen(predictions, rule)
    chosen = None
    if again is not None:
        chosen = performance.at_threshold(performance.with_threshold(predictions, again), patients, *settings)
        chosen = {"value": np.asarray(again).tolist(), **chosen, "note": "chosen on these rows, so it looks too good"}
    both = len(kinds(predictions)) > 1 and not few
    calibration = calibration_of(predictions, patients, *settings) if both else None
    if calibration:
        calibration["proposal"] = performance.proposal(predictions, calibration, patients)
        calibration["own"] = calibration_of(internal.predictions, internal.patients, *settings) if internal else None
        calibration["notes"] = calibration_notes(calibration, None, "test", False)
    value = predictions.threshold
    return {
        "auroc": {"own": at_own and at_own["auroc"], "here": transported["auroc"]},
        "drop": drop,
        "threshold": {
            "rule": rule.name if predictions.task != "multiclass" else "argmax",
            "value": value if value is None else np.asarray(value).tolist(),
            "transported": transported,
            "own": at_own,
            "rechosen": chosen,
        },
        "calibration": calibration,
        "subgroups": performance.subgroups(
            predictions, external.rows[external.labelled].reset_index(drop=True), *settings
        ),
    }


def _write(folder: Path, result: dict, internal: Side | None, external: Side, description: dict) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file, not a folder; give another")
    figures = {"summary": summary_figure(internal and internal.predictions, external.predictions, result)}
    if not external.dataset.is_table:
        sides = [[] if side is None else side.dataset.paths(side.rows) for side in (internal, external)]
        figures["images"] = images_figure(*sides, description["image_size"])
    drawn = {
        name: save(figure, folder / "figures" / f"{name}.png") for name, figure in figures.items() if figure is not None
    }
    table = external.rows[[external.dataset.unit, "patient", "site", "label"]].copy()
    if result["data"] != str(external.dataset.root.resolve()):
        # Prepared for the moment: the file as it was found is what can be looked up.
        table[external.dataset.unit] = external.rows["source_file"]
        for name in ("rejected.csv", "warnings.csv", "duplicates.csv"):
            (folder / name).unlink(missing_ok=True)
            if (external.dataset.root / name).is_file():
                atomic.copy(external.dataset.root / name, folder / name)
    for name, column in zip(description["classes"], external.probabilities.T, strict=True):
        table[f"p_{name}"] = column
    atomic.write_csv(folder / "predictions.csv", table)
    atomic.write_text(folder / "validation.html", page(result, drawn))
    # Last: where it is, all the rest is.
    atomic.write_json(folder / FILE, result)
