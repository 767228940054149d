"""What a federation cost so far, round by round: bytes and seconds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from federated.report.amounts import byte_unit
from federated.report.curves import count_rounds, marker
from medimg.evaluation.figures import BLUE, ORANGE, PURPLE, styled

# Where both are alike, dashes over a line show both.
DIRECTIONS = {
    "bytes_up": ("from clients", BLUE, "-"),
    "bytes_down": ("to clients", ORANGE, "--"),
}


def traffic_figure(history: pd.DataFrame) -> Figure:
    """Cumulative bytes by direction (left) and, where they are told, cumulative seconds (right).

    Args:
        history: content of history.csv.
    """
    with styled():
        timed = bool(history["seconds"].notna().any())
        figure = Figure(figsize=(10.5 if timed else 5.5, 3.3))
        left, *right = figure.subplots(1, 1 + timed, squeeze=False)[0]
        _bytes(left, history)
        if timed:
            _seconds(right[0], history)
        for axes in (left, *right):
            axes.set_xlabel("round")
            axes.set_ylim(bottom=0)
            count_rounds(axes)
    return figure


def _bytes(axes: Axes, history: pd.DataFrame) -> None:
    unit, size = byte_unit(max(float(history[name].sum()) for name in DIRECTIONS))
    for name, (label, colour, dashes) in DIRECTIONS.items():
        total = history[name].fillna(0).cumsum() / size
        axes.plot(
            history["round"],
            total,
            marker=marker(len(history), most=1),
            color=colour,
            linestyle=dashes,
            label=label,
        )
    axes.set_title(f"All messages up to a round, {unit}")
    axes.legend(loc="upper left")


def _seconds(axes: Axes, history: pd.DataFrame) -> None:
    total = history["seconds"].fillna(0).cumsum().to_numpy(float)
    minutes = bool(len(total)) and total[-1] >= 300
    axes.plot(
        history["round"],
        total / (60 if minutes else 1),
        marker=marker(len(history), most=1),
        color=PURPLE,
    )
    axes.set_title(f"Time up to a round, {'minutes' if minutes else 'seconds'}")
