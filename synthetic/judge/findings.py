"""A measure's grade and its sentence."""

from collections.abc import Sequence
from typing import NamedTuple

GRADES = ("pass", "care", "fail")
PARTS = ("privacy", "utility", "fidelity", "diversity")
NAMED = 3


class Finding(NamedTuple):
    """One measure's grade.

    Attributes:
        part: one of PARTS.
        grade: one of GRADES.
        text: a sentence with the numbers.
    """

    part: str
    grade: str
    text: str


def percent(share: float) -> str:
    """Two digits: a few copies of many rows are not 0.0%."""
    return f"{100 * share:.2g}%"


def listed(names: Sequence[str], count: int) -> str:
    """The first NAMED of `count` names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    more = count - min(len(names), NAMED)
    return f"{shown} and {more} more" if more else shown
