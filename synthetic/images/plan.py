"""What a training of synthetic images will be, settled and checked before anything is written."""

from dataclasses import asdict, dataclass

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.pixels import image_form
from medimg.privacy.defaults import coarse
from medimg.privacy.sampling import steps_per_pass
from medimg.privacy.terms import require_finite_clip, require_small_delta
from medimg.privacy.units import Units
from synthetic.images.networks import halvings

# Fewer images than this a network only learns by heart.
FEWEST_IMAGES = 32
SIZES = (28, 32, 48, 64, 96, 128)
# Steps that small sets get, and passes that large ones get at least.
STEPS, PASSES = 5000, 20
PRIVATE_STEPS = 2000
BATCH, PRIVATE_BATCH = 64, 256


@dataclass(frozen=True)
class GanPlan:
    """Settled options.

    Attributes:
        image_size: S.
        channels: 1 or 3.
        filters: channels of the largest map.
        batch_size: images in a step; private: patients on average.
        epochs: passes over the training part.
        steps_per_epoch: of the discriminator.
        discriminator_steps: to one of the generator.
        regularise: none, r1 or spectral.
        count: images to be made.
    """

    image_size: int
    channels: int
    filters: int
    batch_size: int
    epochs: int
    steps_per_epoch: int
    discriminator_steps: int
    regularise: str
    count: int

    def to_dict(self) -> dict:
        """Plain values."""
        return asdict(self)


def check(dataset: Dataset, config) -> pd.DataFrame:
    """Refuse what can't be made.

    Args:
        dataset: of images.
        config: `synthetic.config.SynthesizeConfig`.

    Returns:
        The labelled rows of the training part.

    Raises:
        InputError: names the part, class or option.
    """
    if dataset.is_table:
        raise InputError("--model dcgan: makes images, and this is a table; use ctgan or tvae")
    rows = dataset.rows("train", labelled=True)
    patients_of = rows.groupby("label", sort=True)["patient"].nunique()
    # Private, a lone patient is protected as any other; to look who is one would cost privacy.
    if config.rare_classes == "leave-out" and not config.is_private:
        rows = rows[rows["label"].map(patients_of) > 1]
    patients = rows["patient"].nunique()
    if len(rows) < FEWEST_IMAGES or patients < FEWEST_IMAGES // 2:
        raise InputError(
            f"{dataset.root}: split 'train' has {len(rows)} labelled images of {patients} patients; a generator would "
            f"only repeat so few: at least {FEWEST_IMAGES} images of {FEWEST_IMAGES // 2} patients are needed"
        )
    for label, number in patients_of.items():
        if number == 1 and config.rare_classes == "refuse" and not config.is_private:
            raise InputError(
                f"{dataset.root}/manifest.csv: label '{label}' in split 'train' has a single patient, whose images "
                "would be repeated; join it with another, or --rare-classes leave-out"
            )
    if config.is_private:
        _check_private(dataset, config, patients)
    return rows


def settle(dataset: Dataset, rows: pd.DataFrame, config) -> GanPlan:
    """Defaults where nothing was given.

    Args:
        dataset: of the rows.
        rows: of `check`.
        config: `synthetic.config.SynthesizeConfig`.

    Raises:
        InputError: there are no networks for the size.
    """
    paths = dataset.paths(rows)
    image_size = config.image_size or _nearest_size(paths[0])
    halvings(image_size)
    available = len(Units.of(rows["patient"])) if config.is_private else len(rows)
    return settled_for(available, image_size, config.channels or image_form(paths).channels, config)


def settled_for(available: int, image_size: int, channels: int, config) -> GanPlan:
    """As `settle`, by what is known of the images.

    Args:
        available: images, or private patients, to learn from.
        image_size: S.
        channels: 1 or 3.
        config: `synthetic.config.SynthesizeConfig`.
    """
    private = config.is_private
    if private:
        # Of the number of patients no more is used than coarse steps and the steps of a pass, which takes each once.
        batch = config.batch_size or min(PRIVATE_BATCH, max(1, coarse(available) // 8))
        steps, count = steps_per_pass(available, batch), coarse(available)
    else:
        batch = min(config.batch_size or BATCH, available)
        # What does not fill a batch is left out.
        steps, count = available // batch, available
    epochs = config.epochs or (max(1, PRIVATE_STEPS // steps) if private else max(PASSES, -(-STEPS // steps)))
    return GanPlan(
        image_size=image_size,
        channels=channels,
        filters=config.filters or (64 if image_size <= 32 else 32),
        batch_size=batch,
        epochs=epochs,
        steps_per_epoch=steps,
        discriminator_steps=config.discriminator_steps or (4 if private else 1),
        regularise=config.regularise or ("none" if private else "r1"),
        count=config.count or count,
    )


def check_turns(plan: GanPlan, steps: int) -> None:
    """Refuse a training in which it is never the generator's turn.

    Args:
        plan: settled.
        steps: of the discriminator, in all.

    Raises:
        InputError: it isn't.
    """
    if plan.discriminator_steps > steps:
        raise InputError(
            f"--discriminator-steps {plan.discriminator_steps}: more than the {steps} steps of the whole training, so "
            "the generator would never learn; give fewer, or more --epochs"
        )


def _nearest_size(path) -> int:
    from medimg.data.imaging import read_image

    edge = max(read_image(path).shape[:2])
    return min(SIZES, key=lambda size: abs(size - edge))


def _check_private(dataset: Dataset, config, patients: int) -> None:
    if dataset.task == "multilabel":
        raise InputError(
            "--dp-epsilon: a multilabel set's combinations of labels would be given away; make a Dataset of one label"
        )
    if config.regularise == "r1":
        raise InputError(
            "--regularise r1: its penalty looks at patients' images and is not covered by DP; use spectral or none"
        )
    missing = [
        remedy
        for option, remedy in ((config.image_size, "--image-size, e.g. 64"), (config.channels, "--channels 1 or 3"))
        if not option
    ]
    if missing:
        raise InputError(
            "--dp-epsilon: size and colour must not be read off the patients' images; give " + " and ".join(missing)
        )
    require_finite_clip(config)
    if config.dp_engine != "medimg":
        raise InputError("--dp-engine tf-privacy: not for dcgan; use medimg")
    require_small_delta(config, patients)
