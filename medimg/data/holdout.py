"""`--audit-holdout`: training patients that a Run learns nothing from, so that its audit has true non-members.

Members and non-members of an audit must differ in membership alone. Parts that a publisher made, or that come from
other hospitals, do not; patients drawn at random from the training part do.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.splits import own_numbers
from medimg.errors import InputError

# Their part; no manifest on disk has it.
HELD_OUT = "audit"
# Patients of each kind without which no rate of an attack means anything.
FEWEST_PATIENTS = 8


def hold_out(dataset: Dataset, share: float, seed: int) -> Dataset:
    """The Dataset with a random part of its training patients in part HELD_OUT.

    Each patient is drawn, or not, by a number of its own: SHA-256 of the seed and the patient's name. So the absence
    of one patient moves no other in or out of training, which a private training's promise needs and a draw of an
    exact number, or one stratified by label, would break; and a private Run and its twin hold the same patients out.
    The audit draws its members to match in label.

    Args:
        dataset: with its parts.
        share: probability of each labelled training patient, above 0.
        seed: of the draw.

    Raises:
        InputError: too few patients are held out for an audit or left to train on, or a class would be left out.
    """
    manifest = dataset.manifest
    training = (manifest["split"] == "train").to_numpy()
    labelled = dataset.rows("train", labelled=True)
    names = labelled["patient"].unique()
    drawn = names[own_numbers(names, seed, "audit-holdout") < share]
    _check(labelled, drawn, len(names), share)
    # A patient's unlabelled rows go along: features may be learnt from them.
    moved = training & manifest["patient"].isin(drawn).to_numpy()
    return replace(dataset, manifest=manifest.assign(split=manifest["split"].mask(moved, HELD_OUT)))


def strata(rows: pd.DataFrame) -> pd.Series:
    """Patient -> all its labels as one text: the classes that members and non-members are matched in."""
    pairs = rows[["patient", "label"]].drop_duplicates().sort_values("label")
    return pairs.groupby("patient")["label"].agg(" + ".join)


def _check(labelled: pd.DataFrame, drawn: np.ndarray, count: int, share: float) -> None:
    remaining = count - len(drawn)
    if min(len(drawn), remaining) < FEWEST_PATIENTS:
        remedy = (
            f"give about {min(0.5, 1.5 * FEWEST_PATIENTS / count):.2g}, or another --seed"
            if count >= 4 * FEWEST_PATIENTS
            else "leave it out"
        )
        raise InputError(
            f"--audit-holdout {share:g}: holds out {len(drawn)} of the {count} patients of split 'train', and an audit "
            f"needs {FEWEST_PATIENTS} held out and {FEWEST_PATIENTS} others; {remedy}"
        )
    labels_left = set("|".join(labelled.loc[~labelled["patient"].isin(drawn), "label"].unique()).split("|"))
    gone = sorted(set("|".join(labelled["label"].unique()).split("|")) - labels_left)
    if gone:
        raise InputError(
            f"--audit-holdout {share:g}: holds out every training patient of class '{gone[0]}'; give another --seed "
            "or a smaller share"
        )
