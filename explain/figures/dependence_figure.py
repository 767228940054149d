"""The figure of partial dependence: curves of patients and their mean, with where the data are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from explain.methods.partial_dependence import Dependence, value_text
from medimg.inspection.table_figures import as_dates
from medimg.style.figures import BLUE, GREY, line_style, styled
from medimg.style.words import shortened

_PATIENTS = 40
_COLUMNS = 3


def partial_dependence(curves: Sequence[Dependence], classes: Sequence[str], seed: int) -> Figure:
    """One panel a feature.

    With one class: thin lines are single patients, the thick one is the mean of all. With several: a mean each. The
    small ticks below are the patients' own values, the last point apart is the value `missing`.

    Args:
        curves: what to draw.
        classes: whose probabilities these are.
        seed: of the choice of patients.
    """
    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    with styled():
        figure = Figure(figsize=(3.7 * columns + 0.6, 3.0 * rows + 0.6))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(curves) :]:
            axes.axis("off")
        patients = np.random.default_rng(seed).permutation(len(curves[0].probabilities))[:_PATIENTS]
        for axes, curve in zip(grid.flat, curves, strict=False):
            (_categories if curve.feature.categories else _curve)(axes, curve, classes, patients)
            axes.set_title(shortened(curve.feature.name, 34))
            axes.set_ylim(0, 1)
        label = f"probability of {shortened(classes[0], 24)}" if len(classes) == 1 else "probability"
        for line in grid:
            line[0].set_ylabel(label)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(5, len(labels)))
    return figure


def _curve(axes, curve: Dependence, classes: Sequence[str], patients: np.ndarray) -> None:
    present = ~np.isnan(curve.grid)
    x = curve.grid[present]
    if len(classes) == 1:
        axes.plot(x, curve.probabilities[patients][:, present, 0].T, color=GREY, alpha=0.28, linewidth=0.7)
        axes.plot([], [], color=GREY, linewidth=0.9, label="single patients")
    for k, name in enumerate(classes):
        style = {"linewidth": 2.6, **line_style(k)}
        marker = "o" if len(x) < 10 else None
        axes.plot(x, curve.mean[present, k], marker=marker, label=_named(classes, name), **style)
    width = np.ptp(x) if len(x) > 1 else 1.0
    _ticks_of_data(axes, curve.values, x)
    if curve.feature.type == "date":
        as_dates(axes)
    elif curve.feature.type == "integer":
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not present.all():
        _missing(axes, curve, classes, patients, x.max() + 0.2 * width if len(x) else 0.0)


def _missing(axes, curve: Dependence, classes, patients: np.ndarray, place: float) -> None:
    """The answer to a missing value, apart from the curve."""
    if len(classes) == 1:
        probabilities = curve.probabilities[patients][:, -1, 0]
        axes.scatter(np.full(len(probabilities), place), probabilities, s=9, color=GREY, alpha=0.35, linewidths=0)
    for k in range(len(classes)):
        axes.plot(place, curve.mean[-1, k], "D", color=line_style(k)["color"], markersize=6.5)
    if curve.feature.type == "date":
        axes.text(place, 0.02, "missing", ha="center", fontsize=9)
        return
    low, high = axes.get_xlim()
    # No tick under the word, nor where there are no data.
    ticks = [t for t in axes.get_xticks() if low <= t <= place - 0.17 * (high - low)]
    axes.set_xticks([*ticks, place], [*(f"{t:.6g}" for t in ticks), "missing"])
    axes.set_xlim(low, high + 0.06 * (high - low))


def _categories(axes, curve: Dependence, classes: Sequence[str], patients: np.ndarray) -> None:
    places = np.arange(len(curve.grid))
    if len(classes) == 1:
        axes.plot(places, curve.probabilities[patients][:, :, 0].T, color=GREY, alpha=0.22, linewidth=0.7)
        axes.plot([], [], color=GREY, linewidth=0.9, label="single patients")
    for k, name in enumerate(classes):
        style = {**line_style(k), "linestyle": "none"}
        axes.plot(places, curve.mean[:, k], "D", markersize=7.5, label=_named(classes, name), **style)
    texts = [value_text(curve.feature, value) for value in curve.grid]
    counts = [np.isnan(curve.values).sum() if np.isnan(v) else (curve.values == v).sum() for v in curve.grid]
    labels = [f"{shortened(t, 12)}\nn = {c}" for t, c in zip(texts, counts, strict=True)]
    if len(labels) > 6:
        labels = [shortened(text, 12) for text in texts]
    turn = {"rotation": 40, "ha": "right"} if len(labels) > 6 else {}
    axes.set_xticks(places, labels, **turn)
    axes.margins(x=0.12)


def _ticks_of_data(axes, values: np.ndarray, x: np.ndarray) -> None:
    inside = values[(values >= x.min()) & (values <= x.max())] if len(x) else x
    transform = axes.get_xaxis_transform()
    axes.plot(inside, np.full(len(inside), 0.012), "|", color=BLUE, alpha=0.35, markersize=6,
              transform=transform)  # fmt: skip


def _named(classes: Sequence[str], name: str) -> str:
    return "mean of all" if len(classes) == 1 else shortened(name, 24)
