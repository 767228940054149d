"""Parts of an image where a finding is not: its border, text and markers, and what is outside the body."""

import cv2
import numpy as np

from medimg.dicom.burned_in import text_boxes

# Of a side: the border, a strip along one side, how small and high a marker may be, and how far from the edge.
_BORDER, _STRIP, _SMALLEST, _TALLEST, _MARGIN = 0.08, 1 / 6, 0.03, 0.2, 0.25
# Side in pixels that text is looked for at.
_LOOKED_AT = 512
# Of the image's bright end: what is darker, and joined to the border, is air.
_AIR = 0.08
# Of a side: the widest stroke of a letter; steps in grey by which strokes stand out of what they lie on; of a marker's
# surroundings: the most that stands out too.
_STROKE, _STANDS_OUT, _NOT_ALONE = 0.04, 60, 0.06


def at_sides(size: int) -> dict[str, np.ndarray]:
    """Name -> bool (size, size): `border`, the outer twelfth all around, and the outer sixth of each side."""
    wide, strip = max(1, round(_BORDER * size)), max(1, round(_STRIP * size))
    sides = {name: np.zeros((size, size), bool) for name in ("border", "top", "bottom", "left", "right")}
    sides["border"][:] = True
    sides["border"][wide:-wide, wide:-wide] = False
    sides["top"][:strip], sides["bottom"][-strip:] = True, True
    sides["left"][:, :strip], sides["right"][:, -strip:] = True, True
    return sides


def outside_body(image: np.ndarray) -> np.ndarray:
    """bool (H, W): black from the border inwards, as air is around a patient.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).
    """
    grey = image.max(axis=2) if image.ndim == 3 else image
    grey = cv2.blur(grey.astype(np.float32), (3, 3))
    dark = (grey <= _AIR * np.percentile(grey, 99)).astype(np.uint8)
    # A frame that joins all dark parts at the border.
    framed = cv2.copyMakeBorder(dark, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    parts = cv2.connectedComponents(framed, connectivity=4)[1]
    return parts[1:-1, 1:-1] == parts[0, 0]


def text(image: np.ndarray) -> np.ndarray:
    """bool (H, W): boxes of rows of letters and of single markers near the border.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).
    """
    grey = image.max(axis=2) if image.ndim == 3 else image
    grey = grey if grey.dtype == np.uint8 else (grey >> 8).astype(np.uint8)
    height, width = grey.shape
    scale = max(1.0, _LOOKED_AT / min(height, width))
    looked_at = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else grey
    mask = np.zeros((height, width), bool)
    for x, y, w, h in [*text_boxes(looked_at), *_markers(looked_at)]:
        left, top = int(x / scale), int(y / scale)
        mask[top : int(np.ceil((y + h) / scale)), left : int(np.ceil((x + w) / scale))] = True
    return mask


def _markers(grey: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Parts near the border, as high as lead letters, of strokes that stand out of what is around, and alone there."""
    height, width = grey.shape
    side = min(height, width)
    # White top-hat: what is narrower than the widest stroke, above what is around it, however bright that is.
    stroke = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(_STROKE * side) | 1,) * 2)
    contrast = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, stroke)
    count, parts, stats, centres = cv2.connectedComponentsWithStats((contrast >= _STANDS_OUT).astype(np.uint8))
    boxes = []
    for number in range(1, count):
        x, y, w, h, area = stats[number].tolist()
        fits = _SMALLEST * side <= h <= _TALLEST * side and h / 4 <= w <= _TALLEST * side and area >= 0.12 * w * h
        middle = centres[number] / (width, height)
        if not fits or not (np.abs(middle - 0.5) > 0.5 - _MARGIN).any():
            continue
        away = max(3, h // 4)
        around = (slice(max(0, y - away), y + h + away), slice(max(0, x - away), x + w + away))
        # A rib or a skull goes on beyond the part; the letter's own blurred edge is not looked at.
        ring = contrast[around][cv2.dilate((parts[around] == number).astype(np.uint8), np.ones((5, 5))) == 0]
        clear = len(ring) > 0 and (ring >= _STANDS_OUT / 2).mean() <= _NOT_ALONE
        if clear and np.median(contrast[parts == number]) >= _STANDS_OUT + 10:
            boxes.append((x, y, w, h))
    return boxes


def at_size(region: np.ndarray, size: int) -> np.ndarray:
    """bool (size, size): a region (H, W) on the model's grid; what it touches is in it."""
    return cv2.resize(region.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0


def spread(region: np.ndarray, pixels: float) -> np.ndarray:
    """The region and what is nearer to it than that: a map tells it no better from its neighbourhood."""
    side = 2 * round(pixels) + 1
    return cv2.dilate(region.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
