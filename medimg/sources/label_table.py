"""A table that says of each file, study or patient what it is: labels, and perhaps patient, site and part, by a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.sources.base import Scan
from medimg.sources.given_table import need_columns, read_table
from medimg.sources.table_of_images import parts_of, scan_rows
from medimg.style.words import listed

if TYPE_CHECKING:
    import pandas as pd

_ROLES = ("patient", "site", "split")
_DEFAULTS = PrepareConfig()


@dataclass(frozen=True, eq=False)
class LabelTable:
    """What a table says.

    Attributes:
        path: the table.
        column: the key's.
        rows: by key, text: `label`, and `patient`, `site`, `split` where the table has them.
        numbers: by key, of the row.
        notes: sentences about how it was read.
    """

    path: Path
    column: str
    rows: dict[str, dict[str, str]]
    numbers: dict[str, int]
    notes: list[str]

    def unused(self, used: set[str]) -> list[str]:
        """A sentence on rows that no file has, by their numbers: the keys may tell who a patient is.

        Raises:
            InputError: no row was used.
        """
        rows = [str(number) for key, number in self.numbers.items() if key not in used]
        if len(rows) == len(self.rows):
            raise InputError(
                f"{self.path}: column '{self.column}' names none of the files; it must hold what the files do"
            )
        return [f"{len(rows)} rows of {self.path.name} are of no file: {listed(rows)}"] if rows else []


def read_labels(folder: Path, config: PrepareConfig, keys: tuple[str, ...]) -> LabelTable:
    """Read `--labels`, or the one CSV of a folder.

    Args:
        folder: of the source.
        config: `labels`, `label_column`, `label_separator`, and the names of the columns of patients, sites and parts.
        keys: names of the columns that may tell which file a row is of, the one to prefer first; case does not count.

    Raises:
        InputError: no table, no such column, or two rows of one key that differ.
    """
    path = table_at(folder, config.labels)
    table = read_table(path)
    named = {name.casefold(): name for name in map(str, table)}
    column = next((named[key.casefold()] for key in keys if key.casefold() in named), None)
    if column is None:
        have = listed(table.columns, 12)
        raise InputError(f"{path}: needs a column {' or '.join(keys)}, which tells what a row is of; it has {have}")
    notes = list(table.attrs.get("notes", ()))
    roles = {role: name for role in _ROLES if (name := getattr(config, f"{role}_column")) in table and name != column}
    for role in _ROLES:
        name = getattr(config, f"{role}_column")
        if name != getattr(_DEFAULTS, f"{role}_column"):
            need_columns(path, table, {name: f"--{role}-column"})
    from medimg.sources.image_labels import labels_of

    labels = labels_of(path, table, config, {column, *roles.values()})
    # How many images have none is told of the images.
    notes += [note for note in labels.notes if "have no label" not in note]
    rows = {"label": labels.text}
    rows |= {role: table[name] for role, name in roles.items()}
    if "split" in rows:
        rows["split"] = parts_of(path, rows["split"], config)
    by_key = _by_key(path, table.assign(**rows)[[column, *rows]], column)
    numbers = by_key.pop("number").to_dict()
    return LabelTable(path, column, by_key.to_dict("index"), numbers, notes)


def scan_of(table: Path, rows: list[dict], of: Path, config: PrepareConfig, **attributes) -> Scan:
    """A Scan of images that are no files of their own, as `scan_rows` makes one of a table.

    Args:
        table: that the labels came from, for messages.
        rows: an image each: `image` (its key), `label`, `patient`, `site`, `split`, perhaps a mask or boxes, metadata.
        of: folder that the set is called by.
        config: of the preparation.
        attributes: of the Scan; its notes and rejected come after those of the rows.
    """
    import pandas as pd

    names = {f"{role}_column": role for role in ("image", "label", *_ROLES)}
    plain = replace(config, **names, label_separator="|")
    try:
        result = scan_rows(table, pd.DataFrame(rows).fillna("").astype(str), _Keys(of), plain)
    except InputError as error:
        lost = listed(f"{name} ({why})" for name, why in attributes.get("rejected", ()))
        raise InputError(f"{error}. Left out: {lost}" if lost else str(error)) from error
    defaults = {"name": of.resolve().name.removesuffix(".zip"), "root": None, "read_mask": None, "tables": ()}
    more = {name: getattr(result, name) + attributes.pop(name, []) for name in ("notes", "rejected")}
    return replace(result, **defaults | attributes | more)


@dataclass
class _Keys:
    """In the place of `ImageFiles`, where keys are no names of files."""

    base: Path
    respelt = {}  # noqa: RUF012

    def find(self, name: str, _where: str) -> tuple[str, str]:
        return name, ""


def named_table(folder: Path, name: str) -> Path:
    """The table that `--labels` names, by its path or as it is called in a folder.

    Raises:
        InputError: it is not there.
    """
    place = next((place for place in (Path(name), folder / name) if place.is_file()), None)
    if place is None:
        raise InputError(f"--labels {name}: no such file, nor in {folder}")
    return place


def table_at(folder: Path, name: str | None) -> Path:
    """The table that `--labels` names, or the only CSV of a folder.

    Raises:
        InputError: it is not there, or there are several.
    """
    if name is not None:
        return named_table(folder, name)
    tables = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    if len(tables) != 1:
        choice = listed(table.name for table in tables) if tables else "there is none"
        raise InputError(f"{folder}: which table has the labels? Name it with --labels FILE ({choice})")
    return tables[0]


def _by_key(path: Path, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    rows = rows.copy()
    rows.insert(0, "number", range(2, len(rows) + 2))
    keyed = rows[rows[column] != ""]
    plain = keyed.drop(columns="number")
    for number in keyed.loc[keyed[column].duplicated() & ~plain.duplicated(), "number"]:
        key = keyed.loc[keyed["number"] == number, column].iloc[0]
        first = keyed.loc[keyed[column] == key, "number"].iloc[0]
        raise InputError(f"{path} row {number}: says otherwise of what row {first} is of; mend one of them")
    return keyed.drop_duplicates(column).set_index(column)
