"""Real vectors as integers modulo 2^32 or 2^64, so that masks vanish exactly and a sum can't overflow."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from medimg.errors import InputError

# Below this, rounding would show in a trained model.
COARSEST = 2.0**-10


@dataclass(frozen=True)
class FixedPoint:
    """Encodes `weight * vector`, then the weight, in units of powers of two.

    The unit is the smallest with which the sum of `addends` vectors at both bounds still fits, so no sum wraps
    around. Each addend is rounded once: the decoded sum differs from the real one by at most `addends * unit / 2`,
    and by the 2^-53 relative rounding of the float64 products (none for float32 vectors with whole weights below 2^29).

    Args:
        limit: largest absolute value of a coordinate; larger ones are the caller's to refuse, never clipped here.
        max_weight: largest weight.
        addends: most vectors that are summed.
        bits: 32 or 64.

    Raises:
        InputError: the bounds leave a unit coarser than 2^-10.
    """

    limit: float
    max_weight: float
    addends: int
    bits: int = 64

    def __post_init__(self):
        if self.bits not in (32, 64):
            raise InputError(f"secure aggregation: {self.bits} bits; 32 or 64 are possible")
        if not (0 < self.limit < 2.0**60 and 0 < self.max_weight < 2.0**60):
            raise InputError("secure aggregation: limit and weight bound must be positive and below 2^60")
        if self.unit > COARSEST or self.weight_unit > 1:
            raise InputError(
                f"secure aggregation: {self.bits} bits hold the sum of {self.addends} clients up to {self.limit:g} x "
                f"weight {self.max_weight:g} only in steps of {self.unit:g}; use 64 bits or lower the bounds"
            )

    @property
    def dtype(self) -> np.dtype:
        """Little-endian unsigned integers of `bits`: their arithmetic is modulo 2^bits."""
        return np.dtype(f"<u{self.bits // 8}")

    @cached_property
    def unit(self) -> float:
        """One step of a weighted coordinate."""
        return _unit(self.limit * self.max_weight, self.addends, self.bits)

    @cached_property
    def weight_unit(self) -> float:
        """One step of the weight; whole weights are exact."""
        return _unit(self.max_weight, self.addends, self.bits)

    def encode(self, vector: np.ndarray, weight: float = 1.0) -> np.ndarray:
        """(length,) floats within the limit -> (length + 1,) unsigned integers; the last is the weight."""
        encoded = np.empty(len(vector) + 1, dtype=self.dtype)
        steps = encoded.view(self._signed)
        # Blocks stay in the processor's cache and keep the float64 copy small.
        for start in range(0, len(vector), _BLOCK):
            block = vector[start : start + _BLOCK].astype(np.float64)
            block *= weight
            block *= 1 / self.unit
            np.rint(block, out=block)
            steps[start : start + len(block)] = block
        steps[-1] = np.rint(weight / self.weight_unit)
        return encoded

    def decode(self, total: np.ndarray) -> tuple[np.ndarray, float]:
        """(length + 1,) unsigned sum -> the (length,) float64 weighted sum and the sum of weights."""
        steps = total.view(self._signed)
        return steps[:-1] * self.unit, float(steps[-1] * self.weight_unit)

    @property
    def _signed(self) -> np.dtype:
        return np.dtype(f"<i{self.bits // 8}")


_BLOCK = 1 << 16


def _unit(bound: float, addends: int, bits: int) -> float:
    largest = 2 ** (bits - 1) - 1
    # Too fine by at least a bit, since the sum may reach 2^(exponent - 1).
    _, exponent = math.frexp(bound * addends)
    unit = Fraction(2) ** (exponent - bits - 1)
    # Rounding may add half a step to each addend.
    while addends * (Fraction(bound) / unit + Fraction(1, 2)) > largest:
        unit *= 2
    return float(unit)
