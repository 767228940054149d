"""What is known of a table's columns without looking at the patients: ranges of numbers and dates, and categories.

What a private training reads off the rows would be some patient's. It is stated instead: by `--bound COLUMN=LOW:HIGH`
and `--categories COLUMN=a,b`, or in dataset.yaml.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from medimg.errors import InputError
from medimg.tables.days import days_since_1970
from medimg.tables.schema import Feature, as_text

_MEASURED = ("continuous", "integer", "date")


def public_of(
    features: Sequence[Feature], bound_option: Mapping, categories_option: Mapping
) -> tuple[Feature, ...]:
    """The columns with what the options state of them; an option wins over dataset.yaml.

    Args:
        features: columns.
        bound_option: column -> `LOW:HIGH`, of dates days since 1970-01-01 or ISO dates.
        categories_option: column -> `a,b`.

    Raises:
        InputError: an option names no such column, or does not state it.
    """
    known = {feature.name: feature for feature in features}
    for name, text in bound_option.items():
        if name not in known or known[name].type not in _MEASURED:
            raise InputError(
                f"--bound {name}: is no column of numbers or dates of this table; leave it out"
            )
        known[name] = replace(known[name], bound=_bound(name, text, known[name].type))
    for name, text in categories_option.items():
        if name not in known or known[name].type in _MEASURED or not known[name].is_input:
            raise InputError(
                f"--categories {name}: is no column of categories of this table; leave it out"
            )
        known[name] = replace(known[name], categories=_categories(name, text))
    return tuple(known.values())


def require_public(features: Sequence[Feature]) -> None:
    """Refuse columns of which nothing is stated; those that no model learns from need nothing.

    Raises:
        InputError: names them all, and what to give.
    """
    inputs = [feature for feature in features if feature.is_input]
    bounds = [f.name for f in inputs if f.type in _MEASURED and f.bound is None]
    categories = [f.name for f in inputs if f.type not in _MEASURED and not f.categories]
    remedies = [f"--bound {name}=LOW:HIGH" for name in bounds]
    remedies += [f"--categories {name}=a,b" for name in categories]
    if remedies:
        raise InputError(
            f"columns {', '.join([*bounds, *categories])}: a private training must not read ranges and categories off "
            f"the patients; state what is known without them: {' '.join(remedies)}, or in dataset.yaml"
        )


def _bound(name: str, text: object, type: str) -> tuple[float, float]:
    kind = "two numbers or ISO dates" if type == "date" else "two numbers"
    try:
        low, high = (_number(part, type) for part in str(text).split(":"))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--bound {name}={text}: give {kind} as LOW:HIGH")
    return low, high


def _number(text: str, type: str) -> float:
    try:
        return float(text)
    except ValueError:
        if type != "date":
            raise
    return float(days_since_1970([text.strip()])[0])


def _categories(name: str, text: object) -> tuple[str, ...]:
    parts = as_text(pd.Series(str(text).split(","), dtype=object)).tolist()
    found = tuple(part for part in dict.fromkeys(parts) if part)
    if not found:
        raise InputError(f"--categories {name}={text}: give at least one, as a,b")
    return found
