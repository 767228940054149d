"""A new division of a Dataset's patients into train, val and test for each seed, every site by itself."""

from dataclasses import replace

import pandas as pd

from medimg.dataset import Dataset
from medimg.errors import InputError
from medimg.splits import split_groups, units

# FLamby's: 66% of every hospital's patients learn, 34% test. It has no validation part; ours is taken from the 66%.
TEST, VALIDATION = 0.34, 0.10


def divided(dataset: Dataset, seed: int) -> Dataset:
    """The Dataset with parts drawn anew, classes alike in all parts of every site.

    Args:
        dataset: with sites; patients, and rows that are identical, stay together.
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
                f"{dataset.root / 'manifest.csv'}: {dataset.unit} '{name}' has no {column}; federated-hospitals needs "
                "one for every row"
            )
    strata = rows["site"] + "\n" + rows["label"]
    together = units(
        pd.DataFrame({"patient": rows["patient"].astype(str), "copy": _copies(dataset)}),
        ["patient", "copy"],
    )
    fractions = (1 - TEST - VALIDATION, VALIDATION, TEST)
    parts = split_groups(strata, together, fractions, seed)
    return replace(dataset, manifest=rows.assign(split=parts))


def _copies(dataset: Dataset) -> pd.Series:
    """What identical rows share."""
    if "pixels" in dataset.manifest:
        return dataset.manifest["pixels"].astype(str)
    content = dataset.manifest[["label", *(f.name for f in dataset.inputs)]]
    return pd.util.hash_pandas_object(content, index=False).astype(str)
