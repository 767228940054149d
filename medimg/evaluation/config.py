"""Options of `medimg evaluate`."""

from dataclasses import dataclass

from medimg.config import CALIBRATIONS
from medimg.options import LARGEST_SEED, Config, option


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
