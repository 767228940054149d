"""Local training: its options, what a client's steps are given and tell, and which examples they take.

The order of examples is a function of (seed, round, client) alone.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from federated.engine.records import ClientData, Layout
from medimg.errors import InputError


@dataclass(frozen=True)
class LocalTraining:
    """What a client does in a round.

    Attributes:
        epochs: passes over its examples; not used with `steps`.
        steps: batches of a round; None: by epochs.
        batch_size: examples of a batch; an epoch's last one may be smaller.
        optimizer: `sgd`, `momentum` (0.9) or `adam`.
        learning_rate: of the client.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.1

    def __post_init__(self):
        for name in ("epochs", "steps", "batch_size"):
            value = getattr(self, name)
            option = name if name == "batch_size" else f"local_{name}"
            if value is not None and value < 1:
                raise InputError(f"--{option.replace('_', '-')} {value}: must be at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"--learning-rate {self.learning_rate}: must be above 0")

    @classmethod
    def of(cls, config) -> "LocalTraining":
        """As the options of a federation (`FederateConfig`) have it."""
        return cls(
            epochs=config.local_epochs,
            steps=config.local_steps,
            batch_size=config.batch_size,
            optimizer=config.optimizer_of_clients,
            learning_rate=config.client_learning_rate,
        )


def words(seed: int, round_number: int, client: str) -> np.random.SeedSequence:
    """The source of everything random that a client does in a round."""
    return np.random.SeedSequence([seed, round_number, zlib.crc32(client.encode())])


def steps(local: LocalTraining, examples: int, seed: int, round_number: int, client: str) -> np.ndarray:
    """Rows of the client's examples for each of its steps.

    Every epoch is a new permutation, cut into batches; `local.steps` goes on through as many epochs as it takes.

    Returns:
        int64 (steps, batch size), -1 where an epoch's last batch has no more examples.
    """
    per_epoch = -(-examples // local.batch_size)
    count = local.steps or local.epochs * per_epoch
    generator = np.random.default_rng(words(seed, round_number, client))
    blocks = []
    for _ in range(-(-count // per_epoch)):
        rows = np.full(per_epoch * local.batch_size, -1, np.int64)
        rows[:examples] = generator.permutation(examples)
        blocks.append(rows.reshape(per_epoch, local.batch_size))
    return np.concatenate(blocks)[:count]


def dropout_seed(seed: int, round_number: int, client: str) -> np.ndarray:
    """int32 (2,) for TensorFlow's stateless random numbers."""
    child = words(seed, round_number, client).spawn(1)[0]
    return child.generate_state(2).astype(np.uint32).view(np.int32)


def local_steps(steps: int, work: float) -> int:
    """That share of a client's local steps, rounded, at least one of them."""
    return max(1, int(steps * work + 0.5))


class Share(NamedTuple):
    """What a client knows at the start of a round.

    Attributes:
        weights: of the global model, as `model.weights`.
        shared: of the strategy, the same for all: SCAFFOLD's c, MimeLite's optimizer state.
        client_state: of the strategy: SCAFFOLD's c_i, FedBN's normalisation.
        folder: string scalar, of its records.
        steps: int64 (steps, anything), what `Steps.planned` said of each step.
        seed: int32 (2,), of its dropout.
    """

    weights: list
    shared: list
    client_state: list
    folder: tf.Tensor
    steps: tf.Tensor
    seed: tf.Tensor


class StepGradients(NamedTuple):
    """One step's gradients, and what is told of it.

    Attributes:
        gradients: of `model.trainable_variables`.
        seen: float scalar, examples.
        loss: the sum of their losses before the step; NaN where it must not be told.
        right: how many were classified rightly; NaN likewise.
    """

    gradients: tuple
    seen: tf.Tensor
    loss: tf.Tensor
    right: tf.Tensor


class Steps(Protocol):
    """What a client's steps take, and their gradients."""

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """int64 (steps, anything): sent to the client, one row a step."""
        ...

    def begin(
        self, model: tf.keras.Model, loss: tf.keras.losses.Loss, layout: Layout, share: Share
    ) -> Callable[[tf.Tensor], StepGradients]:
        """For the graph under construction: number of the step -> its gradients; called for each step in turn."""
        ...
