"""Options of `medimg synthesize`: its fields are the options. Nothing heavy is imported here."""

from dataclasses import dataclass
from typing import ClassVar

from federated.option_groups import FLOWER, PARTITIONS, AggregationOptions, PartitionOptions, SiteOptions
from medimg.option_groups.training import PRIVATE, PrivacyOptions
from medimg.options import LARGEST_SEED, Config, option

REGULARISATIONS = ("none", "r1", "spectral")
TABLE_MODELS = ("ctgan", "tvae", "marginals")
MODELS = (*TABLE_MODELS, "dcgan")
# Private generators have no such penalty.
_NOT_PRIVATE = ("use without --dp-epsilon", "use without --dp-noise-multiplier")


@dataclass(frozen=True)
class TableSynthesisOptions(Config):
    """Options of `medimg synthesize --model ctgan|tvae|marginals`."""

    per_site: bool = option(False, "A generator for each site, fitted on its rows alone.")
    tune: int = option(
        0,
        "Settings tried first and judged on rows left out of their training, never on split test.",
        minimum=0,
        only="--model ctgan|tvae",
    )
    bound: dict = option(
        {},
        "Public range of a column of numbers, or dates as 2020-01-31 (default: that of the training rows; "
        "private: needed, here or in dataset.yaml); may be repeated.",
        metavar="NAME=LOW:HIGH",
    )
    categories: dict = option(
        {},
        "Public categories of a column, or of 'site' (private: needed, here or in dataset.yaml; a site's "
        "alone may be left out, with the column); may be repeated.",
        metavar="NAME=A,B",
    )


@dataclass(frozen=True)
class FederatedSynthesisOptions(AggregationOptions, PartitionOptions):
    """Options of `medimg synthesize --partition`: a generator trained across clients, whose rows stay with them."""

    partition: str = option(
        "none",
        "Train across clients by rounds: the sites, or patients dealt evenly, by a Dirichlet draw, or in one-class "
        "shards; none: on all rows in one place.",
        choices=("none", *PARTITIONS),
    )
    rounds: int | None = option(None, "Rounds (default: as many as give the steps of --epochs).", minimum=1)
    local_steps: int = option(
        20, "Steps of a client in a round, between two averages.", minimum=1, only="use without --model marginals"
    )


@dataclass(frozen=True)
class ImageSynthesisOptions(Config):
    """Options of `medimg synthesize --model dcgan` beside those that all models share."""

    image_size: int | None = option(
        None,
        "28, 32, 48, 64, 96, 128 or another that halves down to 4 to 8 (default: nearest to the images'; "
        "private: needed).",
        minimum=8,
        maximum=256,
        metavar="N",
    )
    channels: int = option(0, "1 (grey) or 3 (RGB); 0: as the images are (private: needed).", choices=(0, 1, 3))
    filters: int | None = option(
        None, "Channels at the largest map, doubled at each halving (default: by the size).", minimum=4
    )
    latent_size: int = option(64, "Random numbers that an image is made from.", minimum=2)
    discriminator_steps: int | None = option(None, "Steps to one of the generator (default: 1, private 4).", minimum=1)
    generator_learning_rate: float = option(5e-4, "Adam of the generator.", above=0.0)
    discriminator_learning_rate: float = option(5e-4, "Adam of the discriminator.", above=0.0)
    label_smoothing: float = option(0.1, "A real image's label is 1 minus this.", minimum=0.0, maximum=0.5)
    regularise: str | None = option(
        None, "What keeps the discriminator smooth (default: r1, private none).", choices=REGULARISATIONS
    )
    r1_weight: float = option(
        0.1, "Weight of the penalty of r1.", above=0.0, only=("use without --regularise none|spectral", *_NOT_PRIVATE)
    )
    ema_decay: float = option(
        0.999,
        "Decay of the moving average of the generator, which draws the images.",
        minimum=0.0,
        maximum=0.99999,
    )
    gan_augment: str = option(
        "light", "Shift real and made images alike before they are judged.", choices=("none", "light")
    )
    sample_every: int = option(10, "Epochs between grids of samples (0: only the last).", minimum=0)
    perturb: float = option(
        0.0,
        "Noise on the weights of each layer of the generator, relative to their size (0: none).",
        minimum=0.0,
    )
    keep_generator: bool = option(False, "Keep the generator, which may tell more about patients than its images do.")


@dataclass(frozen=True)
class SynthesizeConfig(
    PrivacyOptions, FederatedSynthesisOptions, SiteOptions, TableSynthesisOptions, ImageSynthesisOptions
):
    """Options of `medimg synthesize`."""

    only: ClassVar = {
        ImageSynthesisOptions: ("--model dcgan",),
        TableSynthesisOptions: (f"--model {'|'.join(TABLE_MODELS)}",),
        FederatedSynthesisOptions: (f"--partition or {FLOWER}",),
        PrivacyOptions: (PRIVATE,),
    }

    model: str = option(
        "ctgan",
        "Generator: of tables ctgan, tvae or marginals (noisy counts of each column by class), of images dcgan.",
        choices=MODELS,
    )
    count: int | None = option(
        None,
        "Rows or images to make (default: as many as split train has; private: its patients, rounded down to 1, 2 or "
        "5 times a power of ten).",
        minimum=1,
    )
    class_mix: str = option(
        "train",
        "Classes as frequent as in split train (private: as a noisy count of it), or all equal.",
        choices=("train", "equal"),
    )
    rare_classes: str = option(
        "refuse",
        "A class of one training patient can only be copied: stop, or leave it out.",
        choices=("refuse", "leave-out"),
    )
    epochs: int | None = option(None, "Passes over split train (default: set from its size).", minimum=1)
    batch_size: int | None = option(
        None,
        "Rows or images in a step, with --partition at each client; private: most patients on average (default: set "
        "from the size of split train; private: from that rounded down to 1, 2 or 5 times a power of ten).",
        minimum=1,
    )
    seed: int = option(0, "Seed of the training and of what is made.", minimum=0, maximum=LARGEST_SEED)

    @property
    def is_federated(self) -> bool:
        """Trained across clients."""
        return self.partition != "none" or self.is_apart

    @property
    def is_apart(self) -> bool:
        """Clients train at sites of their own, and this process has none of their images."""
        return self.engine == "flower"
