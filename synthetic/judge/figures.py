"""Figures of a judgement that tables and images share: utility, diversity, distances."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from medimg.style.figures import BLUE, GREEN, GREY, VERMILION, styled
from synthetic.judge.utility import TRAININGS

REAL, SYNTHETIC, HELD_OUT = BLUE, VERMILION, GREEN
_COLOURS = {"real": REAL, "synthetic": SYNTHETIC, "both": GREY}


def utility_figure(utility: dict) -> Figure:
    """AUROC on real patients by classifier and training set, with intervals."""
    names = list(utility["real"])
    with styled():
        figure = Figure(figsize=(7.6, 1.4 + 0.42 * len(names)))
        axes = figure.subplots()
        for turn, training in enumerate(TRAININGS):
            for place, name in enumerate(names):
                auroc = utility[training][name]["auroc"]
                if auroc["value"] is None:
                    continue
                y = place + 0.22 * (turn - 1)
                if auroc["low"] is not None:
                    axes.plot([auroc["low"], auroc["high"]], [y, y], color=_COLOURS[training])
                axes.plot(auroc["value"], y, "o", color=_COLOURS[training])
        axes.axvline(0.5, color=GREY, linestyle=":", linewidth=1.2)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(xlabel="AUROC on held-out real patients (95% interval)", title="Utility")
        handles = [Patch(color=_COLOURS[training]) for training in TRAININGS]
        words = [f"trained on {training}" for training in TRAININGS]
        axes.legend(handles, words, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def diversity_figure(pairs: dict, measure: str) -> Figure:
    """How different random pairs of the same class are: a collapsed generator's are all near 0.

    Args:
        pairs: `made`, `train`, `test` -> class -> differences.
        measure: what a difference is.
    """
    real_parts = (("real train", "train", REAL), ("real test", "test", HELD_OUT))
    values = {
        (name, colour): np.concatenate(list(pairs[part].values()) or [np.zeros(0)])
        for name, part, colour in (*real_parts, ("synthetic", "made", SYNTHETIC))
    }
    return _histogram(values, f"difference of two of a class ({measure})", "Diversity")


def distance_figure(distances: dict[str, np.ndarray], features: str) -> Figure:
    """Distance to the closest training row, of synthetic and of held-out rows.

    Args:
        distances: `synthetic`, `held out` -> float (N,).
        features: what they are measured in.
    """
    colours = {"synthetic": SYNTHETIC, "held out": HELD_OUT}
    values = {(name, colours[name]): sample for name, sample in distances.items()}
    figure = _histogram(values, "distance to the closest training row", "Privacy")
    # A line of more letters is wider than the axes.
    lines = textwrap.fill(features, 70)
    figure.axes[0].set_xlabel(f"distance to the closest training row\n{lines}")
    return figure


def _histogram(values: dict, across: str, title: str) -> Figure:
    """Outlines of several samples over the same bins."""
    everything = np.concatenate(list(values.values()))
    top = float(np.quantile(everything, 0.995)) if len(everything) else 1.0
    edges = np.linspace(min(0.0, float(everything.min(initial=0.0))), max(top, 1e-6), 41)
    with styled():
        figure = Figure(figsize=(7.2, 3.8))
        axes = figure.subplots()
        for (name, colour), sample in values.items():
            draw_shares(axes, sample, edges, colour, name)
        axes.set(xlabel=across, ylabel="share", title=title)
        axes.legend(loc="upper right")
    return figure


def draw_shares(axes, values: np.ndarray, edges: np.ndarray, colour: str, label: str) -> None:
    """A histogram of shares; what lies outside is counted in the outermost bar."""
    if not len(values):
        return
    bars = {"x": np.clip(values, edges[0], edges[-1]), "bins": edges, "weights": np.full(len(values), 1 / len(values))}
    axes.hist(**bars, histtype="stepfilled", color=colour, alpha=0.25, linewidth=0)
    axes.hist(**bars, histtype="step", color=colour, linewidth=1.6, label=label)


def grid(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Sequence]:
    """A figure of `count` panels, the rest of the grid left empty; use within `styled()`."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows))
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for panel in panels[count:]:
        panel.axis("off")
    return figure, panels[:count]
