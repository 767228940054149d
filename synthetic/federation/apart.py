"""What generators of rows and of images across sites of their own have in common."""

from dataclasses import replace

from federated.config import FederateConfig
from federated.flower.description import Description
from federated.flower.link_folder import LinkFolder
from federated.rounds.averaging import options_of_rounds
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from synthetic.config import SynthesizeConfig


def check_apart(config: SynthesizeConfig) -> None:
    """Refuse what sites apart do not do, before any is asked.

    Args:
        config: with `--engine flower`.

    Raises:
        InputError: names the option.
    """
    LinkFolder.of(config)
    for applies, reason in (
        (config.partition not in ("none", "site"), "--partition: the clients are those at their sites"),
        (config.is_private, "--dp-epsilon: a private generator is not trained across sites apart; leave --engine out"),
        (config.rare_classes != "refuse", "--rare-classes leave-out: no site tells which classes are rare"),
    ):
        if applies:
            raise InputError(reason)


def rounds_of_sites(config: SynthesizeConfig, rounds: int, steps: int, batch_size: int) -> FederateConfig:
    """What the rounds read, and sites by their policies.

    Args:
        config: options.
        rounds: in all.
        steps: of a site in a round.
        batch_size: of a site.
    """
    return replace(
        options_of_rounds(replace(config, partition="site"), rounds),
        model=config.model,
        local_steps=steps,
        batch_size=batch_size,
        engine=config.engine,
        when_lost=config.when_lost,
        site_patience=config.site_patience,
        site_timeout=config.site_timeout,
    )


def options_of_sites(config: SynthesizeConfig) -> dict:
    """The options as sites are told them: without what is the coordinator's own affair."""
    return replace(config, link=None, superlink=None, site=()).to_dict()


def same_as(dataset: Dataset, description: Description) -> None:
    """Refuse sites that hold something else than the coordinator's Dataset is of.

    Raises:
        InputError: they do.
    """
    alike = (description.task, list(description.classes)) == (dataset.task, list(dataset.classes))
    if not alike or bool(description.features) != dataset.is_table:
        raise InputError(f"sites: hold something else than {dataset.root}, or other classes; prepare all alike")
