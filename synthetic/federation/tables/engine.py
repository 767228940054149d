"""Rounds of generators of rows: clients train from what they are sent, and the server averages (FedAvg of all parts).

The engine is plain: networks of torch have no place in TensorFlow Federated. What a client does is the step of the
central training on its own rows (FedGAN: Rasouli et al. 2020, arXiv:2006.07228; for tables Fed-TGAN: Zhao et al. 2021,
arXiv:2108.07927).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from federated.engine.local_training import local_steps
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import Aggregate, ClientRound, ClientUpdate, Mean
from federated.rounds.combining import weighted_mean
from synthetic.federation.tables import arrays
from synthetic.tables.training import Generator, randomness


@dataclass(frozen=True)
class PlainSums:
    """What rounds ask of a strategy and of a model: clients count by their rows, and nothing stays with them."""

    by_examples: bool = True
    local: tuple = ()


class TableEngine:
    """Of `federated.engine.contract.Engine`, with all clients in this process; means are by their rows.

    Args:
        models: client -> its generator, built from its own rows.
        steps: of a client in a round.
        seed: of everything random but the draws of private steps.
        first: number of the first step of the first round.
        shapes: of the arrays, where all clients are at sites of their own.
    """

    strategy = model = PlainSums()

    def __init__(self, models: Mapping[str, Generator], steps: int, seed: int, first: int = 0, shapes: Sequence = ()):
        self.client_state_shapes, self.vectors = [], [tuple(shape) for shape in shapes]
        self._models, self._steps, self._seed, self._first = models, steps, seed, first

    def initialize(self, weights: list[np.ndarray]) -> State:
        """Before the first round."""
        return State(0, list(weights), [], [], [])

    def aggregate(self, state: State, updates: dict[str, ClientUpdate]) -> Mean:
        """The plain mean."""
        return weighted_mean(updates)

    def apply(self, state: State, aggregate: Aggregate, number: int) -> State:
        """Weights less their mean change."""
        changed = zip(state.weights, aggregate.arrays, strict=True)
        return replace(state, round=number, weights=[np.asarray(old - change, np.float32) for old, change in changed])

    def weights(self, state: State) -> list[np.ndarray]:
        """Of a state."""
        return state.weights

    def client_updates(
        self, state: State, clients: list[ClientData], number: int, work: dict[str, float]
    ) -> dict[str, ClientUpdate]:
        """As `federated.engine.contract.Engine` says; the loss is the critic's, or the autoencoder's."""
        return {client.name: self._update(state, client, number, work.get(client.name, 1.0)) for client in clients}

    def _update(self, state: State, client: ClientData, number: int, work: float) -> ClientUpdate:
        started, model = time.monotonic(), self._models[client.name]
        arrays.assign(model, state.weights)
        first = self._first + (number - 1) * self._steps
        with randomness(self._seed, f"round of {client.name}", number) as random:
            steps = range(first, first + local_steps(self._steps, work))
            losses = [model.step(step, random) for step in steps]
        after = arrays.read(model)
        size = sum(array.nbytes for array in after)
        # How long a private client took tells how many rows were drawn.
        seconds = np.nan if model.private else time.monotonic() - started
        return ClientUpdate(
            [old - new for old, new in zip(state.weights, after, strict=True)],
            float(client.examples),
            [],
            ClientRound(client.examples, _loss(losses), np.nan, seconds, size, size),
        )


def _loss(losses: list[dict[str, float]]) -> float:
    """Mean of the loss that meets real rows; NaN where none is told."""
    known = [loss[name] for loss in losses for name in ("critic_loss", "loss") if name in loss]
    return float(np.mean(known)) if known else np.nan
