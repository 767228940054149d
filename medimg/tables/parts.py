"""Which part each row of a table goes to: identical rows and patients settled first, then split or official."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from medimg.config import PrepareConfig
from medimg.duplicates import settle_patients
from medimg.parts import absent_classes, carve, grouping_columns, official_rows
from medimg.sources.base import listed
from medimg.splits import split_groups, units

# Above this share of copies, equal rows are how the table is (few columns, few values), no sign of double entry.
FEW_COPIES = 0.05
_ROLES = ["row", "label", "patient", "split"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Where rows go.

    Attributes:
        split: part of each row that stays, by the table's index.
        rejected: (row, reason) of those that go.
        notes: sentences about it.
    """

    split: pd.Series
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def assign_row_parts(
    table: pd.DataFrame,
    inputs: list[str],
    config: PrepareConfig,
    fractions: tuple[float, float, float] | None,
) -> Parts:
    """Decide the part of every row.

    Args:
        table: `row`, `label`, `patient`, `split` ('' = none given), the column `group_by`, and `inputs`.
        inputs: columns that a model may learn from; rows that agree in them and in the label are copies.
        config: `group_by`, `on_duplicates` and `seed` are used.
        fractions: of train, val and test; None keeps the source's parts.

    Raises:
        InputError: no such column, or no official parts.
    """
    columns = grouping_columns(table, config.group_by)
    copies = _copies(table, inputs)
    # Only what decides, under the names that images use: the features would be copied at each step.
    rows = pd.DataFrame({name: table[name] for name in dict.fromkeys([*_ROLES, *columns])})
    rows = rows.astype({name: object for name in columns if rows[name].dtype.kind != "O"})
    rows = rows.rename(columns={"row": "source_file"})
    rows["copy"], rejected, notes = "", [], []
    if copies is not None:
        rows, rejected, notes = _settle_copies(rows, copies, config.on_duplicates)
    if fractions is None:
        rows, more, official = _keep_official(rows, columns, config.seed)
        rejected, notes = rejected + more, notes + official
    elif len(rows):
        groups = units(rows, [*columns, "copy"])
        rows = rows.assign(split=split_groups(rows["label"], groups, fractions, config.seed))
    return Parts(rows["split"], rejected, notes + absent_classes(rows, "row"))


def _copies(table: pd.DataFrame, inputs: list[str]) -> pd.Series | None:
    """A number that copies share, None where there are none."""
    if not len(table):
        return None
    # Of 64 bits: for two of a million different rows to share one has a chance of 3e-8.
    content = np.zeros(len(table), np.uint64)
    for name in ["label", *inputs]:
        content = content * np.uint64(0x9E3779B97F4A7C15) + _hashes(table[name])
    content = pd.Series(content, table.index)
    return content if content.duplicated().any() else None


def _hashes(column: pd.Series) -> np.ndarray:
    values = column.to_numpy() if column.dtype.kind == "f" else column.astype(object)
    return pd.util.hash_array(np.asarray(values))


def _settle_copies(
    rows: pd.DataFrame, content: pd.Series, how: str
) -> tuple[pd.DataFrame, list, list]:
    copied = content.duplicated()
    share = copied.mean()
    first = rows["source_file"].groupby(content).transform("first")
    examples = listed(
        f"{row} = {of}" for row, of in zip(rows["source_file"][copied], first[copied], strict=True)
    )
    found = (
        f"{int(copied.sum())} rows are copies of others in every feature and the label ({examples})"
    )
    if how == "drop":
        rejected = [
            (row, f"identical to {of}")
            for row, of in zip(rows["source_file"][copied], first[copied], strict=True)
        ]
        return rows[~copied], rejected, [f"{found}: left out, listed in rejected.csv"]
    if share >= FEW_COPIES and how != "group":
        note = (
            f"{found}: {share:.0%} of the table, so they may be in different parts; --on-duplicates group keeps "
            "them together, drop keeps one of each"
        )
        return rows, [], [note]
    group = content.astype(str).where(content.duplicated(keep=False), "")
    return rows.assign(copy=group), [], [f"{found}: kept in one part"]


def _keep_official(
    rows: pd.DataFrame, columns: list[str], seed: int
) -> tuple[pd.DataFrame, list, list]:
    rows, rejected, notes = official_rows(rows, "row")
    settled = settle_patients(rows, columns)
    if settled.rejected:
        notes.append(
            f"patients are in two official parts: their {len(settled.rejected)} rows in the earlier are left out and "
            "listed in rejected.csv, so that test stays whole and no patient is in two"
        )
    rows, carved = carve(settled.table, columns, "copy", seed)
    return rows, rejected + settled.rejected, notes + carved
