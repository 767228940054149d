"""Medians over the clients, exact, by counting values in ever smaller intervals."""

from dataclasses import dataclass

import numpy as np

from federated.statistics.asking import Asking, answer_of, numbers
from federated.statistics.keys import to_keys, to_values
from federated.statistics.moments import Moments
from medimg.errors import InputError

# Fewer would take more rounds; more would tell more of the values far from the median.
BINS = 64


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
    def interval(self) -> tuple[str, int, int]:
        return self.column, self.low, self.high

    def narrow(self, counts: np.ndarray) -> None:
        """To the part that holds the rank."""
        below = np.concatenate([[0], np.cumsum(counts)])
        part = int(np.searchsorted(below, self.rank, side="right")) - 1
        step = (self.high - self.low) // BINS + 1
        self.low += part * step
        self.high = min(self.low + step - 1, self.high)
        self.rank -= int(below[part])
        self.inside = int(counts[part])


def medians(asking: Asking, columns: dict[str, tuple[str, Moments]]) -> dict[str, float]:
    """The median of each column over all clients, equal to that of the pooled values.

    The search is over whole numbers in the order of the values (`keys`), so it ends at a value and not at the bin of a
    grid. It takes at most 6 rounds for any number of columns (numbers have 32 bits, a round settles 6; a date of any
    year 7), less where the values lie close together.

    Args:
        asking: clients.
        columns: name -> type and moments of its known values, of which there is at least one.

    Returns:
        Name -> median, the middle of the two middle values where their number is even.

    Raises:
        InputError: an answer is unusable, or at odds with the moments.
    """
    searches = [search for name, (kind, known) in columns.items() for search in _two(name, kind, known)]
    while pending := [search for search in searches if search.low < search.high]:
        intervals = list(dict.fromkeys(search.interval for search in pending))
        counts = dict(zip(intervals, _counts(asking, intervals), strict=True))
        for search in pending:
            found = counts[search.interval]
            if found.sum() != search.inside:
                raise InputError(
                    f"column '{search.column}': the clients counted {search.inside} values and then {found.sum()}; "
                    "has a table changed meanwhile?"
                )
            search.narrow(found)
    values: dict[str, list[float]] = {}
    for search in searches:
        values.setdefault(search.column, []).append(float(to_values(np.array([search.low]), search.kind)[0]))
    return {name: (low + high) / 2 for name, (low, high) in values.items()}


def _two(name: str, kind: str, known: Moments) -> list[_Search]:
    """For the two middle ranks, which are one when the number of values is odd."""
    low, high = to_keys(np.array([known.low, known.high]), kind).tolist()
    ranks = ((known.count - 1) // 2, known.count // 2)
    return [_Search(name, kind, low, high, rank, known.count) for rank in ranks]


def _counts(asking: Asking, intervals: list[tuple[str, int, int]]) -> np.ndarray:
    """int64 (intervals, BINS)."""
    total = np.zeros((len(intervals), BINS), np.int64)
    for client, answer in asking("counts", intervals=[list(i) for i in intervals], bins=BINS):
        with answer_of(client, "counts"):
            total += numbers(answer, "counts", total.shape, counts=True)
    return total
