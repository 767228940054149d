"""What a model answers, foretold from an image's brightness, texture and shape, and shared out among them by SHAP.

A surrogate says something of a model only as far as it foretells it: R² on images that it was not fitted on stands
beside every share, and of one that explains too little there are no shares.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, 2020 (TreeExplainer: exact).
"""

import numpy as np
from scipy.special import logsumexp

from explain.scores import intervals
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.inspection.appearance import FEATURES, GROUPS, NAMES
from medimg.style.words import interval

# R² below which nothing is shared out.
LEAST = 0.3
_STRONGEST = 3


def attribute(
    fitted: np.ndarray,
    fitted_scores: np.ndarray,
    explained: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    seed: int,
) -> dict:
    """Fit on some images, share out what the model says of others.

    Args:
        fitted: float (M, len(NAMES)), features of the images that the surrogate is fitted on.
        fitted_scores: float (M,), the model's score of each.
        explained: float (N, len(NAMES)), features of the images that are explained.
        scores: float (N,), the model's.
        patients: (N,), of the images that are explained.
        seed: of the fit.

    Returns:
        `r2` with its interval by patient on the N images; `shares` of FEATURES, each the mean over images of what the
        group adds or takes away over that of all groups, with its interval; `strongest` features with their part.
        Instead of the last two `not_available`, a sentence, where `r2` is less than LEAST.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=200, learning_rate=0.05, max_depth=3, subsample=0.7, min_samples_leaf=5, random_state=seed
    ).fit(fitted, fitted_scores)
    r2 = _r2(scores, model.predict(explained), patients)
    if r2["value"] is None or r2["value"] < LEAST:
        return {"r2": r2, "not_available": f"they foretell too little of it (R² {interval(r2, 2)})"}
    values = shap_values(model, explained)
    added = np.stack([np.abs(values[:, group == GROUPS].sum(axis=1)) for group in FEATURES], axis=1)
    shares = {
        group: intervals.ratio(added[:, i], added.sum(axis=1), patients, seed) for i, group in enumerate(FEATURES)
    }
    importance = np.abs(values).mean(axis=0) / np.abs(values).mean(axis=0).sum()
    strongest = {NAMES[i]: float(importance[i]) for i in np.argsort(-importance, kind="stable")[:_STRONGEST]}
    return {"r2": r2, "shares": shares, "strongest": strongest}


def log_odds(logits: np.ndarray, task: str) -> np.ndarray:
    """float64 (N, classes): of each class against all others; what all logits share moves no answer, and is not in it.

    Args:
        logits: float (N, classes).
        task: `binary`, `multiclass` or `multilabel`, whose logits are log-odds.
    """
    logits = np.asarray(logits, np.float64)
    if task == "multilabel":
        return logits
    against = [logsumexp(np.delete(logits, i, axis=1), axis=1) for i in range(logits.shape[1])]
    return logits - np.stack(against, axis=1)


def shap_values(model, features: np.ndarray) -> np.ndarray:
    """float64 (N, F), exact: with the mean of the fit they add up to what the surrogate says of each image."""
    import shap

    return shap.TreeExplainer(model).shap_values(features)


def _r2(scores: np.ndarray, foretold: np.ndarray, patients: np.ndarray) -> dict:
    """Share of the scores' variance that is foretold; None where they do not differ."""

    def of(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        variance = weights @ scores**2 - (weights @ scores) ** 2 / total
        residual = weights @ (scores - foretold) ** 2
        return 1 - np.divide(residual, variance, out=np.full(len(weights), np.nan), where=variance > 1e-9 * total)

    scores, foretold = np.asarray(scores, np.float64), np.asarray(foretold, np.float64)
    # Squares of large scores that differ little would lose their digits.
    scores, foretold = scores - scores.mean(), foretold - scores.mean()
    replicates = cluster_bootstrap(of, patients)
    return percentile_interval(replicates).with_width().around(of(np.ones((1, len(scores))))[0])
