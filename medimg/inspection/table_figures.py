"""Figures of an inspection that show values: classes, age, distributions, pairs of features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medimg.data import schema
from medimg.style.figures import COLOURS, styled
from medimg.style.words import shortened
from medimg.tables.ordered import ordered_values

# More colours can't be told apart, nor more small pictures read.
MOST_CLASSES = len(COLOURS)
MOST_DISTRIBUTIONS = 12
MOST_PAIRED = 4
_MOST_POINTS = 800
_MOST_BARS = 8
MOST_GROUPS = 24
_BINS = 20


def class_bars(groups: dict[str, dict[str, int]], blocks: Sequence[int]) -> Figure:
    """Share of each class in every group, with the number of rows.

    Args:
        groups: name of a bar -> class -> rows; at most MOST_GROUPS are drawn.
        blocks: how many bars stand together: parts, then sites.
    """
    names = list(next(iter(groups.values())))
    shown = dict(list(groups.items())[:MOST_GROUPS])
    totals = np.array([max(sum(counts.values()), 1) for counts in shown.values()])
    places = _block_places(blocks)[: len(shown)]
    with styled():
        figure = Figure(figsize=(8.2, 1.6 + 0.4 * len(shown)))
        axes = figure.subplots()
        left = np.zeros(len(shown))
        for i, name in enumerate(names):
            share = np.array([counts[name] for counts in shown.values()]) / totals
            bars = axes.barh(places, share, 0.78, left=left, label=shortened(name, 28))
            _paint(bars, i)
            texts = [f"{value:.0%}" if value > 0.05 else "" for value in share]
            axes.bar_label(bars, texts, label_type="center", color="white", fontsize=9.5)
            left += share
        labels = [f"{shortened(n, 24)}  (n = {sum(c.values())})" for n, c in shown.items()]
        axes.set_yticks(places, labels)
        axes.set(xlim=(0, 1), xlabel="share of rows")
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.grid(axis="y", visible=False)
        _class_legend(figure, axes)
    return figure


def _paint(bars, index: int) -> None:
    """Classes beyond the colours are told apart by hatching."""
    for bar in bars:
        bar.set_facecolor(COLOURS[index % len(COLOURS)])
        bar.set_hatch(("", "//", "..")[index // len(COLOURS) % 3])
        bar.set_edgecolor("white")


def _block_places(sizes: Sequence[int]) -> np.ndarray:
    """Bars one apart, blocks with a gap between them."""
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(blocks)) + 0.6 * blocks


def distributions(frame: pd.DataFrame, features: Sequence[schema.Feature], classes: Sequence[str]) -> Figure:
    """Distribution of each feature within each class.

    Args:
        frame: labelled rows.
        features: at most MOST_DISTRIBUTIONS are drawn.
        classes: in order; at most MOST_CLASSES are drawn.
    """
    features, classes = features[:MOST_DISTRIBUTIONS], _drawn_classes(frame, classes)
    columns = min(3, len(features))
    rows = -(-len(features) // columns)
    with styled():
        figure = Figure(figsize=(max(3.6 * columns, 5.2), 2.7 * rows + 0.5))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(features) :]:
            axes.axis("off")
        for axes, feature in zip(grid.flat, features, strict=False):
            _distribution(axes, frame, feature, classes)
        for line in grid:
            line[0].set_ylabel("share of class")
        _class_legend(figure, grid.flat[0])
    return figure


def _distribution(axes, frame: pd.DataFrame, feature: schema.Feature, classes) -> None:
    axes.set_title(shortened(feature.name, 34))
    if feature.type in (*schema.NUMBERS, "date"):
        values = ordered_values(frame, feature)
        _histograms(axes, values, frame["label"].to_numpy(), classes, feature)
    else:
        _category_bars(axes, frame, feature, classes)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x", visible=False)


def _histograms(axes, values, labels, classes, feature) -> None:
    known = values[~np.isnan(values)]
    if not len(known):
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes)
        return
    edges = _edges(known, feature)
    for i, name in enumerate(classes):
        of_class = values[(labels == name) & ~np.isnan(values)]
        weights = np.full(len(of_class), 1 / max(len(of_class), 1))
        # Values beyond the last edges are counted in the outer bins rather than lost.
        of_class = np.clip(of_class, edges[0], edges[-1])
        style = {"weights": weights, "color": COLOURS[i], "label": shortened(name, 24)}
        axes.hist(of_class, edges, histtype="stepfilled", alpha=0.25, **{**style, "label": None})
        axes.hist(of_class, edges, histtype="step", linewidth=1.8, **style)
    if feature.type == "date":
        as_dates(axes)


def _edges(known: np.ndarray, feature: schema.Feature) -> np.ndarray:
    low, high = np.percentile(known, (0.5, 99.5)) if len(known) > 200 else (known.min(), known.max())
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    if feature.type != "date" and (known == np.round(known)).all():
        # Whole numbers, in bins that each hold as many of them: other bins would show peaks that are not there.
        width = _round_width((high - low + 1) / _BINS)
        return np.arange(low // width * width, high + width + 1, width) - 0.5
    return np.linspace(low, high, _BINS + 1)


def _round_width(width: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ...: ages and pressures are rounded by those who write them."""
    size = 10.0 ** np.floor(np.log10(max(width, 1.0)))
    return size * next(step for step in (1, 2, 5, 10) if step * size >= width)


