"""Preprocessing: what was learnt from the training rows that turns raw columns into what a model takes, as plain data.

Every encoded column comes from one raw column by the same few operations, so that a few matrix operations do them all,
here and in the served graph (`medimg.serving.tables`).
"""

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from medimg.tables.raw import Input, read, require_columns

KINDS = ("value", "missing", "category")
_CELLS = 4_000_000  # of a block that is transformed at once: 32 MB of float64


@dataclass(frozen=True)
class PreparedColumn:
    """An encoded column: (x - offset) / scale, where x is `fill` when the raw value is missing and else, by kind:

    the raw number, day or code ("value"); 0 ("missing"); 1 when the raw value is `category`, else 0 ("category").
    """

    name: str
    source: str
    kind: str
    fill: float
    category: str = ""
    offset: float = 0.0
    scale: float = 1.0


class ColumnPlan(NamedTuple):
    """The columns as arrays (F,): `encode` and the served graph compute with these alone.

    `match` is the code that a "category" column compares with, NaN elsewhere: nothing equals NaN.
    """

    source: np.ndarray
    is_value: np.ndarray
    match: np.ndarray
    fill: np.ndarray
    offset: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Preprocessing:
    """From raw columns to the matrix that a model takes.

    Attributes:
        raw: the raw columns that are needed, in the table's order.
        columns: the encoded columns, in the order of the model's input.
        dropped: raw columns that are left out, with the reason.
    """

    raw: tuple[Input, ...]
    columns: tuple[PreparedColumn, ...]
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the raw columns that `transform` needs."""
        return tuple(column.name for column in self.raw)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F encoded columns, such as `chol`, `chol missing` and `thal=7`."""
        return tuple(column.name for column in self.columns)

    @property
    def sources(self) -> tuple[str, ...]:
        """The raw column that each of the F encoded columns comes from."""
        return tuple(column.source for column in self.columns)

    @cached_property
    def plan(self) -> ColumnPlan:
        """The columns as arrays."""
        position = {column.name: i for i, column in enumerate(self.raw)}
        codes = [{c: code for code, c in enumerate(column.categories)} for column in self.raw]
        source = np.array([position[column.source] for column in self.columns], np.int64)
        match = [
            codes[i][column.category] if column.kind == "category" else np.nan
            for i, column in zip(source, self.columns, strict=True)
        ]
        return ColumnPlan(
            source=source,
            is_value=np.array([column.kind == "value" for column in self.columns]),
            match=np.array(match, np.float64),
            fill=np.array([column.fill for column in self.columns], np.float64),
            offset=np.array([column.offset for column in self.columns], np.float64),
            scale=np.array([column.scale for column in self.columns], np.float64),
        )

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """The model's input for these rows.

        Args:
            frame: has the columns of `inputs` by name, as numbers or text in any of the forms that
                `medimg.data.schema` reads; other columns are not looked at.

        Returns:
            float32 (N, F).

        Raises:
            InputError: a column is missing, or a value can't be read; names row and column.
        """
        require_columns(frame, list(self.inputs))
        encoded = np.empty((len(frame), len(self.columns)), np.float32)
        rows = max(1, _CELLS // max(len(self.columns), len(self.raw)))
        for start in range(0, len(frame), rows):
            block = read(frame.iloc[start : start + rows], self.raw)
            encoded[start : start + rows] = self.encode(block)
        return encoded

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """From what `medimg.tables.raw.read` gives.

        Args:
            raw: float64 (N, n), NaN for missing.

        Returns:
            float32 (N, F).
        """
        plan = self.plan
        values = raw[:, plan.source]
        present = np.where(plan.is_value, values, values == plan.match)
        filled = np.where(np.isnan(values), plan.fill, present)
        return ((filled - plan.offset) / plan.scale).astype(np.float32)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "raw": [_without_defaults(column) for column in self.raw],
            "columns": [_without_defaults(column) for column in self.columns],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_dict(cls, values: dict) -> "Preprocessing":
        """The inverse of `to_dict`."""
        return cls(
            raw=tuple(
                Input(**{**column, "categories": tuple(column.get("categories", ()))}) for column in values["raw"]
            ),
            columns=tuple(PreparedColumn(**column) for column in values["columns"]),
            dropped=dict(values["dropped"]),
        )


def _without_defaults(column) -> dict:
    """Its fields, but for those at their default: a table may have 20,000 columns."""
    defaults = {f.name: f.default for f in fields(column)}
    return {key: value for key, value in asdict(column).items() if value != defaults[key]}
