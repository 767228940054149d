"""The confusion matrix as a figure: counts, and the share of each label's rows."""

import math
import textwrap

import numpy as np
from matplotlib.figure import Figure

from medimg.evaluation.predictions import Predictions
from medimg.style.figures import BLACK, styled
from medimg.style.words import shortened

# Beyond this, cells are too small for two lines of text.
MOST_CLASSES_WITH_SHARES = 12


def confusion_figure(predictions: Predictions, unit: str) -> Figure:
    """True classes in rows, predictions in columns; multilabel: one small matrix per class.

    Args:
        predictions: on labelled rows.
        unit: what is counted, `image` or `row`.
    """
    title = f"{unit.capitalize()}s, and share of their true class\n(rows: true class, columns: predicted class)"
    matrix = predictions.confusion_matrix()
    with styled():
        if predictions.task == "multilabel":
            return _grid(predictions.classes, matrix, title)
        names = [textwrap.fill(shortened(name, 34), 18) for name in predictions.classes]
        side = max(4.6, 0.95 * len(names) + 2.2)
        figure = Figure(figsize=(side, side * 0.92))
        axes = figure.subplots()
        _draw(axes, matrix, names, size=9.5 if len(names) > 4 else 12)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(title)
    return figure


def _grid(classes: tuple[str, ...], matrices: np.ndarray, title: str) -> Figure:
    columns = min(5, len(classes))
    rows = math.ceil(len(classes) / columns)
    figure = Figure(figsize=(2.35 * columns + 0.4, 2.45 * rows + 0.6))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name, matrix in zip(panels, classes, matrices, strict=False):
        _draw(panel, matrix, ["no", "yes"], size=9.5)
        panel.set_title(shortened(name, 22), fontsize=10.5)
    for panel in panels[len(classes) :]:
        panel.set_visible(False)
    figure.supxlabel("predicted class", fontsize=10.5)
    figure.supylabel("true class", fontsize=10.5)
    figure.suptitle(title, fontsize=11.5)
    return figure


def _draw(axes, matrix: np.ndarray, names: list[str], size: float) -> None:
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    with_shares = len(names) <= MOST_CLASSES_WITH_SHARES
    for (row, column), count in np.ndenumerate(matrix):
        share = shares[row, column]
        text = f"{count:,}"
        if with_shares and totals[row, 0]:
            text += f"\n{100 * share:.1f}%"
        colour = "white" if share > 0.55 else BLACK
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    turned = len(names) > 3 or max(map(len, names)) > 14
    axes.set_xticks(range(len(names)), names)
    if turned:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
