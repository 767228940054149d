"""Columns as what can be measured: ordered ones as numbers, categories as codes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data import schema
from medimg.tables.raw import input_of, read

# A crosstab of two columns with more categories would be mostly zeros, and large.
MOST_LEVELS = 50
OTHER = "(other)"


def is_ordered(feature: schema.Feature) -> bool:
    """Its values can be ranked: a number, a date or an ordinal category."""
    return feature.type != "categorical"


def ordered_matrix(frame: pd.DataFrame, features: Sequence[schema.Feature]) -> np.ndarray:
    """float64 (N, F): numbers, days since 1970-01-01, ordinal categories as 0, 1, ...; NaN is missing."""
    return read(frame, tuple(input_of(frame, feature) for feature in features))


def ordered_values(frame: pd.DataFrame, feature: schema.Feature) -> np.ndarray:
    """One column of `ordered_matrix`: float64 (N,)."""
    return ordered_matrix(frame, [feature])[:, 0]


def levels(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Categories as codes; those beyond the MOST_LEVELS commonest are pooled.

    Returns:
        int64 (N,) of codes, -1 = missing, and the categories' names.
    """
    text = schema.as_text(values)
    counts = text[text != ""].value_counts()
    if len(counts) > MOST_LEVELS:
        text = text.where((text == "") | text.isin(counts.index[: MOST_LEVELS - 1]), OTHER)
    codes, names = pd.factorize(text.where(text != ""), sort=True)
    return codes, list(names)
