"""What a table's columns are, and the one way that their text is read wherever it comes from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.errors import InputError

# Of a column: the first two are numbers, the next three become numbers, the last two are no features.
TYPES = ("continuous", "integer", "ordinal", "categorical", "date", "identifier", "metadata")
NUMBERS = ("continuous", "integer")
NOT_FEATURES = ("identifier", "metadata")
# Of every table's manifest beside its columns; text, whatever it looks like.
ROLES = ("row", "label", "patient", "site", "split")
# What stands for "not known" in hospital exports, in lower case.
MISSING = ("", "?", "na", "n/a", "#n/a", "nan", "<na>", "null", "nil", "-", ".")
# 1.0 and 1 are one category: the same code comes as either, by the program that wrote it.
WHOLE_NUMBER = r"^([+-]?[0-9]+)\.0*$"


@dataclass(frozen=True)
class Feature:
    """A column of a table.

    Attributes:
        name: as in the manifest's header.
        type: one of TYPES.
        order: of an ordinal column, its categories from low to high; empty: the order of their numbers or letters.
        bound: lowest and highest value of numbers, of dates in days since 1970-01-01, as known without looking at the
            patients; None: not stated.
        categories: of a column that is no number, as known without looking at the patients; empty: not stated.
    """

    name: str
    type: str
    order: tuple[str, ...] = ()
    bound: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Held as float64 with NaN for missing; any other column is text with '' for missing."""
        return self.type in NUMBERS

    @property
    def is_input(self) -> bool:
        """A model may learn from it."""
        return self.type not in NOT_FEATURES


def parse(described: Mapping, where: str) -> tuple[Feature, ...]:
    """The `features` of a dataset.yaml.

    Args:
        described: column -> type, or column -> {"ordinal": [low, ..., high]}.
        where: the file, for messages.

    Raises:
        InputError: an unknown type, or no column that a model may learn from.
    """
    features = []
    for name, value in described.items():
        kind, order = value, ()
        if isinstance(value, Mapping) and len(value) == 1:
            kind, given = next(iter(value.items()))
            if kind != "ordinal" or not isinstance(given, list) or not given:
                raise InputError(
                    f"{where}: feature '{name}': only 'ordinal: [low, ..., high]' takes a list"
                )
            order = tuple(str(item) for item in given)
        if kind not in TYPES:
            raise InputError(
                f"{where}: feature '{name}' has type '{kind}'; choose one of {', '.join(TYPES)}"
            )
        features.append(Feature(str(name), kind, order))
    if not any(feature.is_input for feature in features):
        raise InputError(f"{where}: no feature is left to learn from; give a column another type")
    return tuple(features)


def describe(features: tuple[Feature, ...]) -> dict:
    """`features` for dataset.yaml: the inverse of `parse`."""
    return {f.name: {f.type: list(f.order)} if f.order else f.type for f in features}


def as_numbers(values: pd.Series) -> pd.Series:
    """Text or numbers as float64; missing is NaN, and so is an infinity, which measures nothing.

    Raises:
        ValueError: a value is no number; its index is the error's second argument.
    """
    if values.dtype.kind in "fiub":
        numbers = values.to_numpy(np.float64)
        if np.isinf(numbers).any():
            numbers = np.where(np.isinf(numbers), np.nan, numbers)
        return pd.Series(numbers, values.index, name=values.name)
    text = values.fillna("").astype(str).str.strip()
    known = ~text.str.lower().isin(MISSING)
    numbers = pd.to_numeric(text.where(known), errors="coerce").astype(np.float64)
    wrong = known & numbers.isna()
    if wrong.any():
        index = wrong.idxmax()
        raise ValueError(f"'{values[index]}' is not a number", index)
    return numbers.replace([np.inf, -np.inf], np.nan)


def as_text(values: pd.Series) -> pd.Series:
    """Categories and dates as text: stripped, missing is '', whole numbers without a fraction."""
    if values.dtype.kind in "iub":
        return values.astype(str)
    if values.dtype.kind == "f":
        # repr of a float is the shortest that reads back; whole numbers lose their fraction below.
        values = values.map(lambda number: "" if np.isnan(number) else repr(float(number)))
    text = values.fillna("").astype(str).str.strip()
    text = text.where(~text.str.lower().isin(MISSING), "")
    return text.str.replace(WHOLE_NUMBER, lambda match: match.group(1), regex=True)


def in_order(categories, feature: Feature) -> list[str]:
    """Categories of a column in its order: as given, else by number when all are numbers, else by letters."""
    found = set(categories) - {""}
    if feature.order:
        return [*(c for c in feature.order if c in found), *sorted(found - set(feature.order))]
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", category) for category in found):
        return sorted(found, key=float)
    return sorted(found)
