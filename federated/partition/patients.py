"""Patients: the smallest thing that a partition moves, each with one class, and their order within it."""

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, Dataset


def patients_of(dataset: Dataset) -> pd.DataFrame:
    """The patients of a Dataset.

    Returns:
        One row a patient, in the manifest's order: `patient`; `label`, the rarest class that any of the patient's rows
        has ('' = none is labelled), as a categorical in the order of the classes; `split`; `rows`, the number of them;
        `train`, the number of labelled ones in train.
    """
    rows = dataset.manifest[["patient", "label", "split"]]
    training = rows[(rows["split"] == "train") & (rows["label"] != "")]
    table = rows.drop_duplicates("patient")[["patient", "split"]].reset_index(drop=True)
    table["label"] = pd.Categorical(table["patient"].map(_rarest(dataset, rows)), categories=_order(dataset))
    table["rows"] = table["patient"].map(rows["patient"].value_counts())
    table["train"] = table["patient"].map(training["patient"].value_counts()).fillna(0).astype(int)
    return table


def place_in_class(patients: pd.DataFrame, seed: int) -> np.ndarray:
    """A random order of the patients of each class in which train, val and test are spread evenly.

    Any stretch of the order holds its share of every part, so whoever cuts the order gives each piece the Dataset's
    proportions of train, val and test as nearly as whole patients allow.

    Args:
        patients: of `patients_of`.
        seed: of the order.

    Returns:
        float (patients,) in (0, 1): the middle of the patient's rows among all rows of its class.
    """
    draw = np.random.default_rng(seed)
    table = patients.iloc[draw.permutation(len(patients))]
    cells = table.groupby(["label", "split"], observed=True)["rows"]
    # A random start for each part: at fixed ones the few of a small part would always fall to the same pieces.
    start = draw.random(cells.ngroups)[cells.ngroup().to_numpy()]
    within = (cells.cumsum() - table["rows"] * start) / cells.transform("sum")
    ordered = table.assign(within=within).sort_values(["label", "within"], kind="stable")
    of_class = ordered.groupby("label", observed=True)["rows"]
    place = (of_class.cumsum() - ordered["rows"] / 2) / of_class.transform("sum")
    return place.reindex(patients.index).to_numpy()


def _rarest(dataset: Dataset, rows: pd.DataFrame) -> pd.Series:
    """Patient -> the class of fewest patients that it has; unlabelled rows say nothing of a patient with others."""
    pairs = rows[["patient", "label"]]
    if dataset.task == "multilabel":
        pairs = pairs.assign(label=pairs["label"].str.split(SEPARATOR)).explode("label")
    pairs = pairs.drop_duplicates()
    holders = pairs["label"].value_counts().astype(float)
    holders[""] = np.inf
    pairs = pairs.assign(
        holders=pairs["label"].map(holders), order=pd.Categorical(pairs["label"], categories=_order(dataset)).codes
    )
    pairs = pairs.sort_values(["holders", "order"], kind="stable").drop_duplicates("patient")
    return pairs.set_index("patient")["label"]


def _order(dataset: Dataset) -> list[str]:
    return [*dataset.classes, *([dataset.negative] if dataset.negative else []), ""]
