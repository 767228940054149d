"""The closest training row of each row and the closest of anybody else: a copy is near one patient and no other.

Source: Facco et al., Estimating the intrinsic dimension of datasets by a minimal neighborhood information, Scientific
Reports 7, 2017: where rows lie smoothly, second distance over first follows a Pareto law, whatever their density.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_CELLS = 2_000_000  # of a block of distances: 16 MB of float64
# Squared distances below this part of the points' own size are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ClosestTwo:
    """Of N rows.

    Attributes:
        distance: float64 (N,), to the closest training row.
        second: float64 (N,), to the closest of another person; inf where there is none.
        position: int64 (N,), of the closest.
    """

    distance: np.ndarray
    second: np.ndarray
    position: np.ndarray

    def gap(self, least: float) -> np.ndarray:
        """float64 (N,): log of second over first distance; `least` is added to both, for what 0 means."""
        with np.errstate(invalid="ignore"):
            log_ratio = np.log(self.second + least) - np.log(self.distance + least)
        # With one person in train there is no other to be nearer to.
        return np.where(np.isfinite(log_ratio), log_ratio, 0.0)

    def ratio(self) -> np.ndarray:
        """float64 (N,): first over second distance, 1 where both are 0."""
        positive = self.second > 0
        return np.divide(self.distance, self.second, out=np.ones(len(self.distance)), where=positive)

    def of(self, selection: np.ndarray) -> "ClosestTwo":
        """Of some of the rows."""
        return ClosestTwo(self.distance[selection], self.second[selection], self.position[selection])


def persons(points: np.ndarray, patients: Sequence) -> np.ndarray:
    """Rows that are one person's: the same patient, or the same values under another name; int (N,) of groups."""
    _, patient = np.unique(np.asarray(patients, str), return_inverse=True)
    _, value = np.unique(points, axis=0, return_inverse=True)
    n = len(points)
    ends = np.concatenate([patient, patient.max(initial=0) + 1 + value.ravel()])
    size = n + int(ends.max(initial=0)) + 1
    links = coo_matrix((np.ones(2 * n), (np.tile(np.arange(n), 2), n + ends)), (size, size))
    return connected_components(links, directed=False)[1][:n]


def closest_two(
    forms: Sequence[np.ndarray], candidates: np.ndarray, groups: np.ndarray, own_groups: np.ndarray | None = None
) -> ClosestTwo:
    """Search among training rows.

    Args:
        forms: float (N, F) each, the rows in one or more forms (an image, its mirror image): the closest
            form counts.
        candidates: float (M, F), training rows.
        groups: int (M,), of `persons`.
        own_groups: int (N,), the group of each row where it is a training row itself: its own do not count.
    """
    middle = candidates.mean(axis=0)
    pool = candidates - middle
    squares = (pool**2).sum(axis=1)
    n, size = len(forms[0]), max(1, _CELLS // len(pool))
    first, second = np.full(n, np.inf), np.full(n, np.inf)
    position = np.zeros(n, np.int64)
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        squared = _squared([form[part] - middle for form in forms], pool, squares)
        if own_groups is not None:
            squared[own_groups[part, None] == groups[None]] = np.inf
        rows = np.arange(len(squared))
        position[part] = squared.argmin(axis=1)
        first[part] = squared[rows, position[part]]
        squared[groups[position[part]][:, None] == groups[None]] = np.inf
        second[part] = squared.min(axis=1)
    return ClosestTwo(np.sqrt(first), np.sqrt(second), position)


def _squared(forms: list[np.ndarray], pool: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """float64 (N, M) by one product of matrices each: in double precision it loses no digit that counts here."""
    least = None
    for form in forms:
        norms = (form**2).sum(axis=1)[:, None]
        distances = norms + squares[None] - 2 * form @ pool.T
        distances[distances <= _ROUNDING * (norms + squares[None])] = 0.0
        least = distances if least is None else np.minimum(least, distances, out=least)
    return least
