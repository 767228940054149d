"""Heat maps over images: one picture each, and a contact sheet, painted without a plotting library."""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medimg import atomic
from medimg.style.words import shortened

# Pixels: least side of a shown image, space around it, and the height of a line of text.
_SIDE, _GAP, _LINE = 320, 10, 20
_STRENGTH = 0.6
_CYAN, _INK = (0, 230, 230), (34, 34, 34)


@dataclass(frozen=True)
class Panel:
    """One explained image.

    Attributes:
        name: shown above, the file's name.
        pixels: float32 (S, S, C) in 0..255.
        heat_map: float32 (S, S); from 0 to 1, or signed when `signed`.
        caption: of the map, a line or more: as a rule the predicted class and its probability.
        truth: label in words, '' when unknown.
        region: bool (S, S) of known findings, or None.
        signed: evidence against the class is shown too.
    """

    name: str
    pixels: np.ndarray
    heat_map: np.ndarray
    caption: str
    truth: str = ""
    region: np.ndarray | None = None
    signed: bool = False

    @cached_property
    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Image and overlay with its outline, each uint8 (side, side, 3): once for a page of its own and the sheet."""
        side = max(_SIDE, self.pixels.shape[0])
        image = np.clip(self.pixels, 0, 255).astype(np.uint8)
        image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        overlaid = overlay(image, self.heat_map, self.signed)
        if self.region is not None and self.region.any() and not self.region.all():
            region = cv2.resize(self.region.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
            outlines = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
            cv2.drawContours(overlaid, outlines, -1, _CYAN, 1)
        return image, overlaid


def draw(panels: list[Panel], path: Path, title: str, columns: int = 2) -> None:
    """Write original and overlay of each panel side by side as PNG, `columns` pairs a row.

    Args:
        panels: what to draw.
        path: of the PNG.
        title: above all.
        columns: pairs in a row.
    """
    columns = min(columns, len(panels))
    has_regions = any(panel.region is not None for panel in panels)
    texts = [_captions(panel) for panel in panels]
    lines = max(len(caption) for pair in texts for caption in pair)
    cells = [_painted(panel, pair, lines) for panel, pair in zip(panels, texts, strict=True)]
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    page = Image.new("RGB", (columns * width, _LINE + rows * height + 2 * _LINE + _GAP), "white")
    for number, cell in enumerate(cells):
        page.paste(Image.fromarray(cell), (number % columns * width, _LINE + number // columns * height + 4))
    _write(
        page, title + ("; outlined: known finding" if has_regions else ""), (_GAP, 3), page.width - 2 * _GAP, bold=True
    )
    _colour_bar(page, panels[0].signed)
    # OpenCV writes it in half of Pillow's time, a third larger.
    _, png = cv2.imencode(".png", np.asarray(page)[..., ::-1])
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(png)


def _captions(panel: Panel) -> tuple[list[str], list[str]]:
    """Lines above the image, and above the overlay."""
    flat = [] if panel.heat_map.any() else ["(flat map: no evidence located)"]
    truth = [f"true: {panel.truth}"] if panel.truth else []
    return [panel.name, *truth], [*panel.caption.split("\n"), *flat]


def _painted(panel: Panel, captions: tuple[list[str], list[str]], lines: int) -> np.ndarray:
    """uint8 (height, width, 3): lines of text above the image and the overlay."""
    image, overlaid = panel.pictures
    side = len(image)
    top = lines * _LINE + 2
    page = Image.new("RGB", (2 * side + 3 * _GAP, side + top + _GAP), "white")
    page.paste(Image.fromarray(image), (_GAP, top))
    page.paste(Image.fromarray(overlaid), (side + 2 * _GAP, top))
    for x, caption in zip((_GAP, side + 2 * _GAP), captions, strict=True):
        for number, line in enumerate(caption):
            _write(page, line, (x, number * _LINE), side)
    return np.asarray(page)


def overlay(image: np.ndarray, heat_map: np.ndarray, signed: bool = False) -> np.ndarray:
    """The image with a map's colours, stronger where the map is: uint8 (side, side, 3).

    Args:
        image: uint8 (side, side, 3).
        heat_map: float (S, S), as of `Panel`.
        signed: likewise.
    """
    heat = cv2.resize(heat_map.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if signed:
        # Symmetric about 0; the 99.5th percentile keeps one hot pixel from hiding the rest.
        heat = heat / (float(np.percentile(np.abs(heat), 99.5)) or float(np.abs(heat).max()) or 1.0)
    heat = np.clip(heat, -1.0 if signed else 0.0, 1.0)
    colours = _colours(signed)[np.round(255 * (heat + 1) / 2 if signed else 255 * heat).astype(int)]
    strength = _STRENGTH * np.abs(heat)[..., None]
    return np.round((1 - strength) * image + strength * colours).astype(np.uint8)


@cache
def _colours(signed: bool) -> np.ndarray:
    """uint8 (256, 3)."""
    from matplotlib import colormaps

    return (255 * colormaps["RdBu_r" if signed else "inferno"](np.arange(256))[:, :3]).astype(np.uint8)


@lru_cache(maxsize=4)
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(
        str(Path(get_data_path()) / "fonts" / "ttf" / name), 13, layout_engine=ImageFont.Layout.BASIC
    )


def _write(page: Image.Image, text: str, place: tuple[int, int], width: int, bold: bool = False) -> None:
    """One line that is shortened in its middle to fit."""
    font, length = _font(bold), len(text)
    while length > 8 and font.getlength(shortened(text, length)) > width:
        length -= 1
    ImageDraw.Draw(page).text(place, shortened(text, length), fill=_INK, font=font)


def _colour_bar(page: Image.Image, signed: bool) -> None:
    """At the bottom, with what it means."""
    label = (
        "against (blue) and for (red) the class, share of the image's largest"
        if signed
        else "evidence, from none to the map's maximum"
    )
    width, top = min(260, page.width // 3), page.height - _LINE - _GAP
    bar = np.repeat(_colours(signed)[np.linspace(0, 255, width).astype(int)][None], 12, axis=0)
    page.paste(Image.fromarray(bar), (_GAP, top + 3))
    _write(page, label, (width + 2 * _GAP, top), page.width - width - 3 * _GAP)
