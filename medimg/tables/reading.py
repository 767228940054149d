"""A CSV or Parquet file as blocks of columns, so that no table has to fit in memory as text."""

import csv
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from medimg.errors import InputError
from medimg.style.words import listed
from medimg.tables.arrow_input import watched
from medimg.tables.text_file import TextFile, examine, open_bytes

_BLOCK = 4 << 20  # bytes of CSV
# Of wide tables, more: each block costs time for every column, however few its rows.
_LARGEST_BLOCK, _BLOCK_ROWS = 64 << 20, 256
_CELLS = 1 << 20  # of Parquet
_PARQUET = b"PAR1"
_NO_VALUE = "a nested or binary column can't be read; flatten it, or write the table without it"


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table on disk.

    Attributes:
        path: the file.
        names: of its columns, in order, none twice.
        unnamed: those of them that we made up.
        typed: columns whose file says that they are `categorical` or `date`.
        comma: numbers in it may have a decimal comma.
        notes: sentences about how it is read.
    """

    path: Path
    names: tuple[str, ...]
    unnamed: tuple[str, ...] = ()
    typed: dict[str, str] = field(default_factory=dict)
    comma: bool = False
    notes: list[str] = field(default_factory=list)
    text: TextFile | None = None

    @property
    def first_row(self) -> int:
        """Number of the first row as a spreadsheet counts: a CSV's header is row 1."""
        return 2 if self.text else 1

    def blocks(self) -> Iterator[list[pa.Array]]:
        """The rows in blocks: for each, the columns as string or float64 arrays.

        Dates of Parquet come as ISO text, booleans as `true` and `false`.

        Raises:
            InputError: rows of another number of fields, broken or unreadable content.
        """
        with refusing(self.path):
            yield from _csv_blocks(self.text) if self.text else _parquet_blocks(self.path)


def open_table(path: Path) -> TableFile:
    """Find out what a file is.

    Args:
        path: CSV, TSV or text with `;` or `|` between fields, also as .gz; or Parquet.

    Raises:
        InputError: it is none of these, its header has a name twice, or it can't be read.
    """
    path = Path(path)
    with refusing(path):
        with open_bytes(path) as file:
            is_parquet = file.read(4) == _PARQUET
        return _open_parquet(path) if is_parquet else _open_text(path)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What readers raise on a broken file, as one line."""
    try:
        yield
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or _line(error)
        raise InputError(f"{path}: can't be read ({why})") from error
    except (pa.ArrowException, zlib.error, csv.Error, UnicodeError) as error:
        raise InputError(
            f"{path}: not readable as a table ({_line(error)}); is it damaged, or a quote not closed?"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _open_text(path: Path) -> TableFile:
    text = examine(path)
    names, unnamed, notes = _names(path, text.header)
    if text.encoding == "cp1252":
        notes.append("the file is not UTF-8: read as Windows-1252; look at names with accents")
    if text.ends_in_delimiter:
        notes.append(f"rows end in '{text.delimiter}', the header does not: what follows it is empty and left out")
    return TableFile(path, names, unnamed, {}, text.delimiter != ",", notes, text)


def _names(path: Path, header) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Names in one line each; made up where there is none, refused where one is there twice."""
    stripped = [" ".join(re.sub(r"[\x00-\x1f\x7f]", " ", str(name)).split()) for name in header]
    twice = [name for name, times in Counter(stripped).items() if times > 1 and name]
    if twice:
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        raise InputError(
            f"{path}: column '{twice[0]}' is there {stripped.count(twice[0])} times{more}; rename or remove one"
        )
    names, unnamed, used = [], [], set(stripped)
    for name in stripped:
        if not name:
            unnamed.append(next(f"unnamed_{i}" for i in count(1) if f"unnamed_{i}" not in used))
            used.add(unnamed[-1])
        names.append(name or unnamed[-1])
    notes = [f"columns without a name are called {listed(unnamed)}"] if unnamed else []
    return tuple(names), tuple(unnamed), notes


