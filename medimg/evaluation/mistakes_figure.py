"""A contact sheet of the images that the model is most confidently wrong about."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from medimg.data.imaging import read_image
from medimg.evaluation.mistakes import Mistake
from medimg.style.figures import styled
from medimg.style.words import shortened

COLUMNS = 4


def mistakes_figure(mistakes: list[Mistake], paths: list[Path]) -> Figure | None:
    """A contact sheet: image, label, prediction with its probability, file name.

    Args:
        mistakes: what to show; None is returned when there are none.
        paths: the image of each mistake.

    Raises:
        InputError: an image can't be read.
    """
    if not mistakes:
        return None
    columns = min(COLUMNS, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    with styled():
        figure = Figure(figsize=(2.75 * columns, 3.6 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, mistake, path in zip(panels, mistakes, paths, strict=False):
            panel.imshow(_displayable(read_image(path)), cmap="gray", interpolation="antialiased")
            panel.set_title(
                f"label: {shortened(mistake.label, 26)}\npredicted: {mistake.decision}",
                fontsize=9.5,
                loc="left",
            )
            panel.set_xlabel(shortened(path.name, 34), fontsize=8)
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
        for panel in panels[len(mistakes) :]:
            panel.set_visible(False)
    return figure


def _displayable(image: np.ndarray) -> np.ndarray:
    """Grey as RGB so that no colour map rescales it; 16-bit images between their extremes."""
    if image.dtype != np.uint8:
        image = image.astype(np.float64)
        low, high = np.percentile(image, (0.5, 99.5))
        image = (np.clip((image - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
