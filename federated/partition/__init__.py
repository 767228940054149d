"""partition(): a Dataset divided among clients, by its sites or as a simulation of hospitals that differ."""

from dataclasses import replace

import numpy as np
import pandas as pd

from federated.clients.client import Client
from federated.option_groups import PARTITIONS
from federated.partition.by_name import by_name
from federated.partition.dirichlet import dirichlet
from federated.partition.iid import iid
from federated.partition.own_parts import own_parts
from federated.partition.patients import patients_of
from federated.partition.shards import shards
from federated.partition.site import by_site
from medimg.data.dataset import SEPARATOR, SPLITS, Dataset
from medimg.errors import InputError

__all__ = ["PARTITIONS", "partition"]


def partition(dataset: Dataset, config, measured: bool = True) -> list[Client]:
    """Divide a Dataset among clients; a patient is at one client only.

    A row keeps the part (train, val, test) that the Dataset gives it. Only a client without any labelled row in val or
    in test takes some of its training patients for it, and a note of the client says so;
    `federated.clients.client.pooled` is the whole with these parts.

    For a private training no patient's client or part depends on who else is there: simulated clients are drawn by
    `federated.partition.by_name`, none takes anybody from train, and no note counts rows.

    Args:
        dataset: prepared; its parts are by patient.
        config: `partition` (one of PARTITIONS), `seed` and, except for `site`, `clients`; `alpha` and `min_size` for
            `dirichlet`, `shards` (of each client) for `shards`; perhaps `is_private`.
        measured: every client is to have rows in val and test; where false none takes any from its training part.

    Returns:
        Clients in order: of `site` by the sites' names, else `client-1` to `client-N`. The same seed gives the same
        clients.

    Raises:
        InputError: rows without site, a patient at two sites, more clients than patients, a client that would have
            nothing to learn from.
    """
    private = getattr(config, "is_private", False)
    names, client_of = _divide(dataset, config, private)
    if measured and not private:
        parts, notes_of_parts = own_parts(dataset, client_of, len(names), config.seed)
    else:
        parts, notes_of_parts = dataset.manifest["split"], [[] for _ in names]
    clients = []
    for i, name in enumerate(names):
        is_at = client_of == i
        rows = dataset.manifest[is_at]
        # A copy of a wide table only where it must differ.
        rows = rows.assign(split=parts[is_at]) if notes_of_parts[i] else rows
        client_dataset = replace(dataset, manifest=rows)
        _require_training_rows(client_dataset, name, config.partition, private)
        notes = () if private else (*notes_of_parts[i], *_absent(client_dataset))
        clients.append(Client(name, client_dataset, notes))
    if config.partition == "iid" and not private:
        clients = _with_remainders(clients)
    return clients


def _divide(dataset: Dataset, config, private: bool) -> tuple[list[str], np.ndarray]:
    """Names, and the client of each row of the manifest, int (N,)."""
    if config.partition not in PARTITIONS:
        raise InputError(f"--partition {config.partition}: choose one of {', '.join(PARTITIONS)}")
    if config.partition == "site":
        return by_site(dataset)
    count = config.clients
    digits = len(str(count))
    names = [f"client-{i:0{digits}d}" for i in range(1, count + 1)]
    if private:
        return names, by_name(dataset, config)
    patients = patients_of(dataset)
    if not 1 <= count <= len(patients):
        raise InputError(
            f"--clients {count}: from 1 to {len(patients)}, the patients of {dataset.name}, whose rows stay together"
        )
    if config.partition == "iid":
        where = iid(patients, count, config.seed)
    elif config.partition == "dirichlet":
        where = dirichlet(patients, count, config.alpha, config.min_size, config.seed)
    else:
        where = shards(patients, count, config.shards, config.seed)
    of_patient = pd.Series(where, index=patients["patient"])
    return names, dataset.manifest["patient"].map(of_patient).to_numpy(np.int64)


def _require_training_rows(dataset: Dataset, name: str, kind: str, private: bool) -> None:
    if not dataset.rows("train", labelled=True).empty:
        return
    if kind == "site":
        remedy = "prepare with another --split, or without this site"
    else:
        remedy = "use fewer --clients" + (", or --partition iid" if kind != "iid" else "")
    of_all = "" if private else f", of {len(dataset.manifest)} in all"
    raise InputError(f"--partition {kind}: '{name}' has no labelled {dataset.unit} in train{of_all}; {remedy}")


def _absent(dataset: Dataset) -> list[str]:
    """A note for the classes that the client's train has no row of."""
    present = set(dataset.rows("train")["label"])
    if dataset.task == "multilabel":
        present = {name for label in present for name in label.split(SEPARATOR)}
    absent = [f"'{name}'" for name in dataset.classes if name not in present]
    return [f"no {dataset.unit} of {', '.join(absent)} in train"] if absent else []


def _with_remainders(clients: list[Client]) -> list[Client]:
    """Notes of what a client has beyond the equal share of a class and part, by rows."""
    counts = pd.DataFrame({client.name: _class_counts(client.dataset) for client in clients})
    counts = counts.fillna(0).astype(int)
    beyond = counts.sub(counts.sum(axis=1) // len(clients), axis=0).clip(lower=0)
    result = []
    for client in clients:
        more = beyond[client.name]
        # In the order of the parts, not of their names.
        counted = [
            f"{more[label, part]} '{label or 'unlabelled'}' in {part}"
            for part in SPLITS
            for label in more.index.unique("label")
            if more.get((label, part), 0)
        ]
        note = (f"beyond the equal share: {', '.join(counted)}",) if counted else ()
        result.append(replace(client, notes=(*client.notes, *note)))
    return result


def _class_counts(dataset: Dataset) -> pd.Series:
    """Rows by `label` and `split`; one of several classes counts in each."""
    rows = dataset.manifest[["label", "split"]]
    if dataset.task == "multilabel":
        rows = rows.assign(label=rows["label"].str.split(SEPARATOR)).explode("label")
    return rows.groupby(["label", "split"]).size()
