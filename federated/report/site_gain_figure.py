"""The figure of `site_gain`: each site's models as dots with intervals, and beside them what federation changes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medimg.evaluation.metrics import METRIC_NAMES
from medimg.style.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, styled
from medimg.style.words import shortened

# Federated in the colour that stands out; the shape says the same to who can't tell colours.
MARKS = {"majority": (GREY, "D"), "local": (ORANGE, "s"), "federated": (BLUE, "o"), "centralised": (GREEN, "^")}
OTHER = (BLACK, "v")
WORD_COLOURS = {"gains": BLUE, "loses": VERMILION}


def site_gain_figure(result: dict) -> Figure:
    """Draw what `site_gain` found: sites from above, then all rows and the mean of sites.

    Args:
        result: its result.
    """
    places = result["places"]
    # Majority ranks nobody: its AUROC is 0.5 everywhere and would squeeze the rest.
    models = [m for m in result["models"] if m != "majority" or result["metric"] != "auroc"]
    baselines = [m for m in models if m not in ("federated", "majority")]
    with styled():
        figure = Figure(figsize=(11.5, 1.7 + 0.75 * len(places)))
        left, right = figure.subplots(1, 2, sharey=True)
        _values(left, result, models)
        _differences(right, result, baselines)
        sites = sum(place["kind"] == "site" for place in places)
        for axes in (left, right):
            axes.axhline(sites - 0.5, color=GREY, linewidth=0.8)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        left.set_yticks(range(len(places)), [_label(place) for place in places])
        left.set_ylim(len(places) - 0.5, -0.5)
        figure.legend(handles=_legend(models), loc="outside lower center", ncols=len(models))
    return figure


def _label(place: dict) -> str:
    return f"{shortened(place['name'], 26)}\n{place['n']} rows, {place['patients']} patients"


def _values(axes: Axes, result: dict, models: list[str]) -> None:
    for place, entry in enumerate(result["places"]):
        for model, y in zip(models, _around(place, len(models)), strict=True):
            _dot(axes, y, entry["values"][model], model)
    lower = " (lower is better)" if result["lower_is_better"] else ""
    axes.set_title(f"{METRIC_NAMES[result['metric']][0]}{lower}, 95% interval over patients")
    axes.margins(x=0.06)


def _differences(axes: Axes, result: dict, baselines: list[str]) -> None:
    axes.axvline(0, color=GREY, linewidth=1.2)
    for place, entry in enumerate(result["places"]):
        for baseline, y in zip(baselines, _around(place, len(baselines)), strict=True):
            _dot(axes, y, entry["differences"][baseline], baseline)
        if "word" in entry:
            axes.annotate(
                entry["word"],
                (1.02, place),
                xycoords=axes.get_yaxis_transform(),
                va="center",
                color=WORD_COLOURS.get(entry["word"], GREY),
                fontweight="bold" if entry["word"] in WORD_COLOURS else "normal",
            )
    if "local" in baselines:
        axes.annotate("against local", (1.02, 1.0), xycoords="axes fraction", va="bottom", color=GREY, fontsize=9)
    sides = ("federated better", "federated worse")
    left, right = sides if result["lower_is_better"] else reversed(sides)
    axes.set_title("Federated less the other, 95% interval")
    axes.set_xlabel(f"← {left}     {right} →")
    axes.margins(x=0.1)


def _around(place: int, count: int) -> np.ndarray:
    return place + 0.17 * (np.arange(count) - (count - 1) / 2)


def _dot(axes: Axes, y: float, estimate: dict, model: str) -> None:
    if estimate["value"] is None:
        return
    colour, marker = MARKS.get(model, OTHER)
    if estimate["low"] is not None:
        axes.plot([estimate["low"], estimate["high"]], [y, y], color=colour, solid_capstyle="butt")
    # Without an interval the dot is hollow: the value is there, how sure it is is not.
    face = "white" if estimate["low"] is None else colour
    axes.plot(estimate["value"], y, marker, markersize=6.5, color=colour, markerfacecolor=face)


def _legend(models: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, markersize=6.5, label=model)
        for model in models
        for colour, marker in [MARKS.get(model, OTHER)]
    ]
