"""Copies of one patient among evaluated rows: how many, and what they mean for the numbers."""

import pandas as pd

from medimg.data.copies import find_copies
from medimg.data.dataset import Dataset


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
    held = group[(group > 0) & dataset.manifest["row"].isin(set(rows["row"]))]
    held = held[held.duplicated(keep=False)]
    return {"rows": len(held), "distinct": int(held.nunique())} if len(held) else None


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
