"""Order statistics over the clients, exact, from sums of counts in ever smaller intervals.

The search is over whole numbers in the order of the values (`keys`), so it ends at a value and not at the bin of a
grid. All columns are searched at once. A number has 32 bits and a date 40: 4 or 5 rounds with 256 bins, 6 or 7 with 64.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from federated.statistics.asking import Asking, unusable
from federated.statistics.keys import DATE, DOUBLE, to_values
from medimg.errors import InputError
from medimg.tables.fit import MOST_CATEGORIES

# Seconds of all years of four digits; all float64; and all float32.
_EVERYWHERE = {DATE: (-(1 << 39), (1 << 39) - 1), DOUBLE: (-(1 << 63), (1 << 63) - 1)}
_NUMBERS = (0, (1 << 32) - 1)
# Of an interval: with more bins fewer rounds, and longer answers.
MANY, FEW = 256, 64
_NARROW = 256  # columns, up to which there are many bins
# Rounds of a search at most, with few bins: of dates, and of float64.
MOST_ROUNDS, MOST_ROUNDS_OF_DOUBLE = 7, 11

Interval = tuple[str, int, int]


@dataclass
class _Search:
    """For the value of one rank among all clients' values of a column: it lies in [low, high], keys."""

    column: str
    kind: str
    low: int
    high: int
    rank: int  # among the values in the interval, from 0
    inside: int  # how many these are

    @property
    def interval(self) -> Interval:
        return self.column, self.low, self.high

    def narrow(self, counts: np.ndarray) -> None:
        """To the part that holds the rank."""
        below = np.concatenate([[0], np.cumsum(counts)])
        part = int(np.searchsorted(below, self.rank, side="right")) - 1
        _, self.low, self.high = _part(self.interval, part, len(counts))
        self.rank -= int(below[part])
        self.inside = int(counts[part])


def ranked(asking: Asking, columns: Mapping[str, tuple[str, int, list[int]]]) -> dict[str, list[float]]:
    """The values of some ranks among all clients' known values of each column.

    Args:
        asking: clients.
        columns: name -> type, number of known values, and ranks from 0, each below it.

    Returns:
        Name -> values of these ranks.

    Raises:
        InputError: an answer is unusable, or at odds with the numbers of values.
    """
    searches = {
        name: [_Search(name, kind, *_whole(kind), rank, known) for rank in ranks]
        for name, (kind, known, ranks) in columns.items()
    }
    bins = MANY if len(columns) <= _NARROW else FEW
    while pending := [one for of_column in searches.values() for one in of_column if one.low < one.high]:
        counts_in = _counted(asking, list(dict.fromkeys(one.interval for one in pending)), bins)
        for search in pending:
            counts = counts_in[search.interval]
            if counts.sum() != search.inside:
                raise unusable("counts", f"column '{search.column}': {search.inside} values, then {counts.sum()}")
            search.narrow(counts)
    return {
        name: to_values(np.array([search.low for search in of_column], np.int64), columns[name][0]).tolist()
        for name, of_column in searches.items()
    }


def frequencies(asking: Asking, columns: Mapping[str, tuple[str, int]]) -> dict[str, dict[float, int]]:
    """Every different value of each column with its count over all clients.

    Args:
        asking: clients.
        columns: name -> type and number of known values.

    Raises:
        InputError: a column has too many different values, or an answer is unusable.
    """
    known = {(name, *_whole(kind)): count for name, (kind, count) in columns.items()}
    while wide := [interval for interval in known if interval[1] < interval[2]]:
        for interval, counts in _counted(asking, wide, FEW).items():
            if counts.sum() != known.pop(interval):
                raise unusable("counts", f"column '{interval[0]}': another number of values than before")
            known |= {_part(interval, part, FEW): int(counts[part]) for part in np.flatnonzero(counts).tolist()}
        _check_few(known)
    values: dict[str, dict[float, int]] = {name: {} for name in columns}
    for (name, key, _), count in sorted(known.items()):
        (value,) = to_values(np.array([key]), columns[name][0]).tolist()
        values[name][value] = count
    return values


def few_or_ends(
    asking: Asking, question: str, columns: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[dict[float, int] | None, float, float]]:
    """Of each column all its values, where they are few, and else the smallest and the largest alone.

    Args:
        asking: clients.
        question: kind of the question that counts float64 values in intervals.
        columns: name -> number of known values, above 0, and how many different ones are few.

    Returns:
        Name -> (value -> count, or None where there are more), smallest, largest.

    Raises:
        InputError: an answer is unusable.
    """
    known = {(name, *_whole(DOUBLE)): count for name, (count, _) in columns.items()}
    crowded: set[str] = set()
    bins = MANY if len(columns) <= _NARROW else FEW
    while wide := [interval for interval in known if interval[1] < interval[2]]:
        for interval, counts in _counted(asking, wide, bins, question).items():
            if counts.sum() != known.pop(interval):
                raise unusable(question, f"column '{interval[0]}': another number of values than before")
            known |= {_part(interval, part, bins): int(counts[part]) for part in np.flatnonzero(counts).tolist()}
        crowded |= {name for name, times in Counter(name for name, _, _ in known).items() if times > columns[name][1]}
        ends = {name: sorted(one for one in known if one[0] == name) for name in crowded}
        kept = {end for parts in ends.values() for end in (parts[0], parts[-1])}
        known = {one: count for one, count in known.items() if one[0] not in crowded or one in kept}
    values: dict[str, dict[float, int]] = {name: {} for name in columns}
    for (name, key, _), count in sorted(known.items()):
        (value,) = to_values(np.array([key]), DOUBLE).tolist()
        values[name][value] = count
    return {
        name: (None if name in crowded else frequency, min(frequency), max(frequency))
        for name, frequency in values.items()
    }


def _check_few(known: Mapping[Interval, int]) -> None:
    """Nobody asks for what amounts to the column itself."""
    for name, times in Counter(name for name, _, _ in known).items():
        if times > MOST_CATEGORIES:
            raise InputError(
                f"column '{name}' has more than {MOST_CATEGORIES} different values, which would be counted one by one: "
                "use --impute median; or make it identifier or metadata in dataset.yaml"
            )


def _whole(kind: str) -> tuple[int, int]:
    return _EVERYWHERE.get(kind, _NUMBERS)


def _part(interval: Interval, part: int, bins: int) -> Interval:
    """One of the equal parts of an interval, the last ones smaller."""
    name, low, high = interval
    step = (high - low) // bins + 1
    return name, low + part * step, min(low + (part + 1) * step - 1, high)


def _counted(
    asking: Asking, intervals: list[Interval], bins: int, question: str = "counts"
) -> dict[Interval, np.ndarray]:
    """Interval -> int64 (bins,)."""
    total = asking.counts(question, len(intervals) * bins, intervals=[list(i) for i in intervals], bins=bins)
    return dict(zip(intervals, total.reshape(-1, bins), strict=True))
