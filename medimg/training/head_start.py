"""`--head-start logistic`: the last layer begins as the penalised logistic regression of a frozen backbone's features.

Its loss has one minimum, which L-BFGS finds in seconds where an optimizer of steps takes many epochs; fine-tuning that
begins there distorts the features less (Kumar et al. 2022, 'Fine-tuning can distort pretrained features').
"""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

_ITERATIONS = 2000


def logistic_head(
    views: list[np.ndarray], targets: np.ndarray, classes: int, penalty: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The regression by scikit-learn, of features that are standardised first, in terms of the features as they are.

    Args:
        views: features (N, F) of every view of the examples.
        targets: int (N,), or (N, classes) of 0 and 1: a regression each.
        classes: number of classes.
        penalty: weight of half the squared norm of the standardised features' coefficients, beside the sum of the
            losses of the examples, whose views share one.
        weights: (N,) of the examples, or None.

    Returns:
        kernel float32 (F, classes) and bias float32 (classes,) of logits.
    """
    x = np.concatenate(views).astype(np.float64)
    shares = np.tile(np.ones(len(targets)) if weights is None else weights, len(views)) / len(views)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # What does not vary says nothing: divided by its own rounding it would.
    deviation[deviation <= 1e-6 * (np.abs(mean) + 1e-12)] = np.inf
    x = (x - mean) / deviation
    if targets.ndim == 2:
        columns = [_regression(x, np.tile(column, len(views)), penalty, shares) for column in targets.T]
        kernel, bias = np.stack([k for k, _ in columns], axis=1), np.array([b for _, b in columns])
    else:
        kernel, bias = _softmax(x, np.tile(targets, len(views)), classes, penalty, shares)
    kernel = kernel / deviation[:, None]
    return kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32)


def _fit(x: np.ndarray, y: np.ndarray, penalty: float, shares: np.ndarray) -> LogisticRegression:
    with warnings.catch_warnings():
        # What is separable without a penalty has no minimum to arrive at; with one it is near it by then.
        warnings.simplefilter("ignore")
        return LogisticRegression(C=1 / penalty, max_iter=_ITERATIONS).fit(x, y, sample_weight=shares)


def _regression(x, y, penalty, shares) -> tuple[np.ndarray, float]:
    """Of one label: log-odds. One that all or none have is at the log-odds of one example more on either side."""
    if y.min() == y.max():
        return np.zeros(x.shape[1]), float(np.log((y.sum() + 1) / (len(y) - y.sum() + 1)))
    regression = _fit(x, y, penalty, shares)
    return regression.coef_[0], float(regression.intercept_[0])


def _softmax(x, y, classes, penalty, shares) -> tuple[np.ndarray, np.ndarray]:
    """Of one of several classes; one without examples is unlikely everywhere."""
    kernel, bias = np.zeros((x.shape[1], classes)), np.full(classes, -np.log(len(y) + 1.0))
    if y.min() == y.max():
        bias[y[0]] = 0.0
        return kernel, bias
    regression = _fit(x, y, penalty, shares)
    coefficients, intercepts = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:
        # Half the log-odds to either side: the softmax of both is the regression's probability.
        coefficients = np.hstack([-coefficients, coefficients]) / 2
        intercepts = np.array([-intercepts[0], intercepts[0]]) / 2
    kernel[:, regression.classes_], bias[regression.classes_] = coefficients, intercepts
    return kernel, bias
