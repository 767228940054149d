"""What a decision is worth to patients: the negative predictive value, and the net benefit over all thresholds.

Net benefit: true positives less false positives, these weighted by the odds of the threshold probability, per patient.
A model is of use at a threshold where it beats calling everybody (`all`) and nobody (0).

Source: Vickers and Elkin, "Decision curve analysis", Medical Decision Making 26, 2006.
"""

from collections.abc import Sequence

import numpy as np

from medimg.evaluation.exact import bounded_share, clopper_pearson
from medimg.evaluation.few_faults import is_of_few
from medimg.evaluation.intervals import LEVEL, Interval, cluster_bootstrap, numbered, percentile_interval
from medimg.evaluation.metrics import OneVsRest, ratio
from medimg.evaluation.predictions import Predictions

THRESHOLDS = np.array([0.01, 0.02, *np.arange(5, 100, 5) / 100])


def clinical_use(predictions: Predictions, patients: Sequence, resamples: int = 1000, seed: int = 0) -> dict:
    """NPV and decision curve of the positive class, else of each class against the rest.

    Args:
        predictions: of N rows.
        patients: length N; patients are resampled.
        resamples: bootstrap resamples; 0 gives values without intervals.
        seed: of the bootstrap.

    Returns:
        `npv`: class -> {"value", "low", "high"}; `decision_curve`: class -> `threshold` (T,), `model`, `all` and
        `gain`, the model's lead over the better of calling everybody and nobody, each value (T,), the gain with its
        `low` and `high` (None without resamples), wider where few patients have all faults; classes that no row or
        every row has are left out of the curves.
    """
    chosen = (1,) if predictions.task == "binary" else range(len(predictions.classes))
    patients = numbered(patients)
    if patients.max() < 1:
        resamples = 0
    use: dict = {"npv": {}, "decision_curve": {}}
    for i in chosen:
        one, name = predictions.one_vs_rest[i], predictions.classes[i]
        columns = _columns(one)

        def both(weights: np.ndarray, columns=columns) -> np.ndarray:
            return np.concatenate(_npv_and_gain(weights, columns), axis=1)

        value = both(np.ones((1, len(predictions))))[0]
        drawn = cluster_bootstrap(both, patients, resamples, seed) if resamples else np.empty((0, len(value)))
        use["npv"][name] = _bounded(percentile_interval(drawn[:, 0]), value[0], one, patients)
        if one.truth.any() and not one.truth.all():
            limits = np.quantile(drawn[:, 1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0) if resamples else None
            if limits is not None:
                # As if independent of what resamples see (MOVER).
                gaps = np.hypot([value[1:] - limits[0], limits[1] - value[1:]], _of_few(one, patients))
                limits = value[1:] + gaps * [[-1], [1]]
            model, everybody = _benefits(np.ones((1, len(predictions))), columns)
            use["decision_curve"][name] = {
                "threshold": THRESHOLDS.tolist(),
                "model": model[0].tolist(),
                "all": everybody[0].tolist(),
                "gain": value[1:].tolist(),
                "low": None if limits is None else limits[0].tolist(),
                "high": None if limits is None else limits[1].tolist(),
            }
    return use


def _bounded(interval: Interval, value: float, one: OneVsRest, patients: Sequence) -> dict:
    """Where every resample agrees, or the faults are of few, the exact bound, each patient counted once."""
    left = len(set(np.asarray(patients)[~one.decision]))
    # Of who has not the class, it is the precision.
    other = OneVsRest(~one.truth, 1 - one.probability, ~one.decision)
    return bounded_share(interval, value, left, is_of_few("precision", other, patients)).around(value)


def _of_few(one: OneVsRest, patients: Sequence) -> np.ndarray:
    """How much lower and higher a net benefit may be at each threshold for faults, or for right calls, of few patients.

    Returns:
        float64 (2, T): what the exact bounds of sensitivity and of specificity there leave open, 0 of those of many.
    """
    open_ = np.zeros((2, len(THRESHOLDS)))
    for place, threshold in enumerate(THRESHOLDS):
        there = OneVsRest(one.truth, one.probability, one.probability >= threshold)
        prevalence, gaps = one.truth.mean(), []
        for name, of, weight in (
            ("sensitivity", one.truth, prevalence),
            ("specificity", ~one.truth, (1 - prevalence) * threshold / (1 - threshold)),
        ):
            if is_of_few(name, there, patients):
                share = float((one.truth == there.decision)[of].mean())
                low, high = clopper_pearson(share, len(set(np.asarray(patients)[of])))
                gaps.append([weight * (share - low), weight * (high - share)])
        if gaps:
            open_[:, place] = np.sqrt((np.array(gaps) ** 2).sum(axis=0))
    return open_


def _columns(one: OneVsRest) -> np.ndarray:
    """float64 (N, 3 + 2 T): a negative, not called; not called; has the class; per threshold called right and wrong."""
    called = one.probability[:, None] >= THRESHOLDS
    truth = one.truth[:, None]
    plain = np.stack([~one.truth & ~one.decision, ~one.decision, one.truth], axis=1)
    return np.concatenate([plain, called & truth, called & ~truth], axis=1).astype(np.float64)


def _benefits(weights: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Net benefit of the model and of calling everybody, each (samples, T)."""
    odds = THRESHOLDS / (1 - THRESHOLDS)
    n = weights.sum(axis=1, keepdims=True)
    share = weights @ columns[:, 2:] / n
    prevalence, hits, alarms = share[:, :1], *np.split(share[:, 1:], 2, axis=1)
    return hits - alarms * odds, prevalence - (1 - prevalence) * odds


def _npv_and_gain(weights: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left = weights @ columns[:, :2]
    model, everybody = _benefits(weights, columns)
    return ratio(left[:, 0], left[:, 1])[:, None], model - np.maximum(everybody, 0)


def useful_range(curve: dict) -> list[tuple[float, float]]:
    """Stretches of thresholds at which the model leads with 95% confidence, point by point; none without intervals.

    A lead that is 0.000 as it is written is none.
    """
    stretches: list[list[float]] = []
    ahead = [low >= 0.0005 for low in curve["low"] or [0] * len(curve["threshold"])]
    for threshold, now, before in zip(curve["threshold"], ahead, [False, *ahead], strict=False):
        if now and before:
            stretches[-1][1] = threshold
        elif now:
            stretches.append([threshold, threshold])
    return [(first, last) for first, last in stretches]


def useful(name: str, curve: dict) -> str:
    """`useful_range` in a sentence.

    Args:
        name: of the class.
        curve: of `decision_curve`.
    """
    if curve["low"] is None:
        return f"{name}: no intervals were computed, so nothing is said of where the model leads."
    stretches = useful_range(curve)
    if not stretches:
        return f"{name}: at no threshold is the model surely better than calling everybody or nobody."
    ranges = " and ".join(f"{a:g} to {b:g}" if a < b else f"{a:g}" for a, b in stretches)
    return f"{name}: at threshold probabilities {ranges} the model is better than calling everybody and nobody."
