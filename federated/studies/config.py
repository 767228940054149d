"""Options of the study federated-hospitals. Nothing heavy is imported here: the command line's help reads it."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class HospitalsConfig(Config):
    """What the study may be told; what is left at None is as in its protocol."""

    seeds: int | None = option(None, "Trainings that differ in their seed (default: 5).", minimum=1)
    rounds: int | None = option(None, "Rounds (default: 15).", minimum=1)
    strategy: tuple = option((), "An algorithm; may be repeated (default: those of the study).")
    tune: bool = option(False, "Choose learning rates on each seed's validation part, instead of the study's own.")
