"""Engine: what rounds ask of whatever computes the clients' updates and the server's step."""

from typing import Protocol

import numpy as np

from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import Aggregate, ClientUpdate, Mean


class Engine(Protocol):
    """What a round asks of its engine; `federated.tff.engine.Engine` is one.

    Attributes:
        strategy: `by_examples` tells whether clients count by their examples.
        model: `local` tells what stays at the clients: nothing, ().
    """

    def initialize(self, weights: list[np.ndarray]) -> State:
        """The state before the first round."""
        ...

    def client_updates(
        self, state: State, clients: list[ClientData], number: int, work: dict[str, float]
    ) -> dict[str, ClientUpdate]:
        """The clients' work: weights before less weights after. A function of the state, the client and the number."""
        ...

    def aggregate(self, state: State, updates: dict[str, ClientUpdate]) -> Mean:
        """The mean of updates, where they are seen and no rule is asked for."""
        ...

    def apply(self, state: State, aggregate: Aggregate, number: int) -> State:
        """The server's step: the state after the round."""
        ...

    def weights(self, state: State) -> list[np.ndarray]:
        """Of a state."""
        ...