def _csv_blocks(text: TextFile) -> Iterator[list[pa.Array]]:
    ragged = []
    expected = len(text.header)
    width = expected + text.ends_in_delimiter

    def refuse(row) -> str:
        if row.number == 1 and width > expected:
            return "skip"  # the header
        ragged.append(row)
        return "error"

    # The header comes as the first row: Arrow would not give a name that is there twice or not at all.
    names = [f"f{i}" for i in range(width)]
    size = min(max(_BLOCK, _BLOCK_ROWS * text.longest_line), _LARGEST_BLOCK)
    try:
        with text.open() as file, watched(file, text.encoding) as source:
            reader = pyarrow.csv.open_csv(
                source,
                pyarrow.csv.ReadOptions(
                    use_threads=False,  # rows have numbers only then
                    block_size=max(size, 4 * text.longest_line),
                    column_names=names,
                ),
                pyarrow.csv.ParseOptions(delimiter=text.delimiter, newlines_in_values=True, invalid_row_handler=refuse),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
            with reader:
                header, row = int(width == expected), 2
                for batch in reader:
                    skipped = min(header, batch.num_rows)
                    header -= skipped
                    if batch.num_rows > skipped:
                        columns = batch.slice(skipped).columns
                        _check_rest(text.path, columns[expected:], row)
                        row += len(columns[0])
                        yield columns[:expected]
            del reader
    except pa.ArrowInvalid as error:
        if not ragged:
            raise
        raise InputError(_ragged(text.path, ragged[0])) from error


def _check_rest(path: Path, rest: list[pa.Array], row: int) -> None:
    """What follows the delimiter that rows end in must be empty."""
    for place, cell in enumerate(rest[0] if rest else ()):
        if cell.as_py().strip():
            raise InputError(f"{path} row {row + place}: a field more than the header has ({cell}); mend the row")


def _ragged(path: Path, row) -> str:
    where = f" row {row.number}" if row.number else ""
    start = " ".join(row.text.split())[:60]
    return (
        f"{path}{where}: {row.actual_columns} fields instead of {row.expected_columns} ({start}); "
        "mend the row, or quote a field that holds the delimiter"
    )


def _open_parquet(path: Path) -> TableFile:
    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
    names, unnamed, notes = _names(path, schema.names)
    typed = {}
    for name, kind in zip(names, schema.types, strict=True):
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if _is_nested(value):
            raise InputError(f"{path}: column '{name}' is {value}: {_NO_VALUE}")
        if pa.types.is_dictionary(kind) or pa.types.is_boolean(kind):
            typed[name] = "categorical"
        elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            typed[name] = "date"
    return TableFile(path, names, unnamed, typed, False, notes)


def _is_nested(kind: pa.DataType) -> bool:
    return (
        pa.types.is_nested(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_interval(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _parquet_blocks(path: Path) -> Iterator[list[pa.Array]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        rows = max(1, _CELLS // max(1, len(file.schema_arrow)))
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            # Text that is no UTF-8, and lengths that lead beyond the file, else fail where they are used.
            batch.validate(full=True)
            if batch.num_rows:
                yield [_plain(column) for column in batch.columns]


def _plain(column: pa.Array) -> pa.Array:
    """A Parquet column as float64 or as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_integer(kind):
        try:
            return pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            # Beyond 2^53 a number is a name: digits would be lost.
            return pc.cast(column, pa.string())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_timestamp(kind):
        return _iso(column)
    return pc.fill_null(pc.cast(column, pa.string()), "")


def _iso(column: pa.Array) -> pa.Array:
    """Instants as `2020-03-01T14:05:00`, in UTC where they have a zone."""
    seconds = pc.cast(column, pa.timestamp("s", column.type.tz), safe=False)
    plain = pc.cast(seconds, pa.timestamp("s")) if column.type.tz else seconds
    text = pc.replace_substring(pc.cast(plain, pa.string()), " ", "T", max_replacements=1)
    return pc.fill_null(text, "")
