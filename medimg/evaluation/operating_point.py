"""The thresholds of a Run, chosen on its own validation part, and how they are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.evaluation import own_threshold
from medimg.evaluation.classes import match_classes, targets_in_order
from medimg.evaluation.predictions import as_written
from medimg.evaluation.thresholds import FALLBACK, Rule, Threshold, choose
from medimg.run import Run
from medimg.style.words import shortened
from medimg.untrusted.json_file import read_json

# What decides before an evaluation has chosen anything, as in metrics.json.
NOT_EVALUATED = {
    "rule": "none",
    "value": FALLBACK,
    "chosen_on": None,
    "note": f"{FALLBACK} is a default, chosen on no data: the Run has not been evaluated",
}


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Thresholds and what metrics.json says of them.

    Attributes:
        threshold: binary: of the positive class; multilabel: float64 (classes,); multiclass: None.
        described: `rule`, `value`, `chosen_on`, `note`.
    """

    threshold: float | np.ndarray | None
    described: dict


def operating_point(
    rule: Rule,
    run: Run,
    training: Dataset | None,
    description: dict,
    predict: Callable[[Dataset, pd.DataFrame, int], np.ndarray],
    to_come: int,
) -> OperatingPoint:
    """Choose thresholds on the validation part of the Run's own data.

    Where those data are absent, the thresholds of the Run's metrics.json are used if the same rule
    chose them.

    Args:
        rule: how to choose.
        run: the Run.
        training: its Dataset, None where it is absent.
        description: the Run's description.
        predict: from (dataset, rows, images to come after) to probabilities (N, classes).
        to_come: images that will be predicted afterwards, for the progress bar.
    """
    task, classes = description["task"], tuple(description["classes"])
    if task == "multiclass":
        note = "the most probable class is predicted; --threshold is not used with several classes"
        described = {"rule": "argmax", "value": None, "chosen_on": None, "note": note}
        return OperatingPoint(None, described)
    if rule.name == own_threshold.RULE:
        return OperatingPoint(*own_threshold.own_threshold(run, classes))
    if rule.fixed is None and training is None:
        stored = _stored(run, rule, classes)
        if stored:
            return stored
    truth = probability = None
    if rule.fixed is None and training is not None:
        rows = training.rows("val", labelled=True)
        if len(rows):
            order = match_classes(training, task, classes)
            probability = as_written(predict(training, rows, to_come))
            targets = targets_in_order(training, rows, order)
            truth = targets if task == "multilabel" else targets[:, None] == np.arange(2)
    positions = range(len(classes)) if task == "multilabel" else (1,)
    chosen = {
        classes[i]: choose(
            rule, None if truth is None else truth[:, i], None if probability is None else probability[:, i]
        )
        for i in positions
    }
    return _described(rule, task, chosen)


def metrics_of(run: Run) -> dict | None:
    """Content of the Run's metrics.json, None before an evaluation on its own test part."""
    path = run.root / "metrics.json"
    return read_json(path) if path.is_file() else None


def thresholds(run: Run, description: dict) -> list[float]:
    """Per class, from the Run's evaluation on its own test part; 0.5 before one."""
    classes = description["classes"]
    metrics = metrics_of(run)
    value = metrics["threshold"]["value"] if metrics else None
    if isinstance(value, dict):
        return [float(value[name]) for name in classes]
    if isinstance(value, list):
        return [float(v) for v in value]
    return [0.5 if value is None else float(value)] * len(classes)


def threshold_statement(metrics: dict | None, description: dict) -> str:
    """What decides, in one sentence; the same in the report, in the model card and on the command line.

    Args:
        metrics: content of metrics.json, or None where the Run was not evaluated.
        description: the Run's, or any with `task` and `classes`.
    """
    task, classes = description["task"], description["classes"]
    if metrics is not None and metrics["threshold"]["value"] is None:
        return f"Decision: {metrics['threshold']['note']}."
    if task == "multiclass":
        return "Decision: the most probable class is predicted; there is no threshold."
    threshold = NOT_EVALUATED if metrics is None else metrics["threshold"]
    value, why = threshold["value"], f"rule {threshold['rule']}; {threshold['note']}"
    if task == "binary":
        return f"Decision: {positive_class(task, classes)} is called from a probability of {value:.4g} on ({why})."
    each = value if isinstance(value, dict) else dict.fromkeys(classes, value)
    listed = ", ".join(f"{name} {each[name]:.4g}" for name in classes)
    return f"Decision: each class is called from a probability of its own on: {listed} ({why})."


def decision_words(task: str, classes: Sequence[str], called: int, chances: np.ndarray, limits) -> str:
    """A row's decision as sheets give it: what it is called, and in a second line by which probability and threshold.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: class names.
        called: position of the class that it is called.
        chances: probabilities (classes,).
        limits: threshold of the positive class, or per class; not used with several classes.
    """
    if task != "binary":
        return f"{shortened(classes[called], 18)} {chances[called]:.3f}"
    name = shortened(positive_class(task, classes), 12)
    return f"{shortened(classes[called], 18)}\np({name}) {chances[1]:.3f}, threshold {np.ravel(limits)[-1]:.3f}"


def _described(rule: Rule, task: str, chosen: dict[str, Threshold]) -> OperatingPoint:
    described = {"rule": rule.name}
    thresholds = list(chosen.values())
    on_val = any(threshold.chosen_on == "val" for threshold in thresholds)
    if task == "binary":
        value = threshold = thresholds[0].value
    else:
        value = {name: one.value for name, one in chosen.items()}
        threshold = np.array(list(value.values()))
    notes: dict[str, list[str]] = {}
    for name, one in chosen.items():
        if one.note:
            notes.setdefault(one.note, []).append(name)
    texts = []
    if on_val:
        texts.append("chosen on the validation part, then applied unchanged")
    for note, names in notes.items():
        everywhere = len(names) == len(chosen)
        texts.append(note if everywhere else f"{', '.join(names)}: {note}")
    described |= {"value": value, "chosen_on": "val" if on_val else None, "note": "; ".join(texts)}
    return OperatingPoint(threshold, described)


def _stored(run: Run, rule: Rule, classes: tuple[str, ...]) -> OperatingPoint | None:
    """The thresholds of the Run's last evaluation, if the same rule chose them."""
    metrics = metrics_of(run)
    if metrics is None:
        return None
    stored = metrics["threshold"]
    if stored["rule"] != rule.name or stored["chosen_on"] != "val":
        return None
    value = stored["value"]
    threshold = np.array([value[name] for name in classes]) if isinstance(value, dict) else value
    note = f"{stored['note']}; taken from metrics.json, since the Run's data are not here"
    return OperatingPoint(threshold, {**stored, "note": note})
