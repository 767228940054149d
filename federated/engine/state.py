"""The state of a federated training between two rounds: plain arrays, in one file."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.arrays import read_arrays
from medimg.untrusted.json_file import parse_json
from medimg.untrusted.printable import printable

_LISTS = ("weights", "server", "shared", "aggregator")


@dataclass(frozen=True)
class State:
    """Everything that the next round depends on, apart from the clients' data.

    Attributes:
        round: rounds done.
        weights: of the global model, in the order of `model.get_weights()`.
        server: the server optimizer's, flat.
        shared: what clients share beside the weights: SCAFFOLD's control variate, MimeLite's optimizer state.
        aggregator: the aggregation's, flat, e.g. an adaptive clip.
        clients: name -> a client's own: SCAFFOLD's control variate, FedBN's normalisation.
    """

    round: int
    weights: list[np.ndarray]
    server: list[np.ndarray]
    shared: list[np.ndarray]
    aggregator: list[np.ndarray]
    clients: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write one `.npz` file atomically; clients' names are JSON inside it.

        Raises:
            InputError: the file can't be written.
        """
        names = sorted(self.clients)
        lists = {name: getattr(self, name) for name in _LISTS}
        lists.update({f"client{i}": self.clients[name] for i, name in enumerate(names)})
        arrays = {f"{name}-{i}": array for name, stored in lists.items() for i, array in enumerate(stored)}
        lengths = {name: len(stored) for name, stored in lists.items()}
        meta = json.dumps({"round": self.round, "clients": names, "lengths": lengths})
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, meta=np.frombuffer(meta.encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> "State":
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a whole state.
        """
        try:
            arrays = read_arrays(path)
            meta = parse_json(arrays["meta"].tobytes())
            lists = {name: [arrays[f"{name}-{i}"] for i in range(length)] for name, length in meta["lengths"].items()}
            clients = {name: lists[f"client{i}"] for i, name in enumerate(meta["clients"])}
            return cls(round=meta["round"], clients=clients, **{name: lists[name] for name in _LISTS})
        except Exception as error:
            raise InputError(
                f"{path}: not a whole state of a federated training ({printable(error)}); start anew"
            ) from error
