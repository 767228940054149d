"""Figures and the self-contained page of an inspection."""

import base64
import re
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medimg.dataset import SEPARATOR, SPLITS, Dataset
from medimg.evaluation.figures import BLUE, GREEN, ORANGE, VERMILION, save, shortened, styled
from medimg.imaging import read_image

_COLUMNS, _ROWS = 6, 2
_MOST_LISTED = 100

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ found.name }}: inspection</title>
<style>
  body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222; max-width: 64rem;
         margin: 2rem auto; padding: 0 1.2rem; }
  h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; }
  .lead { color: #555; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e6e6e6; vertical-align: top; }
  td { overflow-wrap: anywhere; }
  img { max-width: 100%; height: auto; }
  .bad { background: #fdecea; border-left: 4px solid #d55e00;
         padding: .5rem 1rem .5rem 1.8rem; overflow-wrap: anywhere; }
  .good { background: #eaf6f1; border-left: 4px solid #009e73; padding: .5rem 1rem; }
</style>
</head>
<body>
<h1>{{ found.name }}</h1>
<p class="lead">{{ found.task }}{% if data.modality %}, {{ data.modality }}{% endif %}: {{ total }} images.
{% if data.licence %}Licence: {{ data.licence }}.{% endif %} {{ data.citation }}</p>
{% if found.problems %}<ul class="bad">
{% for line in found.problems[:most] %}<li>{{ line }}</li>{% endfor %}
{% if found.problems | length > most %}
<li>and {{ found.problems | length - most }} more in inspection.json</li>{% endif %}</ul>
{% else %}
<p class="good">No patient and no image is in two parts, no image has two labels, no file is broken.</p>
{% endif %}
{% if found.notes %}<ul>{% for line in found.notes %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
<h2>Images by class and part</h2>
<div class="scroll"><table><thead><tr><th>part</th><th>patients</th><th>images</th>
{% for name in found.counts.train %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for part, counts in found.counts.items() %}<tr><td>{{ part }}</td><td>{{ found.patients[part] }}</td>
<td>{{ found.images[part] }}</td>{% for count in counts.values() %}<td>{{ count }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% macro tally(title, counts) %}<h2>{{ title }}</h2><div class="scroll"><table><tbody>
{% for name, count in (counts.items() | list)[:20] %}<tr><td>{{ name }}</td><td>{{ count }}</td></tr>{% endfor %}
{% if counts | length > 20 %}<tr><td>and {{ counts | length - 20 }} more</td><td></td></tr>{% endif %}
</tbody></table></div>{% endmacro %}
{% if found.sites %}<h2>Images by site and part</h2><div class="scroll"><table><thead><tr><th>site</th>
{% for part in found.counts %}<th>{{ part }}</th>{% endfor %}</tr></thead><tbody>
{% for site, counts in found.sites.items() %}<tr><td>{{ site }}</td>
{% for count in counts.values() %}<td>{{ count }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>{% endif %}
{{ tally("Image sizes (pixels)", found.sizes) }}
{{ tally("Depth", found.depths) }}
{{ tally("Patients by their number of images", found.images_per_patient) }}
<p>{{ found.findings }} images have boxes or masks. {{ found.duplicates }} groups of images are identical.</p>
{% for title, leaks in lists %}{% if leaks %}<h2>{{ title }}</h2><div class="scroll"><table>
<thead><tr><th>file</th><th>part</th><th>label</th></tr></thead><tbody>
{% for leak in leaks[:most] %}{% for file, part, label in leak %}
<tr><td>{{ file }}</td><td>{{ part }}</td><td>{{ label }}</td></tr>{% endfor %}
<tr><td colspan="3"></td></tr>{% endfor %}
{% if leaks | length > most %}
<tr><td colspan="3">and {{ leaks | length - most }} more in inspection.json</td></tr>{% endif %}
</tbody></table></div>{% endif %}{% endfor %}
{% for title, picture in pictures %}<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ picture }}">{% endfor %}
</body>
</html>
"""


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
        held = rows[rows["label"].map(lambda text, name=name: name in text.split(SEPARATOR))]
        if held.empty:
            continue
        file = f"sample_{number:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.png"
        pictures[f"Samples of {name}"] = save(_samples(dataset, held), folder / file)
    return pictures


def page(dataset: Dataset, inspection, pictures: dict[str, Path]) -> str:
    """The page as HTML without any outside address."""
    leakage = inspection.leakage
    lists = (
        ("Patients in more than one part", leakage.patients),
        ("Identical images in more than one part", leakage.images),
        ("Identical images with different labels", leakage.conflicts),
    )
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            data=dataset,
            found=inspection,
            total=len(dataset.manifest),
            most=_MOST_LISTED,
            lists=[
                (
                    title,
                    [
                        list(zip(leak.files, leak.splits, leak.labels, strict=True))
                        for leak in leaks
                    ],
                )
                for title, leaks in lists
            ],
            pictures=[
                (title, base64.b64encode(path.read_bytes()).decode())
                for title, path in pictures.items()
            ],
        )
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
            axes.imshow(
                image if image.ndim == 2 else image / full, cmap="gray", vmin=0, vmax=_white(image)
            )
            axes.set_title(shortened(Path(row["image"]).stem, 22), fontsize=7)
            for x, y, width, height in _boxes(row):
                axes.add_patch(
                    Rectangle((x, y), width, height, fill=False, edgecolor=VERMILION, linewidth=1.4)
                )
    return figure


def _white(image: np.ndarray) -> int:
    """16-bit images seldom use their range: the brightest pixel is white."""
    return 255 if image.dtype == np.uint8 else max(int(image.max()), 1)


def _boxes(row: dict) -> list[tuple[float, ...]]:
    sides = [str(row.get(name) or "") for name in ("x", "y", "width", "height")]
    if not all(sides):
        return []
    return list(zip(*(map(float, side.split(SEPARATOR)) for side in sides), strict=True))
