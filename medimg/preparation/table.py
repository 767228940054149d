"""Rows that a source found -> a table Dataset's folder."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.copies import GIVEN
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.image_splits import parts_wanted
from medimg.preparation.table_splits import Parts, assign_row_parts
from medimg.sources.base import TableScan


def write_table(
    scan: TableScan,
    out: Path,
    config: PrepareConfig,
    identity: dict,
    classes: tuple[str, ...],
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read the rows, decide their parts and write `manifest.csv`, `rejected.csv`, `duplicates.csv` and `dataset.yaml`.

    Args:
        scan: what the source found.
        out: folder of the Dataset, free or claimed.
        config: `split`, `split_draw`, `group_by`, `on_duplicates` and `seed` are used.
        identity: what the Dataset is made of: its `preparation`, to which the notes are added.
        classes: the scan's, in the order of the model's outputs.
        progress: called with rows read and rows in all.

    Returns:
        The Dataset as everything after reads it from the folder.

    Raises:
        InputError: a class has no row left, no such `--group-by`, no official parts, copies that need a decision, or
            `out` can't be written.
    """
    table, notes = scan.read(progress)
    inputs = [feature.name for feature in scan.features if feature.is_input]
    wanted = parts_wanted(table["split"], config)
    parts = assign_row_parts(table, inputs, config, wanted.fractions, out)
    table = _in_parts(table, parts)
    rejected = scan.rejected + parts.rejected
    path = out / "rejected.csv"
    atomic.write_csv(path, pd.DataFrame(rejected, columns=["file", "reason"]))
    present = set(table["label"])
    for name in scan.classes:
        if name not in present:
            raise InputError(f"class '{name}': no row is left; {path} says why")
    Dataset(
        root=out,
        name=scan.name,
        task=scan.task,
        classes=classes,
        manifest=table,
        modality=scan.modality,
        licence=scan.licence,
        citation=scan.citation,
        source=identity["source"],
        preparation={
            **identity,
            "split": wanted.how,
            "rejected": len(rejected),
            "notes": scan.notes + notes + wanted.notes + parts.notes,
        },
        features=scan.features,
    ).save(scan.classes)
    # A large table would be in memory twice.
    del table
    return Dataset.load(out)


def _in_parts(table: pd.DataFrame, parts: Parts) -> pd.DataFrame:
    """The rows that are left, with their parts and, where copies joined them, their patients."""
    if len(parts.split) < len(table):
        table = table.loc[parts.split.index].reset_index(drop=True)
    table["split"] = parts.split.to_numpy()
    if (table["patient"].to_numpy() != parts.patient.to_numpy()).any():
        table[GIVEN] = table["patient"]
        table["patient"] = parts.patient.to_numpy()
    return table
