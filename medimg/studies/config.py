"""Options of `medimg study`, of what this package alone studies."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class PrivacyUtilityConfig(Config):
    """Options of `medimg study privacy-utility` beside those of the trainings in it."""

    epsilon: tuple = option((), "privacy-utility: an epsilon, or inf; may be repeated (default: 0.5 1 2 4 8 inf).")


@dataclass(frozen=True)
class StudyRunConfig(Config):
    """How a study is run, whatever its cells are."""

    seeds: int | None = option(None, "Trainings that differ in their seed alone (default: the study's).", minimum=1)
    budget: float | None = option(
        None,
        "Minutes: seeds are cut to fit, then cells, then epochs and rows, and what was cut is said.",
        above=0.0,
        metavar="MINUTES",
    )
    bootstrap: int = option(1000, "Resamples of patients for the 95% intervals.", minimum=20)


@dataclass(frozen=True)
class StudyConfig(StudyRunConfig):
    """Options of a study that is declared by its file."""

    cell: tuple = option((), "A cell of the study, as its table names it; may be repeated (default: all).")
    weights: tuple = option(
        (),
        "Where backbones start, beside the weights of 'medimg weights add': a file of one of them, may be repeated; "
        "imagenet: as Keras downloads them; none: all at random.",
        metavar="imagenet|none|FILE",
    )
    model: tuple = option((), "The model; may be repeated where a study compares models (default: the study's).")
    model_arg: dict = option({}, "Argument of its builder, k=v; may be repeated.", metavar="k=v", only="--model")
    epochs: int | None = option(None, "Most epochs of each training (default: the study's).", minimum=1)
    rounds: int | None = option(None, "Rounds of each federation (default: the study's).", minimum=1)
    image_size: int | None = option(None, "Images' side (default: the study's).", minimum=8)
    normalize: str | None = option(
        None, "Colours whitened, or as the model has them (default: the study's).", choices=("none", "pca")
    )
