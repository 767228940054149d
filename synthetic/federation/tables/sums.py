"""Sums of counts over the clients before the first round, in the way that the rounds sum their updates."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from federated.config import FederateConfig
from federated.engine.updates import ClientRound, ClientUpdate
from federated.rounds.combining import Combining
from medimg.errors import InputError


class TableSums:
    """Adds up what the clients count.

    Args:
        options: of the rounds; `--secure` is what they are summed by, and always of all clients.
        rows: of each client.
    """

    def __init__(self, options: FederateConfig, rows: Mapping[str, int]):
        self._rows, self._secure = rows, options.secure != "none"
        # Each sum is a round of its own: clients answer none twice.
        self._number = 0
        # Shares are within 1.
        options = replace(options, aggregation="mean", secure_threshold=0, secure_limit=1.0)
        self._combining = None
        if self._secure:
            self._combining = Combining(options, list(rows), max(rows.values()))

    def __call__(self, counts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The sum.

        Args:
            counts: client -> int (n,), each no more than its rows.

        Returns:
            int64 (n,).

        Raises:
            InputError: a client's counts did not get into the sum.
        """
        if not self._secure:
            return np.sum(list(counts.values()), axis=0).astype(np.int64)
        # As shares of the client's rows, so that no count is beyond the limit of a secure sum.
        updates = {
            name: ClientUpdate(
                [np.asarray(counted / self._rows[name], np.float32)],
                float(self._rows[name]),
                [],
                ClientRound(self._rows[name], 0.0, 0.0, 0.0, 0, 0),
            )
            for name, counted in counts.items()
        }
        number, self._number = self._number, self._number + 1
        summed = self._combining.combine(updates, number)
        if summed.failure or len(summed.included) < len(counts):
            why = summed.failure or "; ".join(summed.rejected.values())
            raise InputError(f"the clients' counts could not be summed securely: {why}")
        shares = summed.arrays[0].astype(np.float64)
        return np.rint(shares * sum(self._rows.values())).astype(np.int64)
