"""Options of the study federated-hospitals. Nothing heavy is imported here: the command line's help reads it."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class HospitalsConfig(Config):
    """What the study may be told, beside what any study may."""

    strategy: tuple = option(
        (), "An algorithm beside each site alone and all pooled; may be repeated (default: those of the study)."
    )
    tune: bool = option(False, "Choose learning rates on each seed's validation part, instead of the study's own.")
