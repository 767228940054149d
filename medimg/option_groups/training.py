"""What trainings share: which model, how images and tables reach it, few labels, other sources, privacy."""

from dataclasses import dataclass

from medimg.options import Config, option

# What makes a training private.
PRIVATE = "--dp-epsilon or --dp-noise-multiplier"
# Models that have normalisation layers.
NORMALISED = ("images", "use without --model vgg16|vgg19|alexnet")


@dataclass(frozen=True)
class ModelOptions(Config):
    """Which model, and where it starts."""

    model: str = option("baseline_cnn", "Model of the registry ('medimg models' lists them); a table: logistic.")
    weights: str = option(
        "none",
        "imagenet, none, a weights FILE, or a RUN; 'train' takes a folder of files for a recipe, or with --dp-epsilon.",
        metavar="imagenet|none|FILE|RUN",
        only="images",
    )
    weights_patients: str | None = option(
        None,
        "Private training from a RUN without privacy whose Dataset is gone: its folder now, or others if you know that "
        "RUN had none of these patients.",
        metavar="others|DATA",
    )
    model_arg: dict = option({}, "Argument of the model's builder, k=v; may be repeated.", metavar="k=v")
    norm: str = option(
        "batch",
        "Normalisation layers; a private training from scratch takes group unless told.",
        choices=("batch", "group"),
        only=NORMALISED,
    )
    freeze: str = option(
        "none",
        "Layers that stay fixed: none, the backbone, or the first N blocks.",
        metavar="none|backbone|N",
        only="images",
    )
    dropout: float | None = option(
        None,
        "Dropout before the last layer; of the mlp, after each hidden one (default: 0.2; mlp 0.5; private heads of "
        "train 0).",
        minimum=0.0,
        maximum=0.95,
        only="images or --model mlp",
    )

    def model_of(self, is_table: bool) -> dict[str, tuple[str, str]]:
        """Where the data are a table and nobody names a model: `model` -> (which, why)."""
        return {"model": ("logistic", "the data are a table")} if is_table and self.is_open("model") else {}


@dataclass(frozen=True)
class ImageOptions(Config):
    """How images reach the model."""

    image_size: int = option(224, "Images are resized to N x N for the model.", minimum=1, metavar="N")
    channels: int = option(0, "1 (grey) or 3 (RGB); 0: as the images are, 3 for ImageNet models.", choices=(0, 1, 3))
    normalize: str = option(
        "none",
        "Colours inside the model: as its backbone has them, grey, or by the training images' mean and covariance "
        "standardised or whitened (pca).",
        choices=("none", "grayscale", "standard", "pca"),
    )
    cache_budget: float = option(
        2.0, "GB of RAM for decoded images; larger sets are cached on disk in the Run.", minimum=0.0
    )
    cache_features: bool = option(
        True,
        "Compute the features of a frozen backbone once.",
        only=("--freeze backbone", "use without --augment or --views"),
    )


@dataclass(frozen=True)
class TableOptions(Config):
    """How a table's columns reach the model."""

    impute: str = option(
        "median",
        "What a missing number becomes (a missing category: the commonest, or its own with constant).",
        choices=("median", "most-frequent", "constant"),
    )
    missing: str = option(
        "impute",
        "Impute, or leave out training rows, or columns, with missing values.",
        choices=("impute", "drop-rows", "drop-columns"),
    )
    missing_limit: float = option(
        0.0,
        "Fraction missing above which a column is dropped.",
        minimum=0.0,
        maximum=1.0,
        only="--missing drop-columns",
    )
    missing_indicators: bool = option(
        True, "Add columns that tell what was missing.", only="use without --missing drop-rows"
    )
    scale: str = option("standard", "Scaling of numbers.", choices=("standard", "min-max", "none"))
    encode: str = option("one-hot", "Encoding of categories.", choices=("one-hot", "ordinal"))
    select: str = option("none", "Choice of columns, on train only.", choices=("none", "variance", "anova"))
    select_count: int = option(100, "Columns that are kept.", minimum=1, only="--select")


@dataclass(frozen=True)
class PublicOptions(Config):
    """Options that state what is publicly known of a table."""

    bound: dict = option(
        {},
        "Public range of a column of numbers or dates; may be repeated (default: of dataset.yaml).",
        metavar="COLUMN=LOW:HIGH",
    )
    categories: dict = option(
        {},
        "Public categories of a column; may be repeated (default: of dataset.yaml).",
        metavar="COLUMN=a,b",
    )


