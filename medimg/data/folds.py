"""Cross-validation's folds: whole patients, every site and class in every fold, seeded."""

from dataclasses import replace

import numpy as np

from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.splits import assign_groups, lots, split_groups
from medimg.errors import InputError

# Of what is not in the test fold; early stopping and thresholds need rows that neither train nor test sees.
VALIDATION = 0.15


def in_fold(dataset: Dataset, folds: int, fold: int, seed: int, by_lot: bool = False) -> Dataset:
    """The Dataset with one fold as its test part and validation taken from the rest.

    All labelled rows take part, whatever part they are in; unlabelled ones go with train.

    Args:
        dataset: any.
        folds: K; 0: the Dataset as it is.
        fold: 1 to K; 0: the Dataset as it is.
        seed: of the folds; the same seed gives the same folds, so that models can be compared in pairs.
        by_lot: each patient draws its fold by itself, unbalanced: for private training, which one patient more must
            not deal anew.

    Raises:
        InputError: a fold of one, more folds than patients, or a class of fewer patients than folds.
    """
    if not folds or not fold:
        return dataset
    if folds < 2 or fold > folds:
        raise InputError(f"--folds {folds} --fold {fold}: at least 2 folds, and one of them")
    rows = dataset.rows(labelled=True)
    patients = rows.groupby("label")["patient"].nunique()
    if dataset.task != "multilabel" and len(patients) and patients.min() < folds:
        raise InputError(f"--folds {folds}: class '{patients.idxmin()}' has {patients.min()} patients; use fewer folds")
    tested, parts = (_by_lot if by_lot else _balanced)(rows, folds, fold, seed)
    rest = rows[~tested]
    manifest = dataset.manifest.copy()
    manifest["split"] = "train"
    manifest.loc[rows.index[tested], "split"] = "test"
    manifest.loc[rest.index, "split"] = parts
    # An unlabelled row of a tested patient is no row to learn from.
    elsewhere = manifest.loc[rows.index].groupby("patient")["split"].first()
    unlabelled = manifest["label"] == ""
    of_patient = manifest.loc[unlabelled, "patient"].map(elsewhere)
    manifest.loc[unlabelled, "split"] = of_patient.fillna("train")
    return replace(dataset, manifest=manifest)


def _balanced(rows, folds: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows the fold tests, and the parts of the others: every site and class in each."""
    strata = rows["site"].str.cat(rows["label"], sep=SEPARATOR)
    where = assign_groups(strata, rows["patient"], [1 / folds] * folds, range(folds), seed)
    tested = where == fold - 1
    fractions = (1 - VALIDATION, VALIDATION, 0)
    return tested, split_groups(strata[~tested], rows["patient"][~tested], fractions, seed + fold)


def _by_lot(rows, folds: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    patients = rows["patient"].to_numpy()
    tested = lots(patients, [1 / folds] * folds, seed, "fold") == fold - 1
    parts = lots(patients[~tested], (1 - VALIDATION, VALIDATION), seed + fold, "validation")
    return tested, np.asarray(["train", "val"], object)[parts]
