"""What a client does in a round, as one TensorFlow function that a TFF worker can run.

All kinds share one loop over the client's batches and differ in how a gradient is used. Updates are those of TFF:
weights before less weights after, which the server's optimizer takes as a gradient.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from federated.engine import local_training, records
from federated.engine.local_training import LocalTraining, Measured, Share, Steps
from federated.engine.records import ClientData, Layout
from federated.engine.strategy import Strategy
from federated.tff.local_model import LocalModel, assign, set_key
from federated.tff.optimizers import client_optimizer
from medimg.errors import InputError

# (model, loss, inputs, targets, weights, key) -> (gradients of model.trainable_variables, mean loss, logits)
GradientFunction = Callable
# Folded into the client's seed for the pass that takes the full gradient; steps are numbered from 0.
_FULL_PASS = 1 << 30


def gradients(model, loss, inputs, targets, weights, key) -> tuple:
    """Gradients of the mean loss plus the model's penalties, that loss without them, and the logits."""
    set_key(model, key)
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)
        mean = loss(targets, logits, sample_weight=weights)
        total = tf.add_n([mean, *model.losses])
    return tape.gradient(total, model.trainable_variables), mean, logits


class Minibatches:
    """Steps along the mean gradient of batches of the client's examples, in an order by seed.

    Args:
        gradient: of a batch.
    """

    def __init__(self, gradient: GradientFunction = gradients):
        self.gradient = gradient

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """Rows of the examples, negative where there is none."""
        return local_training.steps(local, client.examples, seed, round_number, client.name)

    def begin(self, model, loss, layout: Layout, share: Share):
        """As in `Steps`."""
        rows = tf.data.Dataset.from_tensor_slices(share.steps)
        batches = iter(records.batches(share.folder, layout, rows))

        def step(number):
            inputs, targets, weights = next(batches)
            key = tf.random.experimental.stateless_fold_in(share.seed, number)
            found, mean, logits = self.gradient(model, loss, inputs, targets, weights, key)
            n = tf.cast(tf.shape(logits)[0], tf.float32)
            return Measured(tuple(found), n, mean * n, n * _accuracy(targets, logits))

        return step


