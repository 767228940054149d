"""A Keras model as the worker's graph needs it: no initial values, dropout by seed, no normalisation left to chance."""

import copy
import zlib
from dataclasses import dataclass
from functools import cached_property

import tensorflow as tf

from medimg.errors import InputError
from medimg.training.losses import loss_for

_NORMALIZATIONS = (
    tf.keras.layers.BatchNormalization,
    tf.keras.layers.GroupNormalization,
    tf.keras.layers.LayerNormalization,
)


@tf.keras.saving.register_keras_serializable(package="medimg.federated")
class SeededDropout(tf.keras.layers.Dropout):
    """Dropout whose mask depends on `key` and the layer's name alone.

    Keras' own draws from counters or variables of the process: a round repeated after a crash would drop others.

    Attributes:
        key: int32 (2,), set before each call in training; None in inference.
    """

    key = None

    def call(self, inputs, training=None):
        """Drop and rescale in training."""
        if not training or not self.rate:
            return inputs
        salted = tf.random.experimental.stateless_fold_in(self.key, zlib.crc32(self.name.encode()) & 0x7FFFFFFF)
        shape = tf.shape(inputs)
        if self.noise_shape is not None:
            sizes = [shape[i] if n is None else n for i, n in enumerate(self.noise_shape)]
            shape = tf.stack(sizes)
        keeps = tf.random.stateless_uniform(shape, salted, dtype=inputs.dtype) >= self.rate
        return tf.where(keeps, inputs / (1.0 - self.rate), tf.zeros_like(inputs))


@dataclass(frozen=True)
class LocalModel:
    """What the clients train.

    Attributes:
        model: functional, un-nested; inputs to logits; its layers' `trainable` say what is trained.
        task: `binary`, `multiclass` or `multilabel`.
        local_norm: normalisation layers stay at the client; set by the engine for FedBN.
    """

    model: tf.keras.Model
    task: str
    local_norm: bool = False

    def check(self) -> None:
        """Refuse what can't be federated.

        Raises:
            InputError: BatchNorm that would be trained, FedBN without normalisation, random layers that a resumed
                round can't repeat, or nothing to train.
        """
        norms = [layer for layer in self.model.layers if isinstance(layer, _NORMALIZATIONS)]
        if self.local_norm and not any(layer.trainable for layer in norms):
            raise InputError(
                f"--strategy fedbn: {self.model.name} trains no normalisation layer to keep at the clients; use fedavg"
            )
        moving = [n for n in norms if isinstance(n, tf.keras.layers.BatchNormalization)]
        if not self.local_norm and any(layer.trainable for layer in moving):
            raise InputError(
                f"--norm batch: {self.model.name} would train BatchNorm, whose moving statistics clients can't share; "
                "use --norm group, --freeze backbone or --strategy fedbn"
            )
        for layer in self.model.layers:
            random = isinstance(layer, tf.keras.__internal__.layers.BaseRandomLayer)
            if random and type(layer) not in (tf.keras.layers.Dropout, SeededDropout):
                kind = type(layer).__name__
                raise InputError(
                    f"layer {layer.name}: {kind} draws random numbers that a resumed round can't repeat; use Dropout"
                )
        if not self.federated:
            raise InputError(f"--freeze: {self.model.name} has nothing left to train; use --freeze backbone")

    @cached_property
    def local(self) -> tuple[int, ...]:
        """Positions in `model.weights` of what stays at the client."""
        if not self.local_norm:
            return ()
        return _positions(self.model, [w for n in self.model.layers if _is_kept(n) for w in n.weights])

    @cached_property
    def federated(self) -> tuple[int, ...]:
        """Positions in `model.weights` of what is trained and sent."""
        trainable = _positions(self.model, self.model.trainable_variables)
        return tuple(i for i in trainable if i not in self.local)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of `model.weights`."""
        return [tuple(weight.shape) for weight in self.model.weights]

    def loss(self) -> tf.keras.losses.Loss:
        """Of the task, on logits."""
        return loss_for(self.task)

    def in_graph(self) -> tf.keras.Model:
        """A copy for the graph under construction, its weights in the same order and all zero."""
        config = of_zeros(self.model)
        for layer in config["layers"]:
            if layer["class_name"] == "Dropout":
                layer["class_name"] = "medimg.federated>SeededDropout"
                layer["registered_name"] = "medimg.federated>SeededDropout"
                layer["module"] = None
        return tf.keras.Model.from_config(config)


def of_zeros(model: tf.keras.Model) -> dict:
    """The configuration of a copy whose weights begin as zeros."""
    config = copy.deepcopy(model.get_config())
    for layer in config["layers"]:
        for key in layer["config"]:
            # They would be drawn anew for each client of each round, and then overwritten.
            if key.endswith("_initializer"):
                layer["config"][key] = {"class_name": "Zeros", "config": {}}
    return config


def assign(model: tf.keras.Model, weights) -> None:
    """Give a model of `in_graph` its weights, in the order of `model.weights`."""
    for variable, value in zip(model.weights, weights, strict=True):
        # EfficientNet's Normalization counts in integers.
        variable.assign(tf.cast(value, variable.dtype))
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Normalization):
            # It computes with tensors made of its weights when it was built, not with the weights.
            layer.finalize_state()


def set_key(model: tf.keras.Model, key: tf.Tensor) -> None:
    """Seed the dropouts of the next call."""
    for layer in model.layers:
        if isinstance(layer, SeededDropout):
            layer.key = key


def _is_kept(layer) -> bool:
    return isinstance(layer, _NORMALIZATIONS) and layer.trainable


def _positions(model: tf.keras.Model, variables) -> tuple[int, ...]:
    at = {weight.ref(): i for i, weight in enumerate(model.weights)}
    return tuple(sorted(at[variable.ref()] for variable in variables))
