"""Class imbalance: weights of the loss, or a seeded weighted order of the images."""

import math
from collections.abc import Callable

import numpy as np


def class_weights(targets: np.ndarray, classes: int) -> np.ndarray:
    """Weights that give every class the same total weight: n / (classes * count); an absent class gets 0.

    Args:
        targets: int (N,) class indices.
        classes: number of classes.

    Returns:
        float32 (classes,).
    """
    counts = np.bincount(targets, minlength=classes).astype(np.float64)
    weights = np.zeros(classes)
    present = counts > 0
    weights[present] = len(targets) / (present.sum() * counts[present])
    return weights.astype(np.float32)


def positive_weights(targets: np.ndarray) -> np.ndarray:
    """Per class of a multilabel set, negatives over positives (1 where a class has no positive).

    Args:
        targets: (N, classes) of 0 and 1.

    Returns:
        float32 (classes,).
    """
    positives = targets.sum(axis=0)
    ratio = (len(targets) - positives) / np.maximum(positives, 1)
    return np.where(positives > 0, ratio, 1.0).astype(np.float32)


def image_weights(targets: np.ndarray, classes: int) -> np.ndarray:
    """Chance of drawing each image so that classes come equally often; float64 (N,), sums to 1.

    A multilabel image is drawn for its rarest label; one without any label counts as a class of its own.
    """
    if targets.ndim == 2:
        frequency = np.append(targets.mean(axis=0), (targets.sum(axis=1) == 0).mean())
        with_none = np.column_stack([targets, targets.sum(axis=1) == 0])
        rarest = np.where(with_none > 0, frequency, np.inf).argmin(axis=1)
        targets, classes = rarest, len(frequency)
    weights = class_weights(targets, classes)[targets].astype(np.float64)
    return weights / weights.sum()


def epoch_order(n: int, seed: int, weights: np.ndarray | None = None):
    """A function epoch -> int64 (n,): a permutation, or n draws by weight, that depends on (seed, epoch) alone."""

    def order(epoch: int) -> np.ndarray:
        draw = np.random.default_rng(np.random.SeedSequence([seed, 0x0DE, epoch]))
        if weights is None:
            return draw.permutation(n)
        return draw.choice(n, size=n, p=weights)

    return order


def going_round(order: Callable[[int], np.ndarray], n: int, wanted: int) -> Callable[[int], np.ndarray]:
    """A function epoch -> int64 (wanted,): as many of n as an epoch needs, round after round, each in its own order.

    Args:
        order: round -> int64 (n,).
        n: in a round.
        wanted: in an epoch.
    """
    rounds = math.ceil(wanted / n)
    return lambda epoch: np.concatenate([order(epoch * rounds + each) for each in range(rounds)])[:wanted]
