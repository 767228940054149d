"""Heat maps over images: one picture each, and a contact sheet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg import atomic


@dataclass(frozen=True)
class Panel:
    """One explained image.

    Attributes:
        name: shown above, the file's name.
        pixels: float32 (S, S, C) in 0..255.
        heat_map: float32 (S, S); from 0 to 1, or signed when `signed`.
        prediction: predicted class and its probability in words.
        truth: label in words, '' when unknown.
        region: bool (S, S) of known findings, or None.
        signed: SHAP values rather than a heat map.
    """

    name: str
    pixels: np.ndarray
    heat_map: np.ndarray
    prediction: str
    truth: str = ""
    region: np.ndarray | None = None
    signed: bool = False


def draw(panels: list[Panel], path: Path, title: str, columns: int = 2) -> None:
    """Write original and overlay of each panel side by side as PNG, `columns` pairs a row.

    Args:
        panels: what to draw.
        path: of the PNG.
        title: above all.
        columns: pairs in a row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.3 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, panel in enumerate(panels):
        left, right = axes[i // columns, 2 * (i % columns) : 2 * (i % columns) + 2]
        _original(left, panel)
        shown = _overlay(right, panel)
    label = (
        "for (red) and against (blue) the class, share of the image's largest"
        if panels[0].signed
        else "evidence, share of the map's maximum"
    )
    figure.colorbar(shown, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.02, label=label)
    known = any(panel.region is not None for panel in panels)
    figure.suptitle(title + ("; dashed: known finding" if known else ""), fontsize=11)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _original(axis, panel: Panel) -> None:
    _show(axis, panel.pixels)
    axis.set_title(panel.name + (f"\ntrue: {panel.truth}" if panel.truth else ""), fontsize=8)


def _overlay(axis, panel: Panel):
    _show(axis, panel.pixels)
    if panel.signed:
        # Symmetric about 0; the 99.5th percentile keeps one hot pixel from hiding the rest.
        limit = float(np.percentile(np.abs(panel.heat_map), 99.5)) or 1.0
        share = np.clip(panel.heat_map / limit, -1.0, 1.0)
        shown = axis.imshow(share, cmap="RdBu_r", vmin=-1.0, vmax=1.0, alpha=0.6 * np.abs(share))
    else:
        shown = axis.imshow(panel.heat_map, cmap="inferno", vmin=0.0, vmax=1.0, alpha=0.6 * panel.heat_map)
    if panel.region is not None and panel.region.any() and not panel.region.all():
        axis.contour(panel.region, [0.5], colors="cyan", linewidths=1.0, linestyles="dashed")
    flat = "\n(flat map: no evidence located)" if not panel.heat_map.any() else ""
    axis.set_title(f"predicted: {panel.prediction}{flat}", fontsize=8)
    return shown


def _show(axis, pixels: np.ndarray) -> None:
    image = np.clip(pixels, 0, 255) / 255.0
    axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
