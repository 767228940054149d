"""Options of `medimg compare`."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option


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
