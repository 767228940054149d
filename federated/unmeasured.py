"""Rounds without a model's scores: what a generator is worth is judged at its end, on what it makes."""

import numpy as np

from federated.central import Measured


class Unmeasured:
    """Stands where `Central` measures a classifier."""

    def logits(self, weights: list[np.ndarray]) -> None:
        """None: nothing is predicted."""

    def measure(self, logits: None, client: str | None = None) -> Measured | None:
        """NaN of all rows, None of a client's."""
        return Measured(np.nan, np.nan, np.nan) if client is None else None
