"""Any table with a column of labels -> TableScan: one pass to see what the columns are, a second to read them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from medimg.config import PrepareConfig
from medimg.data import schema
from medimg.data.dates import without_midnight
from medimg.data.manifest import name_text
from medimg.errors import InputError
from medimg.sources.base import PARTS, TableScan
from medimg.sources.table_roles import Roles, assign_roles, classes_of
from medimg.style.words import listed
from medimg.tables import cells, columns
from medimg.tables.columns import Column
from medimg.tables.inference import ColumnSummary, summarise
from medimg.tables.reading import TableFile, open_table

# A feature of such a name would be taken for what we call so.
_TAKEN = (*schema.ROLES, "image")


@dataclass(frozen=True, eq=False)
class _Plan:
    """What the second pass reads.

    Attributes:
        file: the table.
        rows: in it.
        roles: columns that are none of the features.
        features: position in the file -> how that column is read.
    """

    file: TableFile
    rows: int
    roles: Roles
    features: dict[int, Column]


def scan_table(path: Path, config: PrepareConfig) -> TableScan:
    """Find out what a table holds.

    Args:
        path: CSV (also TSV, `;`, `|`, .gz) or Parquet.
        config: `label_column`, `patient_column`, `site_column`, `split_column`, `split` and `column_type` are used.

    Raises:
        InputError: the file, a column or an option can't be used.
    """
    file = open_table(path)
    summaries = dict(zip(file.names, summarise(file), strict=True))
    rows = next(iter(summaries.values())).rows
    if not rows:
        raise InputError(f"{path}: has a header but no rows")
    roles = assign_roles(path, file.names, summaries, config)
    classes, task, notes = classes_of(path, roles.label, summaries[roles.label], config.label_separator)
    features, renamed = _features(file, summaries, roles, config)
    if not any(column.feature.is_input for column in features.values()):
        raise InputError(f"{path}: no column is left to learn from; --column-type NAME=TYPE makes one a feature")
    plan = _Plan(file, rows, roles, features)
    return TableScan(
        name=name_of(path),
        task=task,
        classes=classes,
        features=tuple(column.feature for column in features.values()),
        read=lambda progress: _read(plan, progress),
        tables=(path,),
        notes=[*file.notes, *roles.notes, *notes, *renamed, *_notes(plan, summaries)],
    )


def name_of(path: Path) -> str:
    """The file's name without its endings: `visits` of `visits.csv.gz`."""
    name = Path(path).name
    for ending in (".gz", ".csv", ".tsv", ".txt", ".data", ".parquet", ".pq"):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return name


def _features(
    file: TableFile, summaries: dict[str, ColumnSummary], roles: Roles, config: PrepareConfig
) -> tuple[dict[int, Column], list[str]]:
    """How each column that has no role is read, and notes of those that got another name."""
    of_roles = set(roles.columns.values())
    for name in config.column_type:
        if name not in summaries:
            raise InputError(f"--column-type {name}: no such column; {file.path} has {listed(file.names, 12)}")
        if name in of_roles:
            role = next(role for role, column in roles.columns.items() if column == name)
            raise InputError(f"--column-type {name}: it is the column of the {role}, no feature")
    names, notes = set(file.names), []
    features = {}
    for position, (name, summary) in enumerate(summaries.items()):
        if name in of_roles:
            continue
        column = _column(file, name, summary, config.column_type)
        if name in _TAKEN:
            new = f"source_{name}"
            while new in names:
                new += "_"
            names.add(new)
            column = columns.renamed(column, new)
            notes.append(f"column '{name}' is called '{new}': a Dataset has its own '{name}'")
        features[position] = column
    return features, notes


def _column(file: TableFile, name: str, summary: ColumnSummary, types: dict) -> Column:
    if name in types:
        return columns.forced(name, types[name], summary)
    try:
        return columns.infer(name, summary, file.typed.get(name, ""), name in file.unnamed)
    except ValueError as error:
        row, cell = error.args
        raise InputError(
            f"{file.path} row {row + file.first_row}: column '{name}' is mostly numbers but holds "
            f"'{cells.shown(cell)}'; --column-type {name}=continuous takes such cells as missing, {name}=categorical "
            "as categories"
        ) from None


