"""fit(): the training rows of a table -> Preprocessing.

What is learnt of a column comes first (`Learnt`), the encoded columns follow from it alone: `federated.statistics`
learns the same from sums over several tables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.tables.preprocessing import PreparedColumn, Preprocessing
from medimg.tables.raw import Input, input_of, read
from medimg.tables.selection import best

# One-hot columns of one raw column; more is an identifier or free text, and would fill the memory.
MOST_CATEGORIES = 1000
# Why a column is left out that no training row knows.
MISSING_EVERYWHERE = "missing in every training row"
_CELLS = 4_000_000  # of a block of columns that is fitted at once: 32 MB of float64


class Learnt(NamedTuple):
    """What the training rows tell of a raw column.

    Attributes:
        fill: what a missing value becomes.
        lacking: some row lacks it.
        varies: it has several values once the missing ones are filled.
        offset: subtracted from it.
        scale: it is then divided by.
    """

    fill: float
    lacking: bool
    varies: bool
    offset: float
    scale: float


def fit(dataset: Dataset, rows: pd.DataFrame, config: TrainConfig) -> Preprocessing:
    """Learn imputation, scaling, encoding and selection from training rows.

    Missing values: a number, date or ordinal category becomes the column's median, commonest value or 0 (an ordinal's
    lowest); a category becomes the commonest, or with `constant` a category of its own. A column that training lacks
    somewhere gets a second column `<name> missing` of 0 and 1.

    Args:
        dataset: a table.
        rows: its training rows; nothing else is looked at.
        config: `impute`, `missing`, `missing_limit`, `missing_indicators`, `scale`, `encode`, `select`,
            `select_count`.

    Returns:
        What `Preprocessing.transform` needs.

    Raises:
        InputError: a value can't be read, a column has too many categories, or nothing is left to learn from.
    """
    if config.missing == "drop-rows":
        rows = complete_rows(dataset, rows)
    if rows.empty:
        raise InputError(f"{dataset.root}: the train part has no rows to fit the preprocessing on")
    lacking = np.concatenate([np.isnan(v).mean(axis=0) for _, v in blocks(rows, dataset.inputs)])
    features, dropped = usable(dataset.inputs, lacking, config)
    learnt = (
        (column, one)
        for block, values in blocks(rows, features)
        for column, one in zip(block, _learn(block, values, config), strict=True)
    )
    fitted = preprocessing_of(learnt, dropped, config, str(dataset.root))
    if config.select == "none":
        return fitted
    positions = best(
        fitted.transform(rows), fitted.plan.scale, dataset.targets(rows), config.select, config.select_count
    )
    return selected(fitted, positions, config.select)


def preprocessing_of(
    learnt: Iterable[tuple[Input, Learnt]], dropped: dict[str, str], config, where: str
) -> Preprocessing:
    """Every column that may be selected from.

    Args:
        learnt: raw columns in the table's order, with what the training rows tell of them.
        dropped: of `usable`.
        config: `impute`, `missing_indicators`, `encode`.
        where: the Dataset, for messages.

    Raises:
        InputError: a column has too many categories, or nothing is left to learn from.
    """
    raw: list[Input] = []
    columns: list[PreparedColumn] = []
    dropped = dict(dropped)
    for column, one in learnt:
        encoded = _encoded(column, one, config)
        if encoded:
            raw.append(column)
            columns.extend(encoded)
        else:
            dropped[column.name] = "the same in every training row"
    if not columns:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:3])
        raise InputError(
            f"{where}: no feature is left to learn from ({reasons}); see --missing and the types in dataset.yaml"
        )
    return Preprocessing(tuple(raw), _uniquely_named(columns), dropped)


def complete_rows(dataset: Dataset, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in which every feature is known; a feature that no row knows does not count.

    Args:
        dataset: a table.
        rows: rows of its manifest.

    Raises:
        InputError: no row is complete.
    """
    complete = np.ones(len(rows), bool)
    for _, values in blocks(rows, dataset.inputs):
        missing = np.isnan(values)
        complete &= ~missing[:, ~missing.all(axis=0)].any(axis=1)
    if not complete.any():
        raise nothing_complete(str(dataset.root))
    return rows[complete]


def nothing_complete(where: str) -> InputError:
    """Why `--missing drop-rows` can't be had."""
    return InputError(f"--missing drop-rows: every training row of {where} lacks something; use impute or drop-columns")


