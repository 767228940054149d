"""The labels of a table of images: one column of names, or a column of 0 and 1 for each class."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from medimg.config import PrepareConfig
from medimg.data import schema
from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.sources.given_table import need_columns
from medimg.style.words import listed
from medimg.tables.cells import shown

NEGATIVE = "No Finding"
NEGATIVES = ("no finding", "no findings")
_DEFAULT = PrepareConfig().label_column
_JOINTS = (";", ",")
_ITEM = re.compile(r"'([^']*)'|\"([^\"]*)\"|([^,\s'\"][^,'\"]*)")


@dataclass(frozen=True, eq=False)
class Labels:
    """What a table says of each row.

    Attributes:
        text: per row; several joined by `|`, '' = unlabelled.
        columns: that say it.
        notes: sentences about how they were read.
    """

    text: pd.Series
    columns: list[str]
    notes: list[str] = field(default_factory=list)


def labels_of(path: Path, table: pd.DataFrame, config: PrepareConfig, roles: set[str]) -> Labels:
    """Find the labels.

    Args:
        path: the table, for messages.
        table: of stripped text.
        config: `label_column` (of several columns of 0 and 1 their names, with commas) and `label_separator`.
        roles: columns that say something else.

    Raises:
        InputError: no such column, a cell that is neither 0 nor 1, or nobody can tell whether a cell is one label.
    """
    name = config.label_column
    if name in table:
        labels = _names(path, table[name], config.label_separator)
    elif "," in name:
        columns = [each.strip() for each in name.split(",") if each.strip()]
        need_columns(path, table, dict.fromkeys(columns, "--label-column"))
        labels = _indicators(path, table, columns)
    else:
        columns = [c for c in table if c not in roles and set(canonical(table[c])) - {""} in ({"0"}, {"1"}, {"0", "1"})]
        ones = sum((canonical(table[c]) == "1").astype(int) for c in columns)
        if name != _DEFAULT or len(columns) < 2 or not (ones == 1).all():
            several = f"{','.join(columns)}, if these columns of 0 and 1 are the labels" if len(columns) > 1 else ""
            need_columns(path, table, {name: "--label-column" + (f" (or {several})" if several else "")})
        labels = _indicators(path, table, columns)
    missing = int((labels.text == "").sum())
    notes = [f"{missing} rows have no label: kept as unlabelled images"] if missing else []
    return Labels(labels.text, labels.columns, notes + labels.notes)


def canonical(cells: pd.Series) -> pd.Series:
    """1.0 and 1 are one label."""
    return cells.str.replace(schema.WHOLE_NUMBER, r"\1", regex=True)


def _indicators(path: Path, table: pd.DataFrame, columns: list[str]) -> Labels:
    cells = table[columns].apply(canonical)
    odd = ~cells.isin(("", "0", "1"))
    if odd.to_numpy().any():
        row = int(odd.any(axis=1).to_numpy().argmax())
        name = odd.columns[int(odd.iloc[row].to_numpy().argmax())]
        raise InputError(
            f"{path} row {row + 2}: column '{name}' holds '{shown(table[name].iloc[row])}', neither 0 nor 1; mend it, "
            "or leave the column out of --label-column"
        )
    ones = cells == "1"
    labelled = (cells != "").any(axis=1)
    # Of a set with several labels, none of them is a finding too; of classes, each row has one.
    several = (ones.sum(axis=1)[labelled] != 1).any()
    none = "" if any(c.lower() in NEGATIVES for c in columns) else NEGATIVE
    texts = [
        (SEPARATOR.join(c for c, one in zip(columns, row, strict=True) if one) or none) if is_known else ""
        for row, is_known in zip(ones.to_numpy(), labelled, strict=True)
    ]
    kind = "several labels" if several else "one label"
    notes = [f"labels are the columns {listed(columns, 12)}, {kind} a row (--label-column names others)"]
    unused = [c for c in columns if not ones[c].any()]
    if unused:
        notes.append(f"no row is of class {listed(unused)}: left out")
    blank = int((cells[labelled] == "").to_numpy().sum())
    if blank:
        notes.append(f"{blank} empty cells in them count as 0")
    return Labels(pd.Series(texts, table.index, dtype=object), columns, notes)


def _names(path: Path, cells: pd.Series, separator: str | None) -> Labels:
    cells = cells.where(~cells.str.lower().isin(schema.MISSING), "")
    distinct = cells[cells != ""].unique()
    notes = []
    if separator is None and len(distinct) and all(re.fullmatch(r"\[.*\]", cell) for cell in distinct):
        notes.append(f"labels are written as lists: {shown(distinct[0])} and the like")
        parts = {cell: ["".join(item) for item in _ITEM.findall(cell[1:-1])] or [NEGATIVE] for cell in distinct}
    else:
        joint, doubtful = joint_of(distinct) if separator is None else (separator, "")
        if doubtful:
            row = int((cells == doubtful).to_numpy().argmax())
            raise InputError(
                f"{path} row {row + 2}: is '{shown(doubtful)}' one label or several? Say --label-separator none, or "
                f"--label-separator '{joint}'"
            )
        if joint not in ("", "none", SEPARATOR):
            notes.append(f"several labels of an image are joined by '{joint}' (--label-separator none: they are not)")
        parts = {cell: cell.split(joint) if joint not in ("", "none") else [cell] for cell in distinct}
    texts = {"": ""}
    for cell, names in parts.items():
        clean = [re.sub(schema.WHOLE_NUMBER, r"\1", name.strip()) for name in names]
        texts[cell] = SEPARATOR.join(dict.fromkeys(name for name in clean if name))
    return Labels(cells.map(texts), [str(cells.name)], notes)


def joint_of(cells: Iterable[str]) -> tuple[str, str]:
    """What joins several labels in a cell, '' where nothing does; and a cell of which that is not plain, else ''."""
    if any(SEPARATOR in cell for cell in cells):
        return SEPARATOR, ""
    for joint in _JOINTS:
        parts = [{part.strip() for part in cell.split(joint)} - {""} for cell in cells]
        for cell, parts_of_cell in zip(cells, parts, strict=True):
            if joint in cell and any(sum(part in other for other in parts) < 2 for part in parts_of_cell):
                return joint, cell
        if any(joint in cell for cell in cells):
            return joint, ""
    return "", ""
