"""Columns of a manifest of images that say something of the patient or the image beside its pixels, as a table's."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from medimg.data.copies import GIVEN
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature, as_numbers, as_text
from medimg.errors import InputError
from medimg.tables.ordered import MOST_LEVELS

# Columns that say whose the row is, what it shows and where its file lies.
ROLES = ("image", "row", "label", "patient", "given_patient", GIVEN, "site", "split", "mask", "finding", "findings")
ROLES += ("x", "y", "width", "height", "source_file", "pixels", "bytes")
# The diagnosis in HAM10000's words, and how it was made.
ROLES += ("dx", "dx_type")


# Below it, that a column tells every label is no accident.
_CHANCE = 1e-3


def names_of(rows: pd.DataFrame) -> list[str]:
    """Columns that vary and are neither a role nor as good as a name; the site is one."""
    names = []
    for name in [*(name for name in rows if name not in ROLES), "site"]:
        text = as_text(rows[name])
        levels = text[text != ""].nunique()
        number = pd.api.types.is_numeric_dtype(rows[name])
        # As many names as patients: whose they are, not what they are like.
        if levels > 1 and (number or levels <= min(MOST_LEVELS, max(2, (text != "").sum() // 2))):
            names.append(name)
    return names


def as_table(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """The rows of a Dataset of images as those of a table of some of its columns.

    Args:
        dataset: of images.
        names: columns of its manifest; those of numbers are continuous, all others categorical.

    Raises:
        InputError: there is no such column, or it is one that tells the label or whose the row is.
    """
    manifest, features = dataset.manifest, []
    for name in names:
        if any(feature.name == name for feature in features):
            raise InputError(f"--metadata {name}: is named twice; leave out one")
        if name not in manifest or (name in ROLES and name != "site"):
            offers = ", ".join(names_of(manifest)) or "none"
            raise InputError(
                f"--metadata {name}: no column of {dataset.root}/manifest.csv to learn from; it has {offers}"
            )
        number = pd.api.types.is_numeric_dtype(manifest[name])
        features.append(Feature(name, "continuous" if number else "categorical"))
    columns = {f.name: (as_numbers if f.is_number else as_text)(manifest[f.name]) for f in features}
    return replace(dataset, manifest=manifest.assign(**columns), features=tuple(features))


def require_honest(rows: pd.DataFrame, names: Iterable[str], option: str = "--metadata") -> None:
    """Refuse columns that are the label, or the patient, by another name.

    Args:
        rows: labelled training rows.
        names: columns of them.
        option: that names them, for messages.

    Raises:
        InputError: names the first one.
    """
    for name in names:
        text = as_text(rows[name])
        distinct = rows.assign(known=text)[text != ""].drop_duplicates(["patient", "known", "label"])
        count, levels = len(distinct), distinct["known"].nunique()
        number = pd.api.types.is_numeric_dtype(rows[name])
        if not number and name != "site" and levels > min(MOST_LEVELS, max(2, count // 2)):
            raise InputError(
                f"{option} {name}: has {levels} values in {count} patients' rows: whose they are, not what they are "
                "like; leave it out"
            )
        # Many patients share few values, and each value has one label: by chance as often as the common label repeats.
        alike = distinct["label"].value_counts(normalize=True).max() if count else 1.0
        is_rare = 5 * levels <= count and alike ** (count - levels) < _CHANCE
        if is_rare and distinct.groupby("known")["label"].nunique().max() == 1:
            raise InputError(
                f"{option} {name}: tells the label of every training row: it is the label by another name, or was "
                "written down after it; leave it out"
            )


def of_class(table: Dataset, name: str) -> Dataset:
    """A multilabel table's question whether a row has one class, as a binary one's."""
    targets = table.targets(table.manifest)[:, table.classes.index(name)]
    labels = np.where(np.isnan(targets), "", np.where(targets > 0, "yes", "no"))
    return replace(table, task="binary", classes=("no", "yes"), manifest=table.manifest.assign(label=labels))
