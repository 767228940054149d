"""What the figures over rounds share: axis, markers, curves with gaps, one legend."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator


def count_rounds(axes: Axes, most: int = 9) -> None:
    """Ticks at whole rounds, up to `most` of them, even where there is but one round."""
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def curve_of(rows: list[dict], name: str) -> tuple[list, list]:
    """Rounds and values of the rows that have one; None and NaN are left out.

    Args:
        rows: each with `round` and perhaps `name`.
        name: of the value.
    """
    found = [
        (row["round"], row[name])
        for row in rows
        if row.get(name) is not None and not math.isnan(row[name])
    ]
    return [number for number, _ in found], [value for _, value in found]


def marker(points: int, most: int = 40) -> str:
    """Of a curve: one point makes no line, and beyond `most` the markers hide it."""
    return "o" if points <= most else ""


def legend_of(figure: Figure, location: str, columns: int) -> None:
    """One legend for all axes: each label once, of curves that have points."""
    found: dict[str, Line2D] = {}
    for axes in figure.axes:
        for line in axes.lines:
            if len(line.get_xdata()) and not line.get_label().startswith("_"):
                found.setdefault(line.get_label(), line)
    figure.legend(found.values(), found, loc=location, ncols=min(columns, len(found)))
