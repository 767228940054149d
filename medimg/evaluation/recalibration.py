"""Are probabilities to be taken at their word: calibration in the large, the recalibration slope, and the calibration
error beside what chance alone makes of it.

Sources: Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958; Steyerberg, Clinical
Prediction Models, 2nd edition 2019, chapter 15; Van Calster et al., "Calibration: the Achilles heel of predictive
analytics", BMC Medicine 17, 2019 (mean and weak calibration); Vaicenavicius et al., "Evaluating model calibration in
classification", AISTATS 2019 (labels drawn from the probabilities).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from medimg.evaluation.calibration import BINS, bin_index, reliability
from medimg.evaluation.intervals import LEVEL, Measured
from medimg.evaluation.predictions import Predictions
from medimg.style.words import interval, number, signed_interval

# The nearest to 0 and 1 that a float32 probability can be told from them.
_EDGE = 2.0**-24
# Numbers drawn at once (16 MB).
_BLOCK = 2_000_000


def calibration_of(predictions: Predictions, patients: Sequence, resamples: int = 1000, seed: int = 0) -> dict:
    """How far probabilities agree with what happened.

    Args:
        predictions: of N rows, N > 0.
        patients: length N, whose rows they are: they are what is independent.
        resamples: drawings of labels from the probabilities, for the error that chance alone makes; 0: none.
        seed: of the drawings.

    Returns:
        `slope` (1 is right, below it probabilities are too extreme), `intercept` (in the large, in log-odds: 0 is
        right, below it risks are overestimated), each with its interval; `ece` with the mean (`expected`) and the 95%
        quantile (`limit`) that it has by chance where every probability is right; with more classes these are of all
        labels pooled, and `per_class` has each against the rest.
    """
    truth, probability = predictions.truth, predictions.probabilities
    groups = pd.factorize(np.asarray(patients))[0]
    drawn = _by_chance(predictions, groups, resamples, seed)
    gaps = [reliability(truth[:, k], probability[:, k]).error for k in _counted(predictions)]
    ece = {
        "value": float(np.mean(gaps)),
        "expected": float(drawn.mean()) if resamples else None,
        "limit": float(np.quantile(drawn, LEVEL)) if resamples else None,
    }
    if predictions.task == "binary":
        return {**cox(truth[:, 1], probability[:, 1], groups), "ece": ece}
    classes = len(predictions.classes)
    pooled = cox(truth.ravel(), probability.ravel(), np.repeat(groups, classes))
    # Of so many classes some would be off by chance: the intervals that judge them are wider (Bonferroni).
    level = 1 - (1 - LEVEL) / classes
    each = {name: cox(truth[:, k], probability[:, k], groups, level) for k, name in enumerate(predictions.classes)}
    return {**pooled, "ece": ece, "per_class": each}


def cox(truth: np.ndarray, probability: np.ndarray, groups: np.ndarray, level: float = LEVEL) -> dict:
    """Slope and intercept of logistic recalibration, with intervals that take rows of a patient as one draw.

    Args:
        truth: bool (N,), did it happen.
        probability: float (N,), that it happens.
        groups: int (N,), the patient of each row.
        level: of the intervals.

    Returns:
        `slope` b of logit P(truth) = a + b logit(p); `intercept` a of logit P(truth) = a + logit(p). {"value", "low",
        "high"}, None where undefined: one kind of row alone; for the slope also where p separates both kinds.
    """
    undefined = Measured()._asdict()
    if truth.all() or not truth.any():
        return {"slope": undefined, "intercept": undefined}
    odds = logit(np.clip(probability, _EDGE, 1 - _EDGE))
    ones = np.ones(len(odds))
    large = _fitted(truth, ones[:, None], groups, level, odds)
    hit, missed = odds[truth], odds[~truth]
    separated = hit.min() >= missed.max() or hit.max() <= missed.min()
    slope = undefined if separated else _fitted(truth, np.column_stack([ones, odds]), groups, level)
    return {"slope": slope, "intercept": large}


def update_of(truth: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """(a, b) of logit P(truth) = a + b logit(p), the logistic recalibration; float (N,) in, both kinds in `truth`."""
    odds = logit(np.clip(probability, _EDGE, 1 - _EDGE))
    fit = GLM(truth.astype(float), np.column_stack([np.ones(len(odds)), odds]), Binomial()).fit()
    return float(fit.params[0]), float(fit.params[1])


def updated(probability: np.ndarray, intercept: float, slope: float) -> np.ndarray:
    """Probabilities recalibrated: expit(intercept + slope logit(p))."""
    return expit(intercept + slope * logit(np.clip(probability, _EDGE, 1 - _EDGE)))


def miscalibration(calibration: dict) -> list[str]:
    """Why probabilities can't be taken at their word; empty where nothing speaks against it.

    Args:
        calibration: of `calibration_of`.
    """
    reasons = []
    for name, one in {"": calibration, **calibration.get("per_class", {})}.items():
        of, slope, intercept = f" of {name}" if name else "", one["slope"], one["intercept"]
        if _beside(slope, 1):
            how = "not extreme enough" if slope["value"] > 1 else "too extreme"
            how = how if slope["value"] > 0 else "against what happened"
            reasons.append(f"calibration slope{of} {interval(slope)}, not 1: probabilities are {how}")
        if _beside(intercept, 0):
            how = "too high" if intercept["value"] < 0 else "too low"
            reasons.append(f"calibration intercept{of} {signed_interval(intercept)}, not 0: probabilities are {how}")
    ece = calibration["ece"]
    if ece["limit"] is not None and ece["value"] > ece["limit"]:
        reasons.append(
            f"ECE {ece['value']:.3f}, where right probabilities would have {ece['expected']:.3f} by chance and seldom "
            f"more than {ece['limit']:.3f}"
        )
    return reasons


def calibration_words(calibration: dict) -> str:
    """Slope, intercept, error and method in one line, as the command and the model card say it."""
    ece, before = calibration["ece"], calibration["before"]
    words = (
        f"Calibration ({calibration['method']}): slope {interval(calibration['slope'])}, intercept "
        f"{signed_interval(calibration['intercept']) if calibration['intercept']['value'] is not None else '-'}, "
        f"ECE {ece['value']:.3f} (by chance {number(ece['expected'])})"
    )
    if calibration["method"] == "none" or not before:
        return f"{words}."
    return f"{words}; before it slope {number(before['slope']['value'])}, ECE {before['ece']['value']:.3f}."


def _beside(measured: dict, right: float) -> bool:
    return measured["low"] is not None and not measured["low"] <= right <= measured["high"]


def _fitted(truth, columns, groups, level: float, offset=None) -> dict:
    """The last coefficient of a logistic regression, with a cluster-robust interval (Student's t over patients)."""
    fit = GLM(truth.astype(float), columns, Binomial(), offset=offset).fit()
    value, (rows, terms), patients = float(fit.params[-1]), columns.shape, int(groups.max()) + 1
    if patients == 1:
        return Measured(value)._asdict()
    # By hand: statsmodels' own has no number where a fitted probability is 0 or 1 to the last digit.
    p = np.asarray(fit.fittedvalues)
    scores = np.zeros((patients, terms))
    np.add.at(scores, groups, columns * (truth - p)[:, None])
    bread = np.linalg.inv(columns.T @ (columns * (p * (1 - p))[:, None]))
    few = patients / (patients - 1) * (rows - 1) / (rows - terms)
    half = t.ppf((1 + level) / 2, patients - 1) * np.sqrt(few * (bread @ scores.T @ scores @ bread)[-1, -1])
    return Measured(value, value - half, value + half)._asdict()


def _counted(predictions: Predictions) -> list[int]:
    """Classes whose mean the calibration error is."""
    return [1] if predictions.task == "binary" else list(range(len(predictions.classes)))


def _by_chance(predictions: Predictions, groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Calibration errors of labels drawn from the probabilities: float64 (resamples,).

    All rows of a patient are drawn by one number: they go together as far as their probabilities allow, which makes the
    error by chance the largest that it can be.
    """
    probability, counted = predictions.probabilities, _counted(predictions)
    rows, patients = len(groups), int(groups.max()) + 1
    bins = [np.eye(BINS)[bin_index(probability[:, k])] for k in counted]
    expected = [probability[:, k] @ one for k, one in zip(counted, bins, strict=True)]
    upper = probability if predictions.task == "multilabel" else np.cumsum(probability[:, ::-1], axis=1)[:, ::-1]
    generator, errors = np.random.default_rng(seed), []
    for start in range(0, resamples, block := max(1, _BLOCK // rows)):
        u = generator.random((min(block, resamples - start), patients))[:, groups]
        total = np.zeros(len(u))
        for k, one, mean in zip(counted, bins, expected, strict=True):
            # Of exclusive classes k is drawn where u lies in its own stretch of the cumulated probabilities.
            hit = u < upper[:, k]
            if predictions.task != "multilabel" and k + 1 < probability.shape[1]:
                hit &= u >= upper[:, k + 1]
            total += np.abs(hit @ one - mean).sum(axis=1)
        errors.append(total / (rows * len(counted)))
    return np.concatenate(errors) if errors else np.empty(0)
