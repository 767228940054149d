"""Threshold and calibration of a recipe: fitted on patients whom the model has not seen, as other machines see them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.evaluation.calibrator import calibrated, fit
from medimg.evaluation.own_threshold import FILE, RULE
from medimg.evaluation.thresholds import youden_threshold
from medimg.recipes.judging import Tried


@dataclass(frozen=True, eq=False)
class ChosenPoint:
    """What a recipe decides by.

    Attributes:
        calibrator: `calibration.json`, or None.
        threshold: content of threshold.json, or None: several classes need none.
        words: a clause of both.
    """

    calibrator: dict | None
    threshold: dict | None
    words: str

    def write(self, folder: Path) -> None:
        """Into the Run."""
        if self.threshold:
            atomic.write_json(folder / FILE, self.threshold)


def decide(tried: Tried, description: dict) -> ChosenPoint:
    """By all rows and views of the pool."""
    task, classes = description["task"], tuple(description["classes"])
    logits = np.concatenate(tried.pool).astype(np.float64)
    truth = np.tile(tried.pool_truth.table, (len(tried.pool), 1))
    method = "temperature" if task == "multiclass" else "platt"
    calibrator = fit(method, logits, truth, task, classes)
    # As many rows as there are: their views are the same patients again.
    calibrator |= {"n": len(tried.pool[0]), "fitted_on": tried.pool_words}
    chances = calibrated(logits, task, calibrator)
    if task == "multiclass":
        return ChosenPoint(calibrator, None, f"calibrated by {method} on {tried.pool_words}")
    places = range(len(classes)) if task == "multilabel" else (1,)
    both = {classes[k]: truth[:, k].any() and not truth[:, k].all() for k in places}
    values = {classes[k]: youden_threshold(truth[:, k], chances[:, k]) if both[classes[k]] else 0.5 for k in places}
    threshold = {
        "rule": RULE,
        "value": values if task == "multilabel" else values[classes[1]],
        "chosen_on": tried.pool_words,
        "note": f"Youden's, on {tried.pool_words}",
    }
    return ChosenPoint(calibrator, threshold, f"threshold and calibration by {method} on {tried.pool_words}")
