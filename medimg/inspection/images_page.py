"""Figures and the self-contained page of an inspection."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medimg.data.dataset import SEPARATOR, SPLITS, Dataset
from medimg.data.imaging import read_image
from medimg.style.figures import BLUE, GREEN, ORANGE, VERMILION, save, styled
from medimg.style.pages import inlined, template
from medimg.style.words import shortened

_COLUMNS, _ROWS = 6, 2
_MOST_LISTED = 100


def figures(dataset: Dataset, inspection, readable: pd.Series, folder: Path) -> dict[str, Path]:
    """Write the figures.

    Args:
        dataset: what was inspected.
        inspection: what was found.
        readable: bool per row of the manifest: the file is there and whole.
        folder: where the PNGs go.

    Returns:
        Title -> PNG.
    """
    pictures = {"Classes by part": save(_class_bars(inspection.counts), folder / "classes.png")}
    rows = dataset.manifest[readable.to_numpy()]
    names = [*dataset.classes, *([dataset.negative] if dataset.negative else [])]
    for number, name in enumerate(names):
        rows_of_class = rows[rows["label"].map(lambda text, name=name: name in text.split(SEPARATOR))]
        if rows_of_class.empty:
            continue
        file = f"sample_{number:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.png"
        pictures[f"Samples of {name}"] = save(_samples(dataset, rows_of_class), folder / file)
    return pictures


def page(dataset: Dataset, inspection, pictures: dict[str, Path]) -> str:
    """The page as HTML without any outside address."""
    leakage = inspection.leakage
    lists = (
        ("Patients in more than one part", leakage.patients),
        ("Identical images in more than one part", leakage.images),
        ("Identical images with different labels", leakage.conflicts),
    )
    return template("inspection", "images.html").render(
        data=dataset,
        found=inspection,
        total=len(dataset.manifest),
        most=_MOST_LISTED,
        lists=[
            (title, [list(zip(leak.files, leak.splits, leak.labels, strict=True)) for leak in leaks])
            for title, leaks in lists
        ],
        pictures=[(title, inlined(path)) for title, path in pictures.items()],
    )


def _class_bars(counts: dict[str, dict[str, int]]) -> Figure:
    names = list(counts[SPLITS[0]])
    with styled():
        figure = Figure(figsize=(7.5, 1.1 + 0.55 * len(names)))
        axes = figure.subplots()
        places = np.arange(len(names))
        for i, (part, colour) in enumerate(zip(SPLITS, (BLUE, ORANGE, GREEN), strict=True)):
            values = [counts[part][name] for name in names]
            bars = axes.barh(places + (i - 1) * 0.27, values, 0.25, color=colour, label=part)
            axes.bar_label(bars, padding=3, fontsize=8.5)
        axes.set_yticks(places, [shortened(name, 32) for name in names])
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("images")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _samples(dataset: Dataset, rows: pd.DataFrame) -> Figure:
    """Images spread over the rows, those with boxes first, each with its boxes."""
    if "x" in rows and (rows["x"] != "").any():
        rows = rows[rows["x"] != ""]
    count = min(len(rows), _COLUMNS * _ROWS)
    rows = rows.iloc[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    columns = min(count, _COLUMNS)
    lines = -(-count // columns)
    with styled():
        figure = Figure(figsize=(1.75 * columns, 1.95 * lines))
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, row in zip(grid.flat, rows.to_dict("records"), strict=False):
            image = read_image(dataset.root / row["image"])
            full = np.iinfo(image.dtype).max
            axes.imshow(image if image.ndim == 2 else image / full, cmap="gray", vmin=0, vmax=_white(image))
            axes.set_title(shortened(Path(row["image"]).stem, 22), fontsize=7)
            for x, y, width, height in _boxes(row):
                axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=VERMILION, linewidth=1.4))
    return figure


def _white(image: np.ndarray) -> int:
    """16-bit images seldom use their range: the brightest pixel is white."""
    return 255 if image.dtype == np.uint8 else max(int(image.max()), 1)


def _boxes(row: dict) -> list[tuple[float, ...]]:
    sides = [str(row.get(name) or "") for name in ("x", "y", "width", "height")]
    if not all(sides):
        return []
    return list(zip(*(map(float, side.split(SEPARATOR)) for side in sides), strict=True))
