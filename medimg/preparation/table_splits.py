"""Which part each row of a table goes to: copies and patients settled first, then split or official."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.copies import Copies, equal_rows, find_copies
from medimg.data.duplicates import (
    CONFLICT,
    Settled,
    describe_duplicates,
    drop_duplicates,
    find_duplicates,
    join_duplicates,
    settle_patients,
)
from medimg.data.units import units
from medimg.errors import InputError
from medimg.preparation.image_splits import absent_classes, carve, drawn_parts, grouping_columns, official_rows
from medimg.style.words import listed

# Below this share of the table, equal rows go into one part without a question: hardly a number changes.
FEW_COPIES = 0.05
_ROLES = ["row", "label", "patient", "split"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Where rows go.

    Attributes:
        split: part of each row that stays, by the table's index.
        patient: patient of each of them, one for all who hold copies of a row.
        rejected: (row, reason) of those that go.
        notes: sentences about it.
    """

    split: pd.Series
    patient: pd.Series
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def assign_row_parts(
    table: pd.DataFrame,
    inputs: list[str],
    config: PrepareConfig,
    fractions: tuple[float, float, float] | None,
    out: Path | None = None,
) -> Parts:
    """Decide the part of every row.

    Args:
        table: `row`, `label`, `patient`, `split` ('' = none given), the column `group_by`, and `inputs`.
        inputs: columns that a model may learn from.
        config: `group_by`, `on_duplicates` and `seed` are used.
        fractions: of train, val and test; None keeps the source's parts.
        out: where `duplicates.csv` goes when there are copies to settle.

    Raises:
        InputError: no such column, no official parts, or copies under `on_duplicates="error"`.
    """
    columns = grouping_columns(table, config.group_by)
    copies = find_copies(table, inputs)
    # Only what decides, under the names that images use: the features would be copied at each step.
    roles = [*_ROLES, *(["site"] if "site" in table else [])]
    rows = pd.DataFrame({name: table[name] for name in dict.fromkeys([*roles, *columns])})
    rows = rows.astype({name: object for name in columns if rows[name].dtype.kind != "O"})
    rows = rows.rename(columns={"row": "source_file"})
    rows["pixels"] = copies.group.astype(str).where(copies.group > 0, "")
    rows["copy"] = equal_rows(table, ["label", *inputs]) if len(table) else ""
    rejected, notes = [], []
    if fractions is None:
        rows, rejected, notes = official_rows(rows, "row")
    for settle in (_settle_copies, _settle_equal):
        settled = settle(rows, copies, config.on_duplicates, fractions is None, out)
        rows, rejected = settled.table, rejected + settled.rejected
        notes = notes + settled.notes
    if fractions is None:
        rows, more, official = _keep_official(rows, columns, config.seed)
        rejected, notes = rejected + more, notes + official
    elif len(rows):
        groups = units(rows, [*columns, "copy"])
        rows = rows.assign(split=drawn_parts(rows, groups, fractions, config))
    notes += absent_classes(rows, "row")
    return Parts(rows["split"], rows["patient"], rejected, notes)


def _settle_copies(rows: pd.DataFrame, copies: Copies, how: str, official: bool, out: Path | None) -> Settled:
    """Copies of one patient, as identical images: the same question, answers and list."""
    duplicates = find_duplicates(rows, False)
    path = out / "duplicates.csv" if out else None
    if duplicates.empty:
        if path:
            path.unlink(missing_ok=True)
        return Settled(rows)
    crossing = find_duplicates(rows, True) if official else duplicates.head(0)
    if path:
        atomic.write_csv(path, duplicates)
    summary = _summary(rows, duplicates, copies)
    first = duplicates.groupby("group")["source_file"].transform("first")
    examples = [f"{a} = {b}" for a, b in zip(duplicates["source_file"], first, strict=True) if a != b]
    extra = len(examples)
    asks = extra >= FEW_COPIES * len(rows) or not crossing.empty
    asks = asks or duplicates["problem"].str.contains(CONFLICT).any()
    if how == "error" and asks:
        listing = f"all are listed in {path}: " if path else ""
        raise InputError(f"{summary}; {listing}choose --on-duplicates drop or group")
    settled = (drop_duplicates if how == "drop" else join_duplicates)(rows, duplicates, "row")
    treatment = "left out, listed in rejected.csv" if how == "drop" else "kept in one part"
    note = f"{extra} rows are copies of others in every feature ({listed(examples)}): {treatment}"
    return Settled(settled.table, settled.rejected, [note, summary, *settled.notes])


