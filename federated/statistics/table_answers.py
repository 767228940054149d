"""What a site computes of its own rows or images for each kind of request; rows stay in here, counts and sums leave."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from federated.statistics import pixels, sketch
from federated.statistics.few import require_chosen, require_patients
from federated.statistics.keys import to_keys
from federated.statistics.schema import Schema, agreed, require_inputs
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.tables.fit import MOST_CATEGORIES, blocks
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input

_ROWS = 16_384  # encoded at once
# What a coordinator may have counted at once: a table of 20,000 columns has 80,000 intervals of 64.
_MOST_BINS, _MOST_COUNTS, _MOST_CELLS = 4096, 1 << 24, 1 << 18
_FAR = 1 << 60  # beyond all keys


def training_rows(own: Dataset, known: list[str] | None) -> pd.DataFrame:
    """The rows that a site learns from.

    Args:
        own: the site's table in the federation's form (`agreed`).
        known: columns that a row must have, with `--missing drop-rows`: those that any site knows, so that a site
            which lacks one of them has no row left, as the pooled table would not; None: all rows.

    Returns:
        Labelled rows in train; there may be none.
    """
    rows = own.rows("train", labelled=True)
    if known is None:
        return rows
    complete = np.ones(len(rows), bool)
    features = tuple(feature for feature in own.features if feature.name in set(known))
    for _, values in blocks(rows, features):
        complete &= ~np.isnan(values).any(axis=1)
    return rows[complete]


def missing(dataset: Dataset, request: dict) -> np.ndarray:
    """Rows, and how many of them lack each column of the schema, whatever `known` says."""
    return _missing(*_own(dataset, {**request, "known": None}))


def complete(dataset: Dataset, request: dict) -> np.ndarray:
    """The same of the rows that know what must be known."""
    return _missing(*_own(dataset, request))


def _missing(own: Dataset, rows: pd.DataFrame) -> np.ndarray:
    lacking = [np.isnan(values).sum(axis=0) for _, values in blocks(rows, own.features)]
    return np.concatenate([[len(rows)], *lacking])


def categories(dataset: Dataset, request: dict) -> np.ndarray:
    """The names and counts of the categories of each column, in a sketch of `cells`."""
    names, cells = request["columns"], _natural(request["cells"], _MOST_CELLS)
    place, counts = {name: number for number, name in enumerate(names)}, {}
    for column, values in _columns(*_own(dataset, request), names):
        if column.type not in ("categorical", "ordinal"):
            raise InputError(f"request: column '{column.name}' has no categories")
        _few(column.name, len(column.categories))
        times = np.bincount(values.astype(np.int64), minlength=len(column.categories))
        for category, count in zip(column.categories, times.tolist(), strict=True):
            if len(category.encode()) > sketch.NAME_BYTES:
                raise InputError(
                    f"column '{column.name}': a category of more than {sketch.NAME_BYTES} bytes is text; make it "
                    "metadata in dataset.yaml"
                )
            if count:
                counts[place[column.name], category] = count
    return sketch.sketch(counts, cells)


def counts_between(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each interval [column, low, high] of keys, how many known values lie in each of its `bins` equal parts."""
    intervals, bins = request["intervals"], _natural(request["bins"], _MOST_BINS)
    if len(intervals) * bins > _MOST_COUNTS or not all(
        type(low) is type(high) is int and -_FAR < low <= high < _FAR for _, low, high in intervals
    ):
        raise InputError(f"request: {len(intervals)} intervals of {bins} bins are too many, or none")
    by_column: dict[str, list[int]] = {}
    for number, (name, _, _) in enumerate(intervals):
        by_column.setdefault(name, []).append(number)
    found = np.zeros((len(intervals), bins), np.int64)
    for column, values in _columns(*_own(dataset, request), list(by_column)):
        keys = to_keys(values, column.type)
        for number in by_column[column.name]:
            _, low, high = intervals[number]
            step = (high - low) // bins + 1
            inside = keys[(keys >= low) & (keys <= high)]
            found[number] = np.bincount((inside - low) // step, minlength=bins)
    return found.ravel()


def sums(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each [column, shift, scale] the sum of its known values' distances from the shift, or of their squares."""
    asked, power = {name: (shift, scale) for name, shift, scale in request["columns"]}, _natural(request["power"], 2)
    found = dict.fromkeys(asked, 0.0)
    for column, values in _columns(*_own(dataset, request), list(asked)):
        found[column.name] = float((_within(values, *asked[column.name]) ** power).sum())
    return np.array(list(found.values()))


def class_sums(dataset: Dataset, request: dict) -> np.ndarray:
    """Of each grouping of the rows and each group in it: count, and of each encoded column sum and sum of squares.

    `by` is "all" (one grouping, one group) or "class" (groups are the classes; of a multilabel set one grouping a
    class, without and with it). Columns are as far from `shifts` as `scales` say; `fewest` is the site's own: a group
    of fewer patients is not told.
    """
    own, rows = _own(dataset, request)
    preprocessing = Preprocessing.from_dict(request["preprocessing"])
    require_inputs(own, preprocessing.inputs)
    shifts, scales = (np.asarray(request[name], np.float64) for name in ("shifts", "scales"))
    groups, size = _groupings(own, rows, request["by"])
    shape = (len(groups), size)
    require_patients(groups, size, rows["patient"], request.get("fewest", 1))
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


def _groupings(own: Dataset, rows: pd.DataFrame, by: str) -> tuple[np.ndarray, int]:
    """The group of each row, int (groupings, N), and the number of groups."""
    if by == "all":
        return np.zeros((1, len(rows)), np.int64), 1
    targets = own.targets(rows)
    if targets.ndim == 1:
        return targets[None], len(own.classes)
    return targets.T.astype(np.int64), 2


def _own(dataset: Dataset, request: dict) -> tuple[Dataset, pd.DataFrame]:
    own = agreed(dataset, Schema.from_dict(request["schema"]))
    rows = training_rows(own, request.get("known"))
    # Whoever asks says what must be known, and so chooses rows.
    others = own.rows("train", labelled=True).drop(index=rows.index)
    require_chosen(rows["patient"], others["patient"], request.get("fewest", 1))
    return own, rows


def _columns(own: Dataset, rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[Input, np.ndarray]]:
    """The columns of these names, each with its known values, float64."""
    by_name = {feature.name: feature for feature in own.features}
    features = tuple(by_name[name] for name in names)
    for block, values in blocks(rows, features):
        for column, one in zip(block, values.T, strict=True):
            yield column, one[~np.isnan(one)]


def _few(name: str, count: int) -> None:
    """A site does not send what amounts to the column itself."""
    if count > MOST_CATEGORIES:
        raise InputError(
            f"column '{name}' has {count} categories (a site sends {MOST_CATEGORIES} at most), whose names would be "
            "told one by one; make it identifier or metadata in dataset.yaml"
        )
