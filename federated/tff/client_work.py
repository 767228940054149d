"""What a client does in a round, as one TensorFlow function that a TFF worker can run.

What its steps are made into is the strategy's (`federated.algorithms`).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from federated.algorithms.local_round import GradientFunction, LocalRound, accuracy
from federated.algorithms.strategy import Strategy
from federated.engine import local_training, records
from federated.engine.local_training import LocalTraining, Share, StepGradients, Steps
from federated.engine.records import ClientData, Layout
from federated.engine.state import State
from federated.tff.local_model import LocalModel, assign, set_key
from federated.tff.optimizers import client_optimizer
from medimg.errors import InputError


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
            batch_gradients, mean, logits = self.gradient(model, loss, inputs, targets, weights, key)
            n = tf.cast(tf.shape(logits)[0], tf.float32)
            return StepGradients(tuple(batch_gradients), n, mean * n, n * accuracy(targets, logits))

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
        if steps is not None and strategy.client.full_gradient:
            raise InputError(
                f"--strategy {strategy.name}: its clients send the gradient of all their examples, which is not "
                "private; use fedavg"
            )
        self.spec, self.layout, self.local, self.strategy = model, layout, local, strategy
        self.gradient = gradient
        self.steps = steps or Minibatches(gradient)
        self.optimizer = client_optimizer(local)

    def build(self) -> Callable[[Share], tuple]:
        """For the graph under construction: Share -> (vectors, client_state, measures).

        `vectors` are what the client sends, `client_state` is for its next round, `measures` are examples, loss,
        accuracy and seconds.
        """
        model, loss = self.spec.in_graph(), self.spec.loss()
        algorithm, local = self.strategy.client, self.spec.local

        @tf.function
        def one_round(share: Share):
            started = tf.timestamp()
            initial = algorithm.initial(share, local)
            assign(model, initial)
            client = LocalRound(
                model,
                loss,
                self.layout,
                share,
                initial,
                self.spec.federated,
                local,
                self.local,
                self.optimizer,
                self.steps,
                self.gradient,
                self.strategy.proximal,
            )
            vectors, client_state, seen, total, right = algorithm.train(client)
            seen = tf.maximum(seen, 1.0)
            with tf.control_dependencies(vectors):
                seconds = tf.cast(tf.timestamp() - started, tf.float32)
            measures = {
                "accuracy": right / seen,
                "examples": records.count(share.folder),
                "loss": total / seen,
                "seconds": seconds,
            }
            return vectors, client_state, measures

        return one_round


def share_of(
    work: ClientWork,
    state: State,
    client: ClientData,
    client_state: list | None,
    seed: int,
    number: int,
    part: float = 1.0,
) -> Share:
    """What a client is given in a round, as arrays.

    Args:
        work: of the clients, `ClientWork` or what is made alike.
        state: before the round.
        client: with its records.
        client_state: of the strategy; None: as before its first round.
        seed: of the training.
        number: of the round.
        part: share of its steps that it does.
    """
    if client_state is None:
        client_state = work.strategy.client.client_state(state.weights, work.spec.federated, work.spec.local)
    steps = work.steps.planned(work.local, client, seed, number)
    count = local_training.local_steps(len(steps), part)
    dropout = local_training.dropout_seed(seed, number, client.name)
    return Share(state.weights, state.shared, client_state, client.folder, steps[:count], dropout)
