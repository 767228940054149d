"""A partition as tables and as a figure: each client's class mix, and how many rows it has in each part."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from federated.clients.client import Client
from federated.partition.heterogeneity import POOLED, Heterogeneity, heterogeneity, unprotected
from medimg import atomic
from medimg.data.dataset import SPLITS
from medimg.style.figures import BLACK, COLOURS, GREY, ORANGE, PURPLE, SKY, save, styled
from medimg.style.words import shortened

# Beyond it names can't be read.
MOST_CLIENTS = 40
_HATCHES = ("", "//", "..", "xx")
_LIGHT = (ORANGE, PURPLE, SKY)
_PART_COLOURS = dict(zip(SPLITS, (GREY, "#A9A9A9", "#D4D4D4"), strict=True))


def partition_figure(differences: Heterogeneity) -> Figure:
    """Class mixes of the training parts (left) and labelled rows by part (right), the pooled mix on top.

    Args:
        differences: of `heterogeneity`; the first MOST_CLIENTS clients are drawn.
    """
    table = differences.clients.set_index("client")
    names = [POOLED, *table.index[:-1][:MOST_CLIENTS]]
    pooled = table.loc[POOLED, list(SPLITS)].astype(int)
    places = np.arange(len(names)) + 0.4 * (np.arange(len(names)) > 0)
    with styled():
        figure = Figure(figsize=(10.5, 2.3 + 0.36 * len(names) + 0.22 * (len(differences.classes) // 5)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
        _mixes(left, places, names, differences)
        _sizes(right, places[1:], table.loc[names[1:], list(SPLITS)].to_numpy(), differences.unit)
        left.set_yticks(places, _labels(names, table, differences))
        left.set_ylim(places[-1] + 0.6, -0.6)
        right.text(
            0.02,
            places[0],
            f"{pooled.sum():,} in all: " + ", ".join(f"{pooled[part]:,} {part}" for part in SPLITS),
            transform=right.get_yaxis_transform(),
            va="center",
            fontsize=9.5,
        )
        figure.suptitle(_title(differences, len(names) - 1), fontsize=11.5)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure


def write(clients: Sequence[Client], folder: Path, seed: int = 0) -> Heterogeneity:
    """Measure, and write `partition.csv` (a row a client), `partition_counts.csv`, of tables `feature_shift.csv`, and
    `figures/partition.png` into the folder.

    Raises:
        InputError: the folder can't be written.
    """
    differences = heterogeneity(clients, seed)
    folder = Path(folder)
    atomic.write_csv(folder / "partition.csv", differences.clients)
    atomic.write_csv(folder / "partition_counts.csv", differences.counts)
    if differences.feature_shift is not None:
        table = differences.feature_shift.rename_axis("feature").reset_index()
        atomic.write_csv(folder / "feature_shift.csv", table)
    save(partition_figure(differences), folder / "figures" / "partition.png")
    return differences


def write_unprotected(clients: Sequence[Client], folder: Path) -> None:
    """Of a private training: `partition.csv` and `partition_counts.csv` as of `write`, of val and test alone.

    What is of training patients has empty cells: it carries no noise. How clients differ is not measured.

    Raises:
        InputError: the folder can't be written.
    """
    folder = Path(folder)
    counts, table = unprotected(clients)
    atomic.write_csv(folder / "partition_counts.csv", counts)
    atomic.write_csv(folder / "partition.csv", table)


def _mixes(axes, places: np.ndarray, names: list[str], differences: Heterogeneity) -> None:
    counts = differences.counts[differences.counts["split"] == "train"]
    pooled = counts.groupby("class")["rows"].sum()[list(differences.classes)].to_numpy(float)
    mixes = np.vstack([pooled / max(pooled.sum(), 1), differences.mixes[: len(names) - 1]])
    start = np.zeros(len(names))
    for i, name in enumerate(differences.classes):
        share = mixes[:, i]
        bars = axes.barh(places, share, 0.78, left=start, label=shortened(name, 26))
        colour, hatch = COLOURS[i % len(COLOURS)], _HATCHES[i // len(COLOURS) % len(_HATCHES)]
        for bar in bars:
            bar.set(facecolor=colour, edgecolor="white", hatch=hatch)
        # Numbers on hatching can't be read.
        texts = [f"{value:.0%}" if value > 0.07 and not hatch else "" for value in share]
        ink = BLACK if colour in _LIGHT else "white"
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=9)
        start += share
    axes.set(xlim=(0, 1), xlabel=f"share of class in train, by {differences.unit}s")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", visible=False)


def _sizes(axes, places: np.ndarray, sizes: np.ndarray, unit: str) -> None:
    start = np.zeros(len(places))
    for part, count in zip(SPLITS, sizes.T, strict=True):
        axes.barh(places, count, 0.78, left=start, color=_PART_COLOURS[part], label=part)
        start += count
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.1)
    texts = [f" {' / '.join(f'{n:,}' for n in row)}" for row in sizes]
    for place, end, text in zip(places, start, texts, strict=True):
        axes.text(end, place, text, va="center", fontsize=9, color=BLACK)
    axes.set(xlim=(0, max(start.max(), 1) * 1.55), xlabel=f"labelled {unit}s: train / val / test")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", visible=False)


def _labels(names: list[str], table, differences: Heterogeneity) -> list[str]:
    labels = [f"all {len(differences.mixes)} clients"]
    for name in names[1:]:
        labels.append(f"{shortened(name, 24)}  (TV {table.loc[name, 'total_variation']:.2f})")
    return labels


def _title(differences: Heterogeneity, drawn: int) -> str:
    text = (
        f"Distance of clients' class mixes from the pooled mix: total variation (TV) "
        f"{differences.total_variation:.2f}, by chance {differences.by_chance:.2f}"
    )
    if drawn < len(differences.mixes):
        text += f"\nthe first {drawn} of {len(differences.mixes)} clients"
    return text
