"""The type of a column, from what it holds, and its cells as that type."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medimg.data import schema
from medimg.data.dates import COMPACT, COMPACT_DAY, DateForm, to_iso
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.tables import cells
from medimg.tables.inference import ColumnSummary
from medimg.tables.ordinals import order_of

# A category of more levels, or one that mostly occurs once, is text that people wrote.
MOST_LEVELS = 100
_FEW_LEVELS = 20
# Few rows are all different by chance.
_ENOUGH_ROWS = 10
_ID = re.compile(r"(^|[\W_])(id|ids|mrn|uuid|guid|ssn|accession|barcode|usubjid|record_?(no|number))$", re.I)
_CAMEL_ID = re.compile(r"[a-z]I[dD]$")
_DATE_NAME = re.compile(r"date|birth|(^|[\W_])dob($|[\W_])", re.I)

# What a note says of columns before their names; mostly why they are no features.
CODES = "columns of numbers with zeros in front, taken for codes and kept as text"
COMPACT_DATES = "columns of whole numbers such as 20200301, taken for dates (--column-type NAME=integer: they are none)"
EMPTY = "empty columns, kept as metadata"
INDEX = "columns that count the rows, taken for identifiers (no model sees them)"
NAMED_ID = "columns named like identifiers (no model sees them)"
ALL_DIFFERENT = "columns of text that is different in every row, taken for identifiers (no model sees them)"
FREE_TEXT = "columns of free text of many values, kept as metadata"
AMBIGUOUS = "columns of dates whose day and month can't be told apart, kept as metadata (write 2020-03-01)"
NAMELESS = "columns without a name, kept as metadata"


@dataclass(frozen=True)
class Column:
    """How a column is read.

    Attributes:
        feature: its name in the manifest, and its type.
        comma: the decimal sign of its numbers is a comma.
        form: of its dates.
        reason: what a note says of it, as why it is no feature; '' = nothing.
    """

    feature: Feature
    comma: bool = False
    form: DateForm | None = None
    reason: str = ""

    def convert(self, column: pa.Array) -> np.ndarray | pa.Array:
        """Cells as the type: float64 with NaN, or text with ''."""
        if self.feature.is_number:
            return cells.numbers(column, self.comma)
        text = cells.categories(column)
        if self.form is None:
            return text
        coded = pc.dictionary_encode(text)
        days = to_iso(coded.dictionary.to_pandas().astype(object), self.form)
        return pa.array(days, pa.string()).take(coded.indices)


def infer(name: str, summary: ColumnSummary, declared: str = "", nameless: bool = False) -> Column:
    """Decide what a column is.

    Args:
        name: of the column.
        summary: what it holds.
        declared: `categorical` or `date`, where the file itself says so.
        nameless: the file has no name for it.

    Raises:
        ValueError: most of it is numbers, but not all: nobody can tell whether it is a measurement or a code. Its
            arguments are the row (from 0) and the cell.
    """
    numbers = summary.numbers
    if summary.known == numbers.infinite:
        return _no_feature(name, "metadata", EMPTY)
    if nameless:
        index = summary.distinct
        return _no_feature(name, "identifier" if index else "metadata", NAMELESS)
    form = summary.dates.form
    likely = form is COMPACT_DAY and summary.known >= _ENOUGH_ROWS and not is_identifier_name(name)
    if form and (form not in (COMPACT, COMPACT_DAY) or likely or _DATE_NAME.search(name)):
        return Column(Feature(name, "date"), form=form, reason=COMPACT_DATES if likely else "")
    if declared == "categorical":
        return _category(name, summary)
    if not summary.all_numbers:
        return _text(name, summary)
    return (_code if numbers.padded else _number)(name, summary)


def forced(name: str, kind: object, summary: ColumnSummary) -> Column:
    """A column whose type the user gives (`--column-type`).

    Args:
        name: of the column.
        kind: one of `schema.TYPES`, or {"ordinal": [low, ..., high]}.
        summary: what it holds.

    Raises:
        InputError: no such type, or a date in no form that we know.
    """
    option = f"--column-type {name}={kind}"
    if isinstance(kind, Mapping):
        return Column(schema.parse({name: kind}, f"--column-type {name}")[0])
    if kind not in schema.TYPES:
        raise InputError(f"{option}: choose one of {', '.join(schema.TYPES)}")
    if kind == "date":
        form = summary.dates.form
        if form is None and summary.known:
            raise InputError(f"{option}: its cells are not all dates of one form; write them as 2020-03-01")
        return Column(Feature(name, kind), form=form)
    order = order_of(summary.levels or ()) if kind == "ordinal" else ()
    return Column(Feature(name, kind, order), comma=summary.numbers.comma)


def is_identifier_name(name: str) -> bool:
    """`id`, `mrn`, `visit_id`, `recordId` and the like."""
    return bool(_ID.search(name) or _CAMEL_ID.search(name))


def _no_feature(name: str, kind: str, reason: str) -> Column:
    return Column(Feature(name, kind), reason=reason)


def _code(name: str, summary: ColumnSummary) -> Column:
    kind = "metadata" if _is_wordy(summary) else "categorical"
    if summary.distinct and summary.known >= _ENOUGH_ROWS:
        kind = "identifier"
    return Column(Feature(name, kind), reason=CODES)


def _number(name: str, summary: ColumnSummary) -> Column:
    numbers, different = summary.numbers, summary.different_numbers
    if numbers.counting and numbers.whole and summary.rows >= _ENOUGH_ROWS:
        return _no_feature(name, "identifier", INDEX)
    if is_identifier_name(name) and numbers.whole:
        # The number of a ward repeats, and means a category.
        if summary.distinct or different is None or different > _FEW_LEVELS:
            return _no_feature(name, "identifier", NAMED_ID)
        return Column(Feature(name, "categorical"))
    if numbers.whole and different == 2:
        return Column(Feature(name, "categorical"))
    kind = "integer" if numbers.whole else "continuous"
    return Column(Feature(name, kind), comma=numbers.comma)


def _text(name: str, summary: ColumnSummary) -> Column:
    levels, known = summary.levels, summary.known
    if summary.dates.is_ambiguous:
        return _no_feature(name, "metadata", AMBIGUOUS)
    named = is_identifier_name(name)
    if named and (summary.distinct or levels is None or len(levels) > _FEW_LEVELS):
        return _no_feature(name, "identifier", NAMED_ID)
    if summary.numbers.count > known / 2:
        raise ValueError(*summary.numbers.odd)
    if summary.distinct and known >= _ENOUGH_ROWS:
        return _no_feature(name, "identifier", ALL_DIFFERENT)
    if _is_wordy(summary):
        return _no_feature(name, "metadata", FREE_TEXT)
    return _category(name, summary)


def _is_wordy(summary: ColumnSummary) -> bool:
    """Of very many levels, or of many of which most occur once or twice."""
    levels = summary.levels
    if levels is None or len(levels) > MOST_LEVELS:
        return True
    return len(levels) > _FEW_LEVELS and len(levels) > summary.known / 2


def _category(name: str, summary: ColumnSummary) -> Column:
    order = order_of(summary.levels or ())
    return Column(Feature(name, "ordinal" if order else "categorical", order))


def renamed(column: Column, name: str) -> Column:
    """The same column under another name."""
    return replace(column, feature=replace(column.feature, name=name))


def lost_dates(column: pa.Array, converted: pa.Array) -> int:
    """Known cells that turned out to be no dates, such as 2020-02-30."""
    known = int(cells.known_cells(column)[1].sum())
    return known - int(pc.sum(pc.not_equal(converted, "")).as_py() or 0)