def as_dates(axes) -> None:
    """Days since 1970 on the x axis as dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.xaxis_date()
    locator = AutoDateLocator(maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _category_bars(axes, frame: pd.DataFrame, feature: schema.Feature, classes) -> None:
    text = schema.as_text(frame[feature.name])
    text = text[text != ""]
    names = _shown_categories(text, feature)
    if not names:
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes)
        return
    width = 0.8 / len(classes)
    for i, name in enumerate(classes):
        of_class = text[frame.loc[text.index, "label"] == name]
        share = [(of_class == category).mean() if len(of_class) else 0.0 for category in names]
        places = np.arange(len(names)) + (i - (len(classes) - 1) / 2) * width
        axes.bar(places, share, width, color=COLOURS[i], label=shortened(name, 24))
    labels = [shortened(name, 12) for name in names]
    slanted = sum(map(len, labels)) > 28
    turn = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(np.arange(len(names)), labels, **turn)
    if text.nunique() > len(names):
        axes.set_xlabel(f"{len(names)} commonest of {text.nunique()}", fontsize=9)


def _shown_categories(text: pd.Series, feature: schema.Feature) -> list[str]:
    """The commonest categories, in the column's order."""
    common = set(text[text != ""].value_counts().index[:_MOST_BARS])
    return schema.in_order(common, feature)


def pair_plot(frame: pd.DataFrame, features: Sequence[schema.Feature], classes: Sequence[str]) -> Figure:
    """Every two of the features against each other, a point a row; distributions on the diagonal.

    Args:
        frame: labelled rows; a seeded sample of at most 800 is drawn.
        features: at most MOST_PAIRED are drawn.
        classes: in order; at most MOST_CLASSES are drawn.
    """
    features, classes = features[:MOST_PAIRED], _drawn_classes(frame, classes)
    # Of the sample, and of the spread that keeps equal codes apart.
    draw = np.random.default_rng(0)
    points = frame.sample(min(len(frame), _MOST_POINTS), random_state=0)
    places = [_places(frame, points.index, f, draw) for f in features]
    k = len(features)
    with styled():
        figure = Figure(figsize=(2.5 * k + 0.6, 2.4 * k + 0.6))
        grid = figure.subplots(k, k, squeeze=False)
        # The diagonal first: the points below take its limits.
        for i, j in sorted(zip(*np.tril_indices(k), strict=True), key=lambda cell: cell[0] != cell[1]):
            axes = grid[i, j]
            if i == j:
                _distribution(axes, frame, features[i], classes)
                axes.set_title("")
                axes.set_yticks([])
            else:
                _points(axes, places[j], places[i], points["label"].to_numpy(), classes)
                axes.set_xlim(grid[j, j].get_xlim())
            _outer_labels(axes, features, i, j)
        for axes in grid[np.triu_indices(k, 1)]:
            axes.axis("off")
        _class_legend(figure, grid[0, 0])
    return figure


def _points(axes, across: tuple, up: tuple, labels: np.ndarray, classes: Sequence[str]) -> None:
    for c, name in enumerate(classes):
        of_class = labels == name
        style = {"color": COLOURS[c], "edgecolors": "none", "alpha": 0.55}
        axes.scatter(across[0][of_class], up[0][of_class], s=11, **style)
    for set_ticks, names in ((axes.set_xticks, across[1]), (axes.set_yticks, up[1])):
        if names:
            set_ticks(range(len(names)), [shortened(name, 9) for name in names])


def _outer_labels(axes, features, i: int, j: int) -> None:
    if i == len(features) - 1:
        axes.set_xlabel(shortened(features[j].name, 22))
    elif i != j:
        axes.tick_params(labelbottom=False, length=0)
    if j == 0 and i > 0:
        axes.set_ylabel(shortened(features[i].name, 22))
    elif i != j:
        axes.tick_params(labelleft=False, length=0)


def _places(frame: pd.DataFrame, drawn: pd.Index, feature: schema.Feature, draw) -> tuple[np.ndarray, list[str]]:
    """Where the drawn rows stand on an axis, and the names of its ticks when it has categories.

    Rows of a category that the diagonal does not show stand nowhere: NaN.
    """
    if feature.type in (*schema.NUMBERS, "date"):
        numbers = ordered_values(frame.loc[drawn], feature)
        spread = draw.uniform(-0.2, 0.2, len(numbers)) if feature.type == "integer" else 0.0
        return numbers + spread, []
    text = schema.as_text(frame[feature.name])
    names = _shown_categories(text, feature)
    codes = text[drawn].map({name: float(i) for i, name in enumerate(names)}).to_numpy(float)
    return codes + draw.uniform(-0.25, 0.25, len(codes)), names


def _drawn_classes(frame: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The commonest that there are colours for, in their order."""
    common = frame["label"].value_counts().index[:MOST_CLASSES]
    return [name for name in classes if name in common]


def _class_legend(figure: Figure, axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, max(len(labels), 1)))
