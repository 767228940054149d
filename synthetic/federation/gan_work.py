"""A client's round of a federated GAN (FedGAN: Rasouli et al. 2020), as a TFF worker runs it.

The client trains generator and discriminator in turn on its own images, with the steps of the central training; the
server averages both. Only the discriminator ever sees images, and they never leave the client's folder.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from federated.tff import order, records
from federated.tff.client_work import Share
from federated.tff.order import LocalTraining
from federated.tff.records import ClientData, Layout
from federated.tff.strategies import Strategy
from synthetic.federation.gan_model import Averaged, GanModel
from synthetic.images.step import PENALTY_EVERY, Steps

# What the random numbers of a step are for, folded into its seed.
REAL, DISCRIMINATOR, GENERATOR = range(3)


class NumberedBatches:
    """Batches of a client's images in an order by seed, beside the number of each step since the first round."""

    def planned(
        self, local: LocalTraining, client: ClientData, seed: int, round_number: int
    ) -> np.ndarray:
        """int64 (steps, 1 + batch size): the step's number, then rows, negative where there is none."""
        rows = order.steps(local, client.examples, seed, round_number, client.name)
        first = (round_number - 1) * local.steps
        numbers = np.arange(first, first + len(rows), dtype=np.int64)
        return np.concatenate([numbers[:, None], rows], axis=1)


class GanWork:
    """The round of one client; takes the place of `federated.tff.client_work.ClientWork`.

    Args:
        model: to train.
        layout: of the examples: pixels and classes.
        local: `steps` and `batch_size` are read.
        strategy: of the server.
        gradient: not used: the steps have their own.
        steps: what a step takes; None: batches.
    """

    def __init__(
        self,
        model: GanModel,
        layout: Layout,
        local: LocalTraining,
        strategy: Strategy,
        gradient: Callable | None = None,
        steps: NumberedBatches | None = None,
    ):
        self.spec, self.layout, self.local, self.strategy = model, layout, local, strategy
        self.steps = steps or NumberedBatches()

    def build(self) -> Callable[[Share], tuple]:
        """As of `ClientWork`; `loss` is the discriminator's mean on real and made images, accuracy is not measured."""
        steps, layout = self.spec.in_graph(), self.layout
        averaged = Averaged(steps)
        classes, every = self.spec.gan.classes, self.spec.options.discriminator_steps

        @tf.function
        def one_round(share: Share):
            started = tf.timestamp()
            averaged.assign(share.weights)
            rows = tf.data.Dataset.from_tensor_slices(share.steps[:, 1:])
            batches = iter(records.batches(share.folder, layout, rows))
            seen, total = tf.constant(0.0), tf.constant(0.0)
            for step in tf.range(tf.shape(share.steps)[0]):
                pixels, targets, _ = next(batches)
                condition = conditions(targets, classes)
                seed = tf.random.experimental.stateless_fold_in(share.seed, step)
                loss = one_step(steps, pixels, condition, share.steps[step, 0], seed, every)
                count = tf.cast(tf.shape(pixels)[0], tf.float32)
                seen, total = seen + count, total + count * loss
            sent = [
                before - after for before, after in zip(share.weights, averaged.read(), strict=True)
            ]
            with tf.control_dependencies(sent):
                seconds = tf.cast(tf.timestamp() - started, tf.float32)
            measures = {
                "accuracy": tf.constant(float("nan")),
                "examples": records.count(share.folder),
                "loss": total / tf.maximum(seen, 1.0),
                "seconds": seconds,
            }
            return sent, share.own, measures

        return one_round


def conditions(targets: tf.Tensor, classes: int) -> tf.Tensor:
    """What the networks are told of a batch: float32 (B, classes), one-hot or multi-hot."""
    return targets if targets.shape.rank == 2 else tf.one_hot(targets, classes)


def one_step(
    steps: Steps, pixels, condition, number: tf.Tensor, seed: tf.Tensor, every: int
) -> tf.Tensor:
    """One step of the discriminator, and of the generator where it is its turn; for use in a graph.

    Args:
        steps: of the networks.
        pixels: real images (B, S, S, C).
        condition: their classes (B, classes); as many images of the same classes are made.
        number: of the step since the first round, int64 scalar: Adam's count, and whose turn it is.
        seed: int32 (2,), of noise and augmentation.
        every: steps of the discriminator to one of the generator.

    Returns:
        The discriminator's loss on real and made images, before the step.
    """

    def seed_for(purpose: int) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(seed, purpose)

    steps.discriminator_optimizer.iterations.assign(number)
    steps.generator_optimizer.iterations.assign(number // every)
    seeds = seed_for(REAL), seed_for(DISCRIMINATOR)
    if steps.options.regularise == "r1":
        told = tf.cond(
            tf.equal(number % PENALTY_EVERY, 0),
            lambda: steps.teach(pixels, condition, condition, seeds, True),
            lambda: steps.teach(pixels, condition, condition, seeds, False),
        )
    else:
        told = steps.teach(pixels, condition, condition, seeds, False)
    loss = told["real_loss"] + told["fake_loss"]

    def learn():
        decay = tf.minimum(steps.options.ema_decay, moving_decay(number))
        return steps.learn(condition, seed_for(GENERATOR), decay)["generator_loss"]

    tf.cond(tf.equal((number + 1) % every, 0), learn, lambda: tf.constant(0.0))
    return loss


def moving_decay(number: tf.Tensor) -> tf.Tensor:
    """Of the generator's average in its first steps, as `Steps.generator_step` has it."""
    number = tf.cast(number, tf.float32)
    return (1.0 + number) / (10.0 + number)
