"""The federated model and each client's own, round by round, on the client's own validation part."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from federated.report.curves import count_rounds, curve_of, legend_of, marker
from federated.site_gain_figure import MARKS
from medimg.evaluation.figures import GREY, shortened, styled

MOST_CLIENTS = 16
NAMES = {"val_auroc": "AUROC", "val_loss": "loss"}
_ACROSS = 4


def clients_figure(
    rounds: pd.DataFrame, clients: Sequence[str], local: Mapping[str, list[dict]]
) -> Figure | None:
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


def _panel(axes: Axes, metric: str, shared: list[dict], own: list[dict]) -> None:
    numbers, values = curve_of(own, metric)
    style = {"color": MARKS["local"][0], "linewidth": 1.2, "markersize": 2.5}
    axes.plot(numbers, values, marker=marker(len(numbers), 1), label="its own model", **style)
    numbers, values = curve_of(shared, metric)
    style = {"color": MARKS["federated"][0], "linewidth": 1.6, "markersize": 2.5}
    axes.plot(
        numbers, values, marker=marker(len(numbers), 30), label="the federated model", **style
    )
    if not values:
        text = {"ha": "center", "color": GREY, "fontsize": 9.5}
        axes.text(0.5, 0.5, "undefined here", transform=axes.transAxes, **text)
