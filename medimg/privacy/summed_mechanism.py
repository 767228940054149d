"""The mechanism of a private federation whose sites add a share of the noise each, so that the sum has all of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from medimg.errors import InputError
from medimg.privacy.mechanism import Mechanism


@dataclass(frozen=True)
class SummedMechanism(Mechanism):
    """One release of a sum of whole numbers over sites, every unit in it, with discrete Gaussian noise.

    The noise multiplier is the standard deviation of the shares that are counted on, together, over the sensitivity.

    Attributes:
        sensitivity: most that a unit adds to the sum, in L2 norm, in steps of the grid.
        shares: of noise that are counted on.
        dimension: of the sum.
    """

    sensitivity: int = 1
    shares: int = 1
    dimension: int = 1

    def __post_init__(self):
        super().__post_init__()
        if (self.sampling, self.steps_per_pass) != ("shuffle", 1):
            raise InputError("noise in shares: every unit is in every step")
        for name in ("sensitivity", "shares", "dimension"):
            value = getattr(self, name)
            if not (type(value) is int and value >= 1):
                raise InputError(f"noise in shares: {name} {value} must be a whole number of at least 1")

    @classmethod
    def of(cls, sensitivity: int, shares: int, dimension: int, noise_multiplier: float = 0.0) -> "SummedMechanism":
        """By its attributes."""
        return cls("shuffle", 1.0, 1, noise_multiplier, sensitivity, shares, dimension)

    @property
    def share_variance(self) -> int:
        """Parameter of each share's discrete Gaussian: a whole number, rounded up."""
        # Exact of the float: no rounding makes the noise smaller than what is counted.
        return math.ceil((Fraction(self.noise_multiplier) * self.sensitivity) ** 2 / self.shares)

    def event(self, ranges: Sequence[tuple[int, int]]):
        """The `dp_accounting.DpEvent` of some steps, each of which is one release."""
        from dp_accounting import dp_event

        from medimg.privacy.summed_noise import SummedNoiseDpEvent

        one = SummedNoiseDpEvent(self.sensitivity, self.share_variance, self.shares, self.dimension)
        return dp_event.SelfComposedDpEvent(one, self._passes(ranges))
