"""Options of `medimg data prepare` and `medimg train`: frozen dataclasses whose fields have type, default and help.

Those of other commands lie with what they do (`medimg/evaluation/config.py`). Nothing heavy is imported here:
`medimg --help` reads these classes.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from medimg.option_groups.sources import (
    BratsOptions,
    ColumnOptions,
    ColumnTypeOptions,
    DecodingOptions,
    DicomOptions,
    FilePatternOptions,
    ImageColumnOptions,
    LabelFileOptions,
    NeighbourOptions,
    SliceOptions,
    WindowOptions,
)
from medimg.option_groups.training import (
    PRIVATE,
    AdaptOptions,
    FewLabelsOptions,
    ImageOptions,
    ModelOptions,
    PrivacyOptions,
    PublicOptions,
    TableOptions,
)
from medimg.options import LARGEST_SEED, option
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


# In a Run of `--metadata`, the folder of the same training of pixels alone.
PIXELS_ALONE = "pixels"
CALIBRATIONS = ("none", "temperature", "platt", "isotonic")


# Images of a large model that any machine has room for.
_IN_MEMORY = 64
_BATCH = 32
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
        "Most epochs of the first phase (default: 20; tables 200; private tables and heads by epsilon and patients).",
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
        None, "Images in a step (default: 32; private tables and heads: nearly all patients).", minimum=1
    )
    optimizer: str | None = option(
        None,
        "Optimizer (default: adam; private tables and heads, last layers on a frozen backbone, momentum).",
        choices=("adam", "adamw", "sgd", "momentum", "rmsprop"),
    )
    learning_rate: float | None = option(
        None,
        "Learning rate of the first phase (default: 0.001; logistic 0.01; private tables and heads by a rule).",
        above=0.0,
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
    dp_clip: float | None = option(
        None,
        "Largest L2 norm of a patient's gradient (default: 1; of the last layer on a frozen MobileNet 10).",
        above=0.0,
    )
    audit_holdout: float = option(
        0.0,
        "Share of the training patients, drawn at random, that nothing is learnt from: the non-members of 'audit'.",
        minimum=0.0,
        maximum=0.5,
    )
    seed: int = option(0, "Seed of initial weights, order, augmentation and dropout.", minimum=0, maximum=LARGEST_SEED)

    @property
    def images_at_once(self) -> int:
        """Images, or rows, in a step without gradients: a private batch may be nearly all patients."""
        size = self.batch_size or _BATCH
        return min(size, _IN_MEMORY) if self.is_private else size

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
            "batch_size": _BATCH,
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
        if self.is_private:
            defaults["dp_clip"] = 1.0
        if self.is_private and patients:
            defaults |= {name: value for name, (value, _) in private_defaults(self, unit, patients).items()}
        values = {name: getattr(self, name) for name in defaults}
        return dataclasses.replace(self, **{name: defaults[name] for name, value in values.items() if value is None})
