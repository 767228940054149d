"""The classifiers that utility is measured with: scikit-learn's defaults or near them, the same for every training set.

Nothing is tuned: on real rows tuning would favour them, on synthetic ones the generator.
"""

import warnings
from collections.abc import Callable

import numpy as np

from synthetic.judge.config import CLASSIFIERS

# A support vector machine's time grows with the square of its rows, or worse.
MOST_SVM_ROWS = 3000


def fit_predict(
    name: str, features: np.ndarray, targets: np.ndarray, tested: np.ndarray, classes: int, seed: int
) -> np.ndarray:
    """Train one classifier and score other rows.

    Args:
        name: one of CLASSIFIERS.
        features: float (N, F), training rows.
        targets: int (N,) of class indices, or 0/1 (N, classes): then one classifier per class.
        tested: float (M, F).
        classes: number of classes; one that training lacks has score 0.
        seed: of what is random in the fit.

    Returns:
        float64 (M, classes), scores in 0..1. Those of an svm rank and decide as it does, but are no probabilities. With
        a single class in training, the constant answer.
    """
    if targets.ndim == 2:
        columns = [fit_predict(name, features, column.astype(np.int64), tested, 2, seed)[:, 1] for column in targets.T]
        return np.column_stack(columns)
    scores = np.zeros((len(tested), classes))
    present = np.unique(targets)
    if len(present) == 1:
        scores[:, present[0]] = 1.0
        return scores
    if name == "svm" and len(targets) > MOST_SVM_ROWS:
        sample = np.random.default_rng(seed).choice(len(targets), MOST_SVM_ROWS, replace=False)
        # Every class must stay.
        sample = np.union1d(sample, np.unique(targets, return_index=True)[1])
        features, targets = features[sample], targets[sample]
    model = _MAKERS[name](len(targets), seed)
    with warnings.catch_warnings(), _one_thread():
        # Not converged after so many steps: as it is for all training sets alike.
        warnings.simplefilter("ignore")
        model.fit(features, targets)
        scores[:, present] = _scores(model, tested)
    return scores


def _one_thread():
    """Threads on small matrices wait for each other longer than they work."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _scores(model, tested: np.ndarray) -> np.ndarray:
    if hasattr(model, "predict_proba"):
        return model.predict_proba(tested)
    margin = model.decision_function(tested)
    if margin.ndim == 1:
        positive = 1 / (1 + np.exp(-np.clip(margin, -500, 500)))
        return np.column_stack([1 - positive, positive])
    odds = np.exp(margin - margin.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _logistic_regression(n: int, seed: int):
    from sklearn.linear_model import LogisticRegression

    return _scaled(LogisticRegression(max_iter=1000, random_state=seed))


def _decision_tree(n: int, seed: int):
    from sklearn.tree import DecisionTreeClassifier

    # Grown to single rows it would rank by luck alone.
    return DecisionTreeClassifier(min_samples_leaf=max(1, min(20, n // 20)), random_state=seed)


def _random_forest(n: int, seed: int):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(200, max_samples=min(n, 20_000), random_state=seed)


def _svm(n: int, seed: int):
    from sklearn.svm import SVC

    return _scaled(SVC(random_state=seed))


def _k_nn(n: int, seed: int):
    from sklearn.neighbors import KNeighborsClassifier

    return _scaled(KNeighborsClassifier(min(15, n)))


def _gradient_boosting(n: int, seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def _mlp(n: int, seed: int):
    from sklearn.neural_network import MLPClassifier

    return _scaled(MLPClassifier((64,), alpha=1e-2, max_iter=200, random_state=seed))


def _scaled(model):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


_MAKERS: dict[str, Callable] = dict(
    zip(
        CLASSIFIERS,
        (_logistic_regression, _decision_tree, _random_forest, _svm, _k_nn, _gradient_boosting, _mlp),
        strict=True,
    )
)
