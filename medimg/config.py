"""One frozen dataclass per command: its fields are the options (type, default, help).

Nothing heavy is imported here: `medimg --help` reads these classes.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from medimg.option_groups import (
    PRIVATE,
    AdaptOptions,
    BratsOptions,
    ColumnOptions,
    ColumnTypeOptions,
    DecodingOptions,
    DicomOptions,
    FewLabelsOptions,
    FilePatternOptions,
    ImageColumnOptions,
    ImageOptions,
    LabelFileOptions,
    ModelOptions,
    NeighbourOptions,
    PrivacyOptions,
    PublicOptions,
    SliceOptions,
    TableOptions,
    WindowOptions,
)
from medimg.options import LARGEST_SEED, Config, option
from medimg.privacy.defaults import private_defaults


@dataclass(frozen=True)
class PrepareConfig(
    BratsOptions,
    DicomOptions,
    NeighbourOptions,
    SliceOptions,
    WindowOptions,
    ColumnTypeOptions,
    ColumnOptions,
    ImageColumnOptions,
    LabelFileOptions,
    FilePatternOptions,
    DecodingOptions,
):
    """Options of `medimg data prepare`: those here are read by every source, those of its groups by some.

    A source names its groups (`medimg.sources.base.Source.options`).
    """

    split: str | None = option(
        None,
        "Parts train/val/test in percent, or 'official' (default: the source's own where it has them, else 70/15/15).",
    )
    split_draw: str = option(
        "balanced",
        "Parts balanced by class, or each patient by a lot of their own, whoever else is there: for private training.",
        choices=("balanced", "lot"),
    )
    positive: str | None = option(
        None,
        "Of two classes the positive one (default: the one that is not called normal, benign, 0 or the like).",
        metavar="CLASS",
    )
    group_by: str = option("patient", "Column whose values never cross splits.")
    on_duplicates: str = option(
        "error",
        "Identical images or copied rows across patients, splits or labels: stop, drop all but one, or group into "
        "one split.",
        choices=("error", "drop", "group"),
    )
    seed: int = option(0, "Seed of the split.", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class PhantomConfig(Config):
    """What the phantom source draws."""

    patients: int = option(400, "phantom: number of patients.", minimum=1)
    images_per_patient: int = option(2, "phantom: most images of a patient (1 to N, drawn per patient).", minimum=1)
    sites: int = option(5, "phantom: number of sites, each with its gain and contrast.", minimum=1)
    phantom_size: int = option(96, "phantom: image width and height in pixels.", minimum=16)
    prevalence: float = option(0.5, "phantom: fraction of patients with opacities.", minimum=0.0, maximum=1.0)
    opacity_size: float = option(
        0.07, "phantom: mean radius of an opacity as a fraction of the width.", above=0.0, maximum=0.3
    )
    opacity_contrast: float = option(
        0.4, "phantom: brightness that an opacity adds, as a fraction of full scale.", minimum=0.0, maximum=1.0
    )
    site_shift: float = option(0.15, "phantom: spread of gain and contrast over sites.", minimum=0.0, maximum=0.9)
    shortcut: float = option(
        0.0,
        "phantom: how far a corner marker goes with the label (0: no marker, 1: a perfect shortcut).",
        minimum=0.0,
        maximum=1.0,
    )
    seed: int = option(0, "Seed of everything drawn.", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class LedgerConfig(Config):
    """Options of `medimg data ledger`."""

    delta: float = option(1e-5, "Delta of epsilon.", above=0.0, maximum=0.999999)
    abandon: str | None = option(None, "Id of a Run that never goes on: release its rest.", metavar="ID")


# In a Run of `--metadata`, the folder of the same training of pixels alone.
PIXELS_ALONE = "pixels"
CALIBRATIONS = ("none", "temperature", "platt", "isotonic")


# Keras' own steps, which compile and compute as it says.
_PLAIN_STEPS = ("--paradigm supervised", "use without --dp-epsilon", "use without --dp-noise-multiplier")


@dataclass(frozen=True)
class TrainConfig(
    PublicOptions, PrivacyOptions, TableOptions, AdaptOptions, FewLabelsOptions, ImageOptions, ModelOptions
):
    """Options of `medimg train`."""

    only: ClassVar = {
        TableOptions: ("tables or --metadata",),
        ImageOptions: ("images",),
        PrivacyOptions: (PRIVATE,),
        PublicOptions: ("tables", PRIVATE),
    }

    recipe: str | None = option(
        None,
        "What to train is decided by the data (auto; the default where no other option of training is given), or by "
        "options (none).",
        choices=("auto", "none"),
    )
    time: str | None = option(
        None, "Time that a recipe may take (default: 10m).", metavar="90s|12m|1h", only="--recipe auto"
    )
    candidate: tuple = option(
        (),
        "Of a recipe's plan: options of one training in one word; repeat it (default: by the data).",
        metavar="OPTIONS",
        only="--recipe auto",
    )
    epochs: int | None = option(
        None,
        "Most epochs of the first phase (default: 20; tables 200, private ones by epsilon and patients).",
        minimum=0,
    )
    fine_tune_epochs: int = option(0, "Epochs that then train the top blocks.", minimum=0, only="--freeze backbone")
    fine_tune_blocks: int = option(
        2, "Top blocks of the backbone that fine-tuning trains.", minimum=1, only="--fine-tune-epochs"
    )
    fine_tune_learning_rate: float | None = option(
        None, "Learning rate of fine-tuning (default: a tenth).", above=0.0, only="--fine-tune-epochs"
    )
    head_start: str = option(
        "random",
        "The last layer begins at random, or as the penalised logistic regression of the frozen backbone's features.",
        choices=("random", "logistic"),
        only=("--freeze backbone", "use without --dp-epsilon", "use without --dp-noise-multiplier"),
    )
    head_penalty: float = option(
        100.0, "Weight of that regression's squared coefficients.", above=0.0, only="--head-start logistic"
    )
    batch_size: int | None = option(
        None, "Images in a step (default: 32; private tables: nearly all patients).", minimum=1
    )
    optimizer: str | None = option(
        None,
        "Optimizer (default: adam; private tables momentum).",
        choices=("adam", "adamw", "sgd", "momentum", "rmsprop"),
    )
    learning_rate: float | None = option(
        None, "Learning rate of the first phase (default: 0.001; logistic 0.01; private tables by a rule).", above=0.0
    )
    patience: int | None = option(
        None,
        "Epochs without a better validation loss before stopping; 0: never "
        "(default: 5; tables 20; private 0, and the last epoch is kept).",
        minimum=0,
    )
    plateau_patience: int | None = option(
        None,
        "Epochs without a better validation loss before the rate falls; 0: never (default: 2; tables 10; private 0).",
        minimum=0,
    )
    plateau_factor: float = option(
        0.3,
        "What the learning rate is multiplied by on a plateau.",
        above=0.0,
        maximum=1.0,
        only="--plateau-patience",
    )
    balance: str = option(
        "none",
        "Class imbalance: weights in the loss, draws by class, made examples (SMOTE), focal loss or balanced softmax.",
        choices=("none", "class-weight", "weighted-sampling", "smote", "focal", "balanced-softmax"),
    )
    extra: str | None = option(None, "A synthetic Dataset whose rows join the training part.", metavar="DATA2")
    augment: str = option(
        "none",
        "Augmentation of training images; acquisition: framing, exposure or sharpness, as machines differ, no flips.",
        choices=("none", "light", "standard", "strong", "acquisition"),
        only="images",
    )
    views: int = option(
        0,
        "Augmented views of each image in all (0: a fresh one every epoch); finite ones can be cached.",
        minimum=0,
        only="--augment",
    )
    precision: str = option(
        "float32",
        "What steps compute in: half of the bits is faster on GPUs that have them; weights stay float32.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        only=("images", *_PLAIN_STEPS),
    )
    distribute: str = option(
        "none",
        "Share each step's batch among this machine's GPUs, or among processes that TF_CONFIG names.",
        choices=("none", "mirrored", "multi-worker"),
        only=("images", *_PLAIN_STEPS, "use without --metadata", "use without --seeds", "use without --folds"),
    )
    xla: bool = option(False, "Have XLA compile the steps.", only=_PLAIN_STEPS)
    tensorboard: bool = option(False, "Write TensorBoard logs into RUN/tensorboard.")
    folds: int = option(0, "Cross-validate with K folds of patients instead (0: no).", minimum=0, metavar="K")
    fold: int = option(0, "Train this fold alone, 1 to K (0: all of them).", minimum=0, only="--folds")
    calibrate: str = option("none", "Calibrate the finished model's probabilities on validation.", choices=CALIBRATIONS)
    metadata: str | None = option(
        None,
        "Columns of DATA to learn from beside pixels, e.g. age,sex; what is missing is handled as in tables.",
        metavar="COLUMN,...",
        only="images",
    )
    member: tuple = option((), "A finished Run that votes; repeat it.", metavar="RUN", only="--model ensemble")
    seeds: int = option(
        0, "Train N members that differ in their seed alone, and let them vote (0: one model).", minimum=0, metavar="N"
    )
    vote: str = option(
        "mean",
        "An ensemble's members count alike, or by weights fitted on validation by log loss.",
        choices=("mean", "log-loss"),
        only="--model ensemble or --seeds",
    )
    audit_holdout: float = option(
        0.0,
        "Share of the training patients, drawn at random, that nothing is learnt from: the non-members of 'audit'.",
        minimum=0.0,
        maximum=0.5,
    )
    seed: int = option(0, "Seed of initial weights, order, augmentation and dropout.", minimum=0, maximum=LARGEST_SEED)

    @property
    def is_ensemble(self) -> bool:
        """Of several models that vote."""
        return self.model == "ensemble" or bool(self.seeds)

    def resolved(self, unit: str, patients: int = 0) -> "TrainConfig":
        """With the defaults for images (`image`) or tables (`row`) where nothing was given.

        Args:
            unit: of the Dataset.
            patients: of a private training, in coarse steps (`medimg.privacy.defaults`); 0: unknown.
        """
        row = unit == "row"
        defaults = {
            "batch_size": 32,
            "optimizer": "adam",
            "epochs": 200 if row else 20,
            # A logistic regression has one minimum: it can go there in larger steps.
            "learning_rate": 1e-2 if self.model == "logistic" else 1e-3,
            # Noise makes the private loss waver, and stopping by it would spend validation patients' privacy.
            "patience": 0 if self.is_private else 20 if row else 5,
            "plateau_patience": 0 if self.is_private else 10 if row else 2,
            "dropout": 0.5 if row else 0.2,
            # Squared distances of probabilities are small beside cross-entropies.
            "unlabelled_weight": 10.0 if self.paradigm == "mean-teacher" else 1.0,
        }
        if self.is_private and row and patients:
            defaults |= {name: value for name, (value, _) in private_defaults(self, patients).items()}
        given = {name: getattr(self, name) for name in defaults}
        return dataclasses.replace(self, **{name: defaults[name] for name, value in given.items() if value is None})


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Options of `medimg evaluate`."""

    data: str | None = option(None, "Another Dataset with the same classes (default: the Run's own).", metavar="DATA")
    split: str = option("test", "Part to evaluate.", choices=("train", "val", "test", "all"))
    bootstrap: int = option(1000, "Bootstrap resamples of patients for the 95% intervals.", minimum=0)
    threshold: str | None = option(
        None,
        "Chosen on validation: youden or sensitivity=S; or a fixed number (default: the recipe's where there was one, "
        "else youden).",
        metavar="RULE",
        only="binary tasks or multilabel tasks",
    )
    calibrate: str | None = option(
        None,
        "Calibrate the Run's probabilities on its validation part from now on, or none: undo (default: as the Run is).",
        choices=CALIBRATIONS,
    )
    by: str | None = option(
        None,
        "Columns of the manifest whose groups are measured apart, with a width for numbers: sex,age:10,site.",
        metavar="COLUMN[:WIDTH],...",
    )
    prevalence: float | None = option(
        None, "Share of a population that has the positive class: adds PPV and NPV there.", above=0.0, maximum=0.999999
    )
    batch_size: int = option(32, "Images in a step.", minimum=1)
    seed: int = option(0, "Seed of the bootstrap.", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class PredictConfig(Config):
    """Options of `medimg predict`."""

    image_column: str | None = option(
        None, "Column of the paths in a CSV of images (default: image).", metavar="NAME", only="images"
    )
    save_maps: bool = option(False, "Save a Grad-CAM map of each image in FILE-maps.", only="images")
    dicom_out: str | None = option(
        None, "Folder for DICOM results: a report on each series, a capture of each map.", metavar="DIR", only="images"
    )
    send: str | None = option(
        None, "PACS that the DICOM results are sent to.", metavar="AE@HOST:PORT", only=("images", "--dicom-out")
    )
    batch_size: int = option(32, "Images in a step.", minimum=1)
    max_megapixels: int = option(
        100, "Largest image that is decoded, in millions of pixels.", minimum=1, maximum=1000, only="images"
    )


@dataclass(frozen=True)
class ValidateConfig(Config):
    """Options of `medimg validate`."""

    split: str = option("all", "Part of DATA2 to validate on.", choices=("train", "val", "test", "all"))
    patient_pattern: str | None = option(
        None,
        "DATA2 a folder of images: regular expression whose first group (or match) in the file name is the patient.",
        metavar="REGEX",
    )
    map_class: dict = option(
        {},
        "Which class of the model a class of DATA2 is; may be repeated (default: the same name).",
        metavar="THEIRS=OURS",
        only="binary tasks or multiclass tasks",
    )
    bootstrap: int = option(1000, "Bootstrap resamples of patients for the 95% intervals.", minimum=2)
    batch_size: int = option(32, "Images in a step.", minimum=1)
    seed: int = option(0, "Seed of the bootstrap.", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class ExportConfig(Config):
    """Options of `medimg export`."""

    format: str = option("savedmodel", "SavedModel for TF Serving, or ONNX.", choices=("savedmodel", "onnx"))
    data: str | None = option(None, "Where the Run's Dataset is now, if it was moved.", metavar="DATA")
    samples: int = option(8, "Real images of the parity proof, and drawn ones for warm-up.", minimum=1)
    tolerance: float = option(1e-5, "Largest difference of probabilities that the parity proof allows.", above=0.0)


@dataclass(frozen=True)
class CompareConfig(Config):
    """Options of `medimg compare`."""

    data: str | None = option(None, "table, folds: where the Runs' Dataset is now, if it was moved.", metavar="DATA")
    metric: str = option("auroc", "Metric whose differences are tested.")
    bootstrap: int = option(1000, "Bootstrap resamples of patients for the 95% intervals.", minimum=2)
    baseline: tuple = option(
        ("gradient-boosting", "random-forest"),
        "Scikit-learn model to compare with: gradient-boosting, random-forest, logistic-regression or none; may be "
        "repeated.",
        only="tables",
    )
    seed: int = option(0, "Seed of the bootstrap and of the baselines.", minimum=0, maximum=LARGEST_SEED)


ATTACKS = ("threshold", "entropy", "logistic-regression", "k-nearest-neighbours", "mlp", "random-forest", "lira")


@dataclass(frozen=True)
class AuditConfig(Config):
    """Options of `medimg audit`."""

    data: str | None = option(None, "Where the Run's Dataset is now, if it was moved.", metavar="DATA")
    attack: tuple = option(
        ("threshold", "logistic-regression"), f"Membership inference attack: {', '.join(ATTACKS)}; may be repeated."
    )
    shadow_models: int = option(0, "Models trained to compare with.", minimum=0, only="--attack lira")
    twin: str | None = option(None, "A Run without privacy on the same data, attacked alike.", metavar="RUN")
    canaries: int = option(0, "Examples made up, half of them put into a second training (0: none).", minimum=0)
    bootstrap: int = option(1000, "Bootstrap resamples of patients for the 95% intervals.", minimum=2)
    seed: int = option(0, "Seed of samples, shadow models and the bootstrap.", minimum=0, maximum=LARGEST_SEED)