def _notes(plan: _Plan, summaries: dict[str, ColumnSummary]) -> list[str]:
    """What the columns' contents made us decide, each decision in one sentence."""
    by_reason: dict[str, list[str]] = {}
    infinite, odd, comma = {}, {}, []
    for position, column in plan.features.items():
        summary = summaries[plan.file.names[position]]
        name, numbers = column.feature.name, summary.numbers
        if column.reason:
            by_reason.setdefault(column.reason, []).append(name)
        if not column.feature.is_number:
            continue
        if numbers.infinite:
            infinite[name] = numbers.infinite
        if summary.known > numbers.count:
            odd[name] = summary.known - numbers.count
        if column.comma:
            comma.append(name)
    notes = [f"{reason}: {listed(names)}" for reason, names in by_reason.items()]
    if comma:
        notes.append(f"decimal commas read as such in {listed(comma)}")
    for counts, what in ((infinite, "infinities"), (odd, "cells that are no numbers")):
        if counts:
            where = listed(f"{count} of {name}" for name, count in counts.items())
            notes.append(f"{sum(counts.values())} {what} taken as missing: {where}")
    return notes


def _read(plan: _Plan, progress: Callable[[int, int], None] | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows as a manifest, and notes of what was found on the way."""
    roles, file = plan.roles.columns, plan.file
    # Numbers go to their place at once; text stays Arrow's, which takes a tenth of Python's.
    numbers = {position: np.empty(plan.rows) for position, column in plan.features.items() if column.feature.is_number}
    texts: dict[int | str, list[pa.Array]] = {}
    start = lost = 0
    for block in file.blocks():
        stop = start + len(block[0])
        if stop > plan.rows:
            raise _changed(file)
        for role, name in roles.items():
            missing = schema.MISSING_NAME if role in ("patient", "site") else schema.MISSING
            text = cells.categories(block[file.names.index(name)], missing)
            texts.setdefault(role, []).append(_names(text))
        for position, column in plan.features.items():
            converted = column.convert(block[position])
            if position in numbers:
                numbers[position][start:stop] = converted
            else:
                texts.setdefault(position, []).append(converted)
                if column.form is not None:
                    lost += columns.lost_dates(block[position], converted)
        start = stop
        if progress:
            progress(start, plan.rows)
    if start != plan.rows:
        raise _changed(file)
    notes = [f"{lost} cells are no possible dates: taken as missing"] if lost else []
    return _manifest(plan, numbers, texts), notes


def _names(text: pa.Array) -> pa.Array:
    # Arrow's own normalisation leaves `u` and two dots apart.
    coded = pc.dictionary_encode(text)
    return pa.array([name_text(name) for name in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def _changed(file: TableFile) -> InputError:
    return InputError(f"{file.path}: changed while it was read; prepare it again")


def _manifest(plan: _Plan, numbers: dict, texts: dict) -> pd.DataFrame:
    stem = name_of(plan.file.path)
    places = np.arange(1, plan.rows + 1).astype(str)
    names = pd.Series(np.char.add(f"{stem}-", places), dtype="string[pyarrow]")
    table = {"row": names}
    for role in ("label", "patient", "site", "split"):
        table[role] = _text(texts.pop(role)) if role in texts else _constant("", plan.rows)
    table["patient"] = table["patient"].where(table["patient"] != "", names)
    table["split"] = table["split"].str.lower().map({**PARTS, "": ""}).astype("string[pyarrow]")
    for position, column in plan.features.items():
        if position in numbers:
            table[column.feature.name] = numbers.pop(position)
            continue
        text = _text(texts.pop(position))
        table[column.feature.name] = without_midnight(text) if column.form else text
    # Copied, so that numbers are one block: pandas writes thousands of single columns slowly.
    return pd.DataFrame(table)


def _text(blocks: list[pa.Array]) -> pd.Series:
    return pd.Series(pd.array(pa.chunked_array(blocks), dtype="string[pyarrow]"))


def _constant(text: str, rows: int) -> pd.Series:
    return pd.Series(pa.repeat(text, rows).to_pandas(), dtype="string[pyarrow]")
