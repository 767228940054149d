"""One look for all figures: colours that colour-blind readers tell apart, legible text, PNG.

Source of the colours: Okabe and Ito, Color Universal Design, 2008.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from medimg import atomic

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#777777", "#222222"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
# With more curves than colours, the next dashes tell them apart.
DASHES = ("-", "--", ":")

STYLE = {
    "font.size": 10.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11.5,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.9,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
    # Nothing is clipped.
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.12,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style, for what is drawn and saved inside; global settings stay as they were."""
    with rc_context(STYLE):
        yield


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG atomically, nothing clipped.

    Raises:
        InputError: the folder can't be written.
    """
    with styled(), atomic.replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def line_style(index: int) -> dict:
    """Colour and dashes of the index-th curve of a figure."""
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dashes}
