"""Groups of options that several commands or several sources share: which model, how images and tables reach it, its
privacy, and what a source reads.

Nothing heavy is imported here: `medimg --help` reads these classes.
"""

from dataclasses import dataclass

from medimg.options import Config, option

# What makes a training private.
PRIVATE = "--dp-epsilon or --dp-noise-multiplier"


# Models that have normalisation layers.
NORMALISED = ("images", "use without --model vgg16|vgg19|alexnet")


@dataclass(frozen=True)
class ModelOptions(Config):
    """Which model, and where it starts."""

    model: str = option("baseline_cnn", "Model of the registry ('medimg models' lists them).")
    weights: str = option(
        "none",
        "imagenet, none, a weights FILE, or a RUN; a recipe of 'train' takes a folder of files.",
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
        "Dropout before the last layer; of the mlp, after each hidden one (default: 0.2; mlp 0.5).",
        minimum=0.0,
        maximum=0.95,
        only="images or --model mlp",
    )


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


@dataclass(frozen=True)
class DecodingOptions(Config):
    """How images are decoded; of every source of images."""

    image_size: int | None = option(
        None, "Resize to N x N pixels (default: keep each image's size).", minimum=1, metavar="N"
    )
    max_megapixels: int = option(
        100,
        "Largest image that is decoded, in millions of pixels; above 100 with --image-size.",
        minimum=1,
        maximum=1000,
    )
    intensity: str = option(
        "auto",
        "What is white in 16-bit images: 65535, or 4095 where no image has more (auto); 65535 (full); in images of any "
        "depth, each one's own maximum (max).",
        choices=("auto", "full", "max"),
    )
    workers: int = option(0, "Decoding threads (0: one per core).", minimum=0)


@dataclass(frozen=True)
class FilePatternOptions(Config):
    """What names of files tell; of the source `folder`."""

    patient_pattern: str | None = option(
        None,
        "folder: regular expression whose first group (or match) in the file name is the patient.",
        metavar="REGEX",
    )
    site_pattern: str | None = option(
        None, "folder: regular expression whose first group (or match) in the path is the site.", metavar="REGEX"
    )


@dataclass(frozen=True)
class LabelFileOptions(Config):
    """Labels in a table of their own."""

    labels: str | None = option(
        None,
        "chestxray14, isic, dicom, nifti, deeplesion: table of labels when it is not beside the images.",
        metavar="TABLE",
    )


@dataclass(frozen=True)
class WindowOptions(Config):
    """Which values of CT and the like become black and white."""

    window: str | None = option(
        None,
        "dicom, nifti, deeplesion: centre and width, or a window's name (default: dicom, the file's first; nifti, the "
        "volume's 1st to 99th percentile; deeplesion, the row's).",
        metavar="C,W|lung|bone|brain|soft-tissue",
    )


@dataclass(frozen=True)
class SliceOptions(Config):
    """Which slices of a volume become images."""

    slices: str = option(
        "all", "dicom, nifti, brats: slices of each volume (frames of a file).", metavar="all|middle|every:N|INDEX"
    )


@dataclass(frozen=True)
class NeighbourOptions(Config):
    """Slices as channels."""

    neighbours: int = option(
        0,
        "dicom, nifti: three channels, the slice between those N before and N after it (0: the slice alone).",
        minimum=0,
        metavar="N",
    )


@dataclass(frozen=True)
class DicomOptions(Config):
    """What of DICOM files is read, and what of their headers is kept."""

    modality: tuple = option((), "dicom: keep files of this modality, e.g. CT; may be repeated.", metavar="CT|MR|...")
    field: tuple = option(
        (),
        "dicom: header field to keep as metadata, as it is, e.g. PatientAge; may be repeated (default: none).",
        metavar="KEYWORD",
    )
    mask_text: bool = option(False, "dicom: make text found at an image's borders black.")
    salt: str | None = option(
        None,
        "dicom: secret that ids are hashed with, made where there is none (default: PATH.salt, beside the source).",
        metavar="SALT",
    )


@dataclass(frozen=True)
class ImageColumnOptions(Config):
    """Where a table names its images."""

    image_column: str = option("image", "csv: column of image paths, or of ids.")
    image_dir: tuple = option((), "csv: folder of the images; may be repeated (default: the table's).", metavar="DIR")
    extension: str | None = option(None, "csv: of ids without one, e.g. jpg (default: found).", metavar="EXT")


@dataclass(frozen=True)
class ColumnOptions(Config):
    """Which columns of a table say what."""

    label_column: str = option(
        "label", "csv, table, dicom, nifti: column of labels; or (not table) of 0 and 1, a class each, e.g. MEL,NV,BCC."
    )
    label_separator: str | None = option(
        None,
        "csv, dicom, nifti: between several labels of an image, or 'none' (default: '|', else ';' or ',' where that is "
        "plain); table: 'none' alone.",
        metavar="SIGN",
    )
    patient_column: str = option("patient", "csv, table, dicom, nifti: column of patients.")
    site_column: str = option("site", "csv, table, dicom, nifti: column of sites.")
    split_column: str = option("split", "csv, table, dicom, nifti: column of the source's own parts (--split).")


@dataclass(frozen=True)
class ColumnTypeOptions(Config):
    """What the columns of a table hold."""

    column_type: dict = option(
        {},
        "table: a column is continuous, integer, ordinal, categorical, date, identifier or metadata; may be repeated.",
        metavar="NAME=TYPE",
    )


@dataclass(frozen=True)
class BratsOptions(Config):
    """What of a BraTS case is seen, and what it is called."""

    modalities: str = option(
        "flair,t1ce,t2", "brats: three modalities as channels, or one, of t1, t1ce, t2 and flair.", metavar="A,B,C"
    )
    target: str = option(
        "tumour",
        "brats: of a slice, whether it has tumour, or the class that most of its labelled voxels have.",
        choices=("tumour", "dominant"),
    )
    scheme: str = option(
        "auto",
        "brats: what the numbers of a seg mean: 1, 2, 4 to 2022; 1 to 3 from 2023, with 2024's 4 the resection cavity "
        "(auto: by the files' names).",
        choices=("auto", "2018", "2023", "2024"),
    )
