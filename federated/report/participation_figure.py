"""Who took part: a grid of clients and rounds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from federated.report.attendance import IN_THE_MODEL, STATES, State, states
from federated.report.round_figures import count_rounds
from medimg.style.figures import BLACK, GREY, ORANGE, PURPLE, SKY, VERMILION, styled
from medimg.style.words import shortened

# Beyond it names can't be read.
MOST_CLIENTS = 40
# Apart in lightness too, for who can't tell colours; a letter says the same where there is room.
LOOK = {
    State.TOOK_PART: (SKY, ""),
    State.SLOW: (ORANGE, "s"),
    State.DROPPED: (GREY, "d"),
    State.REJECTED: (VERMILION, "r"),
    State.LOST: (BLACK, "l"),
    State.UNUSED: (PURPLE, "u"),
    State.NOT_ASKED: ("#F2F2F2", ""),
}
_MOST_LETTERED = 40


def participation_figure(rounds: pd.DataFrame, clients: Sequence[str]) -> Figure | None:
    """What each client did in each round; None when there was no round.

    Args:
        rounds: content of rounds.csv.
        clients: names of all, from above; the first MOST_CLIENTS are drawn.
    """
    if rounds.empty:
        return None
    numbers = range(int(rounds["round"].min()), int(rounds["round"].max()) + 1)
    names = list(clients)[:MOST_CLIENTS]
    positions = states(rounds, names, numbers)
    with styled():
        figure = Figure(figsize=(10.5, 1.7 + 0.34 * len(names)))
        axes = figure.subplots()
        _grid(axes, positions, numbers)
        lettered = len(numbers) <= _MOST_LETTERED
        if lettered:
            _letters(axes, positions, numbers)
        axes.set_yticks(range(len(names)), [shortened(name, 26) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("round")
        count_rounds(axes)
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        _counts(axes, positions)
        if len(names) < len(clients):
            axes.set_title(f"the first {len(names)} of {len(clients)} clients")
        figure.legend(handles=_legend(positions, lettered), loc="outside lower center", ncols=min(5, len(STATES)))
    return figure


def _grid(axes: Axes, positions: np.ndarray, numbers: range) -> None:
    colours = ListedColormap([LOOK[state][0] for state in STATES])
    # White lines between cells swallow the cells when these are thin.
    axes.pcolormesh(
        np.arange(len(numbers) + 1) + numbers[0] - 0.5,
        np.arange(len(positions) + 1) - 0.5,
        positions,
        cmap=colours,
        norm=BoundaryNorm(np.arange(len(STATES) + 1) - 0.5, len(STATES)),
        edgecolors="white",
        linewidth=1.5 if len(numbers) <= 60 else 0,
    )
    for row in range(1, len(positions)):
        axes.axhline(row - 0.5, color="white", linewidth=2)


def _letters(axes: Axes, positions: np.ndarray, numbers: range) -> None:
    for (i, j), position in np.ndenumerate(positions):
        if letter := LOOK[STATES[position]][1]:
            ink = BLACK if STATES[position] is State.SLOW else "white"
            axes.text(j + numbers[0], i, letter, ha="center", va="center", color=ink, fontsize=9)


def _counts(axes: Axes, positions: np.ndarray) -> None:
    """Beside each client, in how many rounds its update came into the model."""
    took = np.isin(positions, [STATES.index(state) for state in IN_THE_MODEL]).sum(axis=1)
    for i, count in enumerate(took):
        axes.annotate(
            f"{count} of {positions.shape[1]}",
            (1.01, i),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9.5,
        )


def _legend(positions: np.ndarray, lettered: bool) -> list[Patch]:
    present = set(positions.ravel().tolist())
    return [
        Patch(
            facecolor=LOOK[state][0],
            edgecolor="#BBBBBB",
            label=f"{state.value} ({LOOK[state][1]})" if lettered and LOOK[state][1] else state.value,
        )
        for i, state in enumerate(STATES)
        if i in present
    ]
