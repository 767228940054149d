"""Exact samples of the discrete Gaussian (Canonne, Kamath, Steinke 2020), by whole numbers alone.

No floating point: a sample has the distribution that is accounted for, and none of the gaps of rounded noise.
"""

import math
import secrets
from fractions import Fraction
from typing import Protocol

from medimg.errors import InputError


class Source(Protocol):
    """Uniform integers; `random.Random` is one."""

    def getrandbits(self, k: int, /) -> int:
        """0 .. 2^k - 1."""
        ...

    def randrange(self, start: int, /) -> int:
        """0 .. start - 1."""
        ...


class DiscreteGaussian:
    """Integers x with probability in proportion to exp(-x^2 / (2 variance)).

    Args:
        variance: the parameter sigma^2, above 0; the variance itself is a little smaller, by less than a thousandth
            from sigma = 0.7 on.
        source: of uniform integers; the operating system's unless given.

    Raises:
        InputError: the parameter is not above 0.
    """

    def __init__(self, variance: Fraction | int, source: Source | None = None):
        if not variance > 0:
            raise InputError(f"discrete Gaussian of parameter {variance}: must be above 0")
        variance = Fraction(variance)
        self._source = source or secrets.SystemRandom()
        self._numerator, self._denominator = variance.numerator, variance.denominator
        self._scale = math.isqrt(math.floor(variance)) + 1
        # Of the probability with which a discrete Laplace sample is kept.
        self._divisor = 2 * self._numerator * self._denominator * self._scale**2

    def sample(self) -> int:
        """One integer (algorithm 3)."""
        while True:
            candidate = self._laplace()
            excess = abs(candidate) * self._denominator * self._scale - self._numerator
            if self._survives(excess**2, self._divisor):
                return candidate

    def samples(self, count: int) -> list[int]:
        """So many integers, independent of each other."""
        return [self.sample() for _ in range(count)]

    def _laplace(self) -> int:
        """An integer with probability in proportion to exp(-|x| / scale) (algorithm 2)."""
        while True:
            rest = self._source.randrange(self._scale)
            if not self._survives(rest, self._scale):
                continue
            whole = 0
            while self._survives(1, 1):
                whole += 1
            size = rest + self._scale * whole
            negative = self._source.getrandbits(1)
            # Zero has one sign only.
            if size or not negative:
                return -size if negative else size

    def _survives(self, numerator: int, denominator: int) -> bool:
        """True with probability exp(-numerator / denominator), of a fraction of at least 0 (algorithm 1)."""
        while numerator > denominator:
            if not self._survives(1, 1):
                return False
            numerator -= denominator
        tried = 1
        while self._source.randrange(denominator * tried) < numerator:
            tried += 1
        return tried % 2 == 1