@dataclass(frozen=True)
class PrivacyOptions(Config):
    """Private training of one Run."""

    dp_epsilon: float | None = option(
        None, "Differential privacy of patients: most epsilon that the training may spend.", above=0.0
    )
    dp_delta: float = option(1e-5, "Delta of --dp-epsilon; below 1 / number of patients.", above=0.0, maximum=0.5)
    dp_clip: float = option(1.0, "Largest L2 norm of a patient's gradient.", above=0.0)
    dp_noise_multiplier: float | None = option(
        None, "Noise over the clip (default: the least that --dp-epsilon allows for all epochs).", above=0.0
    )
    dp_sampling: str = option(
        "poisson",
        "Poisson sampling of patients, or shuffled batches without amplification.",
        choices=("poisson", "shuffle"),
    )
    dp_images_per_patient: int = option(0, "Most images, or rows, of a patient in a private step (0: all).", minimum=0)
    dp_budget: str = option(
        "run",
        "What --dp-epsilon covers: this Run, or all private Runs on the Dataset.",
        choices=("run", "dataset"),
        only="--dp-epsilon",
    )
    dp_engine: str = option("medimg", "Who computes private gradients.", choices=("medimg", "tf-privacy"))
    dp_seed: int | None = option(
        None, "Fixed seed of noise and sampling, for experiments only (default: secret).", minimum=0
    )

    @property
    def is_private(self) -> bool:
        """Trained with differential privacy."""
        return self.dp_epsilon is not None or self.dp_noise_multiplier is not None


PARADIGMS = ("supervised", "pseudo-label", "fixmatch", "mean-teacher", "simclr")


@dataclass(frozen=True)
class FewLabelsOptions(Config):
    """How images without labels are learnt from."""

    paradigm: str = option(
        "supervised",
        "From labelled images alone; or from unlabelled ones of the training part too: by pseudo-labels, FixMatch, a "
        "mean teacher, or features of SimCLR.",
        choices=PARADIGMS,
        only="images",
    )
    labelled_fraction: float = option(
        1.0,
        "Share of the training patients, of each class, whose labels are used; those of the others are put away.",
        above=0.0,
        maximum=1.0,
    )
    confidence: float = option(
        0.95,
        "Least probability of a class that makes it an image's target.",
        minimum=0.0,
        maximum=1.0,
        only="--paradigm pseudo-label|fixmatch",
    )
    pseudo_rounds: int = option(
        2, "Times that labels are given and learnt from.", minimum=1, maximum=4, only="--paradigm pseudo-label"
    )
    unlabelled_ratio: int = option(
        3, "Unlabelled images in a step for each labelled one.", minimum=1, only="--paradigm fixmatch|mean-teacher"
    )
    unlabelled_weight: float | None = option(
        None,
        "Weight of unlabelled images' loss (default: 1; mean-teacher 10).",
        minimum=0.0,
        only="--paradigm pseudo-label|fixmatch|mean-teacher",
    )
    teacher_decay: float = option(
        0.99,
        "What a step leaves of the running mean of weights.",
        minimum=0.0,
        maximum=1.0,
        only="--paradigm mean-teacher",
    )
    pretrain_epochs: int = option(
        20, "Most epochs that features are learnt without labels.", minimum=1, only="--paradigm simclr"
    )
    contrast_temperature: float = option(0.5, "Temperature of the cosines.", above=0.0, only="--paradigm simclr")

    @property
    def is_semi_supervised(self) -> bool:
        """Learns from unlabelled images."""
        return self.paradigm != "supervised"


@dataclass(frozen=True)
class AdaptOptions(Config):
    """How a model is made for another source's images."""

    adapt: str | None = option(
        None,
        "Dataset of another source, whose training images are used without their labels.",
        metavar="DATA2",
        only="images",
    )
    adapt_method: str = option(
        "adabn",
        "Statistics of BatchNorm from DATA2's images (adabn), or features that vary alike (coral).",
        choices=("adabn", "coral"),
        only="--adapt",
    )
    adapt_weight: float = option(1.0, "Weight of the distance of covariances.", above=0.0, only="--adapt-method coral")
