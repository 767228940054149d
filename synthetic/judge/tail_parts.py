"""Rows of a table and images as what `synthetic.judge.tail` measures: points, persons and closest training rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data import schema
from medimg.tables import raw
from synthetic.judge import thresholds as limits
from synthetic.judge.closest_two import closest_two, persons
from synthetic.judge.rows import Subject
from synthetic.judge.tail import TailParts
from synthetic.judge.thumbnails import Thumbnails

# Real rows that show how near two patients come: train against itself need not be compared in full.
MOST_REAL = 2000
# Distances to training rows, and products for them, that are computed at most: about half a minute.
_MOST_PAIRS, _MOST_PRODUCTS, _LEAST_ROWS = 1e9, 2e11, 2000
_ORDERED = (*schema.NUMBERS, "ordinal", "date")
# Of two categories, squared: 1, as is that of known and missing.
_CATEGORY = 0.5**0.5


@dataclass(frozen=True, eq=False)
class _Rows:
    """Points in one or more forms, float (N, F) each; names of synthetic rows, else the patients of real ones."""

    forms: list[np.ndarray]
    names: np.ndarray


def of_table(subject: Subject, seed: int) -> TailParts:
    """Rows of a table, each column in units of its own spread.

    Args:
        subject: nothing of it is left out; of a very large one synthetic rows are drawn.
        seed: of the rows that are drawn.
    """
    reserve = subject.reserve
    made, train, held_out, ordered = _points(subject, reserve)
    tolerance = limits.NEAR_ROW * max(1, ordered) ** 0.5
    return _parts(
        subject,
        _Rows([made], subject.made["row"].to_numpy()),
        _Rows([train], subject.train["patient"].to_numpy()),
        _Rows([held_out], reserve["patient"].to_numpy()),
        some(len(train), seed),
        [train],
        (tolerance, True, seed),
    )


def of_images(subject: Subject, small: Thumbnails, seed: int) -> TailParts:
    """Images by their thumbnails, each with its mean and contrast taken away.

    Args:
        subject: whose images they are.
        small: thumbnails of all of them, the closest of whose forms counts.
        seed: of the images that are drawn.
    """
    made, held_out, real = ([standardised(form) for form in part] for part in (small.made, small.held_out, small.real))
    return _parts(
        subject,
        _Rows(made, subject.made["image"].to_numpy()),
        _Rows([standardised(small.train)], subject.train["patient"].to_numpy()),
        _Rows(held_out, small.held_out_patients),
        small.real_positions,
        real,
        (limits.NEAR_IMAGE, False, seed),
    )


def some(n: int, seed: int) -> np.ndarray:
    """Positions of at most MOST_REAL of n rows, in order."""
    if n <= MOST_REAL:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 6]).choice(n, MOST_REAL, replace=False))


def standardised(images: np.ndarray) -> np.ndarray:
    """Thumbnails (N, T, T, C) in 0..255 as points (N, T * T * C) whose distances are root mean squared differences.

    Mean and contrast are each image's own unit, so that a copy made brighter is a copy; an image all but flat keeps its
    grey levels.
    """
    points = images.reshape(len(images), -1).astype(np.float64)
    points -= points.mean(axis=1, keepdims=True)
    points /= np.maximum(points.std(axis=1, keepdims=True), 1.0)
    return points / points.shape[1] ** 0.5


def _parts(subject, made: _Rows, train: _Rows, held_out: _Rows, positions, real, settings) -> TailParts:
    """Search for the closest of all; `positions` training rows, in the forms `real`, are held against the others."""
    tolerance, chance_equal, seed = settings
    points = train.forms[0]
    groups = persons(points, train.names)
    # A row that is there many times tells no more of a patient than once.
    _, distinct = np.unique(made.forms[0], axis=0, return_index=True)
    most = min(_MOST_PAIRS / len(points), _MOST_PRODUCTS / points.size / len(made.forms))
    drawn = np.sort(distinct)
    if len(drawn) > max(_LEAST_ROWS, most):
        size = int(max(_LEAST_ROWS, most))
        drawn = np.sort(np.random.default_rng([seed, 7]).choice(drawn, size, replace=False))
    _, one_each = np.unique(held_out.names, return_index=True)
    one_each = one_each[: max(_LEAST_ROWS, int(most))]
    numbers = _numbers(subject, made.names[drawn])
    return TailParts(
        closest_two([form[drawn] for form in made.forms], points, groups),
        made.names[drawn],
        numbers,
        closest_two([form[one_each] for form in held_out.forms], points, groups),
        closest_two(real, points, groups, groups[positions]) if len(real[0]) else None,
        _shared(points, train.names)[positions],
        tolerance,
        chance_equal,
        len(distinct),
    )


def _numbers(subject: Subject, names: np.ndarray) -> np.ndarray:
    """Places of rows in the synthetic manifest, from 1."""
    rows = subject.synthetic.rows()
    column = rows["row" if subject.real.is_table else "image"]
    places = {name: number for number, name in enumerate(column, 1)}
    return np.array([places[name] for name in names], np.int64)


def _shared(points: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """bool (N,): another patient has the same values."""
    _, value = np.unique(points, axis=0, return_inverse=True)
    owners = pd.Series(patients.astype(str)).groupby(value.ravel()).transform("nunique")
    return owners.to_numpy() > 1


def _points(subject: Subject, reserve: pd.DataFrame):
    """Points of made, train and held-out rows, the label among the columns, and how many columns have an order."""
    parts = (subject.made, subject.train, reserve)
    features = [*subject.real.inputs, schema.Feature("label", "categorical")]
    inputs = tuple(raw.input_of(pd.concat(parts), feature) for feature in features)
    values = [raw.read(rows, inputs) for rows in parts]
    real = np.concatenate(values[1:])
    columns = []
    for number, column in enumerate(inputs):
        encode = _ordered if column.type in _ORDERED else _categories
        encoded = encode(real[:, number], [part[:, number] for part in values])
        columns.append(encoded)
    points = [np.hstack([column[i] for column in columns]) for i in range(3)]
    return *points, sum(column.type in _ORDERED for column in inputs)


def _ordered(real: np.ndarray, parts: list[np.ndarray]) -> list[np.ndarray]:
    """In units of the real rows' spread, beside whether it is missing."""
    present = real[~np.isnan(real)]
    spread = 1.0
    if len(present):
        deviation = float(present.std())
        low, high = np.quantile(present, [0.25, 0.75])
        # One wild value must not make all others alike; a column mostly of one value has no interquartile range.
        spread = min(deviation, max((high - low) / 1.349, deviation / 10)) or 1.0
    return [np.column_stack([np.nan_to_num(part / spread), np.isnan(part)]) for part in parts]


def _categories(real: np.ndarray, parts: list[np.ndarray]) -> list[np.ndarray]:
    """One-hot, missing being one more; all others that no real row has are another."""
    codes = np.unique(np.nan_to_num(real, nan=-2.0))
    return [_CATEGORY * (np.nan_to_num(part, nan=-2.0)[:, None] == codes) for part in parts]
