"""Cells of the CSV files that medimg writes: none is a formula to a spreadsheet, and all are read back as they were.

A spreadsheet runs what begins with `=`, `+`, `-` or `@`, also behind a tab or a line break: a patient's name in a
stranger's table could fetch an address or start a program when predictions.csv is opened. Such text gets a `'` in
front, and so does text that would look quoted; numbers do not. Source: OWASP, CSV Injection.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from medimg.errors import InputError
from medimg.untrusted.printable import printable

_LONGEST_HEADER = 32 << 20  # characters
# Also as Chinese and Japanese text writes them; spreadsheets pass over blanks before them.
_FORMULA = re.compile(r"'*(?:\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n])")
_QUOTED = re.compile(r"'+(?:\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n])")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-](?:inf|Infinity)", re.ASCII)
# What text of either kind begins with; few cells do, and only these are looked at closely.
_FIRST = ("'", "=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def quote(text: str) -> str:
    """Text as it stands in a cell: with a `'` in front where it would be a formula, or would look quoted."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unquote(cell: str) -> str:
    """What `quote` made the cell of."""
    return cell[1:] if _QUOTED.match(cell) else cell


def quoted(table):
    """A DataFrame whose text and whose columns' names are as they stand in cells; the same where nothing changes."""
    return _changed(table, quote)


def unquoted(table):
    """The DataFrame that `quoted` was given."""
    return _changed(table, unquote)


def read_csv(path, **options):
    """`pandas.read_csv` of a file of `medimg.atomic.write_csv`.

    Args:
        path: of the file, or an open one.
        options: pandas'; columns are called by their names in `dtype`, `na_values` and `converters`. Missing is an
            empty cell alone unless they say otherwise: a class may be called None, a patient NA.

    Raises:
        InputError: it is no CSV, or has a column twice.
    """
    import pandas as pd

    if "keep_default_na" not in options:
        options |= {"keep_default_na": False, "na_values": [""]}
    for name in ("dtype", "na_values", "converters"):
        if isinstance(options.get(name), dict):
            options[name] = {quote(column): value for column, value in options[name].items()}
    try:
        _require_each_once(path)
        table = pd.read_csv(path, **options)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except (ValueError, OverflowError, csv.Error) as error:
        # Of pandas' own errors too: no rows, another number of cells, no UTF-8, text for a number.
        raise InputError(f"{path}: not readable as CSV ({' '.join(str(error).split())})") from error
    if not isinstance(table.index, pd.RangeIndex):
        # The first cells would be rows' names to pandas, and every other one in the column beside its own.
        raise InputError(f"{path}: not readable as CSV (its rows have more cells than its header)")
    return unquoted(table)


def _require_each_once(path) -> None:
    """Refuse a header that has a name twice, of which pandas would call the second one otherwise.

    Raises:
        InputError: it has.
    """
    with nullcontext(path) if hasattr(path, "read") else Path(path).open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(_lines(file)), [])
        file.seek(0)
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise InputError(f"{path}: column '{printable(twice)}' stands there twice")


def _lines(file) -> Iterator[str]:
    """A line at a time: one without end would be read whole."""
    while line := file.readline(_LONGEST_HEADER):
        if len(line) == _LONGEST_HEADER:
            raise InputError(f"{file.name}: its first line is longer than {_LONGEST_HEADER >> 20} MB")
        yield line


def _changed(table, change):
    names = [change(name) if isinstance(name, str) else name for name in table.columns]
    columns = {}
    for place, kind in enumerate(table.dtypes):
        if kind.kind == "O":
            values = _column(table.iloc[:, place], change)
            if values is not None:
                columns[place] = values
    if not columns and names == list(table.columns):
        return table
    # The columns that stay are shared, not copied: a table may be most of the memory.
    table = table.copy(deep=False)
    for place, values in columns.items():
        table.isetitem(place, values)
    table.columns = names
    return table


def _column(column, change):
    """The column with its text changed; None where nothing changes. A column of categories becomes one of text."""
    values = column.to_numpy(object)
    changed = {}
    for row, value in enumerate(values):
        # Most text begins otherwise: a hundred thousand cells take milliseconds.
        if isinstance(value, str) and (value.startswith(_FIRST) or value[:1].isspace()):
            new = change(value)
            if new is not value:
                changed[row] = new
    if not changed:
        return None
    values = values.copy()
    for row, new in changed.items():
        values[row] = new
    return values
