"""What every learner is: a Keras model with the layers of another, a step of its own, and a mean of its losses."""

from typing import TypeVar

import tensorflow as tf


class LearnerState(tf.__internal__.tracking.AutoTrackable):
    """Of a learner beside its layers; part of the model's checkpoints, not of its weights.

    Attributes:
        mean_loss: of the epoch so far.
    """

    def __init__(self):
        self.mean_loss = tf.keras.metrics.Mean(name="loss")


class Learner(tf.keras.Model):
    """A functional model with another step; `of` makes one."""

    optimizer: tf.keras.optimizers.Optimizer
    state: LearnerState

    @property
    def metrics(self):
        """What `fit` reports and resets at every epoch."""
        # First, because `fit` has a "loss" of its own, and the last of a name counts.
        return [self.state.mean_loss, *super().metrics]

    def descend(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """Take the optimizer's step on a loss, and count it."""
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        self.state.mean_loss.update_state(loss)

    def step_metrics(self) -> dict[str, tf.Tensor]:
        """What `fit` is told of a step."""
        return {**{m.name: m.result() for m in self.metrics}, "loss": self.state.mean_loss.result()}


Kind = TypeVar("Kind", bound=Learner)


def of(kind: type[Kind], inputs: list, outputs, name: str, state: LearnerState | None = None) -> Kind:
    """A learner of a kind, from a model's inputs and outputs."""
    learner = kind(inputs, outputs, name=name)
    learner.state = state or LearnerState()
    return learner
