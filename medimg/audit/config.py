"""Options of `medimg audit`."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option

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
