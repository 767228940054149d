"""Krum and multi-Krum: follow the clients that lie close to most others.

Source: Blanchard, El Mhamdi, Guerraoui and Stainer, Machine learning with adversaries: Byzantine tolerant gradient
descent, NeurIPS 2017.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from federated.robust.mean import mean
from federated.robust.vectors import RobustAggregate, blocks, checked
from medimg.errors import InputError


def krum(vectors: Sequence[np.ndarray], byzantine: int) -> RobustAggregate:
    """The one update with the least sum of squared distances to its n - f - 2 closest; of equals the first.

    Args:
        vectors: n >= 2 f + 3 updates, float (d,).
        byzantine: f, the hostile clients to withstand.

    Raises:
        InputError: too few clients for f.
    """
    return multi_krum(vectors, byzantine, keep=1)


def multi_krum(
    vectors: Sequence[np.ndarray], byzantine: int, keep: int | None = None, weights: Sequence[float] | None = None
) -> RobustAggregate:
    """The mean of the `keep` updates with the best Krum scores.

    Args:
        vectors: n >= 2 f + 3 updates, float (d,).
        byzantine: f, the hostile clients to withstand.
        keep: 1 to n - f; n - f - 2 by default.
        weights: length n, e.g. examples, of that mean; None counts every kept client alike.

    Raises:
        InputError: too few clients for f, or `keep` out of its range.
    """
    n, _ = checked(vectors)
    check_krum(n, byzantine)
    keep = n - byzantine - 2 if keep is None else keep
    if not 1 <= keep <= n - byzantine:
        raise InputError(
            f"multi-Krum can keep 1 to {n - byzantine} of {n} clients with --byzantine {byzantine}, not {keep}"
        )
    scores = krum_scores(squared_distances(vectors), byzantine)
    selected = np.sort(np.argsort(scores, kind="stable")[:keep])
    best = mean([vectors[i] for i in selected], None if weights is None else np.asarray(weights)[selected])
    share = np.zeros(n)
    share[selected] = best.share
    return replace(best, share=share, scores=scores)


def check_krum(clients: int, byzantine: int) -> None:
    """Refuse more hostile clients than Krum withstands.

    Raises:
        InputError: n < 2 f + 3, or f is negative.
    """
    if byzantine < 0:
        raise InputError(f"--byzantine {byzantine}: must be 0 or more clients")
    if clients < 2 * byzantine + 3:
        most = (clients - 3) // 2
        remedy = f"--byzantine {most} or less" if most >= 0 else "--aggregation mean"
        raise InputError(
            f"--byzantine {byzantine}: Krum needs at least {2 * byzantine + 3} clients in a round to withstand "
            f"{byzantine} (2f + 3), got {clients}; give {remedy}, or raise --clients or --client-fraction"
        )


def squared_distances(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Squared Euclidean distances of every two updates, float64 (n, n); infinite where they overflow."""
    n, _ = checked(vectors)
    products = np.zeros((n, n))
    with np.errstate(over="ignore", invalid="ignore"):
        for _, values in blocks(vectors):
            # Distances do not change when all are shifted; near 0 the products keep the digits that small
            # distances need. The median, since one huge update would carry the mean away from all the others.
            shifted = values - np.median(values, axis=0)
            products += shifted @ shifted.T
        squares = np.diag(products)
        distances = squares[:, None] + squares[None, :] - 2 * products
    distances = np.where(np.isnan(distances), np.inf, np.maximum(distances, 0))
    np.fill_diagonal(distances, 0)
    return distances


def krum_scores(distances: np.ndarray, byzantine: int) -> np.ndarray:
    """Sum of the squared distances to the n - f - 2 closest others, float64 (n,).

    Args:
        distances: float64 (n, n), squared.
        byzantine: f.
    """
    n = len(distances)
    off_diagonal = distances[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    return np.sort(off_diagonal, axis=1)[:, : n - byzantine - 2].sum(axis=1)
