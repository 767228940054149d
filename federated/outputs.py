"""Predictions of the models that a federation is compared with, on the same rows."""

from collections.abc import Mapping

import numpy as np

from federated.central import Central
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.thresholds import Rule, choose
from medimg.prediction import probabilities


def predictions(
    classes: tuple[str, ...], test: Central, val: Central, test_logits, val_logits
) -> Predictions:
    """A model's predictions on test, at the thresholds that are best on all of val."""
    task = test.task
    on_val, on_test = probabilities(val_logits, task), probabilities(test_logits, task)
    threshold = _thresholds(task, val.targets, on_val, len(classes))
    return Predictions(task, classes, test.targets, on_test.astype(np.float64), threshold)


def predictions_of_each(
    classes: tuple[str, ...],
    test: Central,
    val: Central,
    test_logits: Mapping[str, np.ndarray],
    val_logits: Mapping[str, np.ndarray],
) -> Predictions:
    """Every client's rows by its own model, at the thresholds that are best on its own val.

    Args:
        classes: of the task.
        test, val: rows.
        test_logits, val_logits: client -> logits (N, classes) of its model on all rows, of which its own are taken.
    """
    task, n = test.task, len(test.rows)
    merged = np.zeros((n, len(classes)))
    shape = (n, len(classes)) if task == "multilabel" else (n,)
    thresholds = None if task == "multiclass" else np.full(shape, 0.5)
    for name, logits in test_logits.items():
        here, there = test.owners == name, val.owners == name
        merged[here] = probabilities(logits, task)[here]
        if thresholds is not None and here.any():
            on_val = probabilities(val_logits[name], task)[there]
            thresholds[here] = _thresholds(task, val.targets[there], on_val, len(classes))
    return Predictions(task, classes, test.targets, merged, thresholds)


def majority(classes: tuple[str, ...], test: Central, train_targets: np.ndarray) -> Predictions:
    """Always the commonest answer of all training rows, with the classes' shares as probabilities."""
    task = test.task
    if task == "multilabel":
        shares = train_targets.mean(axis=0)
    else:
        shares = np.bincount(train_targets, minlength=len(classes)) / len(train_targets)
    rows = np.tile(shares, (len(test.rows), 1)).astype(np.float64)
    threshold = {"binary": 0.5, "multilabel": np.full(len(classes), 0.5)}.get(task)
    return Predictions(task, classes, test.targets, rows, threshold)


def _thresholds(task: str, targets: np.ndarray, probability: np.ndarray, classes: int):
    if task == "multiclass":
        return None
    rule = Rule("youden")
    if task == "binary":
        return choose(rule, targets == 1, probability[:, 1].astype(np.float64)).value
    columns = range(classes)
    return np.array(
        [
            choose(rule, targets[:, i] > 0.5, probability[:, i].astype(np.float64)).value
            for i in columns
        ]
    )
