"""Figures of SHAP values: beeswarm, bars, one patient's waterfall."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from medimg.style.figures import BLUE, COLOURS, GREY, VERMILION, styled
from medimg.style.words import shortened, with_minus
from medimg.tables.raw import Input

MOST_FEATURES = 15
_MOST_STEPS = 12
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low to high", [BLUE, "#C9C9C9", VERMILION])


def beeswarm(values: np.ndarray, raw: np.ndarray, features: Sequence[Input], order: np.ndarray, score: str) -> Figure:
    """A point a row and feature: its SHAP value, coloured by the feature's own value.

    Args:
        values: float (N, features).
        raw: float (N, features), numbers, days or codes, NaN = missing.
        features: what the columns are.
        order: of the features, the most important first; at most 15 are drawn.
        score: what is explained, in words.
    """
    order = order[:MOST_FEATURES]
    with styled():
        figure = Figure(figsize=(8.2, 1.5 + 0.46 * len(order)))
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=1)
        span = max(np.ptp(values[:, order]), 1e-9)
        for place, i in enumerate(order):
            offsets = place + _swarm(values[:, i], span)
            colours, missing = _shades(raw[:, i]), np.isnan(raw[:, i])
            axes.scatter(values[missing, i], offsets[missing], s=15, c="none", edgecolors=GREY)
            points = axes.scatter(
                values[~missing, i], offsets[~missing], s=15, c=colours[~missing], cmap=LOW_TO_HIGH, vmin=0, vmax=1
            )
        axes.set_yticks(range(len(order)), [shortened(features[i].name, 30) for i in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"SHAP value: effect on the {score}" + _left_out(len(features)))
        _value_scale(figure, axes, points, np.isnan(raw[:, order]).any())
    return figure


def _value_scale(figure: Figure, axes, points, missing: bool) -> None:
    scale = figure.colorbar(points, ax=axes, shrink=0.7, aspect=28, ticks=[0, 1])
    scale.ax.set_yticklabels(["low", "high"])
    scale.set_label("feature's value (categories: in their order)")
    if missing:
        axes.scatter([], [], s=15, c="none", edgecolors=GREY, label="missing")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)


def _swarm(values: np.ndarray, span: float) -> np.ndarray:
    """Offsets in -0.38..0.38 that keep points of like values apart, wider where there are more."""
    bins = np.round(values / span * 110).astype(int)
    offsets = np.zeros(len(values))
    for bin_number in np.unique(bins):
        members = np.flatnonzero(bins == bin_number)
        steps = (np.arange(len(members)) + 1) // 2 * np.where(np.arange(len(members)) % 2, 1, -1)
        offsets[members] = steps
    reach = np.abs(offsets).max(initial=0)
    return offsets * min(0.07, 0.38 / reach) if reach else offsets


def _shades(values: np.ndarray) -> np.ndarray:
    """0 for the 5th percentile, 1 for the 95th, so that one outlier does not turn all others blue."""
    present = values[~np.isnan(values)]
    if not len(present):
        return np.full(len(values), 0.5)
    low, high = np.percentile(present, (5, 95))
    if low == high:
        low, high = present.min(), present.max()
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.full(len(values), 0.5)


def _left_out(number: int) -> str:
    more = number - MOST_FEATURES
    return f"\n({more} more features are in shap_values.csv)" if more > 0 else ""


def bar(importance: np.ndarray, names: Sequence[str], order: np.ndarray, scores: Sequence[str]) -> Figure:
    """Mean absolute SHAP value of each feature, stacked over what is explained.

    Args:
        importance: float (features, explained).
        names: of the features.
        order: the most important first; at most 15 are drawn.
        scores: what is explained, in words.
    """
    order = order[:MOST_FEATURES]
    with styled():
        figure = Figure(figsize=(7.4, 1.3 + 0.4 * len(order)))
        axes = figure.subplots()
        ends = np.zeros(len(order))
        for k, score in enumerate(scores):
            colour = COLOURS[k % len(COLOURS)]
            bars = axes.barh(range(len(order)), importance[order, k], 0.7, left=ends, color=colour, label=score)
            ends += importance[order, k]
        axes.bar_label(bars, [f"{value:.2f}" for value in ends], padding=3, fontsize=9)
        axes.set_yticks(range(len(order)), [shortened(names[i], 30) for i in order])
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.grid(axis="y", visible=False)
        kind = f"effect on the {scores[0]}" if len(scores) == 1 else "effect on each class's score"
        axes.set_xlabel(f"mean absolute SHAP value: {kind}" + _left_out(len(names)))
        if len(scores) > 1:
            figure.legend(loc="outside upper center", ncols=min(3, len(scores)))
    return figure


def waterfall(
    values: np.ndarray, base: float, score: float, texts: Sequence[str], title: str, score_name: str, is_log_odds: bool
) -> Figure:
    """How one row's features lead from the average score to its own.

    Args:
        values: float (features,).
        base: mean score of the background rows.
        score: of the row.
        texts: `feature = value` of each feature.
        title: above.
        score_name: what is explained, in words.
        is_log_odds: its logistic function is a probability, which is then told, too.
    """
    steps = _steps(values, base, score, texts)
    ends = base + np.cumsum([step for _, step in steps])
    starts = np.concatenate([[base], ends[:-1]])
    with styled():
        figure = Figure(figsize=(8.0, 1.7 + 0.4 * len(steps)))
        axes = figure.subplots()
        span = max(np.ptp(np.append(ends, base)), 1e-6)
        for place, ((_, step), start, end) in enumerate(zip(steps, starts, ends, strict=True)):
            axes.barh(place, step, 0.66, left=start, color=VERMILION if step > 0 else BLUE)
            outside = max(start, end) + 0.012 * span
            axes.text(outside, place, _number(step, "+.2f"), va="center", fontsize=9)
            if place < len(steps) - 1:
                axes.plot([end, end], [place - 0.33, place + 1.33], color=GREY, linewidth=0.8)
        axes.axvline(base, color=GREY, linestyle=":", linewidth=1.2)
        axes.set_yticks(range(len(steps)), [shortened(text, 38) for text, _ in steps])
        axes.set_ylim(len(steps) - 0.3, -0.7)
        low, high = min(ends.min(), base), max(ends.max(), base)
        axes.set_xlim(low - 0.05 * span, high + 0.12 * span)
        axes.grid(axis="y", visible=False)
        axes.set_title(shortened(title, 90), loc="left", fontsize=11)
        axes.set_xlabel(
            f"{score_name}\naverage of background rows {_said(base, is_log_odds)}; this row {_said(score, is_log_odds)}"
        )
    return figure


def _steps(values, base: float, score: float, texts) -> list[tuple[str, float]]:
    """The largest contributions, the rest in one, and what a sampled method leaves over."""
    order = np.argsort(-np.abs(values), kind="stable")
    leading = order[:_MOST_STEPS] if len(order) > _MOST_STEPS + 1 else order
    steps = [(texts[i], float(values[i])) for i in leading]
    rest = order[len(leading) :]
    if len(rest):
        steps.append((f"{len(rest)} other features", float(values[rest].sum())))
    over = score - base - float(values.sum())
    return steps + ([("not attributed (sampling)", over)] if abs(over) > 5e-3 else [])


def _said(score: float, is_log_odds: bool) -> str:
    if not is_log_odds:
        return _number(score)
    return f"{_number(score)} (probability {1 / (1 + np.exp(-score)):.2f})"


def _number(value: float, form: str = ".2f") -> str:
    return with_minus(format(value, form))
