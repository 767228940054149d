"""Parts drawn anew by the seed: classes alike in all parts of every site."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.splits import split_groups
from medimg.data.units import units
from medimg.errors import InputError
from medimg.studies.steps import Inputs, thin


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Write the Dataset with its new parts.

    Args:
        inputs: the cell's.
        folder: of the new Dataset.
        options: `val` and `test`, shares of the patients; `seed`.
    """
    dataset = Dataset.load(inputs.data)
    rows = divided(dataset, options["val"], options["test"], options["seed"]).manifest
    thin.write(dataset, rows, folder)
    return {"rows": rows["split"].value_counts().to_dict()}


def divided(dataset: Dataset, val: float, test: float, seed: int) -> Dataset:
    """The Dataset with parts drawn anew.

    Args:
        dataset: with sites; patients, and rows that are identical, stay together.
        val: share of each site's patients for validation.
        test: share for testing.
        seed: of the draw.

    Raises:
        InputError: a row without site or without label.
    """
    rows = dataset.manifest
    for column in ("site", "label"):
        empty = rows[column] == ""
        if empty.any():
            name = rows.loc[empty, dataset.unit].iloc[0]
            raise InputError(
                f"{dataset.root / 'manifest.csv'}: {dataset.unit} '{name}' has no {column}; the study needs one for "
                "every row"
            )
    strata = rows["site"] + "\n" + rows["label"]
    unit_of = units(
        pd.DataFrame({"patient": rows["patient"].astype(str), "copy": _copies(dataset)}), ["patient", "copy"]
    )
    parts = split_groups(strata, unit_of, (1 - test - val, val, test), seed)
    return replace(dataset, manifest=rows.assign(split=parts))


def _copies(dataset: Dataset) -> pd.Series:
    """What identical rows share."""
    if "pixels" in dataset.manifest:
        return dataset.manifest["pixels"].astype(str)
    content = dataset.manifest[["label", *(f.name for f in dataset.inputs)]]
    return pd.util.hash_pandas_object(content, index=False).astype(str)
