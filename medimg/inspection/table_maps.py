"""Heat maps of an inspection: missing values and shift by site, association of features."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from medimg.data.schema import Feature
from medimg.style.figures import styled
from medimg.style.words import shortened, with_minus

MOST_FEATURES = 30
MOST_SITES = 12
# Differences beyond it are all "very different"; an infinite one is drawn as such.
_FULL_SHIFT = 1.5
_STARRED = "(* category: size without direction)"


def missing_map(features: list[dict], sites: Sequence[str]) -> Figure | None:
    """Fraction missing of each feature at each site; None when no value is missing.

    Args:
        features: `name`, `missing`, `missing_by_site`; those with most missing are drawn.
        sites: the columns; without any, all rows are one column.
    """
    every = sorted((f for f in features if f["missing"] > 0), key=lambda f: -f["missing"])
    if not every:
        return None
    holed, shown = every[:MOST_FEATURES], list(sites)[:MOST_SITES]
    values = np.array([[*(f["missing_by_site"][s] for s in shown), f["missing"]] for f in holed])
    columns = [*shown, "all rows"]
    return _map(
        values,
        [f["name"] for f in holed],
        columns,
        {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0},
        "fraction missing",
        [[_percent(value) for value in line] for line in values],
        "{x:.0%}",
        note=_left_out(len(every), "features with missing values", len(sites)),
    )


def shift_map(features: list[dict], sites: Sequence[str]) -> Figure | None:
    """Standardised difference of each site from the others; None with fewer than two sites.

    Args:
        features: `name`, `type`, `shift`; those with the largest differences are drawn.
        sites: the columns.
    """
    if len(sites) < 2:
        return None
    shown = list(sites)[:MOST_SITES]
    ranked = sorted(features, key=lambda f: -largest_shift(f)[1])[:MOST_FEATURES]
    values = np.array([[f["shift"][site] for site in shown] for f in ranked])
    names = [_starred(f["name"], f["type"]) for f in ranked]
    return _map(
        values,
        names,
        shown,
        {"cmap": "RdBu_r", "vmin": -_FULL_SHIFT, "vmax": _FULL_SHIFT},
        f"standardised difference from the other sites\n{_STARRED}",
        [
            [_signed(value, f["type"] != "categorical") for value in line]
            for f, line in zip(ranked, values, strict=True)
        ],
        note=_left_out(len(features), "features, those that differ most", len(sites)),
    )


def association_map(matrix: np.ndarray, features: Sequence[Feature]) -> Figure:
    """Association of every two features.

    Args:
        matrix: (F, F) in -1..1, NaN = undefined.
        features: in the matrix's order.
    """
    names = [_starred(feature.name, feature.type) for feature in features]
    annotated = len(names) <= 16
    text = [["" if np.isnan(value) or not annotated else _number(value, ".2f") for value in line] for line in matrix]
    starred = f"\n{_STARRED}" if any(f.type == "categorical" for f in features) else ""
    return _map(
        matrix, names, names, {"cmap": "RdBu_r", "vmin": -1.0, "vmax": 1.0}, f"association{starred}", text, square=True
    )


def largest_shift(feature: dict) -> tuple[str, float]:
    """The site that differs most in a feature, and the size of its difference; 0 where none is known."""
    sizes = {site: abs(v) for site, v in feature["shift"].items() if not np.isnan(v)}
    return max(sizes.items(), key=lambda item: item[1]) if sizes else ("", 0.0)


def _map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: dict,
    label: str,
    text: list[list[str]],
    bar_format: str | None = None,
    square: bool = False,
    note: str = "",
) -> Figure:
    """A heat map with its numbers written in; undefined cells are grey."""
    wide, high = (0.5, 0.5) if square else (1.05, 0.34)
    if square and len(rows) > 16:
        wide = high = 0.34
    low, span = colours["vmin"], colours["vmax"] - colours["vmin"]
    with styled():
        size = (max(2.6 + wide * len(columns), 5.0), max(1.7 + high * len(rows), 3.0))
        figure = Figure(figsize=size)
        axes = figure.subplots()
        axes.set_facecolor("#D9D9D9")
        shown = axes.imshow(np.ma.masked_invalid(_finite(values)), aspect="auto", **colours)
        axes.set_yticks(range(len(rows)), [shortened(name, 28) for name in rows])
        slanted = square or max(map(len, columns)) > 11
        turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        axes.set_xticks(range(len(columns)), [shortened(name, 28) for name in columns], **turn)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel(note)
        for i, j in np.ndindex(values.shape):
            place = np.clip((values[i, j] - low) / span, 0, 1)
            strong = place > 0.6 if low == 0 else abs(place - 0.5) > 0.3
            style = {"color": "white" if strong else "#222222", "fontsize": 7.5 if square else 8.5}
            axes.text(j, i, text[i][j], ha="center", va="center", **style)
        figure.colorbar(shown, ax=axes, label=label, shrink=0.9, aspect=26, format=bar_format)
    return figure


def _left_out(features: int, kind: str, sites: int) -> str:
    """What a map does not show, in words."""
    parts = []
    if features > MOST_FEATURES:
        parts.append(f"{MOST_FEATURES} of {features} {kind}")
    if sites > MOST_SITES:
        parts.append(f"the {MOST_SITES} largest of {sites} sites")
    return "; ".join(parts)


def _finite(values: np.ndarray) -> np.ndarray:
    """Infinite differences take the strongest colour."""
    return np.nan_to_num(values, nan=np.nan, posinf=1e6, neginf=-1e6)


def _percent(value: float) -> str:
    """0 stays empty: the eye should find what is missing."""
    if value == 0:
        return ""
    return "<1%" if value < 0.005 else f"{value:.0%}"


def _signed(value: float, directed: bool) -> str:
    if np.isnan(value):
        return "not known"
    if np.isinf(value):
        return "no overlap"
    return _number(value, "+.2f" if directed else ".2f")


def _number(value: float, form: str) -> str:
    return with_minus(format(value, form))


def _starred(name: str, kind: str) -> str:
    return f"{name} *" if kind == "categorical" else name
