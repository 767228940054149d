"""Counts of columns by class in coordinates that tell nothing twice, so that noise on them is spent once.

A table of a column by class holds the class counts, and every other column's table holds them again. Noise on all cells
pays for each repetition, since a patient moves all of them. So the classes are counted once, and of each column only
what is left over: which of its cells are frequent, and how that differs between classes. Source: Xiao, He, Zhang and
Kifer, "An optimal and scalable matrix mechanism for noisy marginals under convex loss functions", NeurIPS 2023
(ResidualPlanner).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import helmert

# Of what is the same in all classes, over what differs between them, which classifiers learn from: its noise is so
# much larger. Chosen on other tables than those of the benchmarks (docs/synthetic.md).
POOLED_WEIGHT = 0.7


@dataclass(frozen=True)
class Residuals:
    """Tables of columns by class <-> coordinates.

    Attributes:
        choices: of each column its cells, int (m,), of which a row has one.
        classes: number of classes.
    """

    choices: tuple[Sequence[int], ...]
    classes: int

    @cached_property
    def norm(self) -> float:
        """L2 norm of the coordinates of a row, whatever it is; a mean of rows has no larger one."""
        pooled, apart = POOLED_WEIGHT**2 / self.classes, 1.0 - 1.0 / self.classes
        return math.sqrt(1.0 + sum((1.0 - 1.0 / len(cells)) * (pooled + apart) for cells in self.choices))

    def coordinates(self, counts: np.ndarray) -> np.ndarray:
        """float64 (D,), linear in the counts.

        Args:
            counts: float (classes, cells of the matrix); columns of rows each of which has one cell of each column.
        """
        parts = [counts[:, self.choices[0]].sum(axis=1)]
        for cells, within in zip(self.choices, self._within, strict=True):
            left = counts[:, cells] @ within.T
            parts += [POOLED_WEIGHT * self._pooled @ left, (self._between @ left).ravel()]
        return np.concatenate(parts)

    def counts(self, coordinates: np.ndarray, width: int) -> np.ndarray:
        """The inverse: float64 (classes, width), 0 where no column has a cell; noise may leave less than 0.

        Args:
            coordinates: float (D,).
            width: columns of the matrix.
        """
        counts = np.zeros((self.classes, width))
        of_class, start = coordinates[: self.classes], self.classes
        for cells, within in zip(self.choices, self._within, strict=True):
            size = len(within)
            pooled, start = coordinates[start : start + size] / POOLED_WEIGHT, start + size
            apart, start = coordinates[start : start + size * (self.classes - 1)], start + size * (self.classes - 1)
            left = np.outer(self._pooled, pooled) + self._between.T @ apart.reshape(self.classes - 1, size)
            counts[:, cells] = of_class[:, None] / len(cells) + left @ within
        return counts

    @cached_property
    def _within(self) -> list[np.ndarray]:
        """Of each column an orthonormal basis of what adds up to 0 over its cells: (m - 1, m)."""
        return [_contrasts(len(cells)) for cells in self.choices]

    @cached_property
    def _between(self) -> np.ndarray:
        """The same of classes: (classes - 1, classes)."""
        return _contrasts(self.classes)

    @cached_property
    def _pooled(self) -> np.ndarray:
        return np.full(self.classes, 1.0 / math.sqrt(self.classes))


def nearest_shares(counts: np.ndarray, least: float = 0.0) -> np.ndarray:
    """The shares (m,), none below 0, nearest to noisy counts: their projection on the simplex (Held et al. 1974).

    Counts that are merely cut off at 0 would give every rare cell half of its noise. Counts of which none is below 0
    are their own shares.

    Args:
        counts: float (m,); of nothing above 0 nothing is known, and all shares are alike.
        least: what counts that noise has brought below 0 add up to at least, so that not all falls to one of them.
    """
    total = max(counts.sum(), min(least, counts[counts > 0].sum()))
    if total <= 0.0:
        return np.full(len(counts), 1.0 / len(counts))
    falling = np.sort(counts)[::-1]
    beyond = (np.cumsum(falling) - total) / np.arange(1, len(counts) + 1)
    shares = np.maximum(counts - beyond[falling > beyond][-1], 0.0)
    return shares / shares.sum()


def _contrasts(size: int) -> np.ndarray:
    return helmert(size) if size > 1 else np.zeros((0, 1))
