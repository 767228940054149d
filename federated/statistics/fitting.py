"""fit(): a Preprocessing from counts and sums of the clients, equal to `medimg.tables.fit` on their rows together."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from federated.statistics.asking import Ask, Asking, answer_of, numbers
from federated.statistics.median import medians
from federated.statistics.moments import Moments
from federated.statistics.schema import Schema
from federated.statistics.selection import best
from medimg.data.schema import Feature, in_order
from medimg.errors import InputError
from medimg.tables.fit import Learnt, nothing_complete, preprocessing_of, selected, usable
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input

_WHERE = "the federation"
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class _Summary:
    """A column over all clients.

    Attributes:
        column: with the categories that any client has.
        known: moments of the values, or of the categories' codes.
        counts: int (categories,), of each category; None for numbers and dates.
    """

    column: Input
    known: Moments
    counts: np.ndarray | None


def fit(ask: Ask, schema: Schema, config) -> Preprocessing:
    """Learn imputation, scaling, encoding and selection without seeing a row.

    Equal to the pooled fit but for the last digits of means and deviations; medians and commonest values are exact. It
    takes 2 rounds; up to 6 more for medians of numbers (7 with dates), 1 for the commonest values, 1 for a selection.

    Args:
        ask: sends a request to every client, each of which answers with `answer` on its own Dataset; gives client
            name -> answer. Requests and answers are plain values, fit for JSON.
        schema: columns and classes that the clients agree on.
        config: `impute`, `missing`, `missing_limit`, `missing_indicators`, `scale`, `encode`, `select`,
            `select_count`, as `medimg.config.TrainConfig` has them.

    Raises:
        InputError: no training rows, an unusable answer, a column of too many categories or values, or nothing is left
            to learn from.
    """
    asking = Asking(ask, {"schema": schema.to_dict()})
    asking, features, dropped = _usable(asking, schema, config)
    rows, summaries = _summaries(asking, features)
    if not rows:
        raise nothing_complete(_WHERE)
    fills = _fills(asking, summaries, config.impute)
    filled = [_filled(s.known, rows, fill) for s, fill in zip(summaries, fills, strict=True)]
    learnt = (
        (
            summary.column,
            Learnt(
                fill, lacking=summary.known.count < rows, varies=whole.low < whole.high, **_scaling(whole, config.scale)
            ),
        )
        for summary, fill, whole in zip(summaries, fills, filled, strict=True)
    )
    fitted = preprocessing_of(learnt, dropped, config, _WHERE)
    if config.select == "none":
        return fitted
    means = {s.column.name: whole.mean for s, whole in zip(summaries, filled, strict=True)}
    kept = best(asking, fitted, means, schema, config.select, config.select_count)
    return selected(fitted, kept, config.select)


def _usable(asking: Asking, schema: Schema, config) -> tuple[Asking, tuple[Feature, ...], dict[str, str]]:
    """Who is asked about which rows, the columns that these know well enough, and why the others are left out."""
    rows, missing = _missing(asking, len(schema.features))
    if not rows:
        raise InputError("no client has labelled rows in train to fit the preprocessing on")
    lacking = missing / rows
    if config.missing == "drop-rows":
        names = [f.name for f, n in zip(schema.features, missing, strict=True) if n < rows]
        asking = asking.adding(known=names)
        # The rows that stay know all of these columns, and none of the others.
        lacking = np.floor(lacking)
    return asking, *usable(schema.features, lacking, config)


def _missing(asking: Asking, columns: int) -> tuple[int, np.ndarray]:
    """Rows in all, and how many lack each column, int64 (columns,)."""
    rows, missing = 0, np.zeros(columns, np.int64)
    for client, answer in asking("missing"):
        with answer_of(client, "missing"):
            here = int(numbers(answer, "rows", (), counts=True))
            lacking = numbers(answer, "missing", (columns,), counts=True)
            if (lacking > here).any():
                raise ValueError(f"more missing values than the {here} rows")
        rows, missing = rows + here, missing + lacking
    return rows, missing


def _summaries(asking: Asking, features: tuple[Feature, ...]) -> tuple[int, list[_Summary]]:
    """Rows in all, and each column over all clients."""
    rows, parts = 0, [[] for _ in features]
    for client, answer in asking("summaries", columns=[feature.name for feature in features]):
        with answer_of(client, "summaries"):
            here = int(numbers(answer, "rows", (), counts=True))
            for part, feature, given in zip(parts, features, answer["columns"], strict=True):
                part.append(_part(feature, given, here))
        rows += here
    return rows, [_merged(f, part) for f, part in zip(features, parts, strict=True)]


def _part(feature: Feature, given: dict, rows: int) -> Moments | dict[str, int]:
    """A client's share, checked."""
    if not _has_categories(feature):
        found = Moments.from_list(given["moments"])
        count = found.count
    else:
        found = {str(name): numbers(given["counts"], name, (), True) for name in given["counts"]}
        found = {name: int(times) for name, times in found.items()}
        count = sum(found.values())
    if count > rows:
        raise ValueError(f"column '{feature.name}' has {count} values in {rows} rows")
    return found


