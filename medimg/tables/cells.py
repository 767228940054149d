"""Cells of a block of a table as numbers or as categories: by columns, in the words of `medimg.data.schema`."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from medimg.data import schema

_MISSING = pa.array(schema.MISSING, pa.string())
# A point too would be a thousands' one, and 1.234 alone another number: with commas, points make no number.
_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"
_POINT = r"^.*\..*$"


def shown(cell: str) -> str:
    """A cell in a message: one line, not too long."""
    line = " ".join(cell.split())
    return line if len(line) <= 40 else f"{line[:40]}..."


def is_text(column: pa.Array) -> bool:
    """Text, as every column of a CSV is, and no float64."""
    return pa.types.is_string(column.type)


def known_cells(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The cells that are known, text stripped, and bool (N,): which they are."""
    if not is_text(column):
        known = ~pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        return column.filter(pa.array(known)), known
    text = pc.utf8_trim_whitespace(column)
    known = ~pc.is_in(pc.utf8_lower(text), _MISSING).to_numpy(zero_copy_only=False)
    return (text if known.all() else text.filter(pa.array(known))), known


def padded(cells: pa.Array) -> bool:
    """A known cell is a whole number with zeros in front, as 008."""
    return is_text(cells) and bool(pc.any(pc.match_substring_regex(cells, r"^0\d+$"), min_count=0).as_py())


def as_days(cells: pa.Array) -> pa.Array:
    """Known float64 cells as the text of days such as 20200301; one empty text where they can't all be such."""
    values = cells.to_numpy(zero_copy_only=False)
    if not ((values > 19e6) & (values < 21e6) & (values == np.floor(values))).all():
        return pa.array([""])
    return pc.cast(pc.cast(cells, pa.int64()), pa.string())


def parse(cells: pa.Array, comma: bool = False) -> np.ndarray:
    """Known cells as float64 (N,): NaN where a cell is no number; infinities stay.

    Args:
        cells: float64, or text as of `known_cells`.
        comma: the decimal sign is a comma, and a point makes no number.
    """
    if not is_text(cells):
        return cells.to_numpy(zero_copy_only=False)
    if comma:
        cells = pc.replace_substring_regex(cells, _POINT, "no number")
        cells = pc.replace_substring_regex(cells, _COMMA, r"\1.\2")
    try:
        return pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        coded = pc.dictionary_encode(cells)
        text = pd.Series(coded.dictionary.to_numpy(zero_copy_only=False), dtype=object)
        values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        return values[coded.indices.to_numpy(zero_copy_only=False)]


def numbers(column: pa.Array, comma: bool = False) -> np.ndarray:
    """float64 (N,): NaN where a cell is missing, infinite or no number."""
    cells, known = known_cells(column)
    values = np.full(len(column), np.nan)
    values[known] = parse(cells, comma)
    values[np.isinf(values)] = np.nan
    return values


def categories(column: pa.Array, missing: tuple[str, ...] = schema.MISSING) -> pa.Array:
    """The canonical text of each cell, '' for missing."""
    coded = pc.dictionary_encode(pc.fill_null(column, "" if is_text(column) else np.nan))
    text = schema.as_text(coded.dictionary.to_pandas(), missing)
    return pa.array(text, pa.string()).take(coded.indices)
