"""The forest plot: each model's metric with its interval, and the first one's less it."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medimg.evaluation.metrics import METRIC_NAMES
from medimg.style.figures import BLACK, BLUE, GREY, ORANGE, styled
from medimg.style.words import shortened, signed

COLOURS = {"run": BLUE, "baseline": ORANGE}
NAMES = {"run": "Run", "baseline": "scikit-learn baseline"}


def forest_figure(result: dict) -> Figure:
    """Draw comparison.json.

    Args:
        result: its content.
    """
    models = [model for model in result["models"] if model["kind"] != "majority"]
    places = np.arange(len(models))
    with styled():
        figure = Figure(figsize=(11.5, 1.9 + 0.52 * len(models)))
        left, right = figure.subplots(1, 2, sharey=True)
        _values(left, result, models)
        _differences(right, result, models)
        left.set_yticks(places, [shortened(model["name"], 38) for model in models])
        left.set_ylim(len(models) - 0.4, -0.6)
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        figure.legend(handles=_legend(models), loc="outside lower center", ncols=4)
    return figure


def _values(axes, result: dict, models: list[dict]) -> None:
    metric = result["metric"]
    extremes = []
    for place, model in enumerate(models):
        measured, colour = model["metrics"][metric], COLOURS[model["kind"]]
        dots = [v for key in ("folds", "seeds") for v in model.get(key, {}).get("values", [])]
        axes.plot(dots, np.full(len(dots), place + 0.22), "o", markersize=3.5, color=colour, alpha=0.45)
        _interval(axes, place, measured["value"], measured["low"], measured["high"], colour, True)
        extremes += [v for v in (*dots, *(measured[end] for end in ("value", "low", "high"))) if v is not None]
    low, high = min(extremes), max(extremes)
    room = max(high - low, 0.02)
    axes.set_xlim(low - 0.08 * room, high + 0.08 * room)
    label = METRIC_NAMES[metric][0] + (" (lower is better)" if result["lower_is_better"] else "")
    axes.set_title(f"{label}, 95% interval over patients")
    axes.set_xlabel(_majority(axes, result, low - 0.08 * room, high + 0.08 * room))


def _majority(axes, result: dict, low: float, high: float) -> str:
    """Mark the majority class, or say where it lies: far off, it would squeeze all the rest."""
    constant = next(m for m in result["models"] if m["kind"] == "majority")
    value = constant["metrics"][result["metric"]]["value"]
    if value is None:
        return ""
    if low <= value <= high:
        axes.axvline(value, color=GREY, linestyle=":", linewidth=1.2)
        return f"dotted: always the majority class, {value:.3f}"
    return f"always the majority class: {value:.3f}, off the axis"


def _differences(axes, result: dict, models: list[dict]) -> None:
    reference = result["reference"]
    axes.axvline(0, color=GREY, linewidth=1.2)
    pairs = {pair["second"]: pair for pair in result["pairs"] if pair["first"] == reference}
    decisive = "bootstrap"
    for place, model in enumerate(models):
        pair = pairs.get(model["name"])
        if pair is None:
            axes.text(0, place, "  reference", va="center", color=GREY)
            continue
        decisive = pair["decisive"]
        test = pair[decisive]
        value = test["difference"] if decisive == "corrected_t" else test["value"]
        _interval(axes, place, value, test["low"], test["high"], COLOURS[model["kind"]], pair["evidence"])
        axes.annotate(
            signed(value), (1.01, place), xycoords=axes.get_yaxis_transform(), va="center", color=BLACK, fontsize=9.5
        )
    axes.margins(x=0.1)
    over = "means over folds, corrected t" if decisive == "corrected_t" else "bootstrap over patients"
    axes.set_title(f"{shortened(reference, 36)} less the model, 95% interval")
    axes.set_xlabel(over)


def _interval(axes, place, value, low, high, colour, filled: bool) -> None:
    if low is not None:
        axes.plot([low, high], [place, place], color=colour, solid_capstyle="butt")
    face = colour if filled else "white"
    axes.plot(value, place, "s", markersize=7, color=colour, markerfacecolor=face)


def _legend(models: list[dict]) -> list[Line2D]:
    def mark(text: str, colour: str, face: str, marker: str = "s", size: float = 7) -> Line2D:
        return Line2D(
            [], [], color=colour, marker=marker, markersize=size, markerfacecolor=face, linestyle="", label=text
        )

    kinds = [kind for kind in COLOURS if any(model["kind"] == kind for model in models)]
    marks = [mark(NAMES[kind], COLOURS[kind], COLOURS[kind]) for kind in kinds]
    marks.append(mark("right: no evidence of a difference", BLACK, "white"))
    dots = [what for key, what in (("folds", "each fold"), ("seeds", "each seed")) if key in models[0]]
    if dots:
        marks.append(mark(f"small: {dots[0]}", GREY, GREY, "o", 3.5))
    return marks
