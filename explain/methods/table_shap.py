"""SHAP values of a table's raw features (Lundberg and Lee, NeurIPS 2017).

The players are raw columns: a hidden one takes the values of background rows, together with all that preprocessing
makes of it (its one-hot columns, its missing indicator). How they are computed:

linear: the model has one dense layer, so the values are exact: weight times distance from the background's mean.
exact: over all coalitions, where --samples pays for them.
permutation: over random orders of the features, forward and backward; they add up exactly.
gradient: expected gradients of the encoded columns (Erion et al. 2021) for tables too wide for the others; they add up
only nearly, and what is missing is reported.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from explain.methods.table_score import TableModel

METHODS = ("linear", "exact", "permutation", "gradient")
# More players would need more evaluations than anyone waits for.
MOST_PLAYERS = 100
_ROWS_AT_ONCE = 10
_GRADIENT_SAMPLES = 200
# In the place of NaN, which equals nothing, so that shap sees that two rows both lack a value.
_MISSING = -1e30


@dataclass(frozen=True, eq=False)
class Attribution:
    """SHAP values of N rows.

    Attributes:
        values: float64 (N, features, explained).
        base: float64 (explained,), the mean score of the background.
        scores: float64 (N, explained), of the rows themselves.
        method: one of METHODS.
    """

    values: np.ndarray
    base: np.ndarray
    scores: np.ndarray
    method: str

    @property
    def remainder(self) -> np.ndarray:
        """float64 (N, explained): what the values leave unexplained; rounding, but for the gradient method."""
        return self.scores - self.base - self.values.sum(axis=1)


def attribute(
    model: TableModel,
    background: np.ndarray,
    rows: np.ndarray,
    samples: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    method: str = "",
) -> Attribution:
    """SHAP values of rows against a background.

    Args:
        model: whose scores are explained.
        background: float64 (M, features), raw values of rows that stand for the population.
        rows: float64 (N, features), raw values to explain.
        samples: evaluations per row, each over the whole background; at least two orders of the features are tried.
        seed: of the orders.
        progress: called with rows done and rows in all.
        method: one of METHODS; '' takes the best that is affordable.
    """
    method = method or affordable(model, samples)
    values = np.empty((len(rows), rows.shape[1], len(model.explained)))
    # shap seeds numpy's global generator.
    state = np.random.get_state()
    try:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            if method == "linear":
                attributions = _linear(model, background, part)
            elif method == "gradient":
                attributions = _gradients(model, background, part, seed + start)
            else:
                attributions = _coalitions(model, background, part, samples, seed + start, method)
            values[start : start + len(part)] = attributions
            if progress:
                progress(start + len(part), len(rows))
    finally:
        np.random.set_state(state)
    base = model.scores(background).mean(axis=0)
    return Attribution(values, base, model.scores(rows), method)


def affordable(model: TableModel, samples: int) -> str:
    """The best of METHODS for `samples` evaluations per row."""
    players = len(model.features)
    if linear_weights(model.model) is not None:
        return "linear"
    if players < 30 and 2**players <= samples:
        return "exact"
    return "permutation" if players <= MOST_PLAYERS else "gradient"


def linear_weights(model: tf.keras.Model) -> np.ndarray | None:
    """float64 (F, classes) when the logits are a weighted sum of the input, else None."""
    layers = tf.keras.layers
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    rest = [layer for layer in model.layers if layer not in dense]
    plain = all(isinstance(layer, layers.InputLayer | layers.Dropout) for layer in rest)
    if len(dense) != 1 or not plain or dense[0].activation is not tf.keras.activations.linear:
        return None
    return dense[0].kernel.numpy().astype(np.float64)


def _linear(model: TableModel, background: np.ndarray, rows: np.ndarray) -> np.ndarray:
    preprocessing = model.preprocessing
    encoded = preprocessing.encode(rows).astype(np.float64)
    distance = encoded - preprocessing.encode(background).astype(np.float64).mean(axis=0)
    # Scores are linear in the logits, so the weights of the scores are the scores of the weights.
    weights = model.scores_of(linear_weights(model.model))
    return _by_feature(model, distance[:, :, None] * weights)


def _by_feature(model: TableModel, values: np.ndarray) -> np.ndarray:
    """(N, F, explained) of encoded columns -> (N, features, explained)."""
    summed = np.zeros((len(values), len(model.features), values.shape[2]))
    np.add.at(summed, (slice(None), model.preprocessing.plan.source), values)
    return summed


def _coalitions(
    model: TableModel, background: np.ndarray, rows: np.ndarray, samples: int, seed: int, method: str
) -> np.ndarray:
    shap = _shap()

    def score(codes: np.ndarray) -> np.ndarray:
        return model.scores(np.where(codes == _MISSING, np.nan, codes))

    background, rows = (np.where(np.isnan(x), _MISSING, x) for x in (background, rows))
    masker = shap.maskers.Independent(background, max_samples=len(background))
    values = np.zeros((*rows.shape, len(model.explained)))
    # shap fails on a row that differs from no background row; nothing is to be explained there.
    varies = (rows[:, None] != background).any(axis=(1, 2))
    if not varies.any():
        return values
    players = rows.shape[1]
    if method == "exact":
        explainer, evaluations = shap.ExactExplainer(score, masker), 2**players
    else:
        explainer = shap.PermutationExplainer(score, masker, seed=seed)
        evaluations = max(samples, 2 * (2 * players + 1))
    explanation = explainer(rows[varies], max_evals=evaluations, silent=True)
    values[varies] = explanation.values.reshape(-1, *values.shape[1:])
    return values


def _gradients(model: TableModel, background: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    encode = model.preprocessing.encode
    explainer = _shap().GradientExplainer(model.model, encode(background))
    attributions = explainer.shap_values(encode(rows), nsamples=_GRADIENT_SAMPLES, rseed=seed)
    attributions = np.moveaxis(np.asarray(attributions), 0, -1) if isinstance(attributions, list) else attributions
    n, columns, classes = attributions.shape
    # As in _linear: the attribution of a score is the score of the logits' attributions.
    values = model.scores_of(attributions.reshape(-1, classes)).reshape(n, columns, -1)
    return _by_feature(model, values)


def _shap():
    # shap asks numba for more threads than a small machine has, and warns.
    os.environ.setdefault("NUMBA_NUM_THREADS", str(os.cpu_count() or 1))
    import shap

    return shap
