"""`--dp-epsilon` across clients: each site's steps of the discriminator are DP-SGD on its own patients.

A site draws patients, noise and the shifts of its images by a key that it alone has, each shift by the image's own. The
generator and all that is averaged, Adam's moments too, come of the noisy gradients alone, so the guarantee covers every
round's networks.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining, Share
from federated.engine.records import ClientData, Layout
from federated.private.patient import PatientPrivacy
from federated.private.steps import Drawing, PatientSteps, keys_of_step
from federated.rounds.averaging import options_of_rounds
from medimg.data.dataset import Dataset
from medimg.privacy.defaults import coarse
from synthetic.federation.images.work import DISCRIMINATOR, conditions, count, learn, numbers, seed_for
from synthetic.images.private import clipped_real, taught
from synthetic.images.step import NetworkSteps

CLASSES = 3  # what the seed of the made images' classes is for, beside those of `work`
# Images that are made in a step; the patients of a step may be many for their noise.
MADE = 64


class PrivateGanSteps(PatientSteps):
    """Private steps of a GAN. Losses are not told, and the made images' classes are drawn alike: theirs are private."""

    def measures(self, share: Share, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Patients in coarse steps, and no time: it would tell how many were drawn."""
        sizes = tf.constant([coarse(site.patients) for site in self.sites.values()], tf.int64)
        return {"examples": sizes[share.steps[0, 1]], "seconds": seconds * float("nan")}

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """The steps' numbers, and the site's."""
        site = super().planned(local, client, seed, round_number)
        return np.concatenate([numbers(local, round_number), site], axis=1)

    def begin(self, steps: NetworkSteps, layout: Layout, share: Share):
        """As in `synthetic.federation.images.work.GanSteps`."""
        drawing = self.drawing(layout, share, share.steps[0, 1])
        classes = steps.gan.classes

        def step(place):
            seed = tf.random.experimental.stateless_fold_in(share.seed, place)
            sums = self.clipped_sum(steps, drawing, share, place)
            noisy = drawing.noisy_mean(list(sums), place)
            labels = tf.random.stateless_uniform([MADE], seed_for(seed, CLASSES), 0, classes, tf.int64)
            fakes = tf.one_hot(labels, classes)
            number = share.steps[place, 0]
            count(steps, number)
            taught(steps, noisy, fakes, seed_for(seed, DISCRIMINATOR), self.l2_norm_clip)
            learn(steps, fakes, number, seed)
            return tf.constant(1.0), tf.constant(float("nan")), tf.constant(float("nan"))

        return step

    def clipped_sum(self, steps: NetworkSteps, drawing: Drawing, share: Share, place) -> tuple:
        """What the patients of the next step add up to, without noise; for use in a graph.

        Args:
            steps: of the networks.
            drawing: of the round.
            share: of the site.
            place: number of the step in the round.
        """
        variables = steps.gan.discriminator.trainable_variables
        sums = tuple(tf.zeros(v.shape, v.dtype) for v in variables)
        last = tf.constant(False)
        while not last:
            pixels, targets, _, patients, keys, last = next(drawing.chunks)
            step_keys = keys_of_step(keys, share, place)
            condition = conditions(targets, steps.gan.classes)
            part = clipped_real(steps, pixels, condition, patients, step_keys, self.l2_norm_clip)
            sums = tuple(s + g for s, g in zip(sums, part, strict=True))
        return sums


def private_options(config, rounds: int, batch_size: int) -> FederateConfig:
    """What the sites' accounts are settled by; arguments as of `privacy_of`."""
    options = {
        name: getattr(config, name)
        for name in ("dp_epsilon", "dp_delta", "dp_clip", "dp_noise_multiplier", "dp_budget", "dp_seed")
    }
    return replace(
        options_of_rounds(config, rounds),
        dp="patient",
        local_steps=config.local_steps,
        batch_size=batch_size,
        **options,
    )


def privacy_of(
    folder: Path, dataset: Dataset, clients: list[ClientData], config, rounds: int, batch_size: int
) -> PatientPrivacy:
    """Budget, noise and ledger of every site; `privacy.json` is in the folder as the rounds go.

    Args:
        folder: of the synthetic Dataset.
        dataset: of all sites.
        clients: their records, written with patients and given a key.
        config: `synthetic.config.SynthesizeConfig`.
        rounds: wanted.
        batch_size: patients of a site's step, on average.

    Raises:
        InputError: the budget allows no round, or delta is too large for a site.
    """
    options = private_options(config, rounds, batch_size)
    # The networks' options too: other ones never meet the same noise.
    return PatientPrivacy(folder, dataset, clients, options, rounds, also={"synthesis": config.given()})
