"""DP-SGD on the discriminator: the generator sees patients through it alone, so all that it makes is covered.

The gradient of the real images' loss is clipped by patient, summed and noised; that of the made images costs nothing,
since a private generator made them, and is clipped alike so that neither side outweighs the other. More steps of the
discriminator to one of the generator help (Bie et al. 2023).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.pixels import PixelCache, as_pixels
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.budget import Budget
from medimg.privacy.chunks import chunks
from medimg.privacy.class_counts import COUNTING
from medimg.privacy.clipping import add_noise, clipped_sum
from medimg.privacy.draws.keyed import fold
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.ledger import Ledger
from medimg.privacy.sampling import sampling
from medimg.privacy.statement import CLASS_COUNTS
from medimg.privacy.terms import Terms
from medimg.privacy.units import Units
from synthetic.images.losses import fake_losses, real_losses
from synthetic.images.networks import scores
from synthetic.images.noise import seed_of
from synthetic.images.plan import GanPlan
from synthetic.images.step import NetworkSteps

# Images whose gradients are computed at once, unless a patient has more.
PHYSICAL_BATCH = 64
PHASE = "discriminator"


class PrivateDiscriminator:
    """Sampling, budget and ledger of one private training.

    Args:
        folder: where `privacy.json` goes.
        dataset: whose patients are protected; told in its ledger.
        units: of the training part.
        config: `synthetic.config.SynthesizeConfig`.
        plan: settled.
        secret: of the training.
        keys: uint64 (N,), what each row of the training part draws by.

    Attributes:
        steps_allowed: by the budget; at most those of the plan.

    Raises:
        InputError: the budget allows no step.
    """

    def __init__(
        self, folder: Path, dataset: Dataset, units: Units, config, plan: GanPlan, secret: Secret, keys: np.ndarray
    ):
        self.secret, self.keys, self.clip = secret, keys, config.dp_clip
        most = config.dp_images_per_patient
        self.sampler = sampling(config.dp_sampling, units, plan.batch_size, secret, most)
        terms = Terms.of(config, self.sampler.expected_units, draw=secret.draw())
        circumstances = Circumstances(
            poisson=config.dp_sampling == "poisson", search=True, fixed_seed=config.dp_seed is not None
        )
        self.ledger = Ledger.of(folder, terms, circumstances, dataset.root)
        steps = plan.epochs * plan.steps_per_epoch
        counting = _counting(config)

        def settle(noise, previous):
            budget = Budget(config.dp_epsilon, config.dp_delta, (*previous, *counting))
            noise_multiplier = noise(PHASE) or config.dp_noise_multiplier
            planned = budget.plan(self.sampler.mechanism(), steps, noise_multiplier)
            self.mechanism, self.steps_allowed = planned.mechanism, planned.steps
            counts = [(CLASS_COUNTS, COUNTING, 1)] if counting else []
            return [(PHASE, planned.mechanism, planned.steps), *counts]

        self.ledger.reserve(settle, whole_dataset=config.dp_budget == "dataset")
        self.noise = tf.random.Generator.from_seed(0, alg="philox")

    def count_classes(self) -> None:
        """Write down the noisy class counts, before they are drawn."""
        self.ledger.record(CLASS_COUNTS, 0, 1, COUNTING)

    def record(self, first: int, last: int) -> None:
        """Write down steps first..last - 1, before they are run."""
        self.ledger.record(PHASE, first, last, self.mechanism)

    def require_counted(self, steps: int) -> None:
        """Refuse a checkpoint with more steps than the ledger counts."""
        self.ledger.require_counted(PHASE, steps)

    def step(self, steps: NetworkSteps, cache: PixelCache, conditions: np.ndarray, fakes, number: int) -> dict:
        """Teach the discriminator once.

        Args:
            steps: of the networks.
            cache: pixels of the training part.
            conditions: (N, classes) of its rows.
            fakes: conditions of images to be made (B, classes).
            number: of the step.

        Returns:
            `fake_loss`; the loss on real images is not private and not told.
        """
        sums = self.clipped_sum(steps, cache, conditions, number)
        self.noise.reset(self.secret.state("noise", number))
        seed = seed_of(steps.seed, "discriminator", number)
        return {"fake_loss": self._teach(steps, sums, fakes, seed)}

    def clipped_sum(self, steps: NetworkSteps, cache: PixelCache, conditions: np.ndarray, number: int) -> list:
        """What a step's patients add up to, without noise; arguments as of `step`."""
        size = max(PHYSICAL_BATCH, self.sampler.most_rows_per_unit)
        sums = None
        for chunk in chunks(self.sampler.step(number), size, self.sampler.units):
            keys = fold(self.keys[chunk.rows], number)
            pixels = as_pixels(cache.take(chunk.rows))
            part = self._real_sums(steps, pixels, conditions[chunk.rows], chunk.groups, keys)
            sums = part if sums is None else [a + b for a, b in zip(sums, part, strict=True)]
        return sums

    @tf.function
    def _real_sums(self, steps: NetworkSteps, pixels, condition, groups, keys) -> list:
        return clipped_real(steps, pixels, condition, groups, keys, self.clip)

    @tf.function
    def _teach(self, steps: NetworkSteps, sums: list, condition, seed) -> tf.Tensor:
        noisy = add_noise(sums, self.clip, self.mechanism.noise_multiplier, self.sampler.expected_units, self.noise)
        return taught(steps, noisy, condition, seed, self.clip)


