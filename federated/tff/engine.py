"""The engine: one strategy's rounds on TFF, between states of plain arrays."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from federated.algorithms.strategy import Strategy
from federated.engine import local_training
from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData, Layout
from federated.engine.running_mean import RunningMean
from federated.engine.state import State
from federated.engine.updates import Aggregate, ClientRound, ClientUpdate, Mean, named
from federated.tff import client_work
from federated.tff.client_work import ClientWork, share_of
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from federated.tff.optimizers import client_optimizer
from federated.tff.process import Process
from medimg.errors import InputError

# Clients whose updates are in the worker at a time, where the aggregation can be added up from parts.
CLIENTS_AT_ONCE = 10


class Engine:
    """Federated training by one strategy.

    Everything is a function of (seed, round, client), so a round run again from the same state gives the same weights;
    differentially private noise and compression's rotations are TFF's own and are new each time.

    Args:
        execution: where TFF computations run.
        model: Keras model and task; copied, not changed.
        layout: of the clients' examples.
        strategy: the algorithm.
        local: what a client does in a round.
        seed: of orders and dropout.
        gradient: how clients compute a batch's gradients.
        steps: what a client's steps take and their gradients, instead of `gradient`: private training gives its own.
        work: what a client does in a round, `ClientWork` or what is made and used alike: generators have their own.

    Raises:
        InputError: a model that can't be federated, or options that don't go together.
    """

    def __init__(
        self,
        execution: Execution,
        model: LocalModel,
        layout: Layout,
        strategy: Strategy,
        local: LocalTraining,
        seed: int = 0,
        gradient: client_work.GradientFunction = client_work.gradients,
        steps: local_training.Steps | None = None,
        work: Callable[..., ClientWork] = ClientWork,
    ):
        strategy.check(local)
        model = replace(model, local_norm=strategy.client.local_norm)
        model.check()
        self.model, self.strategy, self.local, self.seed = model, strategy, local, seed
        self._execution = execution
        self._work = work(model, layout, local, strategy, gradient, steps)
        self._optimizer = client_optimizer(local)
        self._process = Process(self._work, strategy, self._optimizer)
        self._server_template = self._call(self._process.initialize_server)
        self._aggregator_template = self._call(self._process.initialize_aggregator)

    @property
    def vectors(self) -> list[tuple[int, ...]]:
        """Shapes of what a client sends."""
        return [tuple(shape) for shape in self._process.vectors]

    @property
    def client_state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of what a client keeps between its rounds."""
        weights = [np.zeros(shape, np.float32) for shape in self.model.shapes]
        client_state = self.strategy.client.client_state(weights, self.model.federated, self.model.local)
        return [tuple(np.shape(array)) for array in client_state]

    def initialize(self, weights: list[np.ndarray] | None = None) -> State:
        """The state before the first round.

        Args:
            weights: as `model.get_weights()`; None: those of the engine's model.
        """
        weights = self.model.model.get_weights() if weights is None else weights
        shapes = self._process.vectors[: len(self.model.federated)]
        return State(
            round=0,
            weights=[np.asarray(w, np.float32) for w in weights],
            server=_flat(self._server_template),
            shared=self.strategy.client.shared(shapes, self._optimizer),
            aggregator=_flat(self._aggregator_template),
        )

    def client_updates(
        self,
        state: State,
        clients: list[ClientData],
        round_number: int | None = None,
        work: dict[str, float] | None = None,
    ) -> dict[str, ClientUpdate]:
        """The clients' work, for `aggregate` or an aggregation outside: secure sums, medians, Krum.

        Args:
            state: before the round.
            clients: that take part.
            round_number: for the seeds, from 1; None: the state's next.
            work: client -> the share of its steps that it does, where that is not all.

        Raises:
            InputError: no clients, or one without examples.
            WorkerLostError: the worker went away; the state is still good.
        """
        number = state.round + 1 if round_number is None else round_number
        _check(clients)
        updates = {}
        for start in range(0, len(clients), CLIENTS_AT_ONCE):
            part = clients[start : start + CLIENTS_AT_ONCE]
            results = self._call(
                self._process.updates,
                tuple(state.weights),
                tuple(state.shared),
                [self._argument(state, client, number, work) for client in part],
            )
            for client, result in zip(part, results, strict=True):
                updates[client.name] = ClientUpdate(
                    _flat(result["vectors"]),
                    self._weight(client),
                    _flat(result["client_state"]),
                    self._measures(result["measures"]),
                )
        return updates

    def aggregate(self, state: State, updates: dict[str, ClientUpdate]) -> Mean:
        """TFF's aggregation of updates that have arrived.

        Args:
            state: that the updates were computed from.
            updates: at least one.
        """
        arrived = list(updates.values())
        size = CLIENTS_AT_ONCE if self.strategy.aggregation == "mean" else len(arrived)
        mean = RunningMean()
        measurements, aggregator_state = {}, state.aggregator
        for start in range(0, len(arrived), size):
            part = arrived[start : start + size]
            result = self._call(
                self._process.aggregate,
                _packed(self._aggregator_template, aggregator_state),
                [{"vectors": tuple(u.vectors), "weight": np.float32(u.weight)} for u in part],
            )
            aggregator_state = _flat(result["state"])
            measurements = named(result["measurements"])
            mean.add(result["mean"], sum(update.weight for update in part))
        return Mean(mean.value(), aggregator_state, measurements)

    def apply(self, state: State, aggregate: Aggregate, round_number: int | None = None) -> State:
        """The server's optimizer, then what the strategy keeps beside the weights.

        Args:
            state: that the updates were computed from.
            aggregate: of the updates, of which only their `client_state` is read.
            round_number: as in `client_updates`.

        Raises:
            InputError: an aggregate of other shapes or not finite.
        """
        mean = self._checked(aggregate.arrays)
        federated = self.model.federated
        n = len(federated)
        server, moved = self._call(
            self._process.finalize,
            _packed(self._server_template, state.server),
            tff.learning.models.ModelWeights(tuple(state.weights[i] for i in federated), ()),
            tuple(mean[:n]),
        )
        weights = list(state.weights)
        for position, value in zip(federated, moved.trainable, strict=True):
            weights[position] = np.asarray(value, np.float32)
        client_states = {name: update.client_state for name, update in aggregate.updates.items()}
        algorithm = self.strategy.client
        return State(
            state.round + 1 if round_number is None else round_number,
            weights,
            _flat(server),
            algorithm.shared_after(state.shared, mean[n:], len(client_states) / self.strategy.clients, self._optimizer),
            state.aggregator if aggregate.aggregator is None else aggregate.aggregator,
            {**state.clients, **client_states} if algorithm.keeps else state.clients,
        )

    def _checked(self, aggregate: list[np.ndarray]) -> list[np.ndarray]:
        shapes = [tuple(np.shape(a)) for a in aggregate]
        if shapes != [tuple(s) for s in self._process.vectors]:
            raise InputError(
                f"aggregate: shapes {shapes} are not those of the clients' vectors {self._process.vectors}"
            )
        if not all(np.isfinite(a).all() for a in aggregate):
            raise InputError("aggregate: holds NaN or infinity; lower --learning-rate")
        return [np.asarray(a, np.float32) for a in aggregate]

    def weights(self, state: State, client: str | None = None) -> list[np.ndarray]:
        """Weights for `model.set_weights`.

        Args:
            state: after any round.
            client: FedBN: with this client's normalisation; None: with the mean of all clients', which no one trained.
        """
        weights = list(state.weights)
        client_states = [state.clients[client]] if client in state.clients else list(state.clients.values())
        if self.model.local and client_states:
            for i, position in enumerate(self.model.local):
                weights[position] = np.mean([arrays[i] for arrays in client_states], axis=0).astype(np.float32)
        return weights

    def local_weights(
        self, state: State, clients: list[ClientData], round_number: int | None = None
    ) -> dict[str, list[np.ndarray]]:
        """Each client's weights after its own work from the state: the global model, personalised by fine-tuning.

        With `epochs` of another engine's `LocalTraining` this is fine-tuning of any length; from the initial state,
        training without federation.

        Raises:
            InputError: the strategy's clients send gradients, not weights.
        """
        if not self.strategy.client.trains:
            raise InputError(f"--strategy {self.strategy.name}: its clients train no weights; use fedavg")
        tuned = {}
        for name, update in self.client_updates(state, clients, round_number).items():
            weights = list(state.weights)
            for position, vector in zip(self.model.federated, update.vectors, strict=False):
                weights[position] = weights[position] - vector
            for position, array in zip(self.model.local, update.client_state, strict=False):
                weights[position] = array
            tuned[name] = weights
        return tuned

    def _argument(self, state: State, client: ClientData, number: int, work: dict[str, float] | None = None) -> dict:
        part = (work or {}).get(client.name, 1.0)
        share = share_of(self._work, state, client, state.clients.get(client.name), self.seed, number, part)
        return {
            "client_state": tuple(share.client_state),
            "folder": share.folder,
            "steps": share.steps,
            "seed": share.seed,
            "weight": np.float32(self._weight(client)),
        }

    def _weight(self, client: ClientData) -> float:
        return float(client.examples) if self.strategy.by_examples else 1.0

    def _measures(self, measures) -> ClientRound:
        up = 4 * sum(int(np.prod(shape)) for shape in self._process.vectors)
        down = 4 * sum(int(np.prod(shape)) for shape in self.model.shapes)
        if self.strategy.client.second_vector:
            down += up // 2
        by_name = {name: float(value) for name, value in measures.items()}
        fixed = [by_name.pop(name) for name in ("examples", "loss", "accuracy", "seconds")]
        return ClientRound(int(fixed[0]), *fixed[1:], up, down, by_name)

    def _call(self, computation: Callable, *arguments):
        return self._execution.run(computation, *arguments)


def _check(clients: list[ClientData]) -> None:
    if not clients:
        raise InputError("--clients: none takes part in the round")
    names = [client.name for client in clients]
    if len(set(names)) < len(names):
        raise InputError(f"--clients: the names {', '.join(names)} are not all different")
    for client in clients:
        if client.examples < 1:
            raise InputError(f"client {client.name}: has no training examples; raise --min-size")


def _flat(structure) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in tf.nest.flatten(structure)]


def _packed(template, leaves: list[np.ndarray]):
    return tf.nest.pack_sequence_as(template, leaves)
