"""How the model became better round by round, beside what the comparison models did."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from federated.report.curves import count_rounds, curve_of, legend_of, marker
from federated.site_gain_figure import MARKS
from medimg.evaluation.figures import BLACK, SKY, styled

PANELS = {
    "val_auroc": "AUROC, validation",
    "val_accuracy": "accuracy, validation",
    "val_loss": "loss, validation",
}
# What the clients measured while they trained, each example before its step.
_TRAINING = {"val_accuracy": "accuracy", "val_loss": "loss"}
# More local lines than this hide what is behind them.
_CROWD = 12


def rounds_figure(
    history: pd.DataFrame, baselines: Mapping, best_round: int | None = None
) -> Figure | None:
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


def _mark(axes: Axes, name: str, kept: pd.DataFrame) -> None:
    axes.plot(
        kept["round"],
        kept[name],
        linestyle="",
        marker="*",
        markersize=13,
        color=MARKS["federated"][0],
        markeredgecolor=BLACK,
        label="kept model",
    )
