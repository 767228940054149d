"""Columns of a table as a generator takes them: a number, a category, or a constant that needs no generator.

Of a private generator nothing of this is learnt: `declared` has it from public statements alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medimg.data.dates import days_since_1970
from medimg.data.schema import Feature
from medimg.errors import InputError

KINDS = ("number", "category", "constant")
# Up to so many whole numbers are grades or counts: each is a category of its own, so that none is made up between.
MOST_GRADES = 10
# A measurement of so few values is a code; of up to MOST_GRADES a dose, where each is there OFTEN times on average:
# else they are patients' own.
MOST_CODES = 2
OFTEN = 5
MOST_CATEGORIES = 1000
MOST_DECIMALS = 6
MEASURED = ("continuous", "integer", "date")


@dataclass(frozen=True)
class GeneratorColumn:
    """What was learnt of one column.

    Attributes:
        name: in the manifest.
        type: of the feature; `categorical` for the site.
        kind: one of KINDS.
        low, high: of a number; days since 1970-01-01 of a date.
        decimals: of a number; None: not rounded.
        lacking: a number that some training row lacks.
        levels: of a category, its values as in the manifest, the missing one among them; of a constant, its value.
    """

    name: str
    type: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    decimals: int | None = None
    lacking: bool = False
    levels: tuple = ()


@dataclass(frozen=True)
class Told:
    """What rows tell of a column; of rows at several sites their sums do (`synthetic.federation.tables.learning`).

    Attributes:
        levels: its different values, the missing one among them, sorted; None: numbers or dates, too many to be a
            category.
        low, high: of its numbers; NaN: none is known, or a bound is given.
        decimals: with which all of its numbers can be written; None: none of the few that are tried.
        lacking: a row lacks it.
    """

    levels: tuple | None
    low: float = math.nan
    high: float = math.nan
    decimals: int | None = 0
    lacking: bool = False


def learn(
    rows: pd.DataFrame, features: tuple[Feature, ...], bounds: Mapping[str, tuple[float, float]]
) -> tuple[GeneratorColumn, ...]:
    """What to keep of each column.

    Args:
        rows: training rows of a manifest.
        features: columns to learn; `site` may be among them.
        bounds: column -> lowest and highest value; without it, those of the rows.

    Raises:
        InputError: a bound's column is no number, or a column has too many categories.
    """
    return settled(tell(rows, features, bounds), features, bounds)


def tell(
    rows: pd.DataFrame, features: tuple[Feature, ...], bounds: Mapping[str, tuple[float, float]]
) -> tuple[Told, ...]:
    """What rows tell of each column; as for `learn`."""
    return tuple(_tell(rows[f.name], f, f.name in bounds) for f in features)


def settled(
    summaries: tuple[Told, ...], features: tuple[Feature, ...], bounds: Mapping[str, tuple[float, float]]
) -> tuple[GeneratorColumn, ...]:
    """The columns that were told of; as for `learn`."""
    known = {feature.name: feature for feature in features}
    for name in bounds:
        if name not in known or known[name].type not in MEASURED:
            raise InputError(f"--bound {name}: is no column of numbers of this table; leave it out")
    return tuple(_settled(t, f, bounds.get(f.name)) for t, f in zip(summaries, features, strict=True))


def declared(features: tuple[Feature, ...]) -> tuple[GeneratorColumn, ...]:
    """The columns by what is stated of them, without a look at any row.

    Every column may lack values; numbers beyond their bound are clipped, and a category that is not stated counts as
    missing. Decimals follow from the range.

    Args:
        features: with bounds and categories (`medimg.tables.public.require_public`).
    """
    return tuple(map(_declared, features))


def _declared(feature: Feature) -> GeneratorColumn:
    kind = feature.type
    if kind not in MEASURED:
        levels = [*dict.fromkeys(("", *(feature.categories or feature.order)))]
        return _category(feature.name, kind, levels)
    low, high = feature.bound
    if kind == "integer" and high - low < MOST_GRADES:
        grades = np.arange(math.ceil(low), math.floor(high) + 1, dtype=float).tolist()
        return replace(_category(feature.name, kind, [*grades, math.nan]), low=low, high=high)
    # Four digits of the widest value.
    digits = max(0, 3 - math.floor(math.log10(high - low))) if kind == "continuous" else 0
    decimals = min(digits, MOST_DECIMALS)
    return GeneratorColumn(feature.name, kind, "number", low, high, decimals, True)


def _tell(values: pd.Series, feature: Feature, bounded: bool) -> Told:
    kind = feature.type
    if kind not in MEASURED:
        # In the order of their first appearance something would be learnt about who came first.
        return Told(tuple(sorted(values.unique())))
    numbers = numbers_of(values, kind)
    known = np.unique(numbers[~np.isnan(numbers)])
    lacking = bool(np.isnan(numbers).any())
    ends = (known[0], known[-1]) if len(known) and not bounded else (math.nan, math.nan)
    levels = None
    rows = int((~np.isnan(numbers)).sum())
    if not bounded and len(known) <= most_levels(feature, rows):
        different = known.tolist() if kind != "date" else sorted(set(values) - {""})
        levels = with_missing(different, kind, lacking)
    return Told(levels, *map(float, ends), decimals_of(fitting(known), len(known), kind), lacking)


def _settled(summary: Told, feature: Feature, bound: tuple[float, float] | None) -> GeneratorColumn:
    if summary.levels is not None:
        return _category(feature.name, feature.type, list(summary.levels))
    low, high = bound or (summary.low, summary.high)
    return GeneratorColumn(feature.name, feature.type, "number", low, high, summary.decimals, summary.lacking)


def most_levels(feature: Feature, rows: int) -> int:
    """Up to so many different values of the rows that know it a number or date is a category."""
    few = max(MOST_CODES, min(MOST_GRADES, rows // OFTEN))
    return {"integer": MOST_GRADES, "continuous": few, "date": 1}[feature.type]


def with_missing(known: list, type: str, lacking: bool) -> tuple:
    """Levels of a number or date: its known values, then, of a date first, the missing one where some row lacks it."""
    if not lacking:
        return tuple(known)
    return ("", *known) if type == "date" else (*known, math.nan)


def _category(name: str, type: str, levels: list) -> GeneratorColumn:
    if len(levels) > MOST_CATEGORIES:
        raise InputError(
            f"column '{name}': {len(levels)} categories, more than {MOST_CATEGORIES}; give it another type in "
            "dataset.yaml (metadata and identifier are left out)"
        )
    return GeneratorColumn(name, type, "category" if len(levels) > 1 else "constant", levels=tuple(levels))


def numbers_of(values: pd.Series, type: str) -> np.ndarray:
    """Values as float64, NaN where missing; of dates days since 1970-01-01."""
    if type != "date":
        return values.to_numpy(np.float64, copy=True)
    days = np.full(len(values), np.nan)
    known = (values != "").to_numpy()
    days[known] = days_since_1970(values[known].to_numpy())
    return days


def fitting(known: np.ndarray) -> np.ndarray:
    """How many of some numbers can be written with 0, 1, ... MOST_DECIMALS decimals, int64."""
    return np.array([(np.round(known, d) == known).sum() for d in range(MOST_DECIMALS + 1)])


def decimals_of(fit: np.ndarray, known: int, type: str) -> int | None:
    """With which all numbers of a column can be written, by `fitting`; of a date none or days."""
    if type == "integer":
        return 0
    enough = np.flatnonzero((fit[:1] if type == "date" else fit) == known)
    return int(enough[0]) if len(enough) else None
