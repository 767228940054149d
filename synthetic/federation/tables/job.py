"""What is trained across clients of a table, and by whom: settled, or refused, before anything is written."""

import math
from dataclasses import dataclass

import pandas as pd

from federated.clients.client import Client
from federated.partition import partition
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.options import flag
from synthetic.config import SynthesizeConfig
from synthetic.federation import aggregation
from synthetic.federation.tables import privacy
from synthetic.tables import synthesis
from synthetic.tables.settings import Settings, settings_for


@dataclass(frozen=True, eq=False)
class TableJob:
    """What is trained, and by whom.

    Attributes:
        clients: in order.
        sites: client -> its labelled training rows.
        features: columns to learn.
        classes: labels of the rows, in order.
        settings: of a table as large as those of all clients together.
        rounds, steps: of the training; steps of a client in a round.
    """

    clients: list[Client]
    sites: dict[str, pd.DataFrame]
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    settings: Settings
    rounds: int
    steps: int

    @property
    def rows(self) -> dict[str, int]:
        """Of each client."""
        return {name: len(frame) for name, frame in self.sites.items()}


def settle(dataset: Dataset, config: SynthesizeConfig) -> TableJob:
    """Settle what is to be done, or refuse it before anything is written.

    Args:
        dataset: a table.
        config: with a partition.

    Raises:
        InputError: names the option, client or class.
    """
    _check_options(config)
    synthesis.check(dataset, config)
    clients = partition(dataset, config, measured=False)
    aggregation.check(config, len(clients))
    rows = synthesis.learnt_rows(dataset, config)
    classes = synthesis.classes_of(dataset, rows, config)
    sites = {client.name: _own_rows(client, classes) for client in clients}
    for name, frame in sites.items():
        if frame.empty:
            raise InputError(
                f"--rare-classes leave-out: '{name}' has no training row of the classes that are left; prepare "
                "without this site, or use another --partition"
            )
    size = rows["patient"].nunique() if config.is_private else len(rows)
    settings = settings_for(config.model, size, config.batch_size, config.epochs, config.is_private)
    steps = min(config.local_steps, settings.steps)
    return TableJob(
        clients,
        sites,
        synthesis.features_of(dataset, rows, config),
        classes,
        settings,
        config.rounds or math.ceil(settings.steps / steps),
        steps,
    )


def _check_options(config: SynthesizeConfig) -> None:
    if config.per_site:
        raise InputError("--per-site: not with --partition, which trains one generator across all")
    if config.tune:
        raise InputError(
            "--tune: not with --partition, whose coordinator has no rows to try settings on; give --rounds or --epochs"
        )
    if config.is_private:
        privacy.check(config)
    if config.model == "marginals" and config.rounds:
        raise InputError(f"{flag('rounds')}: marginals are counted once; leave it out")


def _own_rows(client: Client, classes: tuple[str, ...]) -> pd.DataFrame:
    """Labelled training rows of a client, of these classes."""
    rows = client.dataset.rows("train", labelled=True)
    return rows[rows["label"].isin(classes)].reset_index(drop=True)