class ClientWork:
    """The round of one client.

    Args:
        model: to train.
        layout: of the examples.
        local: its options.
        strategy: the algorithm.
        gradient: how a batch's gradients are computed.
        steps: what a step takes and its gradients; private training gives its own. None: batches and `gradient`.

    Raises:
        InputError: the strategy's clients compute full gradients, which `steps` does not know.
    """

    def __init__(
        self,
        model: LocalModel,
        layout: Layout,
        local: LocalTraining,
        strategy: Strategy,
        gradient: GradientFunction = gradients,
        steps: Steps | None = None,
    ):
        if steps is not None and strategy.kind.client in ("gradient", "mimelite"):
            raise InputError(
                f"--strategy {strategy.name}: its clients send the gradient of all their examples, which is not "
                "private; use fedavg"
            )
        self.spec, self.layout, self.local, self.strategy = model, layout, local, strategy
        self.gradient = gradient
        self.steps = steps or Minibatches(gradient)
        self.optimizer = client_optimizer(local)

    def build(self) -> Callable[[Share], tuple]:
        """For the graph under construction: Share -> (vectors, own, measures).

        `vectors` are what the client sends, `own` is its state for its next round, `measures` are examples, loss,
        accuracy and seconds.
        """
        model, loss = self.spec.in_graph(), self.spec.loss()
        # Where the client's trainable variables lie among those that it sends.
        positions = {weight.ref(): i for i, weight in enumerate(model.weights)}
        trainable = [positions[v.ref()] for v in model.trainable_variables]
        work = {
            "train": self._train,
            "gradient": self._gradient,
            "scaffold": self._scaffold,
            "mimelite": self._mimelite,
        }[self.strategy.kind.client]

        @tf.function
        def one_round(share: Share):
            started = tf.timestamp()
            initial = list(share.weights)
            if self.spec.local:
                for position, value in zip(self.spec.local, share.own, strict=True):
                    initial[position] = value
            assign(model, initial)
            vectors, own, seen, total, right = work(model, loss, share, initial, trainable)
            if self.spec.local:
                own = [model.weights[i].read_value() for i in self.spec.local]
            seen = tf.maximum(seen, 1.0)
            with tf.control_dependencies(vectors):
                seconds = tf.cast(tf.timestamp() - started, tf.float32)
            measures = {
                "accuracy": right / seen,
                "examples": records.count(share.folder),
                "loss": total / seen,
                "seconds": seconds,
            }
            return vectors, own, measures

        return one_round

    def _sent(self, model, initial: list) -> list:
        return [initial[i] - model.weights[i].read_value() for i in self.spec.federated]

    def _train(self, model, loss, share: Share, initial: list, trainable: list):
        # Li et al. 2020 pull towards the start; TFF 0.87's own FedProx has the sign of this term the other way round.
        proximal = self.strategy.proximal
        start = [initial[i] for i in trainable]

        def adjust(gradient, variable, i):
            return gradient + proximal * (variable - start[i]) if proximal else gradient

        measures = self._steps(model, loss, share, adjust)
        return self._sent(model, initial), share.own, *measures

    def _scaffold(self, model, loss, share: Share, initial: list, trainable: list):
        """Option II of the paper: a client's control variate is the average gradient of its steps."""

        def adjust(gradient, variable, i):
            return gradient - share.own[i] + share.shared[i]

        measures = self._steps(model, loss, share, adjust)
        sent = self._sent(model, initial)
        steps = tf.cast(tf.shape(share.steps)[0], tf.float32)
        scale = 1.0 / (steps * self.local.learning_rate)
        own = [mine - server + delta * scale for mine, server, delta in zip(share.own, share.shared, sent, strict=True)]
        change = [new - old for new, old in zip(own, share.own, strict=True)]
        return [*sent, *change], own, *measures

    def _gradient(self, model, loss, share: Share, initial: list, trainable: list):
        mean, *measures = self._full_gradient(model, loss, share)
        return mean, share.own, *measures

    def _mimelite(self, model, loss, share: Share, initial: list, trainable: list):
        """Steps with the server's optimizer state as it is; the full gradient, sent beside, moves that state on."""
        full, *_ = self._full_gradient(model, loss, share)
        state = tf.nest.pack_sequence_as(self._initial_state(model), list(share.shared))
        measures = self._steps(model, loss, share, lambda gradient, variable, i: gradient, state)
        return [*self._sent(model, initial), *full], share.own, *measures

    def _steps(self, model, loss, share: Share, adjust: Callable, fixed_state=None):
        """Train over the client's steps.

        Args:
            model: of `in_graph`, with its weights.
            loss: Keras loss.
            share: of the client.
            adjust: (gradient, variable, its number) -> gradient to step along.
            fixed_state: of the optimizer in every step; None: it starts afresh and moves on.

        Returns:
            Examples seen, the sum of their losses and how many were classified rightly, each before their step.
        """
        variables = model.trainable_variables
        state = self._initial_state(model) if fixed_state is None else fixed_state
        seen, total, right = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        measured = self.steps.begin(model, loss, self.layout, share)
        # Counted, not a loop over the data: that would instantiate its body, model and gradient, in every call.
        for step in tf.range(tf.shape(share.steps)[0]):
            told = measured(step)
            found = tuple(adjust(g, v, i) for i, (g, v) in enumerate(zip(told.gradients, variables, strict=True)))
            values = tuple(variable.read_value() for variable in variables)
            new_state, new_values = self.optimizer.next(state, values, found)
            for variable, value in zip(variables, new_values, strict=True):
                variable.assign(value)
            if fixed_state is None:
                state = new_state
            seen, total, right = seen + told.seen, total + told.loss, right + told.right
        return seen, total, right

    def _initial_state(self, model):
        # Tuples throughout: TensorFlow's loops over data would stack a list into one tensor.
        specs = tuple(tf.TensorSpec(v.shape, v.dtype) for v in model.trainable_variables)
        return self.optimizer.initialize(specs)

    def _full_gradient(self, model, loss, share: Share):
        """The gradient of the mean loss over all the client's examples, and the measures of `_steps`."""
        sums = tuple(tf.zeros(v.shape, v.dtype) for v in model.trainable_variables)
        seen, total, right = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        step = tf.constant(_FULL_PASS)
        rows = records.every_row(share.folder, self.local.batch_size)
        size = self.local.batch_size
        batches = iter(records.batches(share.folder, self.layout, rows))
        for _ in tf.range((records.count(share.folder) + size - 1) // size):
            inputs, targets, weights = next(batches)
            key = tf.random.experimental.stateless_fold_in(share.seed, step)
            found, mean, logits = self.gradient(model, loss, inputs, targets, weights, key)
            n = tf.cast(tf.shape(logits)[0], tf.float32)
            sums = tuple(s + n * g for s, g in zip(sums, found, strict=True))
            seen, total, step = seen + n, total + mean * n, step + 1
            right += n * _accuracy(targets, logits)
        return [s / tf.maximum(seen, 1.0) for s in sums], seen, total, right


def _accuracy(targets, logits) -> tf.Tensor:
    if targets.shape.rank == 2:
        agree = tf.equal(logits > 0, tf.cast(targets, tf.float32) > 0.5)
    else:
        agree = tf.equal(tf.argmax(logits, axis=1), tf.cast(targets, tf.int64))
    return tf.reduce_mean(tf.cast(agree, tf.float32))
