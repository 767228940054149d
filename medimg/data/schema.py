"""What a table's columns are, and the one way that their text is read wherever it comes from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medimg.data.dates import SECONDS_IN_DAY, days_since_1970
from medimg.errors import InputError

# Of a column: the first two are numbers, the next three become numbers, the last two are no features.
TYPES = ("continuous", "integer", "ordinal", "categorical", "date", "identifier", "metadata")
NUMBERS = ("continuous", "integer")
NOT_FEATURES = ("identifier", "metadata")
# What may be known of a column without looking at a patient.
PUBLIC = ("bound", "categories")
# Of every table's manifest beside its columns; text, whatever it looks like.
ROLES = ("row", "label", "patient", "site", "split")
# What stands for "not known" in hospital exports, in lower case.
MISSING = ("", "?", "na", "n/a", "#n/a", "nan", "<na>", "null", "nil", "-", ".")
# Of a patient or a site NA may be the name.
MISSING_NAME = tuple(word for word in MISSING if word not in ("na", "nil"))
# 1.0 and 1 are one category: the same code comes as either, by the program that wrote it.
WHOLE_NUMBER = r"^([+-]?[0-9]+)\.0*$"


@dataclass(frozen=True)
class Feature:
    """A column of a table.

    Attributes:
        name: as in the manifest's header.
        type: one of TYPES.
        order: of an ordinal column, its categories from low to high; empty: the order of their numbers or letters.
        bound: public lowest and highest value of a number, or of a date in days since 1970-01-01; None: not stated.
        categories: public categories of a categorical column; empty: not stated. Like `bound`, known without looking
            at any patient: private training takes nothing of the kind from the rows.
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
        described: column -> type, or {"ordinal": [low, ..., high]}, or {"type": type, "bound": [low, high]}, or
            {"type": "categorical", "categories": [...]}.
        where: the file, for messages.

    Raises:
        InputError: an unknown type, public values that don't fit it, or no column that a model may learn from.
    """
    features = tuple(_parsed(str(name), value, where) for name, value in described.items())
    if not any(feature.is_input for feature in features):
        raise InputError(f"{where}: no feature is left to learn from; give a column another type")
    return features


def _parsed(name: str, value, where: str) -> Feature:
    public = {}
    kind, order = value, ()
    if isinstance(value, Mapping) and "type" in value:
        public = {key: fact for key, fact in value.items() if key != "type"}
        kind, order = value["type"], public.pop("order", ())
    elif isinstance(value, Mapping) and len(value) == 1:
        kind, order = next(iter(value.items()))
        if kind != "ordinal" or not isinstance(order, list) or not order:
            raise InputError(f"{where}: feature '{name}': only 'ordinal: [low, ..., high]' takes a list")
    if kind not in TYPES:
        raise InputError(f"{where}: feature '{name}' has type '{kind}'; choose one of {', '.join(TYPES)}")
    feature = Feature(name, kind, tuple(str(item) for item in order))
    for key, fact in public.items():
        if key not in PUBLIC:
            raise InputError(
                f"{where}: feature '{name}': '{key}' is not known; there are type, order, {', '.join(PUBLIC)}"
            )
        feature = with_public(feature, key, fact, f"{where}: feature '{name}'")
    return feature


def with_public(feature: Feature, key: str, value, where: str) -> Feature:
    """The feature with what is publicly known of it.

    Args:
        feature: a column.
        key: `bound` or `categories`.
        value: of a bound two numbers, or of a date two dates; else the categories.
        where: option or file and column, for messages.

    Raises:
        InputError: the value does not fit the column's type.
    """
    if key == "bound":
        if not feature.is_number and feature.type != "date":
            raise InputError(f"{where}: a {feature.type} column has no bound; state its categories")
        return replace(feature, bound=_bound(feature, value, where))
    if feature.type == "ordinal" and isinstance(value, list | tuple) and value:
        return replace(feature, order=tuple(dict.fromkeys(as_text(pd.Series(list(value))))))
    if feature.type != "categorical":
        remedy = "state its bound" if feature.is_number or feature.type == "date" else "leave it out"
        raise InputError(f"{where}: a {feature.type} column has no list of categories; {remedy}")
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{where}: categories must be a list, e.g. [a, b]")
    return replace(feature, categories=tuple(dict.fromkeys(as_text(pd.Series(list(value))))))


def _bound(feature: Feature, value, where: str) -> tuple[float, float]:
    try:
        low, high = (
            float(days_since_1970(np.array([str(end)]))[0]) if feature.type == "date" else float(end) for end in value
        )
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        kind = "dates" if feature.type == "date" else "numbers"
        raise InputError(f"{where}: a bound is two {kind}, the lower one first, not {value}")
    return low, high


def identity(features: tuple[Feature, ...]) -> str:
    """What the columns are, for a fingerprint: what is publicly known of them is no part of the data."""
    columns = [f"Feature(name={f.name!r}, type={f.type!r}, order={f.order!r})" for f in features]
    return f"({', '.join(columns)}{',' if len(columns) == 1 else ''})"


def describe(features: tuple[Feature, ...]) -> dict:
    """`features` for dataset.yaml: the inverse of `parse`."""
    return {feature.name: _described(feature) for feature in features}


def _described(feature: Feature) -> str | dict:
    if feature.bound is None and not feature.categories:
        return {feature.type: list(feature.order)} if feature.order else feature.type
    described: dict = {"type": feature.type}
    if feature.bound is not None:
        dates = feature.type == "date"
        described["bound"] = [_date(end) if dates else _short(end) for end in feature.bound]
    if feature.categories:
        described["categories"] = list(feature.categories)
    return described


def _short(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _date(days: float) -> str:
    return str(np.datetime64(round(days * SECONDS_IN_DAY), "s"))


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


def as_text(values: pd.Series, missing: tuple[str, ...] = MISSING) -> pd.Series:
    """Categories and dates as text: stripped, missing is '', whole numbers without a fraction."""
    if values.dtype.kind in "iub":
        return values.astype(str)
    if values.dtype.kind == "f":
        # repr of a float is the shortest that reads back; whole numbers lose their fraction below.
        values = values.map(lambda number: "" if np.isnan(number) else repr(float(number)))
    text = values.fillna("").astype(str).str.strip()
    text = text.where(~text.str.lower().isin(missing), "")
    return text.str.replace(WHOLE_NUMBER, lambda match: match.group(1), regex=True)


def in_order(categories, feature: Feature) -> list[str]:
    """Categories of a column in its order: as given, else by number when all are numbers, else by letters."""
    names = set(categories) - {""}
    if feature.order:
        return [*(c for c in feature.order if c in names), *sorted(names - set(feature.order))]
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", category) for category in names):
        return sorted(names, key=float)
    return sorted(names)
