"""A measure's grade and its sentence."""

from typing import NamedTuple

GRADES = ("pass", "care", "fail")
PARTS = ("privacy", "utility", "fidelity", "diversity")


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
