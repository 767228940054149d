"""fit_and_sample(): the training part of a Dataset -> synthetic images and their labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.models.saving import save_model
from medimg.pipeline.pixels import PixelCache
from medimg.privacy.draws.noise_seed import Secret, secret_of
from medimg.privacy.ledger import read
from medimg.privacy.statement import summary
from medimg.privacy.units import Units
from synthetic.dataset import NO_GUARANTEE, Made
from synthetic.images.classes import ClassMix, class_mix, conditions_of, equal_mix, private_class_mix
from synthetic.images.networks import Gan, build
from synthetic.images.perturbation import perturb
from synthetic.images.plan import GanPlan, check_turns, settle
from synthetic.images.plan import check as check_images
from synthetic.images.private import PrivateDiscriminator, check_budget
from synthetic.images.samples import write_grid, write_images
from synthetic.images.step import NetworkSteps
from synthetic.images.training import Training

TRAINING = "training"  # folder of what the training leaves
CHECKPOINTS = "checkpoints"  # folder of what it needs to go on
CACHE_GB = 4.0
FEW_PATIENTS = 50
PERTURBATION = ("mechanism", "relative_noise", "guarantee")


def _redraw_grids(folder: Path, gan: Gan, mix: ClassMix, seed: int) -> None:
    """One grid, of the perturbed generator: earlier ones show what was there before the noise."""
    *earlier, last = sorted(folder.glob("samples-*.png"))
    for path in earlier:
        path.unlink()
    write_grid(gan, mix, last, seed)


def check(dataset: Dataset, config) -> tuple[pd.DataFrame, GanPlan]:
    """Settle what is to be done, or refuse it before anything is written.

    Args:
        dataset: of images.
        config: `synthetic.config.SynthesizeConfig`.

    Returns:
        The labelled rows of the training part, and the plan.

    Raises:
        InputError: names the option or the part.
    """
    rows = check_images(dataset, config)
    plan = settle(dataset, rows, config)
    check_turns(plan, plan.epochs * plan.steps_per_epoch)
    if config.is_private:
        check_budget(rows, config, plan)
    return rows, plan


def fit_and_sample(dataset: Dataset, folder: Path, config, listener) -> Made:
    """Train a DCGAN on the training part and draw images from it; goes on where an earlier call was killed.

    Writes `images/*.png`, `training/` (history.csv, losses.png, samples-NNNN.png, with `--keep-generator`
    generator.keras) and, when private, `privacy.json`. `checkpoints/` is for the caller to remove once the Dataset is
    whole: until then a killed call must find it, with the secret seed in it.

    Args:
        dataset: of images.
        folder: of the synthetic Dataset.
        config: `synthetic.config.SynthesizeConfig`.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: too few images or patients, or an option does not fit.
    """
    folder = Path(folder)
    rows, plan = check(dataset, config)
    secret = secret_for(dataset, folder, config)
    steps = NetworkSteps(gan_of(plan, dataset, config), settled(config, plan), config.seed)
    private = None
    if config.is_private:
        units = Units.of(rows["patient"].to_numpy())
        keys = secret.row_keys(rows["patient"])
        private = PrivateDiscriminator(folder, dataset, units, config, plan, secret, keys)
    mix = _class_mix(dataset, rows, private, config, secret)
    _train(dataset, rows, folder, steps, plan, mix, private, config, listener)
    notes = notes_of(rows, plan, private)
    return made(folder, steps.gan, mix, plan, config, secret, notes, listener)


def made(
    folder: Path, gan: Gan, mix: ClassMix, plan: GanPlan, config, secret: Secret, notes: list[str], listener, **details
) -> Made:
    """Draw the images of a trained generator, after perturbing it where that was asked for.

    Args:
        folder: of the synthetic Dataset.
        gan: trained; `average` draws.
        mix: classes of the images.
        plan: settled.
        config: `synthetic.config.SynthesizeConfig`.
        secret: of `secret_for`.
        notes: so far.
        listener: called with what is done, how far, and of how many.
        **details: more for `Made.details`.
    """
    privacy, noise = _privacy(folder, gan, config, secret)
    if config.perturb:
        _redraw_grids(folder / TRAINING, gan, mix, config.seed)
    images, labels = write_images(gan, mix, plan.count, folder, config.seed, listener)
    if config.keep_generator:
        save_model(gan.average, folder / TRAINING / "generator.keras")
    return Made(
        rows=pd.DataFrame({"image": images, "label": labels}),
        details={"settings": plan.to_dict(), **noise, **details},
        notes=[*notes, *_missing(mix, plan)],
        privacy=privacy,
    )


def secret_for(dataset: Dataset, folder: Path, config) -> Secret:
    """Of what must not be guessed; kept with the checkpoints until the end."""
    # Pixels too: the noise must not meet others.
    data = dataset.content("train")
    return secret_of(folder / CHECKPOINTS, config.given(), data, config.dp_seed)


def gan_of(plan: GanPlan, dataset: Dataset, config) -> Gan:
    """The networks with their first weights."""
    return build(plan.image_size, plan.channels, len(dataset.classes), plan.filters, config.latent_size, config.seed)


def settled(config, plan: GanPlan):
    """The options with what the plan has settled."""
    return replace(config, regularise=plan.regularise, discriminator_steps=plan.discriminator_steps)


def _class_mix(
    dataset: Dataset, rows: pd.DataFrame, private: PrivateDiscriminator | None, config, secret: Secret
) -> ClassMix:
    if private and config.class_mix == "train":
        private.count_classes()
        return private_class_mix(dataset, rows, private.sampler.units, secret)
    mix = equal_mix(dataset) if private else class_mix(dataset, rows)
    return mix.equal() if config.class_mix == "equal" else mix


def _train(
    dataset: Dataset,
    rows: pd.DataFrame,
    folder: Path,
    steps: NetworkSteps,
    plan: GanPlan,
    mix: ClassMix,
    private: PrivateDiscriminator | None,
    config,
    listener,
) -> None:
    cache = PixelCache.build(
        dataset.paths(rows),
        plan.image_size,
        plan.channels,
        CACHE_GB,
        folder / "cache",
        "train",
        lambda done, total: listener("decode", done, total),
    )
    conditions = conditions_of(dataset, rows).astype(np.float32)
    try:
        Training(folder, steps, plan, cache, conditions, mix, private, config.sample_every, listener).run()
    finally:
        cache.close()
    if private:
        private.ledger.complete()


def _privacy(folder: Path, gan: Gan, config, secret: Secret) -> tuple[str, dict]:
    """Perturb the generator where asked; what protects the patients in words, and as plain values."""
    privacy = summary(read(folder), "image", config.model) if config.is_private else NO_GUARANTEE
    if not config.perturb:
        return privacy, {}
    noise = perturb(gan.average, config.perturb, secret)
    atomic.write_json(folder / TRAINING / "perturbation.json", noise)
    if not config.is_private:
        privacy = (
            f"{NO_GUARANTEE}: the generator's weights bear Gaussian noise of {config.perturb:g} of each layer's size, "
            "which bounds nothing that could be proved"
        )
    return privacy, {"perturbation": {key: noise[key] for key in PERTURBATION}}


def notes_of(rows: pd.DataFrame, plan: GanPlan, private: PrivateDiscriminator | None = None) -> list[str]:
    """What the user should know of the training: a budget that ended it, classes of few patients."""
    notes = []
    if private and private.steps_allowed < plan.epochs * plan.steps_per_epoch:
        notes.append(f"the budget ended the training after {private.steps_allowed} steps")
    few = rows.groupby("label")["patient"].nunique()
    # How many patients a class has is not told where they are protected.
    for label, patients in () if private else few[few < FEW_PATIENTS].items():
        notes.append(f"class '{label}' has {patients} patients in split 'train'; its images may resemble them closely")
    return notes


def _missing(mix: ClassMix, plan: GanPlan) -> list[str]:
    missing = [label for label, n in zip(mix.labels, mix.counts(plan.count), strict=True) if n == 0]
    if not missing:
        return []
    return [f"no image of {', '.join(missing)}: too rare for {plan.count} images"]
