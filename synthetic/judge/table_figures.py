"""Figures of a judged table: columns side by side, and association matrices."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from medimg.data import schema
from medimg.inspection.table_figures import as_dates
from medimg.style.figures import styled
from medimg.style.words import shortened
from medimg.tables.ordered import ordered_values
from synthetic.judge.figures import REAL, SYNTHETIC, draw_shares, grid
from synthetic.judge.rows import Subject
from synthetic.judge.structure import association

MOST_PANELS = 24
MOST_BARS = 12


def columns_figure(subject: Subject) -> Figure:
    """Each column of real train and synthetic rows, the label last."""
    features = [*subject.real.inputs[: MOST_PANELS - 1], None]
    with styled():
        figure, panels = grid(len(features), 4, (3.0, 2.4))
        for panel, feature in zip(panels, features, strict=True):
            if feature is None or feature.type in ("categorical", "ordinal"):
                _bars(panel, subject, feature)
            else:
                _shares(panel, subject, feature)
            panel.set_title(shortened(feature.name if feature else "label", 26), fontsize=10)
            panel.tick_params(labelsize=8)
        handles = [Patch(color=REAL), Patch(color=SYNTHETIC)]
        figure.legend(handles, ["real train", "synthetic"], loc="outside upper right", ncols=2)
    return figure


def _shares(panel, subject: Subject, feature: schema.Feature) -> None:
    values = [ordered_values(rows, feature) for rows in (subject.train, subject.made)]
    present = [sample[~np.isnan(sample)] for sample in values]
    everything = np.concatenate(present)
    if not len(everything):
        panel.text(0.5, 0.5, "always missing", ha="center", transform=panel.transAxes)
        return
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(low, high if high > low else low + 1, 25)
    if feature.type == "integer" and high - low < 24:
        edges = np.arange(low, high + 2) - 0.5
    for sample, colour, name in zip(present, (REAL, SYNTHETIC), ("real train", "synthetic"), strict=True):
        draw_shares(panel, sample, edges, colour, name)
    if feature.type == "date":
        as_dates(panel)


def _bars(panel, subject: Subject, feature: schema.Feature | None) -> None:
    name = feature.name if feature else "label"
    parts = [schema.as_text(rows[name]) for rows in (subject.train, subject.made)]
    shares = [text.value_counts(normalize=True) for text in parts]
    names = pd.concat(shares).groupby(level=0).sum().sort_values(ascending=False).index[:MOST_BARS]
    if feature:
        names = list(schema.in_order(names, feature)) + [n for n in names if n == ""]
    places = np.arange(len(names))
    for turn, (share, colour, label) in enumerate(
        zip(shares, (REAL, SYNTHETIC), ("real train", "synthetic"), strict=True)
    ):
        heights = [float(share.get(name, 0.0)) for name in names]
        panel.bar(places + 0.4 * turn - 0.2, heights, 0.4, color=colour, label=label)
    panel.set_xticks(places, [shortened(name or "missing", 10) for name in names])
    if len(names) > 4:
        panel.tick_params(axis="x", labelrotation=60)


def association_figure(subject: Subject) -> Figure:
    """Association of real train, of synthetic rows, and their difference."""
    features = subject.real.inputs
    real, made = association(subject.train, features), association(subject.made, features)
    names = [*(f.name for f in features[: len(real) - 1]), "label"]
    matrices = (("real train", real), ("synthetic", made), ("synthetic − real", made - real))
    with styled():
        figure, panels = grid(3, 3, (4.3, 4.0))
        for panel, (title, matrix) in zip(panels, matrices, strict=True):
            picture = panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
            panel.set_facecolor("#DDDDDD")
            panel.grid(False)
            panel.set_title(title)
            places = range(len(names))
            panel.set_xticks(places, [shortened(n, 12) for n in names], rotation=90, fontsize=8)
            panel.set_yticks(places, [shortened(n, 12) for n in names], fontsize=8)
        figure.colorbar(picture, ax=list(panels), shrink=0.7, label="association (grey: undefined)")
    return figure
