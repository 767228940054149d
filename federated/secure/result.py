"""What a secure round returns, whichever way it was summed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SecureSum:
    """The sum and how the round went; no client's vector can be had from it but by subtraction of all others.

    Args:
        total: (length,) float64, the sum of weight x vector over `included`.
        weight: the sum of their weights.
        included: clients in the sum, in order.
        dropped: client -> the stage at which it was last awaited in vain; also after its vector had come in.
        rejected: client -> why a message or a vector of its was refused.
        bytes_up: client -> bytes it sent.
        bytes_down: client -> bytes it was sent.
    """

    total: np.ndarray
    weight: float
    included: tuple[str, ...]
    dropped: dict[str, str]
    rejected: dict[str, str]
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]

    @property
    def mean(self) -> np.ndarray:
        """(length,) float64, the weighted mean."""
        return self.total / self.weight
