"""Options of `medimg validate`."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option


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
