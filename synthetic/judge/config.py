"""Options of `medimg judge`: its fields are the options. Nothing heavy is imported here."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option
from synthetic.judge.thresholds import LEAST_RESAMPLES

# What `medimg judge` trains on real and on synthetic rows; on images also a CNN from nothing.
CLASSIFIERS = ("logistic-regression", "decision-tree", "random-forest", "svm", "k-nn", "gradient-boosting", "mlp")

SMALL_CNN = "small-cnn"
_BACKBONE = ("images", "use without --features dct")


@dataclass(frozen=True)
class JudgeConfig(Config):
    """Options of `medimg judge`."""

    train_with: tuple = option(
        (*CLASSIFIERS, SMALL_CNN),
        "A classifier that utility is measured with; may be repeated; small-cnn: of images only.",
    )
    classifier: str = option(
        "mean",
        "The classifier, named beforehand, whose gap is the headline; mean: the mean gap of all.",
        choices=("mean", *CLASSIFIERS, SMALL_CNN),
    )
    features: str = option(
        "auto",
        "Judged in ImageNet features, in low frequencies (dct), or in those of a backbone's weights FILE; "
        "auto: ImageNet where its weights are on this machine already, else dct.",
        metavar="auto|imagenet|dct|FILE",
        only="images",
    )
    feature_model: str = option("mobilenet_v2", "The backbone of --features.", only=_BACKBONE)
    feature_arg: dict = option(
        {}, "Argument of the backbone's builder, k=v; may be repeated.", metavar="k=v", only=_BACKBONE
    )
    cnn_epochs: int = option(
        20, "Epochs of the small CNN on the real part.", minimum=1, only=("images", f"--train-with {SMALL_CNN}")
    )
    most_rows: int = option(2000, "Most rows of each part that distances are measured between.", minimum=50)
    bootstrap: int = option(
        1000, "Resamples of patients for intervals, and permutations for chance.", minimum=LEAST_RESAMPLES
    )
    seed: int = option(0, "Seed of classifiers, samples and resamples.", minimum=0, maximum=LARGEST_SEED)
