"""LocalRound: a client's round in the graph under construction, of which algorithms are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from federated.engine import records
from federated.engine.local_training import LocalTraining, Share, Steps
from federated.engine.records import Layout

# (model, loss, inputs, targets, weights, key) -> (gradients of model.trainable_variables, mean loss, logits)
GradientFunction = Callable
# Folded into the client's seed for the pass that takes the full gradient; steps are numbered from 0.
_FULL_PASS = 1 << 30


def unchanged(gradient, variable, i):
    """Step along the gradient itself."""
    return gradient


@dataclass(frozen=True, eq=False)
class LocalRound:
    """A client in a round: what it knows, and what it can do.

    Attributes:
        model: with the weights that it starts from.
        loss: Keras loss.
        layout: of its examples.
        share: what it is given.
        initial: weights that it starts from, as `model.weights`.
        federated: positions in them of what is trained and sent.
        kept: of what stays with it.
        options: of the client.
        optimizer: of the client, with TFF's `initialize` and `next`.
        steps_of: what its steps take, and their gradients.
        gradient: of a batch, for the full gradient.
        proximal: mu of FedProx.
    """

    model: tf.keras.Model
    loss: tf.keras.losses.Loss
    layout: Layout
    share: Share
    initial: list
    federated: tuple
    kept: tuple
    options: LocalTraining
    optimizer: Any
    steps_of: Steps
    gradient: GradientFunction
    proximal: float = 0.0

    @property
    def learning_rate(self) -> float:
        """Of the client's optimizer."""
        return self.options.learning_rate

    def sent(self) -> list[tf.Tensor]:
        """The update: weights at the start less those now, which a server's optimizer takes as a gradient."""
        return [self.initial[i] - self.model.weights[i].read_value() for i in self.federated]

    def local(self) -> list[tf.Tensor]:
        """What stays with the client, as it is now."""
        return [self.model.weights[i].read_value() for i in self.kept]

    def trained(self) -> list[tf.Tensor]:
        """The start of `model.trainable_variables`."""
        positions = {weight.ref(): i for i, weight in enumerate(self.model.weights)}
        return [self.initial[positions[variable.ref()]] for variable in self.model.trainable_variables]

    def steps(self, adjust: Callable = unchanged, fixed_state: list | None = None) -> tuple:
        """Train over the client's steps.

        Args:
            adjust: (gradient, variable, its number) -> gradient to step along.
            fixed_state: of the optimizer in every step, flat; None: it starts afresh and moves on.

        Returns:
            Examples seen, the sum of their losses and how many were classified rightly, each before their step.
        """
        variables = self.model.trainable_variables
        # Tuples throughout: TensorFlow's loops over data would stack a list into one tensor.
        state = self.optimizer.initialize(tuple(tf.TensorSpec(v.shape, v.dtype) for v in variables))
        if fixed_state is not None:
            state = tf.nest.pack_sequence_as(state, fixed_state)
        seen, total, right = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        gradients_of = self.steps_of.begin(self.model, self.loss, self.layout, self.share)
        # Counted, not a loop over the data: that would instantiate its body, model and gradient, in every call.
        for step in tf.range(tf.shape(self.share.steps)[0]):
            step_gradients = gradients_of(step)
            gradients = tuple(
                adjust(g, v, i) for i, (g, v) in enumerate(zip(step_gradients.gradients, variables, strict=True))
            )
            values = tuple(variable.read_value() for variable in variables)
            new_state, new_values = self.optimizer.next(state, values, gradients)
            for variable, value in zip(variables, new_values, strict=True):
                variable.assign(value)
            if fixed_state is None:
                state = new_state
            seen, total, right = seen + step_gradients.seen, total + step_gradients.loss, right + step_gradients.right
        return seen, total, right

    def full_gradient(self) -> tuple:
        """The gradient of the mean loss over all the client's examples, and what `steps` returns."""
        share, size = self.share, self.options.batch_size
        sums = tuple(tf.zeros(v.shape, v.dtype) for v in self.model.trainable_variables)
        seen, total, right = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        step = tf.constant(_FULL_PASS)
        rows = records.every_row(share.folder, size)
        batches = iter(records.batches(share.folder, self.layout, rows))
        for _ in tf.range((records.count(share.folder) + size - 1) // size):
            inputs, targets, weights = next(batches)
            key = tf.random.experimental.stateless_fold_in(share.seed, step)
            gradients, mean, logits = self.gradient(self.model, self.loss, inputs, targets, weights, key)
            n = tf.cast(tf.shape(logits)[0], tf.float32)
            sums = tuple(s + n * g for s, g in zip(sums, gradients, strict=True))
            seen, total, step = seen + n, total + mean * n, step + 1
            right += n * accuracy(targets, logits)
        return [s / tf.maximum(seen, 1.0) for s in sums], seen, total, right


def accuracy(targets, logits) -> tf.Tensor:
    """Share of right answers; of labels, where an example has several."""
    if targets.shape.rank == 2:
        agree = tf.equal(logits > 0, tf.cast(targets, tf.float32) > 0.5)
    else:
        agree = tf.equal(tf.argmax(logits, axis=1), tf.cast(targets, tf.int64))
    return tf.reduce_mean(tf.cast(agree, tf.float32))