def _summary(rows: pd.DataFrame, duplicates: pd.DataFrame, copies: Copies) -> str:
    distinct = duplicates["group"].nunique()
    text = (
        f"{describe_duplicates(duplicates, 'row')}: {len(duplicates)} of {len(rows)} rows are {distinct} distinct "
        f"ones, where chance would make {_about(copies.expected)} equal pairs in columns of such values"
    )
    if copies.apart:
        text += f" (compared without {', '.join(copies.apart)}, which differs in every row)"
    return text


def _settle_equal(rows: pd.DataFrame, copies: Copies, how: str, official: bool, out: Path | None) -> Settled:
    """Equal rows that may be so by chance: different patients, unless the user says otherwise."""
    copied = rows["copy"].duplicated()
    extra = int(copied.sum())
    if not extra:
        return Settled(rows.assign(copy=""))
    first = rows["source_file"].groupby(rows["copy"]).transform("first")
    pairs = list(zip(rows["source_file"][copied], first[copied], strict=True))
    examples = listed(f"{row} = {of}" for row, of in pairs)
    summary = f"{extra} rows are copies of others in every feature and the label ({examples})"
    if how == "drop":
        rejected = [(row, f"identical to {of}") for row, of in pairs]
        note = f"{summary}: left out, listed in rejected.csv"
        return Settled(rows[~copied].assign(copy=""), rejected, [note])
    is_copied = rows["copy"].duplicated(keep=False)
    if extra < FEW_COPIES * len(rows) or how == "group":
        together = rows["copy"].astype(str).where(is_copied, "")
        # What was joined has been told.
        alone = rows["pixels"][is_copied].eq("").any()
        return Settled(rows.assign(copy=together), [], [f"{summary}: kept in one part"] * bool(alone))
    joined = rows["pixels"].where(is_copied & (rows["pixels"] != ""), "")
    alone = int((copied & (rows["pixels"] == "")).sum())
    note = (
        f"{summary}: {alone / len(rows):.0%} of the table, taken for different patients, who may be in different "
        "parts, because columns of such values make equal rows by chance"
        f"{_boundary(copies)}; --on-duplicates group keeps them together, drop keeps one of each"
    )
    return Settled(rows.assign(copy=joined), [], [note] * bool(alone))


def _boundary(copies: Copies) -> str:
    """What was assumed, where there are more than the model expects."""
    if copies or copies.observed <= copies.expected:
        return ""
    return (
        f" (of the rarer ones {copies.observed} groups, where columns that go together as little as the values show "
        f"make {_about(copies.expected)}: too few more to be sure that they are copies of one patient)"
    )


def _about(expected: float) -> str:
    return f"about {expected:.2g}" if expected >= 0.01 else "fewer than 0.01"


def _keep_official(rows: pd.DataFrame, columns: list[str], seed: int) -> tuple[pd.DataFrame, list, list]:
    settled = settle_patients(rows, columns)
    notes = []
    if settled.rejected:
        notes.append(
            f"patients are in two official parts: their {len(settled.rejected)} rows in the earlier are left out and "
            "listed in rejected.csv, so that test stays whole and no patient is in two"
        )
    rows, carved = carve(settled.table, columns, "copy", seed)
    return rows, settled.rejected, notes + carved
