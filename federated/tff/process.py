"""The TFF computations of a strategy: clients' work, aggregation, the server's step."""

import collections
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from federated.algorithms.strategy import Strategy
from federated.engine.local_training import Share
from federated.tff.client_work import ClientWork
from federated.tff.optimizers import aggregator, server_optimizer


class Process:
    """What a TFF worker runs in a round; built once, for any number of clients.

    Args:
        work: of the clients.
        strategy: the algorithm.
        optimizer: of the clients.

    Attributes:
        vectors: shapes of what a client sends, in order.
        initialize_server: () -> state of the server's optimizer.
        initialize_aggregator: () -> state of the aggregation.
        updates: (weights, shared, clients) -> for each client its vectors, state and measures.
        aggregate: (aggregation's state, clients' vectors and weights) -> its new state, the mean, measurements.
        finalize: (server state, model, mean) -> (server state, model).
    """

    def __init__(self, work: ClientWork, strategy: Strategy, optimizer: tff.learning.optimizers.Optimizer):
        self.work, self.strategy = work, strategy
        spec, algorithm = work.spec, strategy.client
        of_model = spec.shapes
        shapes = [of_model[i] for i in spec.federated]
        self.vectors = shapes * (2 if algorithm.second_vector else 1)
        self._build_server(shapes)
        client_state = algorithm.client_state(
            [np.zeros(shape, np.float32) for shape in of_model], spec.federated, spec.local
        )
        types = tff.types
        self._weights_type = _vectors_type(of_model)
        self._shared_type = _vectors_type([array.shape for array in algorithm.shared(shapes, optimizer)])
        self._client_type = types.StructType(
            [
                ("client_state", _vectors_type([array.shape for array in client_state])),
                ("folder", types.TensorType(np.str_)),
                ("steps", types.TensorType(np.int64, [None, None])),
                ("seed", types.TensorType(np.int32, [2])),
                ("weight", types.TensorType(np.float32)),
            ]
        )
        with restored_parents():
            self._build_clients()

    def _build_server(self, shapes: list) -> None:
        weights = tff.learning.models.ModelWeights
        model_type = tff.types.StructWithPythonType(
            [("trainable", _vectors_type(shapes)), ("non_trainable", _vectors_type([]))], weights
        )
        finalizer = tff.learning.templates.build_apply_optimizer_finalizer(server_optimizer(self.strategy), model_type)
        self.initialize_server = finalizer.initialize
        state_type = finalizer.initialize.type_signature.result
        at_server = tff.types.FederatedType

        @tff.federated_computation(
            state_type, at_server(model_type, tff.SERVER), at_server(model_type.trainable, tff.SERVER)
        )
        def finalize(state, model, mean):
            result = finalizer.next(state, model, mean)
            return result.state, result.result

        self.finalize = finalize

    def _build_clients(self) -> None:
        build = self.work.build

        @tff.tensorflow.computation(self._weights_type, self._shared_type, self._client_type)
        def train(weights, shared, client):
            vectors, client_state, measures = build()(
                Share(
                    list(weights),
                    list(shared),
                    list(client["client_state"]),
                    client["folder"],
                    client["steps"],
                    client["seed"],
                )
            )
            return collections.OrderedDict(
                vectors=tuple(vectors),
                client_state=tuple(client_state),
                measures=collections.OrderedDict(sorted(measures.items())),
                weight=client["weight"],
            )

        @tff.federated_computation(
            tff.types.FederatedType(self._weights_type, tff.SERVER),
            tff.types.FederatedType(self._shared_type, tff.SERVER),
            tff.types.FederatedType(self._client_type, tff.CLIENTS),
        )
        def updates(weights, shared, clients):
            broadcast = tff.federated_broadcast
            return tff.federated_map(train, (broadcast(weights), broadcast(shared), clients))

        self.updates = updates
        self._build_aggregation(train.type_signature.result["vectors"])

    def _build_aggregation(self, vectors_type: tff.types.StructType) -> None:
        factory = aggregator(self.strategy)
        weighted = isinstance(factory, tff.aggregators.WeightedAggregationFactory)
        rule = (
            factory.create(vectors_type, tff.types.TensorType(np.float32)) if weighted else factory.create(vectors_type)
        )
        self.initialize_aggregator = rule.initialize

        state_type = rule.initialize.type_signature.result
        sent_type = tff.types.StructType([("vectors", vectors_type), ("weight", np.float32)])

        @tff.federated_computation(state_type, tff.types.FederatedType(sent_type, tff.CLIENTS))
        def aggregate(state, updates):
            vectors = updates["vectors"]
            result = rule.next(state, vectors, updates["weight"]) if weighted else rule.next(state, vectors)
            return collections.OrderedDict(state=result.state, mean=result.result, measurements=result.measurements)

        self.aggregate = aggregate


def _vectors_type(shapes: list):
    """A tuple of float32 tensors."""
    return tff.types.StructWithPythonType([tff.types.TensorType(np.float32, list(shape)) for shape in shapes], tuple)


@contextmanager
def restored_parents() -> Iterator[None]:
    """Give Keras' classes back the parents they had.

    When a layer is made inside a `tf.Graph`, Keras 2 changes the parents of its class, for the whole process, to those
    of TensorFlow 1; models made before then fail until some layer of each class is made anew outside.
    """
    parents = {cls: cls.__bases__ for cls in _below(tf.keras.layers.Layer)}
    try:
        yield
    finally:
        for cls, bases in parents.items():
            if cls.__bases__ != bases:
                cls.__bases__ = bases


def _below(cls: type) -> list[type]:
    below, pending = {}, [cls]
    while pending:
        for child in pending.pop().__subclasses__():
            if child not in below:
                below[child] = None
                pending.append(child)
    return list(below)
