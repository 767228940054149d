"""What a site computes of its own rows or images for each kind of request; rows stay in here, counts and sums leave."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from federated.statistics import pixels
from federated.statistics.few import require_chosen, require_patients
from federated.statistics.keys import in_parts, to_keys
from federated.statistics.names import sketched
from federated.statistics.schema import Schema, agreed, require_inputs
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.tables.fit import blocks
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input

_ROWS = 16_384  # encoded at once
# What a coordinator may have counted at once: a table of 20,000 columns has 80,000 intervals of 64.
_MOST_BINS, _MOST_COUNTS, _MOST_CELLS = 4096, 1 << 24, 1 << 18
_FAR = 1 << 63  # beyond all keys


def training_rows(table: Dataset, known: list[str] | None) -> pd.DataFrame:
    """The rows that a site learns from.

    Args:
        table: the site's table in the federation's form (`agreed`).
        known: columns that a row must have, with `--missing drop-rows`: those that any site knows, so that a site
            which lacks one of them has no row left, as the pooled table would not; None: all rows.

    Returns:
        Labelled rows in train; there may be none.
    """
    rows = table.rows("train", labelled=True)
    if known is None:
        return rows
    complete = np.ones(len(rows), bool)
    features = tuple(feature for feature in table.features if feature.name in set(known))
    for _, values in blocks(rows, features):
        complete &= ~np.isnan(values).any(axis=1)
    return rows[complete]


def missing(dataset: Dataset, request: dict) -> np.ndarray:
    """Rows, and how many of them lack each column of the schema, whatever `known` says."""
    return _missing(*_learnt_from(dataset, {**request, "known": None}))


def complete(dataset: Dataset, request: dict) -> np.ndarray:
    """The same of the rows that know what must be known."""
    return _missing(*_learnt_from(dataset, request))


def _missing(table: Dataset, rows: pd.DataFrame) -> np.ndarray:
    lacking = [np.isnan(values).sum(axis=0) for _, values in blocks(rows, table.features)]
    return np.concatenate([[len(rows)], *lacking])


def categories(dataset: Dataset, request: dict) -> np.ndarray:
    """The names and counts of the categories of each column, in a sketch of `cells`."""
    names = request["columns"]
    return sketched(_categories_of(*_learnt_from(dataset, request), names), names, cells_of(request))


def _categories_of(table: Dataset, rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[str, dict[str, int]]]:
    for column, values in _columns(table, rows, names):
        if column.type not in ("categorical", "ordinal"):
            raise InputError(f"request: column '{column.name}' has no categories")
        times = np.bincount(values.astype(np.int64), minlength=len(column.categories))
        yield column.name, dict(zip(column.categories, times.tolist(), strict=True))


def counts_between(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each interval [column, low, high] of keys, how many known values lie in each of its `bins` equal parts."""

    def keys_of(names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        for column, values in _columns(*_learnt_from(dataset, request), names):
            yield column.name, to_keys(values, column.type)

    return counts_of(request, keys_of)


def counts_of(request: dict, keys_of: Callable[[list[str]], Iterable[tuple[str, np.ndarray]]]) -> np.ndarray:
    """What a client counts in the intervals of a request, int64 (intervals * bins,).

    Args:
        request: `intervals` and `bins`.
        keys_of: names of columns -> each with the keys of its known values.

    Raises:
        InputError: they are none, or too many.
    """
    intervals, bins = request["intervals"], _natural(request["bins"], _MOST_BINS)
    if len(intervals) * bins > _MOST_COUNTS or not all(
        type(low) is type(high) is int and -_FAR <= low <= high < _FAR for _, low, high in intervals
    ):
        raise InputError(f"request: {len(intervals)} intervals of {bins} bins are too many, or none")
    by_column: dict[str, list[int]] = {}
    for number, (name, _, _) in enumerate(intervals):
        by_column.setdefault(name, []).append(number)
    counts = np.zeros((len(intervals), bins), np.int64)
    for name, keys in keys_of(list(by_column)):
        for number in by_column[name]:
            _, low, high = intervals[number]
            counts[number] = in_parts(keys, low, high, bins)
    return counts.ravel()


def cells_of(request: dict) -> int:
    """Cells of the sketch that a request is for."""
    return _natural(request["cells"], _MOST_CELLS)


def sums(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each [column, shift, scale] the sum of its known values' distances from the shift, or of their squares."""
    asked, power = {name: (shift, scale) for name, shift, scale in request["columns"]}, _natural(request["power"], 2)
    totals = dict.fromkeys(asked, 0.0)
    for column, values in _columns(*_learnt_from(dataset, request), list(asked)):
        totals[column.name] = float((_within(values, *asked[column.name]) ** power).sum())
    return np.array(list(totals.values()))


def class_sums(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each grouping of the rows and each group in it: count, and of each encoded column sum and sum of squares.

    `by` is "all" (one grouping, one group) or "class" (groups are the classes; of a multilabel set one grouping a
    class, without and with it). Columns are as far from `shifts` as `scales` say; `fewest` is the site's own: a group
    of fewer patients is not told.
    """
    table, rows = _learnt_from(dataset, request)
    preprocessing = Preprocessing.from_dict(request["preprocessing"])
    require_inputs(table, preprocessing.inputs)
    shifts, scales = (np.asarray(request[name], np.float64) for name in ("shifts", "scales"))
    groups, size = _groupings(table, rows, request["by"])
    shape = (len(groups), size)
    require_patients(groups, rows["patient"], request.get("fewest", 1))
    count = np.zeros(shape, np.int64)
    sums, squares = np.zeros((*shape, len(shifts))), np.zeros((*shape, len(shifts)))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        matrix = _within(preprocessing.transform(rows.iloc[part]).astype(np.float64), shifts, scales)
        for i, group in enumerate(groups[:, part]):
            for k in range(size):
                chosen = matrix[group == k]
                count[i, k] += len(chosen)
                sums[i, k] += chosen.sum(axis=0)
                squares[i, k] += (chosen**2).sum(axis=0)
    return np.concatenate([count.ravel(), sums.ravel(), squares.ravel()])


_KINDS = {
    "missing": missing,
    "complete": complete,
    "categories": categories,
    "counts": counts_between,
    "sums": sums,
    "classes": class_sums,
    "pixels": pixels.pixels,
}


def answer(dataset: Dataset, request: dict) -> np.ndarray:
    """Counts and sums over the labelled training rows or images of a site; run where its data are.

    Args:
        dataset: the site's own.
        request: plain values with a `kind`, as `fit` and `pixel_whitening` ask.

    Returns:
        float64 (n,), finite, n by the request alone: it says nothing of the site, and answers can be added up.

    Raises:
        InputError: an unknown kind, or data that do not fit the federation.
    """
    kind = request.get("kind")
    if kind not in _KINDS:
        raise InputError(f"statistics '{kind}' are not known here; run the same version of medimg everywhere")
    return np.asarray(_KINDS[kind](dataset, request), np.float64)


def _within(values: np.ndarray, shift, scale) -> np.ndarray:
    """How far values are from a shift, in units of a scale that is their range, so that all are within -1 and 1.

    Another shift or scale is of no use to whoever asks: that a site's numbers are too large for a sum, or none, would
    tell of its rows alone.
    """
    shift, scale = np.asarray(shift, np.float64), np.asarray(scale, np.float64)
    if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError("request: a shift or scale is no number")
    with np.errstate(over="ignore"):
        return np.nan_to_num(np.clip((values - shift) / scale, -1, 1))


def _natural(value: object, most: int) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise InputError(f"request: must be a whole number of 1 to {most}")
    return value


def _groupings(table: Dataset, rows: pd.DataFrame, by: str) -> tuple[np.ndarray, int]:
    """The group of each row, int (groupings, N), and the number of groups."""
    if by == "all":
        return np.zeros((1, len(rows)), np.int64), 1
    targets = table.targets(rows)
    if targets.ndim == 1:
        return targets[None], len(table.classes)
    return targets.T.astype(np.int64), 2


def _learnt_from(dataset: Dataset, request: dict) -> tuple[Dataset, pd.DataFrame]:
    table = agreed(dataset, Schema.from_dict(request["schema"]))
    rows = training_rows(table, request.get("known"))
    # Whoever asks says what must be known, and so chooses rows.
    others = table.rows("train", labelled=True).drop(index=rows.index)
    require_chosen(rows["patient"], others["patient"], request.get("fewest", 1))
    return table, rows


def _columns(table: Dataset, rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[Input, np.ndarray]]:
    """The columns of these names, each with its known values, float64."""
    by_name = {feature.name: feature for feature in table.features}
    features = tuple(by_name[name] for name in names)
    for block, values in blocks(rows, features):
        for column, one in zip(block, values.T, strict=True):
            yield column, one[~np.isnan(one)]
