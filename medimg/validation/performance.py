"""What a model is worth on other patients beside its own test part: drop, threshold, calibration and its update.

Sources: Steyerberg, Clinical Prediction Models, 2nd edition 2019, chapters 15, 19 and 20; Vergouwe et al., "A closed
testing procedure to select an appropriate method for updating prediction models", Statistics in Medicine 36, 2017;
Collins et al., TRIPOD+AI, BMJ 385, 2024.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from medimg.evaluation.calibration import reliability
from medimg.evaluation.intervals import Measured
from medimg.evaluation.mover import difference_of
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.recalibration import cox, miscalibration, update_of, updated
from medimg.evaluation.subgroups import bands
from medimg.evaluation.summary import summarise, summarise_groups
from medimg.evaluation.thresholds import Rule, choose

MEASURED = ("auroc", "accuracy", "sensitivity", "specificity", "brier")
# Patients with, and without, the finding below which an update is rough (Collins et al., Stat. Med. 35, 2016).
ENOUGH = 100
# Of a kind below which nothing that takes both kinds is judged.
FEWEST = 10
_BAND = 20  # years of an age band


def drop(internal: dict, external: dict) -> dict:
    """Own value minus the value here of each metric, of two groups of patients drawn each by itself.

    The interval puts both sides' own ones together (`medimg.evaluation.mover`), so that a perfect side has its exact
    bound.

    Args:
        internal: of `at_threshold`, on the own test part.
        external: likewise on the others.

    Returns:
        metric -> {"value", "low", "high"}, None where one of them is undefined; above 0 it is worse here (of the Brier
        score: better).
    """
    drops = {}
    for name in MEASURED:
        one, other = internal[name], external[name]
        if None in (one["value"], other["value"]):
            drops[name] = Measured()._asdict()
            continue
        gap = one["value"] - other["value"]
        drops[name] = difference_of(one, other).around(gap)
    return drops


def at_threshold(predictions: Predictions, patients, resamples: int, seed: int) -> dict:
    """MEASURED with their intervals, decided by the predictions' own threshold."""
    metrics = summarise(predictions, patients, resamples, seed)["metrics"]
    return {name: metrics[name] for name in MEASURED}


def rechosen(predictions: Predictions, rule: Rule) -> float | np.ndarray | None:
    """The threshold, or one a class, that the rule would choose on these very rows."""
    if predictions.task == "multiclass" or rule.fixed is not None:
        return None
    positions = [1] if predictions.task == "binary" else range(len(predictions.classes))
    chosen = [choose(rule, predictions.truth[:, k], predictions.probabilities[:, k]) for k in positions]
    if any(one.chosen_on is None for one in chosen):
        return None
    return chosen[0].value if predictions.task == "binary" else np.array([one.value for one in chosen])


def proposal(predictions: Predictions, calibration: dict, patients) -> dict:
    """How probabilities would have to be changed here: not at all, by an intercept, or by intercept and slope.

    Args:
        predictions: of N rows.
        calibration: of `calibration_of` on them.
        patients: length N.

    Returns:
        `update` (`none`, `intercept`, `slope and intercept`), its `intercept` and `slope` for log-odds, the ECE after
        it on these same rows (`ece_after`), whether there are `enough` patients of each kind, and `words`.
    """
    if predictions.task != "binary":
        words = "one class at a time: see the slopes and intercepts of each" if miscalibration(calibration) else "none"
        return {"update": "none", "intercept": None, "slope": None, "ece_after": None, "enough": None, "words": words}
    truth, p = predictions.truth[:, 1], predictions.probabilities[:, 1]
    a, b, update = _update(truth, p, calibration)
    rare = min(len(set(np.asarray(patients)[truth])), len(set(np.asarray(patients)[~truth])))
    after = updated(p, a, b)
    words = {
        "none": "no update: neither slope nor intercept is shown to be off",
        "intercept": f"update the intercept: log-odds become {a:+.3f} + log-odds",
        "slope and intercept": f"update slope and intercept: log-odds become {a:+.3f} {b:+.3f} x log-odds",
    }[update]
    if b <= 0:
        words = "no update: the model ranks patients no better than chance here, which no recalibration mends"
        a, b, update, after = 0.0, 1.0, "none", p
    if update != "none" and rare < ENOUGH:
        words += f" (rough: {rare} patients of the rarer kind, {ENOUGH} are advised)"
    return {
        "update": update,
        "intercept": a,
        "slope": b,
        "ece_after": reliability(truth, after).error,
        "after": cox(truth, after, pd.factorize(np.asarray(patients))[0]),
        "enough": rare >= ENOUGH,
        "words": words,
    }


def _update(truth: np.ndarray, probability: np.ndarray, calibration: dict) -> tuple[float, float, str]:
    """Intercept and slope for log-odds, and the least update that a calibration shows to be needed."""
    slope, intercept = calibration["slope"], calibration["intercept"]
    if slope["low"] is not None and not slope["low"] <= 1 <= slope["high"]:
        return *update_of(truth, probability), "slope and intercept"
    if intercept["low"] is not None and not intercept["low"] <= 0 <= intercept["high"]:
        return intercept["value"], 1.0, "intercept"
    return 0.0, 1.0, "none"


def subgroups(predictions: Predictions, rows: pd.DataFrame, resamples: int, seed: int) -> dict:
    """Column -> group -> metrics, of site, sex and bands of age, where there are at least two groups."""
    of_column = {}
    for column in ("site", "sex", "age"):
        if column in rows:
            ages = column == "age"
            values = rows[column]
            groups = bands(pd.to_numeric(values, errors="coerce"), _BAND) if ages else values.fillna("").astype(str)
            measured = summarise_groups(predictions, groups, rows["patient"], resamples, seed)
            if measured:
                of_column[column] = measured
    return of_column


def with_threshold(predictions: Predictions, threshold) -> Predictions:
    """The same answers, decided by another threshold."""
    return replace(predictions, threshold=threshold)
