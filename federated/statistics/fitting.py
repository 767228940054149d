"""fit(): a Preprocessing from sums over the clients, equal to `medimg.tables.fit` on their rows together."""

from dataclasses import dataclass

import numpy as np

from federated.statistics.asking import Asking, Total, unusable
from federated.statistics.moments import Moments
from federated.statistics.names import counted
from federated.statistics.schema import Schema
from federated.statistics.search import frequencies, ranked
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
        fill: what a missing value becomes.
    """

    column: Input
    known: Moments
    fill: float

    def filled(self, rows: int) -> Moments:
        """Of the column once its missing values are filled."""
        lacking, fill = rows - self.known.count, self.fill
        return self.known + Moments(lacking, fill, 0.0, fill, fill) if lacking else self.known


def fit(total: Total, schema: Schema, config) -> Preprocessing:
    """Learn imputation, scaling, encoding and selection from sums over the clients, without seeing a row or a client.

    Equal to the pooled fit but for the last digits of means and deviations; smallest and largest values, medians and
    commonest values are exact. It takes a sum of rows, one with `--missing drop-rows` too; one of categories, seldom
    two; 4 to 7 of counts and 2 of numbers; and 1 for a selection.

    Args:
        total: sends a question to every client, each of which answers with `answer` on its own Dataset; gives the sum
            of the answers. Questions are plain values, fit for JSON.
        schema: columns and classes that the clients agree on.
        config: `impute`, `missing`, `missing_limit`, `missing_indicators`, `scale`, `encode`, `select`,
            `select_count`, as `medimg.config.TrainConfig` has them.

    Raises:
        InputError: no training rows, an unusable answer, a column of too many categories or values, or nothing is left
            to learn from.
    """
    asking = Asking(total, {"schema": schema.to_dict()})
    asking, rows, missing, features, dropped = _usable(asking, schema, config)
    known = {f.name: rows - int(n) for f, n in zip(schema.features, missing, strict=True)}
    summaries = _categories(asking, features, known, config.impute) | _measured(asking, features, known, config.impute)
    filled = {name: summary.filled(rows) for name, summary in summaries.items()}
    learnt = (
        (
            summaries[name].column,
            Learnt(
                summaries[name].fill,
                lacking=known[name] < rows,
                varies=filled[name].low < filled[name].high,
                **_scaling(filled[name], config.scale),
            ),
        )
        for name in (feature.name for feature in features)
    )
    fitted = preprocessing_of(learnt, dropped, config, _WHERE)
    if config.select == "none":
        return fitted
    kept = best(asking, fitted, filled, schema, config.select, config.select_count)
    return selected(fitted, kept, config.select)


def _usable(
    asking: Asking, schema: Schema, config
) -> tuple[Asking, int, np.ndarray, tuple[Feature, ...], dict[str, str]]:
    """Who is asked about which rows, how many, how many lack each column; columns known well enough; why not others."""
    size = 1 + len(schema.features)
    rows, *missing = asking.counts("missing", size).tolist()
    if not rows:
        raise InputError("no client has labelled rows in train to fit the preprocessing on")
    lacking = np.array(missing) / rows
    if config.missing == "drop-rows":
        names = [f.name for f, n in zip(schema.features, missing, strict=True) if n < rows]
        asking = asking.adding(known=names)
        rows, *missing = asking.counts("complete", size).tolist()
        if not rows:
            raise nothing_complete(_WHERE)
        # The rows that stay know all of these columns, and none of the others.
        lacking = np.floor(lacking)
    if max(missing) > rows:
        raise unusable("missing", f"more missing values than the {rows} rows")
    return asking, rows, np.array(missing), *usable(schema.features, lacking, config)


def _categories(
    asking: Asking, features: tuple[Feature, ...], known: dict[str, int], impute: str
) -> dict[str, _Summary]:
    """Columns of categories, by name."""
    columns = [feature for feature in features if _has_categories(feature)]
    total = counted(asking, "categories", [feature.name for feature in columns])
    return {f.name: _counted(f, total[f.name], known[f.name], impute) for f in columns}


def _counted(feature: Feature, total: dict[str, int], known: int, impute: str) -> _Summary:
    """A column by the counts of its categories."""
    categories = in_order({*total, *feature.order}, feature)
    counts = np.array([total.get(name, 0) for name in categories], np.int64)
    if counts.sum() != known:
        raise unusable("categories", f"column '{feature.name}': {known} values, then {counts.sum()}")
    column = Input(feature.name, feature.type, tuple(categories))
    moments = Moments.of(np.arange(len(categories), dtype=np.float64), counts)
    return _Summary(column, moments, _category_fill(column, counts, impute))


def _has_categories(feature: Feature | Input) -> bool:
    return feature.type in ("categorical", "ordinal")


def _category_fill(column: Input, counts: np.ndarray, impute: str) -> float:
    """A code. A missing category without order has no median: it becomes the commonest."""
    nominal = column.type == "categorical"
    if impute == "constant":
        # One code past the last: equal to no category, so a category of its own.
        return float(len(counts)) if nominal else 0.0
    if nominal or impute == "most-frequent":
        return float(np.argmax(counts))
    up_to, n = np.cumsum(counts), int(counts.sum())
    middle = np.searchsorted(up_to, [(n - 1) // 2, n // 2], side="right")
    return float(middle.mean())


def _measured(asking: Asking, features: tuple[Feature, ...], known: dict[str, int], impute: str) -> dict[str, _Summary]:
    """Columns of numbers and dates, by name."""
    kinds = {feature.name: feature.type for feature in features if not _has_categories(feature)}
    if not kinds:
        return {}
    if impute == "most-frequent":
        counts = frequencies(asking, {name: (kind, known[name]) for name, kind in kinds.items()})
        ends = {name: (min(times), max(times)) for name, times in counts.items()}
        # Of several the smallest.
        fills = {
            name: min(times, key=lambda value, times=times: (-times[value], value)) for name, times in counts.items()
        }
    else:
        middle = impute == "median"
        values = ranked(
            asking, {name: (kind, known[name], _ranks(known[name], middle)) for name, kind in kinds.items()}
        )
        ends = {name: (of_ranks[0], of_ranks[1]) for name, of_ranks in values.items()}
        fills = {name: (of_ranks[2] + of_ranks[3]) / 2 if middle else 0.0 for name, of_ranks in values.items()}
    moments = _moments(asking, ends, known)
    return {name: _Summary(Input(name, kind), moments[name], fills[name]) for name, kind in kinds.items()}


def _ranks(known: int, middle: bool) -> list[int]:
    """Of the smallest and the largest value, and of the two in the middle, which are one of an odd number."""
    return [0, known - 1, *([(known - 1) // 2, known // 2] if middle else [])]


def _moments(asking: Asking, ends: dict[str, tuple[float, float]], known: dict[str, int]) -> dict[str, Moments]:
    """By the sums of what lies between the ends, first of the values, then of the squares about their mean."""
    wide = {name: high - low for name, (low, high) in ends.items() if low < high}
    centres = {name: ends[name][0] + width / 2 for name, width in wide.items()}
    of_values = _sums(asking, centres, wide, 1)
    means = {name: centres[name] + wide[name] * of_values[name] / known[name] for name in wide}
    squares = _sums(asking, means, wide, 2)
    return {
        name: Moments(known[name], means.get(name, low), squares.get(name, 0.0) * wide.get(name, 0.0) ** 2, low, high)
        for name, (low, high) in ends.items()
    }


def _sums(asking: Asking, shifts: dict[str, float], scales: dict[str, float], power: int) -> dict[str, float]:
    if not shifts:
        return {}
    columns = [[name, shift, scales[name]] for name, shift in shifts.items()]
    totals = asking("sums", len(columns), columns=columns, power=power)
    return dict(zip(shifts, totals.tolist(), strict=True))


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