def check_budget(rows: pd.DataFrame, config, plan: GanPlan) -> None:
    """Refuse noise and epsilon that do not go together, before anything is written; earlier trainings left aside.

    Args:
        rows: of the training part.
        config: `synthetic.config.SynthesizeConfig`.
        plan: settled.

    Raises:
        InputError: the budget allows no step.
    """
    spent_on_counts = _counting(config)
    if spent_on_counts and not Budget(config.dp_epsilon, config.dp_delta).allows(COUNTING, 1):
        raise InputError(
            f"--dp-epsilon {config.dp_epsilon:g}: the noisy class counts alone cost more; give --class-mix equal"
        )
    if config.dp_noise_multiplier is None:
        # What is left is enough for some noise.
        return
    units = Units.of(rows["patient"].to_numpy())
    most = config.dp_images_per_patient
    sampler = sampling(config.dp_sampling, units, plan.batch_size, None, most)
    budget = Budget(config.dp_epsilon, config.dp_delta, spent_on_counts)
    budget.plan(sampler.mechanism(), plan.epochs * plan.steps_per_epoch, config.dp_noise_multiplier)


def _counting(config) -> tuple:
    """DpEvents of the class counts, where they are asked for."""
    return (COUNTING.event([(0, 1)]),) if config.class_mix == "train" else ()


def clipped_real(steps: NetworkSteps, pixels, condition, patients, keys, clip: float) -> list:
    """The sum of patients' clipped gradients of the discriminator's loss on real images; for use in a graph.

    Args:
        steps: of the networks.
        pixels: (B, S, S, C).
        condition: (B, classes).
        patients: int (B,), as `medimg.privacy.clipping.clipped_sum` takes units.
        keys: uint64 (B,), what each image's shift is drawn by, in this step.
        clip: most that a patient's gradient may be, L2.
    """

    def loss(condition, outputs):
        return real_losses(scores(outputs, condition), steps.options.label_smoothing)

    real = steps.augmented_apart(pixels, keys)
    discriminator = steps.gan.discriminator
    return clipped_sum(discriminator, loss, real, condition, patients, clip, keys=keys).gradients


def taught(steps: NetworkSteps, noisy: list, condition, seed, clip: float) -> tf.Tensor:
    """Move the discriminator along its noisy gradient on real images and that on made ones; for use in a graph.

    Args:
        steps: of the networks.
        noisy: mean of the patients' gradients with its noise.
        condition: classes of the images to be made (B, classes).
        seed: int32 (2,), of their noise and augmentation.
        clip: of each made image's gradient, so that neither side outweighs the other.

    Returns:
        The mean loss on made images.
    """

    def loss(condition, outputs):
        return fake_losses(scores(outputs, condition))

    fakes = steps.made(condition, seed)
    fake = clipped_sum(steps.gan.discriminator, loss, fakes, condition, None, clip)
    count = tf.cast(tf.shape(condition)[0], tf.float32)
    gradients = [a + b / count for a, b in zip(noisy, fake.gradients, strict=True)]
    steps.apply_discriminator(gradients)
    return fake.loss
