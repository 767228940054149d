"""A mean over clients that are asked a part at a time."""

from collections.abc import Iterable

import numpy as np


class RunningMean:
    """The mean over all from the means over parts; in double, so that it matters little how they were cut."""

    def __init__(self):
        self.total: list[np.ndarray] = []
        self.weight = 0.0

    def add(self, mean: Iterable[np.ndarray], weight: float) -> None:
        """Take the mean over a part and the sum of its weights."""
        scaled = [weight * np.asarray(m, np.float64) for m in mean]
        self.total = [t + s for t, s in zip(self.total, scaled, strict=True)] if self.total else scaled
        self.weight += weight

    def value(self) -> list[np.ndarray]:
        """float32, shaped as the parts' means."""
        return [(total / self.weight).astype(np.float32) for total in self.total]
