"""Which patients a step uses: Poisson sampling by patient, or each once a pass in random batches.

Whether a patient is in a step is a function of (secret, patient, step) alone: a training that resumes at step n draws
what it would have drawn, and without a patient the others are drawn as before.

Poisson sampling is really done: each unit is in each step with probability q, independently of all others, so a step
may be empty and then releases noise alone. Amplification by sampling counts on that. Shuffled batches use each unit
once a pass, in a batch that it draws by itself; which one may be known, so nothing is gained and the ledger counts
whole passes.

Both know the number of units by one whole number alone, the steps of a pass: q is one over them, and what a sum is
divided by is the batch size that was asked for. Were q the batch size over the exact number, one patient more would
change everybody's chance.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medimg.errors import InputError
from medimg.privacy.draws.keyed import fold, uniform
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.mechanism import Mechanism
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
        expected_units: most units in a step on average, and what a step's sum is divided by.
        secret: of the training; None: only how many are drawn is asked for.
        rows_per_unit: most rows of a unit in a step; 0: all.
        phase: of the training; phases draw independently.

    Raises:
        InputError: a step of no units, or of more than there are.
    """

    units: Units
    expected_units: int
    secret: Secret | None
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
        return steps_per_pass(len(self.units), self.expected_units)

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
            kept = self._kept(number, rows, groups)
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

    def _chances(self, number: int) -> np.ndarray:
        """A number in [0, 1) that each unit draws: float64 (units,)."""
        return uniform(fold(self._unit_keys, self.phase, number), 1)[:, 0]

    def _kept(self, number: int, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Positions of `rows_per_unit` rows of each group, drawn uniformly, in ascending order."""
        draw = uniform(fold(self._row_keys[rows], self.phase, number), 1)[:, 0]
        shuffled = np.lexsort((draw, groups))
        # Groups are non-decreasing, so the sorted order has the same groups in the same places.
        first = np.searchsorted(groups, groups)
        return np.sort(shuffled[np.arange(len(groups)) - first < self.rows_per_unit])

    def _keys(self, purpose: str) -> np.ndarray:
        """uint64 (units,)."""
        if self.secret is None:
            raise ValueError("nothing can be drawn without the training's secret")
        return self.secret.unit_keys(purpose, self.units.names)

    @cached_property
    def _unit_keys(self) -> np.ndarray:
        return self._keys("units")

    @cached_property
    def _row_keys(self) -> np.ndarray:
        """uint64 (rows,), by row of the training part."""
        keys = np.empty(len(self.units.rows), np.uint64)
        of_unit = self._keys("rows")
        for unit, (start, stop) in enumerate(zip(self.units.starts, self.units.starts[1:], strict=False)):
            for place, row in enumerate(self.units.rows[start:stop]):
                keys[row] = fold(of_unit[unit : unit + 1], place)[0]
        return keys


class PoissonSampling(Sampling):
    """Each unit in each step with probability q = 1 / steps of a pass, independently."""

    @property
    def probability(self) -> float:
        """q, of a unit in a step."""
        return 1.0 / self.steps_per_pass

    def mechanism(self, noise_multiplier: float = 0.0) -> Mechanism:
        """The sampled Gaussian."""
        return Mechanism.poisson(self.probability, noise_multiplier)

    def _chosen(self, number: int) -> np.ndarray:
        return np.flatnonzero(self._chances(number) < self.probability)


class ShuffledSampling(Sampling):
    """Each unit once a pass, in a batch that it draws by itself; batches differ in size."""

    def mechanism(self, noise_multiplier: float = 0.0) -> Mechanism:
        """The Gaussian, once a pass."""
        return Mechanism.shuffle(self.steps_per_pass, noise_multiplier)

    def _chosen(self, number: int) -> np.ndarray:
        passed, batch = divmod(number, self.steps_per_pass)
        drawn = np.floor(self._chances(passed) * self.steps_per_pass).astype(np.int64)
        return np.flatnonzero(drawn == batch)


def steps_per_pass(units: int, expected_units: int) -> int:
    """Steps in which each unit is used once: all that a private training knows of the number of units."""
    return math.ceil(units / expected_units)


def sampling(
    kind: str, units: Units, expected_units: int, secret: Secret | None, rows_per_unit: int = 0, phase: int = 0
) -> Sampling:
    """The sampling of `--dp-sampling`: poisson or shuffle."""
    kinds = {"poisson": PoissonSampling, "shuffle": ShuffledSampling}
    if kind not in kinds:
        raise InputError(f"--dp-sampling {kind}: choose one of {', '.join(kinds)}")
    return kinds[kind](units, expected_units, secret, rows_per_unit, phase)
