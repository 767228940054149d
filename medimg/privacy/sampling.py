"""Which patients a step uses: Poisson sampling by patient, or shuffled batches of a fixed size.

A step is a function of (secret seed, step number) alone, so a training that resumes at step n draws
what it would have drawn.

Poisson sampling is really done: each unit is in each step with probability q, independently of all
others, so a step may be empty and then releases noise alone. Amplification by sampling counts on
that. Shuffled batches use each unit once a pass; the batch of a unit may be known, so nothing is
gained and the ledger counts whole passes. There the neighbour of a data set is the one where a
patient's place in the order stays empty (zero-out): taking it out of the list would move the others
between batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from medimg.errors import InputError
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.secret import generator
from medimg.privacy.units import Units


@dataclass(frozen=True, eq=False)
class Step:
    """What one step uses.

    Attributes:
        number: of the step, from 0.
        units: int64 (U,), unit numbers, ascending; may be empty.
        rows: int64 (R,), rows of the training part, those of a unit together.
        groups: int64 (R,), position in `units` of each row's unit, non-decreasing.
    """

    number: int
    units: np.ndarray
    rows: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, eq=False)
class Sampling:
    """Draws steps; `PoissonSampling` and `ShuffledSampling` say how.

    A step takes at most `rows_per_unit` rows of a unit, drawn anew in each step, so that all are
    used in time. The choice is made within the unit and its whole contribution is clipped, so the
    sensitivity stays the clip.

    Attributes:
        units: of the training part.
        expected_units: units in a step: the expectation, or the fixed size.
        seed: secret (`medimg.privacy.secret`).
        rows_per_unit: most rows of a unit in a step; 0: all.
        phase: of the training; phases draw independently.

    Raises:
        InputError: a step of no units, or of more than there are.
    """

    units: Units
    expected_units: int
    seed: int
    rows_per_unit: int = 0
    phase: int = 0

    def __post_init__(self):
        if self.expected_units < 1:
            raise InputError(f"--batch-size {self.expected_units}: a private step needs a patient")
        if self.expected_units > len(self.units):
            raise InputError(
                f"--batch-size {self.expected_units}: split 'train' has {len(self.units)} patients, and a private "
                "batch counts patients; give a smaller one"
            )
        if self.rows_per_unit < 0:
            raise InputError(f"--dp-images-per-patient {self.rows_per_unit}: must be at least 0")

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each unit is used once, on average or exactly."""
        return math.ceil(len(self.units) / self.expected_units)

    @property
    def most_rows_per_unit(self) -> int:
        """Most rows that a unit has in a step."""
        largest = int(self.units.sizes.max())
        return min(largest, self.rows_per_unit) if self.rows_per_unit else largest

    def step(self, number: int) -> Step:
        """Draw one step."""
        chosen = self._chosen(number)
        rows, groups = self.units.rows_of(chosen)
        if self.rows_per_unit:
            kept = self._kept(number, groups)
            rows, groups = rows[kept], groups[kept]
        return Step(number, chosen, rows, groups)

    def steps(self, first: int, last: int) -> Iterator[Step]:
        """Draw steps first..last - 1."""
        return map(self.step, range(first, last))

    def mechanism(self, noise_multiplier: float = 0.0) -> Mechanism:
        """What the accountants need of it."""
        raise NotImplementedError

    def _chosen(self, number: int) -> np.ndarray:
        raise NotImplementedError

    def _kept(self, number: int, groups: np.ndarray) -> np.ndarray:
        """Positions of `rows_per_unit` rows of each group, drawn uniformly, in ascending order."""
        draw = generator(self.seed, "rows", self.phase, number).random(len(groups))
        shuffled = np.lexsort((draw, groups))
        # Groups are non-decreasing, so the sorted order has the same groups in the same places.
        first = np.searchsorted(groups, groups)
        return np.sort(shuffled[np.arange(len(groups)) - first < self.rows_per_unit])


class PoissonSampling(Sampling):
    """Each unit in each step with probability q = expected_units / units, independently."""

    @property
    def probability(self) -> float:
        """q, of a unit in a step."""
        return self.expected_units / len(self.units)

    def mechanism(self, noise_multiplier: float = 0.0) -> Mechanism:
        """The sampled Gaussian."""
        return Mechanism.poisson(self.probability, noise_multiplier)

    def _chosen(self, number: int) -> np.ndarray:
        draw = generator(self.seed, "units", self.phase, number).random(len(self.units))
        return np.flatnonzero(draw < self.probability)


class ShuffledSampling(Sampling):
    """Each unit once a pass, in batches of `expected_units`; the last batch of a pass may be smaller."""

    def mechanism(self, noise_multiplier: float = 0.0) -> Mechanism:
        """The Gaussian, once a pass."""
        return Mechanism.shuffle(self.steps_per_pass, noise_multiplier)

    def _chosen(self, number: int) -> np.ndarray:
        passed, batch = divmod(number, self.steps_per_pass)
        order = _order(len(self.units), self.seed, self.phase, passed)
        start = batch * self.expected_units
        return np.sort(order[start : start + self.expected_units])


@lru_cache(maxsize=2)
def _order(units: int, seed: int, phase: int, passed: int) -> np.ndarray:
    return generator(seed, "order", phase, passed).permutation(units)


def sampling(
    kind: str,
    units: Units,
    expected_units: int,
    seed: int,
    rows_per_unit: int = 0,
    phase: int = 0,
) -> Sampling:
    """The sampling of `--dp-sampling`: poisson or shuffle."""
    kinds = {"poisson": PoissonSampling, "shuffle": ShuffledSampling}
    if kind not in kinds:
        raise InputError(f"--dp-sampling {kind}: choose one of {', '.join(kinds)}")
    return kinds[kind](units, expected_units, seed, rows_per_unit, phase)
