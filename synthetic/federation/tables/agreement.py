"""What the clients of a federation of tables agree on before the first round: columns, and counts of each by itself.

The coordinator has no rows. In their place it has stand-ins: a table whose columns are each as frequent as the clients
counted, categories in every class, numbers in intervals, with nothing of what goes together in a row. The
normalisation is fitted to them, and a generator is told of rows to make by their categories.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthetic.federation.tables.sums import TableSums
from synthetic.tables import frames
from synthetic.tables.columns import GeneratorColumn
from synthetic.tables.generator_inputs import targets_of
from synthetic.tables.mix import largest_remainder

# Intervals of a column of numbers; those that hold more than a share of its values are divided again.
INTERVALS, PARTS = 64, 16
HEAVY = 1 / 16
PASSES = 2
MOST_STAND_INS = 10_000


@dataclass(frozen=True, eq=False)
class Agreement:
    """What was agreed.

    Attributes:
        columns: of all clients.
        stand_ins: in the form of `frames.to_frame`.
        targets: int (N,), the stand-ins' classes.
        class_weights: (classes,), how frequent they are: training rows of all clients.
    """

    columns: tuple[GeneratorColumn, ...]
    stand_ins: pd.DataFrame
    targets: np.ndarray
    class_weights: np.ndarray


def agree(
    sites: Mapping[str, pd.DataFrame],
    columns: tuple[GeneratorColumn, ...],
    classes: tuple[str, ...],
    sums: TableSums,
    seed: int,
) -> Agreement:
    """Count at the clients, and make stand-ins of the sums.

    Args:
        sites: client -> its labelled training rows.
        columns: of all clients.
        classes: labels, in order.
        sums: over the clients.
        seed: of the stand-ins' order.
    """

    def count(edges: list[np.ndarray], categories: bool) -> np.ndarray:
        return sums({name: counted(rows, columns, classes, edges, categories) for name, rows in sites.items()})

    return agreed(count, columns, classes, seed)


def counted(
    rows: pd.DataFrame,
    columns: tuple[GeneratorColumn, ...],
    classes: tuple[str, ...],
    edges: Sequence[np.ndarray],
    by_class: bool,
) -> np.ndarray:
    """What a client counts, int64 (n,): its categories in every class where they are asked for, and numbers.

    Args:
        rows: its labelled training rows.
        columns: of all clients.
        classes: labels, in order.
        edges: of the intervals of each column of numbers, in order.
        by_class: the categories are asked for.
    """
    categories = [_by_class(rows, columns, classes).ravel()] if by_class else []
    return np.concatenate([*categories, _in_intervals(rows, _numbers(columns), edges)])


def length(
    columns: tuple[GeneratorColumn, ...], classes: tuple[str, ...], edges: Sequence[np.ndarray], by_class: bool
) -> int:
    """Counts that `counted` gives, whoever counts."""
    categories = len(classes) * (1 + sum(size for _, size in _discrete(columns))) if by_class else 0
    return categories + sum(len(of_column) - 1 for of_column in edges)


def agreed(
    count: Callable[[list[np.ndarray], bool], np.ndarray],
    columns: tuple[GeneratorColumn, ...],
    classes: tuple[str, ...],
    seed: int,
) -> Agreement:
    """What comes of the clients' counts; with the same counts the same everywhere.

    Args:
        count: edges, and whether categories are asked for -> the sum of what clients count (`counted`).
        columns: of all clients.
        classes: labels, in order.
        seed: of the stand-ins' order.
    """
    numbers = _numbers(columns)
    edges = {i: _first_edges(column) for i, column in numbers.items()}
    counts = count(list(edges.values()), True)
    size = len(counts) - sum(len(of_column) - 1 for of_column in edges.values())
    by_class, inside = counts[:size].reshape(len(classes), -1), counts[size:]
    for _ in range(PASSES):
        finer = _finer(numbers, edges, inside)
        if all(len(finer[i]) == len(edges[i]) for i in edges):
            break
        edges = finer
        inside = count(list(edges.values()), False)
    class_counts = by_class[:, 0]
    scale = min(1.0, MOST_STAND_INS / class_counts.sum())
    targets = np.repeat(np.arange(len(classes)), np.ceil(class_counts * scale).astype(int))
    random = np.random.default_rng(seed)
    frame = _categories(columns, by_class[:, 1:], targets, random)
    for i, rows_in in zip(edges, _split(inside, edges), strict=True):
        values = _spread(numbers[i], edges[i], rows_in, len(targets))
        frame[f"number {i}"] = random.permutation(values)
    return Agreement(columns, pd.DataFrame(frame), targets, class_counts)


def public(columns: tuple[GeneratorColumn, ...], class_weights: np.ndarray) -> Agreement:
    """Stand-ins that tell what `columns` tell and nothing that was counted.

    Args:
        columns: of all clients.
        class_weights: (classes,), how frequent they are, as far as may be told.
    """
    frame = frames.public_frame(columns)
    return Agreement(columns, frame, np.arange(len(frame)) % len(class_weights), class_weights)


def _by_class(rows: pd.DataFrame, columns: tuple[GeneratorColumn, ...], classes: tuple[str, ...]) -> np.ndarray:
    """Of a client, int (classes, 1 + categories): rows, then those that have each category of each column."""
    frame = frames.to_frame(rows, columns, np.random.default_rng(0))
    targets = targets_of(rows, classes)
    parts = [np.bincount(targets, minlength=len(classes))[:, None]]
    for name, size in _discrete(columns):
        table = np.zeros((len(classes), size), np.int64)
        np.add.at(table, (targets, frame[name].to_numpy().astype(int)), 1)
        parts.append(table)
    return np.concatenate(parts, axis=1)


def _discrete(columns: tuple[GeneratorColumn, ...]) -> list[tuple[str, int]]:
    """Columns of a frame that are no numbers, and their categories, in one order everywhere."""
    sizes = []
    for i, column in enumerate(columns):
        if column.kind == "category":
            sizes.append((f"category {i}", len(column.levels)))
        elif column.kind == "number" and column.lacking:
            sizes.append((f"missing {i}", 2))
    return sizes


def _categories(
    columns: tuple[GeneratorColumn, ...], by_class: np.ndarray, targets: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    frame, start = {}, 0
    for name, size in _discrete(columns):
        codes = np.empty(len(targets), int)
        for k, counts in enumerate(by_class[:, start : start + size]):
            here = targets == k
            if here.any():
                wanted = largest_remainder(counts, int(here.sum()))
                codes[here] = random.permutation(np.repeat(np.arange(size), wanted))
        frame[name] = codes.astype(str)
        start += size
    return frame


def _first_edges(column: GeneratorColumn) -> np.ndarray:
    if column.decimals == 0 and column.high - column.low < INTERVALS:
        # Whole numbers, each in the middle of its own.
        return np.arange(column.low - 0.5, column.high + 1.0)
    return np.linspace(column.low, column.high, INTERVALS + 1)


def _numbers(columns: tuple[GeneratorColumn, ...]) -> dict[int, GeneratorColumn]:
    return {i: column for i, column in enumerate(columns) if column.kind == "number"}


def _in_intervals(rows: pd.DataFrame, numbers: dict[int, GeneratorColumn], edges: Sequence[np.ndarray]) -> np.ndarray:
    """Of a client: its known values in each interval of each column of numbers, one column after the other."""
    pairs = zip(numbers.values(), edges, strict=True)
    counts = [np.histogram(frames.known_numbers(rows, column), ends)[0] for column, ends in pairs]
    return np.concatenate([np.zeros(0, np.int64), *counts])


def _split(inside: np.ndarray, edges: dict[int, np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([len(of_column) - 1 for of_column in edges.values()])
    return np.split(inside, ends)[: len(ends)]


def _finer(
    numbers: dict[int, GeneratorColumn], edges: dict[int, np.ndarray], inside: np.ndarray
) -> dict[int, np.ndarray]:
    """Edges with the intervals divided that hold many values, of a skewed column most of them."""
    finer = {}
    for i, counts in zip(edges, _split(inside, edges), strict=True):
        decimals = numbers[i].decimals
        narrowest = 0.0 if decimals is None else 10.0**-decimals
        divided = (counts > HEAVY * counts.sum()) & (np.diff(edges[i]) > 1.001 * narrowest)
        parts = [
            np.linspace(low, high, PARTS + 1 if wide else 2)[:-1]
            for low, high, wide in zip(edges[i][:-1], edges[i][1:], divided, strict=True)
        ]
        finer[i] = np.concatenate([*parts, edges[i][-1:]])
    return finer


def _spread(column: GeneratorColumn, edges: np.ndarray, counts: np.ndarray, points: int) -> np.ndarray:
    """So many values as frequent in each interval as was counted, even within it."""
    if not counts.sum():
        return np.linspace(column.low, column.high, points)
    wanted = largest_remainder(counts, points)
    before = np.repeat(np.cumsum(wanted) - wanted, wanted)
    within = (np.arange(points) - before + 0.5) / np.repeat(wanted, wanted)
    values = np.repeat(edges[:-1], wanted) + within * np.repeat(np.diff(edges), wanted)
    if column.decimals is not None:
        values = np.round(values, column.decimals)
    return np.clip(values, column.low, column.high)
