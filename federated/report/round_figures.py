"""Figures over rounds: how the model became better, each client's own, and what it cost in bytes and seconds."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from federated.report.site_gain_figure import MARKS
from medimg.style.figures import BLACK, BLUE, GREY, ORANGE, PURPLE, SKY, styled
from medimg.style.words import byte_unit, shortened

PANELS = {"val_auroc": "AUROC, validation", "val_accuracy": "accuracy, validation", "val_loss": "loss, validation"}
# Where both are alike, dashes over a line show both.
DIRECTIONS = {"bytes_up": ("from clients", BLUE, "-"), "bytes_down": ("to clients", ORANGE, "--")}
# What a client's panel shows: the first of these that any client has.
NAMES = {"val_auroc": "AUROC", "val_loss": "loss"}
# Panels of clients, and how many of them lie side by side.
MOST_CLIENTS, _ACROSS = 16, 4
# What the clients measured while they trained, each example before its step.
_TRAINING = {"val_accuracy": "accuracy", "val_loss": "loss"}
# More local lines than this hide what is behind them.
_CROWD = 12


def count_rounds(axes: Axes, most: int = 9) -> None:
    """Ticks at whole rounds, up to `most` of them, even where there is but one round."""
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def curve_of(rows: list[dict], name: str) -> tuple[list, list]:
    """Rounds and values of the rows that have one; None and NaN are left out.

    Args:
        rows: each with `round` and perhaps `name`.
        name: of the value.
    """
    points = [(row["round"], row[name]) for row in rows if row.get(name) is not None and not math.isnan(row[name])]
    return [number for number, _ in points], [value for _, value in points]


def marker(points: int, most: int = 40) -> str:
    """Of a curve: one point makes no line, and beyond `most` the markers hide it."""
    return "o" if points <= most else ""


def legend_of(figure: Figure, location: str, columns: int) -> None:
    """One legend for all axes: each label once, of curves that have points."""
    handles: dict[str, Line2D] = {}
    for axes in figure.axes:
        for line in axes.lines:
            if len(line.get_xdata()) and not line.get_label().startswith("_"):
                handles.setdefault(line.get_label(), line)
    figure.legend(handles.values(), handles, loc=location, ncols=min(columns, len(handles)))


def rounds_figure(history: pd.DataFrame, baselines: Mapping, best_round: int | None = None) -> Figure | None:
    """AUROC, accuracy and loss against rounds; None when no round has any of them.

    Args:
        history: content of history.csv.
        baselines: `centralised`: rows with `round` and any of the panels' columns; `local`: client -> such rows.
        best_round: the round whose model was kept.
    """
    panels = [name for name in PANELS if name in history and history[name].notna().any()]
    if not panels:
        return None
    with styled():
        figure = Figure(figsize=(1.4 + 3.7 * len(panels), 3.9))
        grid = figure.subplots(1, len(panels), squeeze=False)
        for axes, name in zip(grid[0], panels, strict=True):
            _baselines(axes, name, baselines)
            _federated(axes, name, history)
            if best_round is not None:
                _mark(axes, name, history[history["round"] == best_round])
            axes.set_title(PANELS[name])
            axes.set_xlabel("round")
            count_rounds(axes)
        legend_of(figure, "outside lower center", 5)
    return figure


def _baselines(axes: Axes, name: str, baselines: Mapping) -> None:
    local = baselines.get("local") or {}
    thin = {"linewidth": 0.9, "markersize": 2, "alpha": 1 if len(local) <= _CROWD else 0.4}
    for rows in local.values():
        _curve(axes, rows, name, MARKS["local"][0], "local, a line for each site", **thin)
    rows = baselines.get("centralised") or []
    _curve(axes, rows, name, MARKS["centralised"][0], "centralised", linestyle="--", markersize=3)


def _federated(axes: Axes, name: str, history: pd.DataFrame) -> None:
    rows = history.to_dict("records")
    if name in _TRAINING:
        label = "federated, training"
        _curve(axes, rows, _TRAINING[name], SKY, label, linestyle=":", markersize=3)
    colour = MARKS["federated"][0]
    _curve(axes, rows, name, colour, "federated", markersize=3.5, marker=marker(len(rows)))


def _curve(axes: Axes, rows: list[dict], name: str, colour: str, label: str, **style) -> None:
    numbers, values = curve_of(rows, name)
    style.setdefault("marker", marker(len(numbers), most=1))
    axes.plot(numbers, values, color=colour, label=label, **style)


def _mark(axes: Axes, name: str, best: pd.DataFrame) -> None:
    axes.plot(
        best["round"],
        best[name],
        linestyle="",
        marker="*",
        markersize=13,
        color=MARKS["federated"][0],
        markeredgecolor=BLACK,
        label="kept model",
    )


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
            history["round"], total, marker=marker(len(history), most=1), color=colour, linestyle=dashes, label=label
        )
    axes.set_title(f"All messages up to a round, {unit}")
    axes.legend(loc="upper left")


def _seconds(axes: Axes, history: pd.DataFrame) -> None:
    total = history["seconds"].fillna(0).cumsum().to_numpy(float)
    minutes = bool(len(total)) and total[-1] >= 300
    axes.plot(history["round"], total / (60 if minutes else 1), marker=marker(len(history), most=1), color=PURPLE)
    axes.set_title(f"Time up to a round, {'minutes' if minutes else 'seconds'}")


def clients_figure(rounds: pd.DataFrame, clients: Sequence[str], local: Mapping[str, list[dict]]) -> Figure | None:
    """A panel for each client: AUROC or, where no client has one, loss; None when no client was measured.

    Args:
        rounds: content of rounds.csv.
        clients: names; the first MOST_CLIENTS are drawn.
        local: client -> history of its own model, rows with `round` and `val_auroc` or `val_loss`; may be empty.
    """
    metric = next((m for m in NAMES if m in rounds and rounds[m].notna().any()), None)
    if metric is None:
        return None
    names = list(clients)[:MOST_CLIENTS]
    across = min(_ACROSS, len(names))
    down = -(-len(names) // across)
    with styled():
        figure = Figure(figsize=(1.5 + 2.5 * max(across, 2), 1.1 + 2.2 * down))
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for i, axes in enumerate(grid.flat):
            axes.set_visible(i < len(names))
            # The lowest panel of a column names the rounds.
            axes.tick_params(labelbottom=i + across >= len(names))
        for axes, name in zip(grid.flat, names, strict=False):
            rows = rounds[rounds["client"] == name].sort_values("round")
            _panel(axes, metric, rows.to_dict("records"), local.get(name, []))
            axes.set_title(shortened(name, 24), fontsize=10.5)
            count_rounds(axes, 4)
        figure.supxlabel("round", fontsize=10.5)
        figure.supylabel(f"{NAMES[metric]}, own validation part", fontsize=10.5)
        if len(names) < len(clients):
            figure.suptitle(f"the first {len(names)} of {len(clients)} clients", fontsize=11.5)
        legend_of(figure, "outside upper center", 2)
    return figure


def _panel(axes: Axes, metric: str, shared: list[dict], local: list[dict]) -> None:
    numbers, values = curve_of(local, metric)
    style = {"color": MARKS["local"][0], "linewidth": 1.2, "markersize": 2.5}
    axes.plot(numbers, values, marker=marker(len(numbers), 1), label="its own model", **style)
    numbers, values = curve_of(shared, metric)
    style = {"color": MARKS["federated"][0], "linewidth": 1.6, "markersize": 2.5}
    axes.plot(numbers, values, marker=marker(len(numbers), 30), label="the federated model", **style)
    if not values:
        text = {"ha": "center", "color": GREY, "fontsize": 9.5}
        axes.text(0.5, 0.5, "undefined here", transform=axes.transAxes, **text)
