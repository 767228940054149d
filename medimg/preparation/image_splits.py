"""Which part each prepared image goes to: duplicates and patients settled first, then split or official.

The rows of a table go the same way in `medimg.preparation.table_splits`, with what is public here.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.dataset import SPLITS
from medimg.data.duplicates import (
    Settled,
    describe_duplicates,
    drop_duplicates,
    find_duplicates,
    join_duplicates,
    settle_patients,
)
from medimg.data.splits import (
    ANEW,
    DEFAULT,
    DRAWN,
    NOT_OFFICIAL,
    OFFICIAL,
    lots,
    missing_classes,
    parse_split,
    split_groups,
)
from medimg.data.units import units
from medimg.errors import InputError

CARVED = 0.15  # of the official training part, where val or test is not published


def assign_parts(
    table: pd.DataFrame, config: PrepareConfig, fractions: tuple[float, float, float] | None, out: Path
) -> Settled:
    """Fill the column `split`.

    Args:
        table: one row an image with `source_file`, `label`, `patient`, `split`, `pixels` and the column `group_by`.
        config: `group_by`, `on_duplicates` and `seed` are used.
        fractions: of train, val and test; None keeps the source's parts.
        out: where `duplicates.csv` goes when there are duplicates to settle.

    Returns:
        The rows that stay, with their part, those that go, and notes.

    Raises:
        InputError: no such column, no official parts, or duplicates under `on_duplicates="error"`.
    """
    columns = grouping_columns(table, config.group_by)
    official = fractions is None
    table, rejected, notes = official_rows(table) if official else (table, [], [])
    settled = _settle_duplicates(table, config.on_duplicates, official, out)
    table, rejected, notes = settled.table, rejected + settled.rejected, notes + settled.notes
    if official:
        settled = settle_patients(table, columns)
        table, rejected, notes = settled.table, rejected + settled.rejected, notes + settled.notes
        table, carved = carve(table, columns, "pixels", config.seed)
        notes += carved
    elif len(table):
        table = table.assign(split=drawn_parts(table, units(table, columns), fractions, config))
    notes += absent_classes(table)
    if rejected:
        table = table.reset_index(drop=True)
    return Settled(table, rejected, notes)


@dataclass(frozen=True)
class Wanted:
    """Which parts are made.

    Attributes:
        how: OFFICIAL, DRAWN, or ANEW where the source has official ones that are not used.
        fractions: of train, val and test; None keeps the source's parts.
        notes: sentences about it.
    """

    how: str
    fractions: tuple[float, float, float] | None
    notes: list[str] = field(default_factory=list)


def parts_wanted(official: pd.Series, config: PrepareConfig) -> Wanted:
    """Official parts where the source has them, unless `--split` says otherwise.

    Args:
        official: each row's part as the source has it, '' for none.
        config: `split` and `split_draw` are used.

    Raises:
        InputError: `--split` can't be read, or parts are to be drawn by lot that are official.
    """
    counts = {part: int((official == part).sum()) for part in SPLITS}
    has_official = bool(counts["train"] and (counts["val"] or counts["test"]))
    fractions = parse_split(config.split or (OFFICIAL if has_official else DEFAULT))
    counted = ", ".join(f"{part} {count}" for part, count in counts.items() if count)
    if fractions is None:
        if config.split_draw != "balanced":
            raise InputError("--split-draw lot: official parts are not drawn; leave it out, or add --split 70/15/15")
        note = f"the source's own parts are kept ({counted}); --split {DEFAULT} draws others"
        return Wanted(OFFICIAL, None, [note] if config.split is None else [])
    if not has_official:
        return Wanted(DRAWN, fractions)
    note = f"{NOT_OFFICIAL}: the source's own parts ({counted}) were pooled and --split {config.split} drew others"
    return Wanted(ANEW, fractions, [note])


def drawn_parts(table: pd.DataFrame, groups, fractions: tuple, config: PrepareConfig) -> np.ndarray:
    """Each row's part, whole groups in one, as `--split-draw` says.

    Args:
        table: with `label` and `patient`, and `site` where sites are to be spread over the parts.
        groups: int (N,), rows that stay together.
        fractions: of train, val and test.
        config: `split_draw` and `seed`.
    """
    if config.split_draw == "balanced":
        return split_groups(table["label"], groups, fractions, config.seed, table.get("site"))
    # A group goes by the name of its first patient: numbers of groups shift with who else is there.
    names = table["patient"].groupby(np.asarray(groups)).transform("first")
    return np.asarray(SPLITS, object)[lots(names, fractions, config.seed)]


def absent_classes(table: pd.DataFrame, unit: str = "image") -> list[str]:
    """A sentence for every class that a part has no image (or row) of."""
    return [
        f"class '{name}' has no {unit} in {part} ({count} in all)"
        for name, part, count in missing_classes(table["label"], table["split"])
    ]


def grouping_columns(table: pd.DataFrame, group_by: str) -> list[str]:
    """Columns whose values never cross parts: patients, and what `--group-by` names.

    Raises:
        InputError: no such column.
    """
    if group_by not in table:
        raise InputError(f"--group-by {group_by}: no such column; there are {', '.join(table.columns)}")
    # Another column comes on top of patients: they never cross parts.
    return ["patient"] if group_by == "patient" else ["patient", group_by]


def official_rows(table: pd.DataFrame, unit: str = "image") -> tuple[pd.DataFrame, list, list]:
    """Rows that the source gives a part, and (file, reason) and notes of those that it does not.

    Raises:
        InputError: it gives none.
    """
    official = table["split"] != ""
    if not official.any():
        raise InputError("--split official: the source gives no parts; use --split 70/15/15")
    outside = table.loc[~official, "source_file"]
    notes = [f"{len(outside)} {unit}s are in no official part, listed in rejected.csv"] if len(outside) else []
    return table[official], [(file, "in no official part") for file in outside], notes


def _settle_duplicates(table: pd.DataFrame, how: str, official: bool, out: Path) -> Settled:
    duplicates = find_duplicates(table, official)
    path = out / "duplicates.csv"
    if duplicates.empty:
        path.unlink(missing_ok=True)
        return Settled(table)
    atomic.write_csv(path, duplicates)
    if how == "error":
        raise InputError(
            f"{describe_duplicates(duplicates)}; all are listed in {path}: choose --on-duplicates drop or group"
        )
    settled = (drop_duplicates if how == "drop" else join_duplicates)(table, duplicates)
    summary = f"{describe_duplicates(duplicates)}; all are listed in duplicates.csv"
    return Settled(settled.table, settled.rejected, [summary, *settled.notes])


def carve(table: pd.DataFrame, columns: list[str], alike: str, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Take val, and test where it is not published either, out of the training part.

    Args:
        table: with `label`, `split` and the columns.
        columns: whose values never cross parts.
        alike: column that is equal where rows are copies of each other; they stay together too.
        seed: of the split.

    Returns:
        The table with its parts, and notes.

    Raises:
        InputError: there is no training part to take from.
    """
    missing = [part for part in ("val", "test") if not (table["split"] == part).any()]
    if not missing:
        return table, []
    train = table["split"] == "train"
    if not train.any():
        raise InputError("--split official: the source has no training part; use --split 70/15/15")
    shares = [1 - CARVED * len(missing), *(CARVED * (part in missing) for part in ("val", "test"))]
    # Identical images of two patients in train are no fault until the part is divided.
    groups = units(table[train], [*columns, alike])
    split = table["split"].copy()
    sites = table.loc[train, "site"] if "site" in table else None
    split[train] = split_groups(table.loc[train, "label"], groups, shares, seed, sites)
    names = " and ".join(missing)
    note = f"no official {names}: {CARVED:.0%} of the training part, by {' and '.join(columns)}, taken for {names}"
    return table.assign(split=split), [note]