def _merged(feature: Feature, parts: Iterable) -> _Summary:
    if not _has_categories(feature):
        return _Summary(Input(feature.name, feature.type), sum(parts, Moments()), None)
    total: dict[str, int] = {}
    for part in parts:
        for name, times in part.items():
            total[name] = total.get(name, 0) + times
    categories = in_order({*total, *feature.order}, feature)
    counts = np.array([total.get(name, 0) for name in categories], np.int64)
    known = Moments.of(np.arange(len(categories), dtype=np.float64), counts)
    return _Summary(Input(feature.name, feature.type, tuple(categories)), known, counts)


def _has_categories(feature: Feature | Input) -> bool:
    return feature.type in ("categorical", "ordinal")


def _fills(asking: Asking, summaries: list[_Summary], impute: str) -> list[float]:
    """What a missing value of each column becomes."""
    measured = {s.column.name: (s.column.type, s.known) for s in summaries if s.counts is None}
    of_numbers = dict.fromkeys(measured, 0.0)
    if measured and impute == "median":
        of_numbers = medians(asking, measured)
    elif measured and impute == "most-frequent":
        of_numbers = _commonest(asking, list(measured))
    return [of_numbers[s.column.name] if s.counts is None else _category_fill(s, impute) for s in summaries]


def _category_fill(summary: _Summary, impute: str) -> float:
    """A code. A missing category without order has no median: it becomes the commonest."""
    nominal = summary.column.type == "categorical"
    if impute == "constant":
        # One code past the last: equal to no category, so a category of its own.
        return float(len(summary.counts)) if nominal else 0.0
    if nominal or impute == "most-frequent":
        return float(np.argmax(summary.counts))
    up_to, n = np.cumsum(summary.counts), summary.known.count
    middle = np.searchsorted(up_to, [(n - 1) // 2, n // 2], side="right")
    return float(middle.mean())


def _commonest(asking: Asking, columns: list[str]) -> dict[str, float]:
    """The most frequent value of each column, of several the smallest."""
    total: list[dict[float, int]] = [{} for _ in columns]
    for client, answer in asking("values", columns=columns):
        with answer_of(client, "values"):
            for counted, pair in zip(total, answer["columns"], strict=True):
                values = numbers({"values": pair[0]}, "values", (len(pair[0]),))
                times = numbers({"times": pair[1]}, "times", (len(pair[0]),), counts=True)
                for value, n in zip(values.tolist(), times.tolist(), strict=True):
                    counted[value] = counted.get(value, 0) + n
    found = {}
    for name, counted in zip(columns, total, strict=True):
        if not counted:
            raise InputError(f"column '{name}': no client counted a value; has a table changed?")
        found[name] = min(counted, key=lambda value: (-counted[value], value))
    return found


def _filled(known: Moments, rows: int, fill: float) -> Moments:
    """Of the column once its missing values are filled."""
    lacking = rows - known.count
    return known + Moments(lacking, fill, 0.0, fill, fill) if lacking else known


def _scaling(filled: Moments, scale: str) -> dict[str, float]:
    """Offset and divisor, 1 where there is no spread but rounding's, by the rules of scikit-learn's scalers."""
    if scale == "none":
        return {"offset": 0.0, "scale": 1.0}
    if scale == "min-max":
        width = filled.high - filled.low
        return {"offset": filled.low, "scale": width if width >= 10 * _EPSILON else 1.0}
    n, variance = filled.count, filled.variance
    rounding = n * _EPSILON * variance + (n * filled.mean * _EPSILON) ** 2
    deviation = float(np.sqrt(variance)) if variance > rounding else 1.0
    return {"offset": filled.mean, "scale": deviation}
