"""What the rules of private tables (`medimg.privacy.defaults`) reach beside the defaults before; needs the samples.

DP-SGD as `medimg train` does it (Poisson sampling, each patient's gradient clipped, Gaussian noise), here in NumPy,
where the norm of an example's gradient has a closed form and a training takes a fraction of a second. Heart's rows are
those of its training and validation parts; folds of them judge. The other tables are scikit-learn's.

`python -m benchmarks.private_defaults [logistic] [mlp]`
"""

import functools
import itertools
import math
import sys

import dp_accounting
import numpy as np
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold

from benchmarks.material import table
from medimg.config import TrainConfig
from medimg.privacy.defaults import coarse, private_defaults

EPSILONS, DELTA, FOLDS, REPEATS, WIDTH, CLIP = (1.0, 3.0, 8.0), 1e-5, 4, 2, 64, 1.0
ORDERS = (*range(2, 9), 12, 16, 24, 32, 48, 64, 128, 256)
# optimizer, rate, batch, passes.
BEFORE = {"logistic": ("adam", 0.01, 32, 200), "mlp": ("adam", 0.001, 32, 200)}


@functools.lru_cache(None)
def noise(epsilon: float, steps: int, steps_per_pass: int) -> float:
    """The least noise multiplier by Renyi accounting."""

    def excess(log_noise: float) -> float:
        event = dp_accounting.GaussianDpEvent(math.exp(log_noise))
        sampled = dp_accounting.PoissonSampledDpEvent(1 / steps_per_pass, event)
        return (
            RdpAccountant(ORDERS).compose(dp_accounting.SelfComposedDpEvent(sampled, steps)).get_epsilon(DELTA)
            - epsilon
        )

    return math.exp(brentq(excess, math.log(0.2), math.log(3000), xtol=1e-3))


def layers(model: str, columns: int, generator) -> list[np.ndarray]:
    """Kernels with their biases as last rows."""
    sizes = [columns, *([WIDTH] * 2 if model == "mlp" else []), 2]
    if model == "logistic":
        return [np.zeros((columns + 1, 2))]
    pairs = itertools.pairwise(sizes)
    kernels = [generator.uniform(-1, 1, (a, b)) * math.sqrt(6 / (a + b)) for a, b in pairs]
    return [np.r_[kernel, np.zeros((1, kernel.shape[1]))] for kernel in kernels]


def forward(weights: list[np.ndarray], x: np.ndarray, generator=None):
    """Inputs of each layer with a one, what each hidden layer's gradient is multiplied by, probabilities."""
    inputs, masks = [np.c_[x, np.ones(len(x))]], []
    for kernel in weights[:-1]:
        hidden = inputs[-1] @ kernel
        dropout = 1.0 if generator is None else 2.0 * (generator.random(hidden.shape) > 0.5)
        masks.append((hidden > 0) * dropout)
        inputs.append(np.c_[hidden * masks[-1], np.ones(len(x))])
    logits = inputs[-1] @ weights[-1]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return inputs, masks, chances / chances.sum(axis=1, keepdims=True)


def trained(x, y, model: str, epsilon: float, optimizer: str, rate: float, batch: int, passes: int, generator):
    """Weights after private training."""
    steps_per_pass = math.ceil(len(x) / batch)
    deviation = CLIP * noise(epsilon, passes * steps_per_pass, steps_per_pass)
    weights, onehot = layers(model, x.shape[1], generator), np.eye(2)[y]
    first, second = [0 * w for w in weights], [0 * w for w in weights]
    for step in range(1, passes * steps_per_pass + 1):
        rows = np.flatnonzero(generator.random(len(x)) < 1 / steps_per_pass)
        inputs, masks, chances = forward(weights, x[rows], generator)
        errors = [chances - onehot[rows]]
        for kernel, mask in zip(weights[:0:-1], masks[::-1], strict=True):
            errors.insert(0, (errors[0] @ kernel[:-1].T) * mask)
        norms = np.sqrt(sum((a**2).sum(1) * (e**2).sum(1) for a, e in zip(inputs, errors, strict=True)))
        scale = np.minimum(1, CLIP / np.maximum(norms, 1e-9))[:, None]
        for j, (a, e) in enumerate(zip(inputs, errors, strict=True)):
            g = (a.T @ (e * scale) + generator.normal(0, deviation, weights[j].shape)) / batch
            if optimizer == "momentum":
                first[j] = 0.9 * first[j] - rate * g
                weights[j] = weights[j] + first[j]
                continue
            first[j], second[j] = 0.9 * first[j] + 0.1 * g, 0.999 * second[j] + 0.001 * g * g
            size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[j] = weights[j] - size * first[j] / (np.sqrt(second[j]) + 1e-7)
    return weights


def by_rule(model: str, epsilon: float, patients: int) -> tuple:
    """As `medimg train` chooses."""
    defaults = private_defaults(TrainConfig(model=model, dp_epsilon=epsilon), "row", coarse(patients))
    return tuple(defaults[name][0] for name in ("optimizer", "learning_rate", "batch_size", "epochs"))


def judged(x, y, model: str, epsilon: float, options) -> tuple[float, float]:
    """Mean AUROC and log loss over folds; `options` of the number of patients."""
    scores = []
    for number, (train, test) in enumerate(
        RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(x, y)
    ):
        weights = trained(x[train], y[train], model, epsilon, *options(len(train)), np.random.default_rng(number))
        chances = forward(weights, x[test])[2][:, 1]
        scores.append((roc_auc_score(y[test], chances), log_loss(y[test], chances)))
    return tuple(np.mean(scores, axis=0))


def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (columns scaled by public ranges, labels)."""
    import tempfile
    from pathlib import Path

    from benchmarks.heart import DATA
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare
    from medimg.training.table import public_preprocessing

    def scaled(values):
        low, high = values.min(axis=0), values.max(axis=0)
        return (values - (low + high) / 2) / np.maximum((high - low) / 4, 1e-9)

    with tempfile.TemporaryDirectory() as folder:
        heart = prepare("heart", str(DATA / "heart_disease"), Path(folder) / "heart", PrepareConfig())
        rows = heart.rows(labelled=True)
        rows = rows[rows["split"] != "test"]
        config = TrainConfig(model="logistic", dp_epsilon=1.0)
        x = public_preprocessing(heart, config.resolved("row")).transform(rows).astype(float)
        y, at_cleveland = heart.targets(rows), (rows["site"] == "cleveland").to_numpy()
    cancer, diabetes = load_breast_cancer(), load_diabetes()
    return {
        "heart": (x, y),
        "heart, Cleveland alone": (x[at_cleveland], y[at_cleveland]),
        "scikit-learn's breast cancer": (scaled(cancer.data), cancer.target),
        "scikit-learn's diabetes, above the median": (
            scaled(diabetes.data),
            (diabetes.target > np.median(diabetes.target)).astype(int),
        ),
    }


if __name__ == "__main__":
    lines = []
    for name, (x, y) in tables().items():
        for model in sys.argv[1:] or BEFORE:
            for epsilon in EPSILONS:
                ways = (lambda n, m=model: BEFORE[m], lambda n, m=model, e=epsilon: by_rule(m, e, n))
                before, now = (judged(x, y, model, epsilon, way) for way in ways)
                lines.append([name, len(x), model, epsilon, *(f"{v:.3f}" for v in (*before, *now))])
                print(lines[-1], file=sys.stderr, flush=True)
    table(["table", "rows", "model", "epsilon", "AUROC before", "log loss", "AUROC by rule", "log loss"], lines)
