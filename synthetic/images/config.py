"""The options of synthetic images; nothing heavy is imported here."""

from dataclasses import dataclass

from medimg.options import Config, option

REGULARISATIONS = ("none", "r1", "spectral")


@dataclass(frozen=True)
class ImageSynthesisOptions(Config):
    """Options of `medimg synthesize --model dcgan` beside those that all models share."""

    image_size: int | None = option(
        None,
        "dcgan: 28, 32, 48, 64, 96, 128 or another that halves down to 4 to 8 (default: nearest to the images'; "
        "private: needed).",
        minimum=8,
        maximum=256,
        metavar="N",
    )
    channels: int = option(
        0,
        "dcgan: 1 (grey) or 3 (RGB); 0: as the images are (private: needed).",
        choices=(0, 1, 3),
    )
    filters: int | None = option(
        None,
        "dcgan: channels at the largest map, doubled at each halving (default: by the size).",
        minimum=4,
    )
    latent_size: int = option(64, "dcgan: random numbers that an image is made from.", minimum=2)
    discriminator_steps: int | None = option(
        None, "dcgan: steps to one of the generator (default: 1, private 4).", minimum=1
    )
    generator_learning_rate: float = option(5e-4, "dcgan: Adam of the generator.", above=0.0)
    discriminator_learning_rate: float = option(
        5e-4, "dcgan: Adam of the discriminator.", above=0.0
    )
    label_smoothing: float = option(
        0.1, "dcgan: a real image's label is 1 minus this.", minimum=0.0, maximum=0.5
    )
    regularise: str | None = option(
        None,
        "dcgan: what keeps the discriminator smooth (default: r1, private none).",
        choices=REGULARISATIONS,
    )
    r1_weight: float = option(0.1, "dcgan: weight of the penalty of --regularise r1.", above=0.0)
    ema_decay: float = option(
        0.999,
        "dcgan: decay of the moving average of the generator, which draws the images.",
        minimum=0.0,
        maximum=0.99999,
    )
    gan_augment: str = option(
        "light",
        "dcgan: shift real and made images alike before they are judged.",
        choices=("none", "light"),
    )
    sample_every: int = option(
        10, "dcgan: epochs between grids of samples (0: only the last).", minimum=0
    )
    perturb: float = option(
        0.0,
        "dcgan: noise on the weights of each layer of the generator, relative to their size (0: none).",
        minimum=0.0,
    )
    keep_generator: bool = option(
        False, "dcgan: keep the generator, which may tell more about patients than its images do."
    )
