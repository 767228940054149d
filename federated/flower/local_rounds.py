"""A site's rounds: the same `ClientWork` as in simulation, run as a TensorFlow function of this process."""

import numpy as np
import tensorflow as tf

from federated.engine.local_training import Share
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientRound, ClientUpdate
from federated.tff.client_work import ClientWork, share_of


class LocalRounds:
    """What a site does in rounds; its graph is built once.

    Args:
        work: of a client, `ClientWork` or what is made alike.
        seed: of the training.
    """

    def __init__(self, work: ClientWork, seed: int):
        self._work, self._seed = work, seed
        self._round = work.build()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights that a round starts from."""
        return self._work.spec.shapes

    def alone(self, weights: list[np.ndarray], client: ClientData, rounds: int) -> list[np.ndarray]:
        """Weights after so many rounds of this client and nobody else, as FedAvg of one has them.

        Args:
            weights: before the first.
            client: with its records.
            rounds: how many.
        """
        weights, client_state = list(weights), None
        for number in range(1, rounds + 1):
            update = self.update(State(number - 1, weights, [], [], []), client, client_state, number, 1.0)
            client_state = update.client_state
            for place, vector in zip(self._work.spec.federated, update.vectors, strict=True):
                weights[place] = weights[place] - vector
        return weights

    def update(
        self, state: State, client: ClientData, client_state: list | None, number: int, part: float
    ) -> ClientUpdate:
        """A round, from the global state; its weight is 1, its bytes are not counted.

        Args:
            state: of which weights and shared are read.
            client: with its records.
            client_state: of the strategy; None: as before its first round.
            number: of the round.
            part: share of its steps that it does.
        """
        share = share_of(self._work, state, client, client_state, self._seed, number, part)
        tensors = [[tf.constant(array) for array in arrays] for arrays in share[:3]]
        vectors, client_state, measures = self._round(Share(*tensors, *(tf.constant(value) for value in share[3:])))
        numbers = {name: float(value) for name, value in measures.items()}
        known = [numbers.pop(name) for name in ("examples", "loss", "accuracy", "seconds")]
        return ClientUpdate(
            [np.asarray(v) for v in vectors],
            1.0,
            [np.asarray(v) for v in client_state],
            ClientRound(int(known[0]), *known[1:], 0, 0, numbers),
        )
