"""Runs written by hand: their predictions are known, and no model is needed."""

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.evaluation.predictions import Predictions
from medimg.run import Run


def write_run(
    root,
    truth,
    score,
    task="binary",
    classes=("healthy", "ill"),
    data="/nowhere/data",
    unit="image",
    names=None,
    patients=None,
    folds=None,
    options=None,
    threshold=0.5,
    negative="",
):
    """A Run as `medimg evaluate` leaves it.

    `truth` is int (N,) or bool (N, classes); `score` the probability of classes[1] (N,) or of all (N, classes).
    """
    truth, score = np.asarray(truth), np.asarray(score, float)
    probabilities = np.stack([1 - score, score], axis=1) if score.ndim == 1 else score
    n = len(truth)
    predictions = Predictions(task, classes, truth, probabilities, threshold)
    table = pd.DataFrame(
        {
            unit: names if names is not None else [f"r{i}" for i in range(n)],
            "patient": patients if patients is not None else [f"p{i}" for i in range(n)],
            "site": "",
            "label": predictions.names(predictions.truth, negative),
            "predicted": predictions.names(predictions.decisions, negative),
            **{f"p_{name}": p for name, p in zip(classes, probabilities.T, strict=True)},
        }
    )
    options = {"model": "by-hand", "seed": 0, **(options or {})}
    if folds is not None:
        table["fold"] = folds
        options["folds"] = int(np.max(folds))
        (root / "fold-1").mkdir(parents=True)
    run = Run.create(root / "new", data, "train", options)
    for file in (root / "new").iterdir():
        file.replace(root / file.name)
    (root / "new").rmdir()
    metrics = {
        "model": options["model"],
        "task": task,
        "dataset": "by hand",
        "data": str(data),
        "split": "test" if folds is None else "cross-validation",
        "n": n,
        "classes": list(classes),
    }
    atomic.write_csv(root / "predictions.csv", table)
    atomic.write_json(root / "metrics.json", metrics)
    return Run(root, run.config)


def scores(n=120, seed=0, strength=1.5, prevalence=0.4):
    """Labels and the probabilities of a model that knows something of them."""
    draw = np.random.default_rng(seed)
    truth = (np.arange(n) < prevalence * n).astype(int)
    return truth, 1 / (1 + np.exp(-draw.normal(strength * (truth - 0.5), 1)))