def blocks(rows: pd.DataFrame, features: tuple[Feature, ...]) -> Iterator[tuple[tuple[Input, ...], np.ndarray]]:
    """Some columns at a time with all rows' values: float64 (N, n), NaN for missing."""
    width = max(1, _CELLS // max(1, len(rows)))
    for start in range(0, len(features), width):
        block = tuple(input_of(rows, feature) for feature in features[start : start + width])
        yield block, read(rows, block)


def usable(features: tuple[Feature, ...], fractions: np.ndarray, config) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """The features that enough rows know, and why the others are left out.

    Args:
        features: n of them.
        fractions: float (n,), of the training rows that lack each.
        config: `missing`, `missing_limit`.
    """
    limit = config.missing_limit if config.missing == "drop-columns" else 1.0
    usable, dropped = [], {}
    for feature, fraction in zip(features, fractions, strict=True):
        if fraction == 1.0:
            dropped[feature.name] = MISSING_EVERYWHERE
        elif fraction > limit:
            dropped[feature.name] = f"missing in {fraction:.0%} of the training rows (--missing-limit {limit:g})"
        else:
            usable.append(feature)
    return tuple(usable), dropped


def _learn(block: tuple[Input, ...], values: np.ndarray, config: TrainConfig) -> list[Learnt]:
    """Of each column of a block, float64 (N, n) with NaN for missing."""
    fills = _fills(block, values, config)
    missing = np.isnan(values)
    filled = np.where(missing, fills, values)
    varies = filled.min(axis=0) < filled.max(axis=0)
    learnt = (fills, missing.any(axis=0), varies, *_scaling(filled, config.scale))
    return [Learnt(*one) for one in zip(*(values.tolist() for values in learnt), strict=True)]


def _encoded(column: Input, learnt: Learnt, config) -> list[PreparedColumn]:
    """The columns that a raw one becomes; none when it tells nothing."""
    name, one_hot = column.name, column.type == "categorical" and config.encode == "one-hot"
    columns = []
    if learnt.varies and one_hot:
        columns += _one_hot(column, learnt.fill)
    elif learnt.varies:
        columns.append(PreparedColumn(name, name, "value", fill=learnt.fill, offset=learnt.offset, scale=learnt.scale))
    own_category = one_hot and config.impute == "constant"
    if learnt.lacking and (config.missing_indicators or own_category):
        columns.append(PreparedColumn(f"{name} missing", name, "missing", fill=1.0))
    return columns


def _fills(block: tuple[Input, ...], values: np.ndarray, config: TrainConfig) -> np.ndarray:
    """What a missing value of each column becomes: float64 (n,)."""
    from sklearn.impute import SimpleImputer

    if values.shape[1] == 0:
        return np.zeros(0)
    nominal = np.array([column.type == "categorical" for column in block])
    fills = np.zeros(len(block))
    strategy = config.impute.replace("-", "_")
    if (~nominal).any():
        imputer = SimpleImputer(strategy=strategy, fill_value=0.0)
        fills[~nominal] = imputer.fit(values[:, ~nominal]).statistics_
    if nominal.any() and config.impute == "constant":
        # One code past the last: equal to no category, so a category of its own.
        fills[nominal] = [len(column.categories) for column in block if column.type == "categorical"]
    elif nominal.any():
        imputer = SimpleImputer(strategy="most_frequent")
        fills[nominal] = imputer.fit(values[:, nominal]).statistics_
    return fills


def _scaling(filled: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Offset and divisor of each column, float64 (n,)."""
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    if scale == "none" or filled.shape[1] == 0:
        return np.zeros(filled.shape[1]), np.ones(filled.shape[1])
    if scale == "standard":
        scaler = StandardScaler().fit(filled)
        return scaler.mean_, scaler.scale_
    scaler = MinMaxScaler().fit(filled)
    return scaler.data_min_, 1.0 / scaler.scale_


def _one_hot(column: Input, fill: float) -> list[PreparedColumn]:
    if len(column.categories) > MOST_CATEGORIES:
        raise InputError(
            f"column '{column.name}' has {len(column.categories)} categories (one-hot takes {MOST_CATEGORIES}); use "
            "--encode ordinal, or make it identifier or metadata in dataset.yaml"
        )
    return [
        PreparedColumn(
            f"{column.name}={category}", column.name, "category", fill=float(code == fill), category=category
        )
        for code, category in enumerate(column.categories)
    ]


def _uniquely_named(columns: list[PreparedColumn]) -> tuple[PreparedColumn, ...]:
    """A raw column may already be called `chol missing`."""
    used: set[str] = set()
    named = []
    for column in columns:
        name, number = column.name, 2
        while name in used:
            name, number = f"{column.name} ({number})", number + 1
        used.add(name)
        named.append(column if name == column.name else replace(column, name=name))
    return tuple(named)


def selected(fitted: Preprocessing, positions: np.ndarray, method: str) -> Preprocessing:
    """`fitted` with some of its columns, and only the raw columns that these need.

    Args:
        fitted: all columns.
        positions: int, positions of its columns.
        method: of `--select`, for the reason of what is left out.
    """
    columns = tuple(fitted.columns[i] for i in positions)
    needed = {column.source for column in columns}
    dropped = dict(fitted.dropped)
    for column in fitted.raw:
        if column.name not in needed:
            dropped[column.name] = f"not selected (--select {method})"
    raw = tuple(column for column in fitted.raw if column.name in needed)
    return Preprocessing(raw, columns, dropped)
