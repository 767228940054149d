"""The columns of a table across clients, by sums over all of them: what `columns.learn` finds in all rows together."""

from collections.abc import Mapping

import numpy as np

from federated.statistics.asking import Asking, unusable
from federated.statistics.names import counted
from federated.statistics.search import few_or_ends
from medimg.data.schema import Feature
from medimg.errors import InputError
from synthetic.federation.tables.answers import KNOWN, NAMES, PLACES, known_size
from synthetic.tables.columns import (
    MEASURED,
    GeneratorColumn,
    Told,
    decimals_of,
    most_levels,
    settled,
    with_missing,
)
from synthetic.tables.frames import date_text


def columns_of(
    asking: Asking, features: tuple[Feature, ...], bounds: Mapping[str, tuple[float, float]]
) -> tuple[GeneratorColumn, ...]:
    """Learn what to keep of each column, without seeing a row or a client.

    It takes a sum of how many rows know what, one of categories, seldom two, and 8 to 11 of counts in ever smaller
    intervals around the smallest and the largest value of each number and date without a bound, or around all of its
    values where they are few enough to be categories.

    Args:
        asking: clients, which answer by `answers.answer`; every question holds the schema of these features.
        features: columns to learn.
        bounds: column -> lowest and highest value; nothing else of its values is asked.

    Raises:
        InputError: no training rows, an unusable answer, a bound's column is no number, or too many categories.
    """
    rows, lacking, fit = _known(asking, features)
    known = {name: rows - lacks for name, lacks in lacking.items()}
    names = counted(asking, NAMES, [f.name for f in features if f.type not in MEASURED])
    for name, categories in names.items():
        if sum(categories.values()) != known[name]:
            raise unusable(NAMES, f"column '{name}': {known[name]} values, then {sum(categories.values())}")
    sought = {
        f.name: (known[f.name], most_levels(f, known[f.name]))
        for f in features
        if f.type in MEASURED and f.name not in bounds and known[f.name]
    }
    values = few_or_ends(asking, PLACES, sought) if sought else {}
    summaries = tuple(
        _measured(f, lacking[f.name], fit[f.name], known[f.name], f.name in bounds, values.get(f.name))
        if f.type in MEASURED
        else Told(tuple(sorted({*names[f.name], *([""] if lacking[f.name] else [])})))
        for f in features
    )
    return settled(summaries, features, bounds)


def _known(asking: Asking, features: tuple[Feature, ...]) -> tuple[int, dict[str, int], dict[str, np.ndarray]]:
    """Rows; how many lack each column; how many of each number or date can be written with few decimals."""
    counts = asking.counts(KNOWN, known_size(features))
    rows, lacking, fit = int(counts[0]), counts[1 : 1 + len(features)].tolist(), counts[1 + len(features) :]
    if not rows:
        raise InputError("no client has labelled rows in train to fit a generator on")
    if max(counts) > rows:
        raise unusable(KNOWN, f"more values than the {rows} rows")
    measured = [f.name for f in features if f.type in MEASURED]
    parts = fit.reshape(len(measured), -1) if measured else ()
    return rows, dict(zip((f.name for f in features), lacking, strict=True)), dict(zip(measured, parts, strict=True))


def _measured(
    feature: Feature,
    lacking: int,
    fit: np.ndarray,
    known: int,
    bounded: bool,
    values_and_ends: tuple[dict[float, int] | None, float, float] | None,
) -> Told:
    """A number or date."""
    decimals = decimals_of(fit, known, feature.type)
    # Where no row knows it, it is missing and nothing else.
    values, low, high = values_and_ends or (None if bounded else {}, np.nan, np.nan)
    levels = None
    if values is not None:
        ordered = sorted(values) if feature.type != "date" else [date_text(day, decimals) for day in sorted(values)]
        levels = with_missing(ordered, feature.type, lacking > 0)
    return Told(levels, low, high, decimals, lacking > 0)
