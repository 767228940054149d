"""Options of `medimg synthesize` that would do nothing, or go against each other: refused, never ignored."""

from dataclasses import fields

from medimg.errors import InputError
from medimg.options import flag
from synthetic.config import (
    TABLE_MODELS,
    FederatedSynthesisOptions,
    SynthesizeConfig,
    TableSynthesisOptions,
)
from synthetic.images.config import ImageSynthesisOptions


def check(config: SynthesizeConfig) -> None:
    """Refuse what the model, or a training in one place, does not know.

    Raises:
        InputError: names the option.
    """
    given = config.given()
    other = ImageSynthesisOptions if config.model in TABLE_MODELS else TableSynthesisOptions
    for name in _of(other, given):
        raise InputError(f"{flag(name)}: not for --model {config.model}; leave it out")
    if not config.is_federated:
        for name in _of(FederatedSynthesisOptions, given):
            raise InputError(
                f"{flag(name)}: is of a training across clients; give --partition, e.g. site, with it"
            )
    if config.rounds and config.epochs:
        raise InputError(f"--rounds {config.rounds}: not with --epochs, which settles them as well")
    config.require_budget()
    if config.is_private and config.rare_classes == "leave-out":
        # It would tell, without noise, of a class that it has a single patient.
        raise InputError(
            "--rare-classes leave-out: not with --dp-epsilon, which protects a class's only patient already"
        )


def _of(kind: type, given: dict) -> list[str]:
    """Those given that are fields of this kind."""
    names = {field.name for field in fields(kind)}
    return [name for name in given if name in names]
