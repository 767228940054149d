"""The raw columns of a table as one matrix of numbers: categories as codes, dates as days, NaN for missing."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data import schema
from medimg.data.dates import DATE, FORM, days_since_1970
from medimg.errors import InputError

UNSEEN = -1.0  # the code of a category that training did not have
_LISTED = 5


@dataclass(frozen=True)
class Input:
    """A raw column that a model is given.

    Attributes:
        name: as in the table's header.
        type: continuous, integer, ordinal, categorical or date.
        categories: of an ordinal or categorical column, in the order of their codes 0, 1, 2, ...
    """

    name: str
    type: str
    categories: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Given as a number; any other column is given as text."""
        return self.type in schema.NUMBERS


def input_of(frame: pd.DataFrame, feature: schema.Feature) -> Input:
    """`feature` with the categories that `frame` holds; an order that the user gave counts in full.

    Raises:
        InputError: the frame has no such column.
    """
    if feature.type not in ("ordinal", "categorical"):
        return Input(feature.name, feature.type)
    require_columns(frame, [feature.name])
    # Canonical text of the distinct values alone: a million rows may hold four categories.
    values = schema.as_text(pd.Series(pd.unique(frame[feature.name])))
    categories = schema.in_order({*values, *feature.order}, feature)
    return Input(feature.name, feature.type, tuple(categories))


def read(frame: pd.DataFrame, inputs: tuple[Input, ...]) -> np.ndarray:
    """The columns of `inputs` as numbers.

    Numbers go through float32, since that is what a served model is given; what is infinite there counts as missing.

    Args:
        frame: has the columns by name; other columns are not looked at, but `row` names rows in messages.
        inputs: what to read.

    Returns:
        float64 (N, n): numbers, days since 1970-01-01 or codes of categories (UNSEEN for others); NaN is missing.

    Raises:
        InputError: a column is missing, or a value can't be read; names row and column.
    """
    require_columns(frame, [column.name for column in inputs])
    values = np.empty((len(frame), len(inputs)), np.float64)
    numbers = [i for i, column in enumerate(inputs) if column.is_number]
    if numbers:
        values[:, numbers] = read_numbers(frame, [inputs[i].name for i in numbers])
    for i, column in enumerate(inputs):
        if column.type == "date":
            values[:, i] = _days(frame, column.name)
        elif not column.is_number:
            values[:, i] = _codes(frame[column.name], column.categories)
    return values


def require_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Refuse a frame without these columns.

    Raises:
        InputError: names those that are missing.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"column '{twice}' is there twice; rename one of them")
    columns = set(frame.columns)
    missing = [name for name in names if name not in columns]
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        listed = ", ".join(f"'{name}'" for name in missing[:_LISTED])
        raise InputError(
            f"the table lacks {listed}{more}, which the model learns from; add the column, empty where not known"
        )


def read_numbers(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Columns of numbers, all at once: float64 (N, n) of float32 values, NaN for missing and infinite."""
    block = frame[names]
    if not all(dtype.kind == "f" for dtype in set(block.dtypes)):
        block = pd.DataFrame({name: _number_column(frame, name) for name in names})
    with np.errstate(over="ignore"):
        values = block.to_numpy(np.float32).astype(np.float64)
    values[np.isinf(values)] = np.nan
    return values


def _number_column(frame: pd.DataFrame, name: str) -> pd.Series:
    try:
        return schema.as_numbers(frame[name].reset_index(drop=True))
    except ValueError as error:
        message, position = error.args
        raise InputError(
            f"{_row(frame, position)}: column '{name}': {message}; mend it, or leave it empty where it is not known"
        ) from None


def _distinct(values: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """Positions (N,) into the canonical texts of the distinct values, and those texts."""
    positions, distinct = pd.factorize(values, use_na_sentinel=False)
    return positions, schema.as_text(pd.Series(distinct))


def _codes(values: pd.Series, categories: tuple[str, ...]) -> np.ndarray:
    positions, texts = _distinct(values)
    codes = {"": np.nan, **{category: float(code) for code, category in enumerate(categories)}}
    return np.array([codes.get(text, UNSEEN) for text in texts], np.float64)[positions]


def _days(frame: pd.DataFrame, name: str) -> np.ndarray:
    positions, texts = _distinct(frame[name])
    days = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text == "":
            continue
        try:
            if not re.match(DATE, text):
                raise ValueError(text)
            days[i] = days_since_1970(np.array([text]))[0]
        except ValueError:
            row = int(np.flatnonzero(positions == i)[0])
            raise InputError(
                f"{_row(frame, row)}: column '{name}': '{text}' is not a date as {FORM}; mend it, or leave it empty "
                "where it is not known"
            ) from None
    return days[positions]


def _row(frame: pd.DataFrame, position: int) -> str:
    if "row" in frame:
        return f"row '{frame['row'].iloc[position]}'"
    return f"row {position + 1}"
