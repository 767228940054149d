"""What the rules of private heads (`medimg.privacy.defaults`) reach beside the defaults before; needs samples, weights.

A head on the features of a frozen MobileNet 0.75 by DP-SGD as `medimg train` does it (Poisson sampling of patients, the
gradient of all of a patient's images clipped, Gaussian noise by Renyi accounting), here in NumPy, where the norm of a
patient's gradient follows from products of features. Folds by patient of training and validation rows judge. ISIC was
not looked at before the rule was settled but for its rate of 0.02 beside 0.03.

`FEATURES=FOLDER python -m benchmarks.private_images`
"""

import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.backbone_features import SETS, Features, features
from benchmarks.material import table
from benchmarks.private_defaults import EPSILONS, FOLDS, REPEATS, noise
from medimg.config import TrainConfig
from medimg.privacy.defaults import coarse, private_defaults


@dataclass(frozen=True)
class Steps:
    """Options of the training of a head; defaults are those before there were rules."""

    optimizer: str = "adam"
    rate: float = 0.001
    batch: int = 32
    passes: int = 20
    clip: float = 1.0
    dropout: float = 0.2


class Patients:
    """Rows by patient, and the pairs of rows of one patient, by which the norm of a patient's gradient follows."""

    def __init__(self, x: np.ndarray, names: np.ndarray):
        unique, self.of_row = np.unique(names, return_inverse=True)
        self.count, self.x = len(unique), x
        order = np.argsort(self.of_row, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.of_row[order])) + 1)
        pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
        self.pairs = np.array(pairs, int).reshape(-1, 2)
        self.squares = (x**2).sum(1)
        self.products = (x[self.pairs[:, 0]] * x[self.pairs[:, 1]]).sum(1)

    def norms(self, rows: np.ndarray, errors: np.ndarray, z: np.ndarray | None) -> np.ndarray:
        """Of each patient's sum of z_i e_i^T over the rows that were drawn; z None: their x."""
        place = np.full(len(self.x), -1)
        place[rows] = np.arange(len(rows))
        alive = np.flatnonzero(place[self.pairs[:, 0]] >= 0)
        i, j = place[self.pairs[alive]].T
        squares = self.squares[rows] if z is None else (z**2).sum(1)
        products = self.products[alive] if z is None else (z[i] * z[j]).sum(1)
        alone = np.bincount(self.of_row[rows], squares * (errors**2).sum(1), self.count)
        cross = products * (errors[i] * errors[j]).sum(1)
        return np.sqrt(np.maximum(alone + 2 * np.bincount(self.of_row[rows[i]], cross, self.count), 0))


def trained(train: Features, epsilon: float, how: Steps, generator) -> np.ndarray:
    """Kernel (F + 1, classes) with the bias as its last row, after private training; epsilon inf: without noise."""
    x = np.c_[train.x, np.ones(len(train.x))].astype(np.float32)
    patients, onehot = Patients(x, train.patients), np.eye(train.classes, dtype=np.float32)[train.y]
    steps_per_pass = math.ceil(patients.count / how.batch)
    total = how.passes * steps_per_pass
    deviation = 0.0 if math.isinf(epsilon) else how.clip * noise(epsilon, total, steps_per_pass)
    weights = np.r_[generator.normal(0, 0.01, (x.shape[1] - 1, train.classes)), np.zeros((1, train.classes))]
    first, second = 0 * weights, 0 * weights
    for step in range(1, total + 1):
        rows = np.flatnonzero((generator.random(patients.count) < 1 / steps_per_pass)[patients.of_row])
        z = x[rows]
        if how.dropout:
            z[:, :-1] *= (generator.random(z[:, :-1].shape, np.float32) >= how.dropout) / np.float32(1 - how.dropout)
        errors = chances(z @ weights.astype(np.float32)) - onehot[rows]
        scale = 1 / np.maximum(patients.norms(rows, errors, z if how.dropout else None) / how.clip, 1)
        g = z.T @ (errors * scale[patients.of_row[rows], None]).astype(np.float32)
        g = (g + generator.normal(0, deviation, g.shape)) / how.batch
        if how.optimizer == "momentum":
            first = 0.9 * first - how.rate * g
            weights = weights + first
            continue
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        size = how.rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights = weights - size * first / (np.sqrt(second) + 1e-7)
    return weights


def chances(logits: np.ndarray) -> np.ndarray:
    """Softmax."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def scores(y: np.ndarray, probabilities: np.ndarray) -> tuple[float, float, float]:
    """AUROC (of several classes the mean of one against the rest), log loss, balanced accuracy of the likeliest."""
    classes = range(probabilities.shape[1])
    each = [
        roc_auc_score(y == k, probabilities[:, k]) for k in (classes if len(classes) > 2 else [1]) if (y == k).any()
    ]
    recall = [(probabilities[y == k].argmax(1) == k).mean() for k in classes if (y == k).any()]
    return float(np.mean(each)), log_loss(y, probabilities, labels=list(classes)), float(np.mean(recall))


def part(of: Features, rows: np.ndarray) -> Features:
    """Some rows."""
    return Features(of.x[rows], of.y[rows], of.patients[rows], of.classes)


def folds(of: Features, repeats: int = REPEATS):
    """Training and judging rows, by patient."""
    for repeat in range(repeats):
        yield from StratifiedGroupKFold(FOLDS, shuffle=True, random_state=repeat).split(of.x, of.y, of.patients)


def mean_scores(of: Features, repeats: int, fitted) -> np.ndarray:
    """Over folds; `fitted` takes the rows that are learnt from and a generator, and gives the kernel and its bias."""
    each = []
    for number, (train, test) in enumerate(folds(of, repeats)):
        weights = fitted(part(of, train), np.random.default_rng(number))
        each.append(scores(of.y[test], chances(np.c_[of.x[test], np.ones(len(test))] @ weights)))
    return np.mean(each, axis=0)


def judged(of: Features, epsilon: float, options, repeats: int = REPEATS) -> np.ndarray:
    """Mean scores over folds; `options` of the number of patients that are learnt from."""
    return mean_scores(
        of, repeats, lambda rows, generator: trained(rows, epsilon, options(len(set(rows.patients))), generator)
    )


def by_rule(epsilon: float, patients: int) -> Steps:
    """As `medimg train` chooses."""
    settled = private_defaults(
        TrainConfig(model="mobilenet", freeze="backbone", dp_epsilon=epsilon), "image", coarse(patients)
    )
    names = ("optimizer", "learning_rate", "batch_size", "epochs", "dp_clip", "dropout")
    return Steps(*(settled[name][0] for name in names))


if __name__ == "__main__":
    lines = []
    for name in SETS:
        given = features(name)
        for epsilon in EPSILONS:
            ways = (lambda n: Steps(), lambda n, e=epsilon: by_rule(e, n))
            before, now = (judged(given, epsilon, way) for way in ways)
            lines.append([name, len(set(given.patients)), epsilon, *(f"{v:.3f}" for v in (*before, *now))])
            print(lines[-1], file=sys.stderr, flush=True)
    measures = ["AUROC", "log loss", "balanced accuracy"]
    table(
        ["set", "patients", "epsilon", *(f"{m} before" for m in measures), *(f"{m} by rule" for m in measures)], lines
    )
