"""What a site computes of its own rows or images for each kind of request; rows stay in here, counts and sums leave."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from federated.statistics import pixels
from federated.statistics.keys import to_keys
from federated.statistics.moments import Moments
from federated.statistics.schema import Schema, agreed, require_inputs
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.tables.fit import MOST_CATEGORIES, blocks
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input

_ROWS = 16_384  # encoded at once
# What a coordinator may have counted at once: a table of 20,000 columns has 40,000 intervals of 64.
_MOST_BINS, _MOST_COUNTS = 4096, 1 << 24


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


def missing(dataset: Dataset, request: dict) -> dict:
    """Rows, and how many of them lack each column of the schema."""
    own, rows = _own(dataset, request)
    lacking = [np.isnan(values).sum(axis=0) for _, values in blocks(rows, own.features)]
    return {"rows": len(rows), "missing": np.concatenate(lacking).tolist()}


def summaries(dataset: Dataset, request: dict) -> dict:
    """Rows, and of each column the moments of its known numbers or the counts of its categories."""
    own, rows = _own(dataset, request)
    found = [_summary(*one) for one in _columns(own, rows, request["columns"])]
    return {"rows": len(rows), "columns": found}


def counts_between(dataset: Dataset, request: dict) -> dict:
    """Of each interval [column, low, high] of keys, how many known values lie in each of its `bins` equal parts."""
    intervals, bins = request["intervals"], int(request["bins"])
    if not 0 < bins <= _MOST_BINS or len(intervals) * bins > _MOST_COUNTS:
        raise InputError(f"request: {len(intervals)} intervals of {bins} bins are too many")
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
    return {"counts": found.tolist()}


def distinct_values(dataset: Dataset, request: dict) -> dict:
    """Of each column its distinct known values, ascending, with how often each is there."""
    found = []
    for column, values in _columns(*_own(dataset, request), request["columns"]):
        distinct, times = np.unique(values, return_counts=True)
        _few(column.name, "different values", len(distinct), "use --impute median")
        found.append([distinct.tolist(), times.tolist()])
    return {"columns": found}


def class_sums(dataset: Dataset, request: dict) -> dict:
    """Of each grouping of the rows and each group in it: count, and of each encoded column sum and sum of squares.

    `by` is "all" (one grouping, one group) or "class" (groups are the classes; of a multilabel set one grouping a
    class, without and with it). `shifts` are subtracted from the columns first; `fewest` is the site's own: a group of
    fewer patients is not told.
    """
    own, rows = _own(dataset, request)
    preprocessing = Preprocessing.from_dict(request["preprocessing"])
    require_inputs(own, preprocessing.inputs)
    shifts = np.asarray(request["shifts"], np.float64)
    groups, size = _groupings(own, rows, request["by"])
    shape = (len(groups), size)
    require_patients(groups, size, rows["patient"], request.get("fewest", 1))
    count = np.zeros(shape, np.int64)
    sums, squares = np.zeros((*shape, len(shifts))), np.zeros((*shape, len(shifts)))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        matrix = preprocessing.transform(rows.iloc[part]).astype(np.float64) - shifts
        for i, group in enumerate(groups[:, part]):
            for k in range(size):
                chosen = matrix[group == k]
                count[i, k] += len(chosen)
                sums[i, k] += chosen.sum(axis=0)
                squares[i, k] += (chosen**2).sum(axis=0)
    return {"count": count.tolist(), "sums": sums.tolist(), "squares": squares.tolist()}


_KINDS = {
    "missing": missing,
    "summaries": summaries,
    "counts": counts_between,
    "values": distinct_values,
    "classes": class_sums,
    "pixels": pixels.pixels,
}


def answer(dataset: Dataset, request: dict) -> dict:
    """Counts and sums over the labelled training rows or images of a site; run where its data are.

    Args:
        dataset: the site's own.
        request: plain values with a `kind`, as `fit` and `pixel_whitening` ask.

    Returns:
        Plain values, fit for JSON.

    Raises:
        InputError: an unknown kind, or data that do not fit the federation.
    """
    kind = request.get("kind")
    if kind not in _KINDS:
        raise InputError(f"statistics '{kind}' are not known here; run the same version of medimg everywhere")
    return _KINDS[kind](dataset, request)


def _summary(column: Input, values: np.ndarray) -> dict:
    if column.type not in ("categorical", "ordinal"):
        return {"moments": Moments.of(values).to_list()}
    _few(column.name, "categories", len(column.categories), "its names would be sent one by one")
    counts = np.bincount(values.astype(np.int64), minlength=len(column.categories))
    return {"counts": dict(zip(column.categories, counts.tolist(), strict=True))}


def _groupings(own: Dataset, rows: pd.DataFrame, by: str) -> tuple[np.ndarray, int]:
    """The group of each row, int (groupings, N), and the number of groups."""
    if by == "all":
        return np.zeros((1, len(rows)), np.int64), 1
    targets = own.targets(rows)
    if targets.ndim == 1:
        return targets[None], len(own.classes)
    return targets.T.astype(np.int64), 2


def require_patients(groups: np.ndarray, size: int, patients: pd.Series, fewest: int) -> None:
    """Refuse to tell of groups of few patients.

    Args:
        groups: the group of each row, int (groupings, N).
        size: number of groups.
        patients: of the rows.
        fewest: that a group must have, where it has any.

    Raises:
        InputError: one has fewer.
    """
    for group in groups:
        for k in range(size):
            if 0 < patients[group == k].nunique() < fewest:
                raise InputError(f"a class has fewer than {fewest} patients, of whom nothing is told")


def _own(dataset: Dataset, request: dict) -> tuple[Dataset, pd.DataFrame]:
    own = agreed(dataset, Schema.from_dict(request["schema"]))
    return own, training_rows(own, request.get("known"))


def _columns(own: Dataset, rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[Input, np.ndarray]]:
    """The columns of these names, each with its known values, float64."""
    by_name = {feature.name: feature for feature in own.features}
    features = tuple(by_name[name] for name in names)
    for block, values in blocks(rows, features):
        for column, one in zip(block, values.T, strict=True):
            yield column, one[~np.isnan(one)]


def _few(name: str, what: str, count: int, why: str) -> None:
    """A site does not send what amounts to the column itself."""
    if count > MOST_CATEGORIES:
        raise InputError(
            f"column '{name}' has {count} {what} (a site sends {MOST_CATEGORIES} at most): {why}; or make it "
            "identifier or metadata in dataset.yaml"
        )
