"""What a site tells of itself before a training: numbers and names, nothing of any one row."""

from importlib.metadata import version
from types import SimpleNamespace

from federated.partition import partition
from federated.remote.description import Description
from federated.remote.site import counts
from medimg.data import schema
from medimg.data.dataset import Dataset


def client_of(dataset: Dataset, name: str, seed: int) -> Dataset:
    """The rows that the site takes part with: those of the Dataset's site of its name, or all.

    Args:
        dataset: at the site.
        name: of the client.
        seed: of the federation: which patients a client without val or test takes from its train.
    """
    by_site = name in set(dataset.manifest["site"])
    options = SimpleNamespace(partition="site" if by_site else "iid", clients=1, seed=seed)
    clients = {client.name if by_site else name: client.dataset for client in partition(dataset, options)}
    return clients[name]


def describe(dataset: Dataset, client: Dataset, name: str, private: bool) -> dict:
    """Fields of a `Description` with one client.

    Args:
        dataset: at the site.
        client: its rows that take part.
        name: of the client.
        private: say nothing that the training patients decide.
    """
    told = {**counts(client), "fingerprint": "" if private else client.fingerprint(), "notes": []}
    if private:
        told |= {"patients": 0, "examples": {**told["examples"], "train": 0}}
    return vars(
        Description(
            dataset.task,
            list(dataset.classes),
            dataset.negative,
            schema.describe(dataset.features),
            version("tensorflow-federated"),
            {name: told},
        )
    )
