"""Copies of one patient among evaluated rows: how many, and what they mean for the numbers."""

import pandas as pd

from medimg.data.copies import equal_rows, find_copies
from medimg.data.dataset import Dataset

# Below this share, equal rows change hardly a number.
FEW_EQUAL = 0.05


def copied_rows(dataset: Dataset, rows: pd.DataFrame) -> dict[str, int] | None:
    """Evaluated rows of a table that are copies of each other, None without any.

    Args:
        dataset: whose rows they are; all of it decides what is a copy.
        rows: the evaluated ones.

    Returns:
        `rows` that have a copy among the evaluated and how many `distinct` ones they are.
    """
    if not dataset.is_table:
        return None
    group = find_copies(dataset.manifest, [feature.name for feature in dataset.inputs]).group
    groups = group[(group > 0) & dataset.manifest["row"].isin(set(rows["row"]))]
    groups = groups[groups.duplicated(keep=False)]
    return {"rows": len(groups), "distinct": int(groups.nunique())} if len(groups) else None


def equal_note(dataset: Dataset, rows: pd.DataFrame) -> list[str]:
    """The sentence on evaluated rows of a table that equal a training row without being its copies, none without any.

    Args:
        dataset: whose rows they are.
        rows: the evaluated ones, of a part that is not train.
    """
    training = dataset.rows("train", labelled=True)
    training = training[~training["row"].isin(set(rows["row"]))] if dataset.is_table else training
    if not dataset.is_table or training.empty:
        return []
    names = ["label", *(feature.name for feature in dataset.inputs)]
    number = equal_rows(pd.concat([training[names], rows[names]], ignore_index=True), names)
    equal = int(pd.Series(number[len(training) :]).isin(set(number[: len(training)])).sum())
    if equal < FEW_EQUAL * len(rows):
        return []
    return [
        f"{equal} of {len(rows)} rows equal a training row in every feature and the label: a model that remembers rows "
        "gets them right. Columns of few values make equal rows by chance, so they are taken for other patients; "
        "if they are copies, prepare with --on-duplicates group or drop"
    ]


def copies_note(copies: dict[str, int] | None, n: int) -> list[str]:
    """The sentence that a report says of `copied_rows`, none without copies.

    Args:
        copies: of `copied_rows`.
        n: evaluated rows in all.
    """
    if not copies:
        return []
    distinct = n - copies["rows"] + copies["distinct"]
    return [
        f"{copies['rows']} of {n} rows are copies of {copies['distinct']} distinct ones, so only {distinct} rows are "
        "distinct: each copy counts in the values; in intervals and tests the copies of a row are one patient"
    ]
