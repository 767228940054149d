"""How the training went: losses, validation scores and learning rate over epochs or rounds."""

import pandas as pd
from matplotlib.figure import Figure

from medimg.style.figures import BLUE, GREEN, GREY, PURPLE, VERMILION, styled

SCORES = {"val_auroc": ("AUROC", GREEN), "val_accuracy": ("accuracy", PURPLE)}
LOSSES = {"loss": ("training", BLUE), "val_loss": ("validation", VERMILION)}


def training_figure(history: pd.DataFrame) -> Figure | None:
    """Loss, validation scores and learning rate; None without history.

    Args:
        history: `history.csv`: `epoch` or `round`, and any of loss, val_loss, val_auroc,
            val_accuracy, learning_rate and phase.
    """
    step = next((name for name in ("epoch", "round") if name in history), None)
    if step is None or history.empty:
        return None
    panels = [
        (title, columns)
        for title, columns in (
            ("loss", LOSSES),
            ("validation score", SCORES),
            ("learning rate", {"learning_rate": ("learning rate", BLUE)}),
        )
        if any(history[name].notna().any() for name in columns if name in history)
    ]
    if not panels:
        return None
    with styled():
        figure = Figure(figsize=(8, 0.6 + 2.1 * len(panels)))
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, columns) in zip(all_axes, panels, strict=True):
            _panel(axes, history, step, columns)
            axes.set_ylabel(title)
            _mark_phases(axes, history, step, named=axes is all_axes[0])
        if panels[-1][0] == "learning rate":
            all_axes[-1].set_yscale("log")
            all_axes[-1].yaxis.set_major_formatter("{x:g}")
            all_axes[-1].yaxis.set_minor_formatter("")
        all_axes[-1].set_xlabel(step)
        all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _panel(axes, history: pd.DataFrame, step: str, columns: dict) -> None:
    drawn = [name for name in columns if name in history and history[name].notna().any()]
    for name in drawn:
        label, colour = columns[name]
        # One epoch makes no line: the markers show it.
        axes.plot(history[step], history[name], "o-", markersize=3.5, color=colour, label=label)
    if len(columns) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _mark_phases(axes, history: pd.DataFrame, step: str, named: bool) -> None:
    if "phase" not in history or history["phase"].nunique() < 2:
        return
    starts = history.drop_duplicates("phase")
    for number, (position, phase) in enumerate(zip(starts[step], starts["phase"], strict=True)):
        if number:
            axes.axvline(position - 0.5, color=GREY, linestyle=":", linewidth=1.1)
        if named:
            axes.annotate(
                str(phase), (position - (0.5 if number else 0), 1.03), xycoords=axes.get_xaxis_transform(), color=GREY
            )
