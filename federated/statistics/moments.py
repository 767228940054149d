"""Moments: count, mean, spread and range of numbers, which merge without the numbers."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """What is known of some numbers.

    Attributes:
        count: how many.
        mean: of them; 0 when there are none.
        m2: sum of squared differences from the mean.
        low: the smallest; infinity when there are none.
        high: the largest; -infinity when there are none.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, values: np.ndarray, times: np.ndarray) -> "Moments":
        """Of numbers without NaN (N,), each counted `times` (N,)."""
        count = int(times.sum())
        if not count:
            return cls()
        values, times = values[times > 0], times[times > 0]
        mean = float(np.average(values, weights=times))
        m2 = float(np.dot((values - mean) ** 2, times))
        return cls(count, mean, m2, float(values.min()), float(values.max()))

    def __add__(self, other: "Moments") -> "Moments":
        """Of both; Chan, Golub and LeVeque 1979, which loses no digits to a mean far from 0."""
        count = self.count + other.count
        if not count:
            return self
        share = other.count / count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * share,
            self.m2 + other.m2 + apart * apart * self.count * share,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def variance(self) -> float:
        """Of these very numbers: divided by their count."""
        return self.m2 / self.count if self.count else 0.0
