"""The decision curve: net benefit of the model, of calling everybody and of calling nobody, over the thresholds."""

import math

from matplotlib.figure import Figure

from medimg.style.figures import BLUE, GREY, VERMILION, styled
from medimg.style.words import shortened

# More panels can't be read; the report's data have them all.
MOST = 9


def decision_curve_figure(curves: dict[str, dict]) -> Figure | None:
    """A panel for each class that has a curve, its band the 95% interval of the lead; None where none has.

    Args:
        curves: `decision_curve` of `medimg.evaluation.clinical_use`.
    """
    if not curves:
        return None
    shown = list(curves.items())[:MOST]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with styled():
        width = 6.4 if columns == 1 else 3.4 * columns
        figure = Figure(figsize=(width, 4.4 if rows == columns == 1 else 2.9 * rows + 0.5))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for panel, (name, curve) in zip(panels, shown, strict=False):
            _draw(panel, shortened(name, 28), curve)
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2 if columns == 1 else 4)
        figure.supxlabel("threshold probability")
        figure.supylabel("net benefit")
    return figure


def _draw(panel, name: str, curve: dict) -> None:
    x, best = curve["threshold"], [max(0.0, value) for value in curve["all"]]
    panel.axhline(0, color=GREY, linewidth=1.2, label="call nobody")
    panel.plot(x, curve["all"], color=VERMILION, linestyle="--", linewidth=1.4, label="call everybody")
    if curve["low"] is not None:
        low, high = ([a + b for a, b in zip(best, curve[end], strict=True)] for end in ("low", "high"))
        panel.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95% of the lead")
    panel.plot(x, curve["model"], color=BLUE, label="model")
    top = max(*curve["model"], *best)
    panel.set(xlim=(0, 1), ylim=(-0.25 * top - 0.01, 1.15 * top + 0.01), title=name)
