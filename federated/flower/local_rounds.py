"""A site's rounds: the same `ClientWork` as in simulation, run as a TensorFlow function of this process."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from federated.algorithms.strategy import Strategy
from federated.engine.local_training import LocalTraining, Share, Steps
from federated.engine.records import ClientData, Layout
from federated.engine.state import State
from federated.engine.updates import ClientRound, ClientUpdate
from federated.tff.client_work import ClientWork, share_of
from federated.tff.local_model import LocalModel


class LocalRounds:
    """What a site does in rounds; its graph is built once.

    Args:
        model: to train, and its task.
        layout: of the examples.
        strategy: the algorithm.
        local: what a client does in a round.
        seed: of the training.
        steps: of private training; None: batches.

    Raises:
        InputError: a model that can't be federated, or options that don't go together.
    """

    def __init__(
        self,
        model: LocalModel,
        layout: Layout,
        strategy: Strategy,
        local: LocalTraining,
        seed: int,
        steps: Steps | None = None,
    ):
        strategy.check(local)
        model = replace(model, local_norm=strategy.client.local_norm)
        model.check()
        self._work, self._seed = ClientWork(model, layout, local, strategy, steps=steps), seed
        self._round = self._work.build()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights that a round starts from."""
        return self._work.spec.shapes

    def update(self, state: State, client: ClientData, own: list | None, number: int, part: float) -> ClientUpdate:
        """A round, from the global state; its weight is 1, its bytes are not counted.

        Args:
            state: of which weights and shared are read.
            client: with its records.
            own: its state of the strategy; None: as before its first round.
            number: of the round.
            part: share of its steps that it does.
        """
        share = share_of(self._work, state, client, own, self._seed, number, part)
        tensors = [[tf.constant(array) for array in arrays] for arrays in share[:3]]
        vectors, own, measures = self._round(Share(*tensors, *(tf.constant(value) for value in share[3:])))
        told = {name: float(value) for name, value in measures.items()}
        known = [told.pop(name) for name in ("examples", "loss", "accuracy", "seconds")]
        return ClientUpdate(
            [np.asarray(v) for v in vectors],
            1.0,
            [np.asarray(v) for v in own],
            ClientRound(int(known[0]), *known[1:], 0, 0, told),
        )
