"""Client: one participant of a federation and its own data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from medimg.data.dataset import Dataset

__all__ = ["Client", "pooled"]


@dataclass(frozen=True, eq=False)
class Client:
    """A participant: a hospital, or what stands for one in a simulation.

    Attributes:
        name: unique in the federation.
        dataset: the same folder and files as the whole, its manifest cut to the client's rows (they keep their index in
            the whole manifest), with the client's own parts train, val and test.
        notes: sentences that are worth knowing, e.g. a class that it has no image of.
    """

    name: str
    dataset: Dataset
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> int:
        """Labelled rows in train: what the client learns from, and its weight in an average."""
        return len(self.dataset.rows("train", labelled=True))


def pooled(dataset: Dataset, clients: Sequence[Client]) -> Dataset:
    """All clients' rows as one Dataset, each in the part that its client has it in.

    This is what central evaluation and the centralised comparison must read. Its test part is the union of the clients'
    test parts; a row that a client took from train for its val or test is in no training part here either. Where no
    client had to take any, the result has the Dataset's own manifest and fingerprint.

    Args:
        dataset: the whole that was divided.
        clients: all of them, or those that are of interest.
    """
    manifest = pd.concat([client.dataset.manifest for client in clients]).sort_index()
    return replace(dataset, manifest=manifest)
