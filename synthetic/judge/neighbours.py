"""Nearest neighbours by exact distances, a block of queries at a time.

Not by the usual |a|^2 + |b|^2 - 2ab: that loses the digits in which a copy differs from a near copy.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

_CELLS = 4_000_000  # of a block of distances: 32 MB of float64
# Distances that differ by less are the same one, computed in another order.
_SAME = 1e-9


def distance_blocks(queries: np.ndarray, candidates: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances.

    Args:
        queries: float (N, F).
        candidates: float (M, F).

    Yields:
        Which queries, and float64 (block, M).
    """
    size = max(1, _CELLS // max(1, len(candidates)))
    for start in range(0, len(queries), size):
        part = slice(start, min(start + size, len(queries)))
        yield part, cdist(queries[part], candidates)


def nearest(
    queries: np.ndarray, candidates: np.ndarray, k: int = 1, alien: tuple | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest candidates of each query, nearest first.

    Args:
        queries: float (N, F).
        candidates: float (M, F).
        k: how many; with fewer candidates the rest are at infinity.
        alien: groups of the queries (N,) and of the candidates (M,): only candidates of other groups count.

    Returns:
        float64 (N, k) of distances and int64 (N, k) of positions.
    """
    distances = np.full((len(queries), k), np.inf)
    positions = np.zeros((len(queries), k), np.int64)
    count = min(k, len(candidates))
    for part, block in distance_blocks(queries, candidates):
        if alien is not None:
            block[np.asarray(alien[0])[part, None] == np.asarray(alien[1])[None]] = np.inf
        order = np.argpartition(block, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(block, order, axis=1)
        by_distance = np.argsort(near, axis=1, kind="stable")
        positions[part, :count] = np.take_along_axis(order, by_distance, axis=1)
        distances[part, :count] = np.take_along_axis(near, by_distance, axis=1)
    return distances, positions


def credit(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """How many queries each candidate is the nearest of, candidates at the same distance sharing evenly.

    Returns:
        float64 (M,), its sum N.
    """
    total = np.zeros(len(candidates))
    for _, block in distance_blocks(queries, candidates):
        least = block.min(axis=1, keepdims=True)
        tied = block <= least * (1 + _SAME) + _SAME
        total += (tied / tied.sum(axis=1, keepdims=True)).sum(axis=0)
    return total


def radii(points: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th nearest other point: float64 (N,); needs more than k points."""
    radius = np.empty(len(points))
    for part, block in distance_blocks(points, points):
        # The point itself is the nearest of all, at distance 0.
        radius[part] = np.partition(block, k, axis=1)[:, k]
    return radius
