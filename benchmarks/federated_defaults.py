"""What clients' optimizers and rates reach in a federation of heads without privacy; needs the samples and weights.

Federated averaging as `medimg federate` does it (20 rounds of a pass over each client's rows in batches of 32, its
optimizer new in every round; updates count by examples), in NumPy: the last layer on features of a frozen MobileNet
0.75. Clients are four, patients dealt evenly or with labels skewed (Dirichlet 0.3). Folds by patient of training and
validation rows judge.

`FEATURES=FOLDER python -m benchmarks.federated_defaults`
"""

import math
import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.backbone_features import SETS, Features, features
from benchmarks.material import table
from benchmarks.private_images import chances, mean_scores, part

BATCH, REPEATS, CLIENTS, ALPHA = 32, 1, 4, 0.3


@dataclass(frozen=True)
class Rounds:
    """Options of a federation."""

    optimizer: str = "adam"
    rate: float = 0.002
    rounds: int = 20
    epochs: int = 1
    server_momentum: float = 0.0
    dropout: float = 0.2


def local(x, onehot, weights: np.ndarray, how: Rounds, generator) -> np.ndarray:
    """A client's weights after its passes."""
    first, second, step = 0 * weights, 0 * weights, 0
    for _ in range(how.epochs):
        order = generator.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows, step = order[start : start + BATCH], step + 1
            z = x[rows]
            if how.dropout:
                z[:, :-1] *= (generator.random(z[:, :-1].shape, np.float32) >= how.dropout) / (1 - how.dropout)
            g = z.T @ (chances(z @ weights) - onehot[rows]) / len(rows)
            if how.optimizer == "adam":
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
                size = how.rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                weights = weights - size * first / (np.sqrt(second) + 1e-7)
            else:
                first = (0.9 if how.optimizer == "momentum" else 0.0) * first - how.rate * g
                weights = weights + first
    return weights


def averaged(clients: list[Features], how: Rounds, generator) -> np.ndarray:
    """Kernel (F + 1, classes) with the bias as its last row, after all rounds."""
    classes = clients[0].classes
    data = [(np.c_[c.x, np.ones(len(c.x))].astype(np.float32), np.eye(classes)[c.y]) for c in clients]
    shares = np.array([len(c.x) for c in clients]) / sum(len(c.x) for c in clients)
    weights, velocity = np.zeros((data[0][0].shape[1], classes)), 0.0
    for _ in range(how.rounds):
        update = sum(
            s * (local(x, y, weights, how, generator) - weights) for s, (x, y) in zip(shares, data, strict=True)
        )
        velocity = how.server_momentum * velocity + update
        weights = weights + velocity
    return weights


def evenly(of: Features, generator) -> list[Features]:
    """Patients dealt at random."""
    names = np.unique(of.patients)
    client = dict(zip(names, generator.permutation(len(names)) % CLIENTS, strict=True))
    return _clients(of, np.array([client[name] for name in of.patients]))


def skewed(of: Features, generator) -> list[Features]:
    """Patients of each class dealt by a Dirichlet draw."""
    names, first = np.unique(of.patients, return_index=True)
    shares = generator.dirichlet([ALPHA] * CLIENTS, of.classes)
    client = {name: generator.choice(CLIENTS, p=shares[of.y[row]]) for name, row in zip(names, first, strict=True)}
    return _clients(of, np.array([client[name] for name in of.patients]))


def _clients(of: Features, client: np.ndarray) -> list[Features]:
    return [part(of, np.flatnonzero(client == k)) for k in range(CLIENTS) if (client == k).any()]


def judged(of: Features, deal, how: Rounds, repeats: int = REPEATS) -> np.ndarray:
    """Mean scores over folds; `deal` makes clients of the rows that are learnt from."""
    return mean_scores(of, repeats, lambda rows, generator: averaged(deal(rows, generator), how, generator))


WAYS = {
    "Adam 0.002 (before)": Rounds(),
    "SGD 0.01 (by rule)": Rounds("sgd", 0.01),
    "SGD 0.003, server momentum 0.9": Rounds("sgd", 0.003, server_momentum=0.9),
}

if __name__ == "__main__":
    lines = []
    for name in SETS:
        given = features(name)
        for deal in (evenly, skewed):
            for way, how in WAYS.items():
                lines.append([name, deal.__name__, way, *(f"{v:.3f}" for v in judged(given, deal, how))])
                print(lines[-1], file=sys.stderr, flush=True)
    table(["set", "patients dealt", "clients", "AUROC", "log loss", "balanced accuracy"], lines)
