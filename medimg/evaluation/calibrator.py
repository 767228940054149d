"""A Run's calibrator: logits to probabilities that agree with frequencies, fitted on the validation part.

What is fitted is kept as plain numbers (`calibration.json`), which evaluation applies in numpy and the SavedModel in
its graph (`medimg.serving.answer`).

Sources: Guo et al., "On calibration of modern neural networks", ICML 2017 (temperature); Platt, "Probabilistic outputs
for support vector machines", 1999 (with its smoothed targets, finite on separated rows); Zadrozny and Elkan,
"Transforming classifier scores into accurate multiclass probability estimates", KDD 2002 (isotonic; several classes
each against the rest, renormalised, as scikit-learn does).
"""

import numpy as np
from scipy.special import expit, log_softmax, logsumexp

# Temperatures are looked for between 1 / LARGEST and LARGEST.
LARGEST = 100.0
# Below it scikit-learn's documentation warns of isotonic regression.
ENOUGH_FOR_ISOTONIC = 1000


def activation(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax over classes, or a sigmoid per class of a multilabel task; float64 (N, classes)."""
    logits = np.asarray(logits, np.float64)
    if task == "multilabel":
        return 0.5 * (1.0 + np.tanh(0.5 * logits))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def log_odds(logits: np.ndarray, task: str) -> np.ndarray:
    """log(p / (1 - p)) of each class by itself, exact where p would round to 0 or 1; float64 (N, classes)."""
    logits = np.asarray(logits, np.float64)
    if task == "multilabel":
        return logits
    others = [np.delete(logits, k, axis=1) for k in range(logits.shape[1])]
    return logits - np.stack([logsumexp(other, axis=1) for other in others], axis=1)


def calibrated(logits: np.ndarray, task: str, calibrator: dict) -> np.ndarray:
    """Probabilities by a calibrator.

    Args:
        logits: float (N, classes).
        task: `binary`, `multiclass` or `multilabel`.
        calibrator: what `fit` returned.

    Returns:
        float64 (N, classes).
    """
    maps = list(calibrator["classes"].values())
    if calibrator["method"] == "temperature":
        return activation(np.asarray(logits, np.float64) / [one["temperature"] for one in maps], task)
    odds = log_odds(logits, task)
    each = np.stack([_mapped(odds[:, k], one) for k, one in enumerate(maps)], axis=1)
    return each if task == "multilabel" else each / each.sum(axis=1, keepdims=True)


def fit(method: str, logits: np.ndarray, truth: np.ndarray, task: str, classes: tuple[str, ...]) -> dict:
    """Fit a calibrator.

    Args:
        method: `temperature`, `platt` or `isotonic`.
        logits: float (N, classes) of rows that the model did not learn from.
        truth: bool (N, classes), the row has the class.
        task: `binary`, `multiclass` or `multilabel`.
        classes: their names.

    Returns:
        `method`, `n`, `classes` (name -> its numbers) and `notes`: classes that nothing can be fitted to stay as the
        model gives them, and are named there.
    """
    notes: list[str] = []
    if method == "temperature":
        maps = _temperatures(logits, truth, task)
    else:
        odds = log_odds(logits, task)
        one_class = _platt if method == "platt" else _isotonic
        if task == "binary":
            positive = one_class(odds[:, 1], truth[:, 1])
            maps = [positive and _mirrored(positive), positive]
        else:
            maps = [one_class(odds[:, k], truth[:, k]) for k in range(len(classes))]
    left = [name for name, one in zip(classes, maps, strict=True) if one is None]
    if left:
        which = "" if len(left) == len(classes) else f" of {', '.join(left)}"
        notes.append(
            f"--calibrate {method}: probabilities{which} stay as the model gives them, since the validation part "
            "has one kind of row alone, is separated perfectly (platt has an answer then) or is ranked no better than "
            "chance"
        )
    if method == "isotonic" and len(logits) < ENOUGH_FOR_ISOTONIC:
        notes.append(
            f"isotonic calibration on {len(logits)} validation rows can overfit (scikit-learn advises "
            f"{ENOUGH_FOR_ISOTONIC}); temperature and platt need fewer"
        )
    same = {"temperature": 1.0} if method == "temperature" else {"slope": 1.0, "intercept": 0.0}
    named = {name: one or same for name, one in zip(classes, maps, strict=True)}
    return {"method": method, "n": len(logits), "classes": named, "notes": notes}


def _mapped(odds: np.ndarray, one: dict) -> np.ndarray:
    if "slope" in one:
        return expit(one["slope"] * odds + one["intercept"])
    return np.interp(odds, one["log_odds"], one["probability"])


def _mirrored(one: dict) -> dict:
    """The same of the other of two classes, so that both add to 1."""
    if "slope" in one:
        return {"slope": one["slope"], "intercept": -one["intercept"]}
    return {
        "log_odds": [-x for x in reversed(one["log_odds"])],
        "probability": [1 - p for p in reversed(one["probability"])],
    }


def _temperatures(logits: np.ndarray, truth: np.ndarray, task: str) -> list[dict | None]:
    """One for all classes of a softmax; of a multilabel task one for each."""
    logits = np.asarray(logits, np.float64)
    if task != "multilabel":
        return [_temperature(logits, truth.argmax(axis=1))] * truth.shape[1]
    pairs = [np.stack([np.zeros(len(logits)), column], axis=1) for column in logits.T]
    return [_temperature(pair, one.astype(int)) for pair, one in zip(pairs, truth.T, strict=True)]


def _temperature(logits: np.ndarray, target: np.ndarray) -> dict | None:
    rows = np.arange(len(target))
    of_label = logits[rows, target]
    # All labels in front: the colder the better; no better than the mean of all classes: the hotter the better.
    if (of_label >= logits.max(axis=1)).all() or (of_label - logits.mean(axis=1)).sum() <= 0:
        return None

    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, target].mean()

    most = np.log(LARGEST)
    best = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-9}).x
    return {"temperature": float(np.exp(best))}


def _platt(odds: np.ndarray, truth: np.ndarray) -> dict | None:
    hits, misses = truth.sum(), (~truth).sum()
    spread = odds.std()
    if not hits or not misses or not spread:
        return None
    soft = np.where(truth, (hits + 1) / (hits + 2), 1 / (misses + 2))
    from sklearn.linear_model import LogisticRegression

    # scikit-learn takes no soft target: each row is there as both classes, with its share of each as weight.
    model = LogisticRegression(penalty=None, tol=1e-10, max_iter=1000)
    doubled = np.concatenate([odds, odds])[:, None] / spread
    model.fit(doubled, np.repeat([1, 0], len(odds)), sample_weight=np.concatenate([soft, 1 - soft]))
    slope = float(model.coef_[0, 0] / spread)
    return {"slope": slope, "intercept": float(model.intercept_[0])} if slope > 0 else None


def _isotonic(odds: np.ndarray, truth: np.ndarray) -> dict | None:
    if truth.all() or not truth.any():
        return None
    from sklearn.isotonic import IsotonicRegression

    # Never sure: of N rows that all agree the next may not (Laplace).
    edge = 1 / (len(truth) + 2)
    isotonic = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(odds, truth)
    if len(isotonic.X_thresholds_) < 2:
        return None
    return {"log_odds": isotonic.X_thresholds_.tolist(), "probability": isotonic.y_thresholds_.tolist()}
