"""Each client's own train, val and test: the Dataset's, and what a client without val or test takes from its train."""

import numpy as np
import pandas as pd

from medimg.data.dataset import SPLITS, Dataset
from medimg.data.splits import split_groups
from medimg.data.units import units
from medimg.preparation.image_splits import CARVED


def own_parts(dataset: Dataset, client_of: np.ndarray, clients: int, seed: int) -> tuple[pd.Series, list[list[str]]]:
    """The part of every row at its client.

    A row keeps its part in the Dataset. A client without any labelled row in val, or in test, takes CARVED of its
    training patients for it. Rows that belong together (of a patient, of what `--group-by` named, identical images)
    stay together; where some of them are at another client, they stay in train.

    Args:
        dataset: the whole.
        client_of: int (N,), the client of each row of the manifest.
        clients: number of clients.
        seed: decides which patients are taken.

    Returns:
        `split` of every row, and for each client the notes of what it took, or could not take.
    """
    manifest = dataset.manifest
    split = manifest["split"].copy()
    labelled = (manifest["label"] != "").to_numpy()
    notes: list[list[str]] = [[] for _ in range(clients)]
    present = pd.crosstab(client_of[labelled], split.to_numpy()[labelled])
    present = present.reindex(index=range(clients), columns=SPLITS, fill_value=0)
    # Nothing to take is the rule, and finding what belongs together costs time.
    if present[["val", "test"]].to_numpy().all():
        return split, notes
    unit = _belonging_together(dataset)
    movable = labelled & (split == "train").to_numpy()
    at_one_client = pd.Series(client_of).groupby(unit).transform("nunique").to_numpy() == 1
    for i in range(clients):
        missing = [part for part in ("val", "test") if not present.loc[i, part]]
        candidates = movable & at_one_client & (client_of == i)
        if missing and candidates.any():
            carved = _take(manifest["label"].to_numpy()[candidates], unit[candidates], missing, seed)
            to = pd.Series(carved, index=unit[candidates]).groupby(level=0).first()
            rows = (client_of == i) & (split == "train").to_numpy() & np.isin(unit, to.index)
            split[rows] = to.reindex(unit[rows]).to_numpy()
        for part in missing:
            notes[i].append(_note(manifest[(client_of == i) & (split == part)], part, dataset.unit))
    return split, notes


def _belonging_together(dataset: Dataset) -> np.ndarray:
    manifest = dataset.manifest
    grouped_by = dataset.preparation.get("group_by")
    columns = dict.fromkeys(["patient", "pixels", grouped_by])
    table = manifest[[name for name in columns if name in manifest]]
    # '' is in common with nothing; a missing value as text would be in common with all others.
    return units(table.astype(str).where(table.notna(), ""), table.columns)


def _take(labels: np.ndarray, unit: np.ndarray, missing: list[str], seed: int) -> np.ndarray:
    shares = [1 - CARVED * len(missing), *(CARVED * (part in missing) for part in ("val", "test"))]
    return split_groups(labels, unit, shares, seed)


def _note(rows: pd.DataFrame, part: str, unit: str) -> str:
    count = int((rows["label"] != "").sum())
    if not count:
        return f"no labelled {unit} in {part}, and too few patients in train to take one from"
    patients = rows["patient"].nunique()
    return (
        f"no labelled {unit} in {part} of the Dataset: {count} of {patients} "
        f"patient{'s' if patients > 1 else ''} taken from train"
    )
