"""Seconds of 1,000 patient-clustered resamples of 5,000 predictions, all metrics, beside scikit-learn's AUROC alone."""

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.material import table
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.summary import summarise

N, RESAMPLES = 5000, 1000


def predictions(task: str, classes: int) -> Predictions:
    draw = np.random.default_rng(0)
    scores = draw.random((N, classes)).astype(np.float32)
    if task == "multilabel":
        targets = (draw.random((N, classes)) < 0.2).astype(np.float32)
    else:
        targets = draw.integers(0, classes, N)
        scores /= scores.sum(axis=1, keepdims=True)
    names = tuple(f"c{i}" for i in range(classes))
    threshold = {"binary": 0.5, "multiclass": None}.get(task, np.full(classes, 0.5))
    return Predictions(task, names, targets, scores, threshold)


def sklearn_seconds() -> float:
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 2, N), draw.random(N)
    started = time.perf_counter()
    for _ in range(100):
        rows = draw.integers(0, N, N)
        roc_auc_score(y[rows], p[rows])
    return (time.perf_counter() - started) * RESAMPLES / 100


if __name__ == "__main__":
    patients = np.arange(N) // 2
    reference = sklearn_seconds()
    rows = []
    for task, classes in (("binary", 2), ("multiclass", 9), ("multilabel", 14)):
        started = time.perf_counter()
        summarise(predictions(task, classes), patients, RESAMPLES, 0)
        seconds = time.perf_counter() - started
        rows.append([f"{task}, {classes} classes", seconds, reference, reference / seconds, "< 10 s"])
    table(["task", "medimg s (all metrics)", "scikit-learn s (one AUROC)", "ratio", "promise"], rows)
