"""A client's round of a federated GAN (FedGAN: Rasouli et al. 2020), as a TFF worker runs it.

The client trains generator and discriminator in turn on its own images, with the steps of the central training; the
server averages both. Only the discriminator ever sees images, and they never leave the client's folder.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf

from federated.algorithms.strategy import Strategy
from federated.engine import local_training, records
from federated.engine.local_training import LocalTraining, Share
from federated.engine.records import ClientData, Layout
from synthetic.federation.images.model import Averaged, GanModel
from synthetic.images.step import PENALTY_EVERY, NetworkSteps

# What the random numbers of a step are for, folded into its seed.
REAL, DISCRIMINATOR, GENERATOR = range(3)


class GanSteps(Protocol):
    """What the steps of a client take, and how one is made."""

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """int64 (steps, anything), the first column the number of the step since the first round."""

    def begin(self, steps: NetworkSteps, layout: Layout, share: Share) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        """For the graph under construction: number of the step in the round -> images seen, the sum of their losses,
        and the generator's mean loss, NaN where it is not its turn.
        """

    def measures(self, share: Share, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is told of a round beside its loss: `examples`, `seconds`."""


class NumberedBatches:
    """Batches of a client's images in an order by seed; as many images of the same classes are made."""

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """Numbers, then rows, negative where there is none."""
        rows = local_training.steps(local, client.examples, seed, round_number, client.name)
        return np.concatenate([numbers(local, round_number), rows], axis=1)

    def begin(self, steps: NetworkSteps, layout: Layout, share: Share):
        """As in `GanSteps`."""
        rows = tf.data.Dataset.from_tensor_slices(share.steps[:, 1:])
        batches = iter(records.batches(share.folder, layout, rows))

        def step(place):
            pixels, targets, _ = next(batches)
            condition = conditions(targets, steps.gan.classes)
            seed = tf.random.experimental.stateless_fold_in(share.seed, place)
            loss, generator_loss = one_step(steps, pixels, condition, share.steps[place, 0], seed)
            count = tf.cast(tf.shape(pixels)[0], tf.float32)
            return count, count * loss, generator_loss

        return step

    def measures(self, share: Share, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        """As they are."""
        return {"examples": records.count(share.folder), "seconds": seconds}


def numbers(local: LocalTraining, round_number: int) -> np.ndarray:
    """int64 (steps, 1): the numbers of a round's steps since the first round."""
    first = (round_number - 1) * local.steps
    return np.arange(first, first + local.steps, dtype=np.int64)[:, None]


class GanWork:
    """The round of one client; takes the place of `federated.tff.client_work.ClientWork`.

    Args:
        model: to train.
        layout: of the examples: pixels and classes.
        local: `steps` and `batch_size` are read.
        strategy: of the server.
        gradient: not used: the steps have their own.
        steps: what a step takes and how it is made; None: batches.
    """

    def __init__(
        self,
        model: GanModel,
        layout: Layout,
        local: LocalTraining,
        strategy: Strategy,
        gradient: Callable | None = None,
        steps: GanSteps | None = None,
    ):
        self.spec, self.layout, self.local, self.strategy = model, layout, local, strategy
        self.steps = steps or NumberedBatches()

    def build(self) -> Callable[[Share], tuple]:
        """As of `ClientWork`; `loss` is the discriminator's mean on real and made images, accuracy is not measured.

        `generator_loss` is told beside them.
        """
        networks, layout = self.spec.in_graph(), self.layout
        averaged = Averaged(networks)

        @tf.function
        def one_round(share: Share):
            started = tf.timestamp()
            averaged.assign(share.weights)
            seen = total = turns = generator_total = tf.constant(0.0)
            step = self.steps.begin(networks, layout, share)
            for place in tf.range(tf.shape(share.steps)[0]):
                count, loss, generator_loss = step(place)
                seen, total = seen + count, total + loss
                if not tf.math.is_nan(generator_loss):
                    turns, generator_total = turns + 1.0, generator_total + generator_loss
            update = [before - after for before, after in zip(share.weights, averaged.read(), strict=True)]
            with tf.control_dependencies(update):
                seconds = tf.cast(tf.timestamp() - started, tf.float32)
            measures = {
                "accuracy": tf.constant(float("nan")),
                "loss": total / tf.maximum(seen, 1.0),
                "generator_loss": generator_total / turns,
                **self.steps.measures(share, seconds),
            }
            return update, share.client_state, measures

        return one_round


def conditions(targets: tf.Tensor, classes: int) -> tf.Tensor:
    """What the networks are told of a batch: float32 (B, classes), one-hot or multi-hot."""
    return targets if targets.shape.rank == 2 else tf.one_hot(targets, classes)


def one_step(steps: NetworkSteps, pixels, condition, number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One step of the discriminator, and of the generator where it is its turn; for use in a graph.

    Args:
        steps: of the networks.
        pixels: real images (B, S, S, C).
        condition: their classes (B, classes); as many images of the same classes are made.
        number: of the step since the first round, int64 scalar: Adam's count, and whose turn it is.
        seed: int32 (2,), of noise and augmentation.

    Returns:
        The discriminator's loss on real and made images, before the step, and that of `learn`.
    """
    count(steps, number)
    seeds = seed_for(seed, REAL), seed_for(seed, DISCRIMINATOR)
    if steps.options.regularise == "r1":
        losses = tf.cond(
            tf.equal(number % PENALTY_EVERY, 0),
            lambda: steps.teach(pixels, condition, condition, seeds, True),
            lambda: steps.teach(pixels, condition, condition, seeds, False),
        )
    else:
        losses = steps.teach(pixels, condition, condition, seeds, False)
    return losses["real_loss"] + losses["fake_loss"], learn(steps, condition, number, seed)


def seed_for(seed: tf.Tensor, purpose: int) -> tf.Tensor:
    """int32 (2,) of one use of a step's seed."""
    return tf.random.experimental.stateless_fold_in(seed, purpose)


def count(steps: NetworkSteps, number: tf.Tensor) -> None:
    """Tell Adam how many steps there have been."""
    steps.discriminator_optimizer.iterations.assign(number)
    steps.generator_optimizer.iterations.assign(number // steps.options.discriminator_steps)


def learn(steps: NetworkSteps, condition: tf.Tensor, number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A step of the generator where it is its turn; its mean loss, else NaN."""

    def generator_step():
        so_far = tf.cast(number, tf.float32)
        # As `NetworkSteps.generator_step` has it: the average of few steps is no average yet.
        decay = tf.minimum(steps.options.ema_decay, (1.0 + so_far) / (10.0 + so_far))
        return steps.learn(condition, seed_for(seed, GENERATOR), decay)["generator_loss"]

    is_turn = tf.equal((number + 1) % steps.options.discriminator_steps, 0)
    return tf.cond(is_turn, generator_step, lambda: tf.constant(float("nan")))
