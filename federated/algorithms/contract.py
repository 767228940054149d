"""Algorithm: what a strategy does at its clients, and what it keeps beside the weights."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from federated.algorithms.local_round import LocalRound
from federated.engine.local_training import LocalTraining, Share


class Algorithm(Protocol):
    """A strategy's part at the clients; `federated.algorithms.plain.Plain` has what most have alike.

    Attributes:
        trains: clients train weights; else what they send are no weights less others.
        full_gradient: of all their examples goes into what they send, which private steps do not cover.
        second_vector: beside the update clients send another of its shape, that a mean alone makes sense of.
        alike: clients count alike, not by their examples.
        keeps: a client's state after a round is that at the start of its next.
        local_norm: and that is its normalisation layers, which are never sent.
    """

    trains: bool
    full_gradient: bool
    second_vector: bool
    alike: bool
    keeps: bool
    local_norm: bool

    def check(self, local: LocalTraining) -> None:
        """Raises InputError when the clients' options don't fit."""

    def client_state(self, weights: list[np.ndarray], federated: tuple, local: tuple) -> list[np.ndarray]:
        """A client's state before its first round.

        Args:
            weights: of the global model.
            federated: positions in it of what is sent.
            local: of what stays at the clients.
        """

    def shared(self, shapes: list[tuple], optimizer: Any) -> list[np.ndarray]:
        """What the clients share beside the weights, before the first round.

        Args:
            shapes: of what a client trains.
            optimizer: of the clients, with TFF's `initialize` and `next`.
        """

    def initial(self, share: Share, local: tuple) -> list[tf.Tensor]:
        """The weights that a client starts a round from, in the graph."""

    def train(self, client: LocalRound) -> tuple:
        """A client's round, in the graph: (vectors sent, client state, seen, loss, right) as of `LocalRound`."""

    def shared_after(
        self, shared: list[np.ndarray], change: list[np.ndarray], part: float, optimizer: Any
    ) -> list[np.ndarray]:
        """What the clients share after a round.

        Args:
            shared: before it.
            change: the mean of the second vectors.
            part: of all clients, those in it.
            optimizer: as of `shared`.
        """
