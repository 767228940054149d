"""Text burned into an image's borders, found by its shape: bright strokes of even height in a row.

Meant for the names and dates that scanners and digitisers write there. It misses text in the middle, handwriting and
text of little contrast, and reads nothing: a person looks at what it reports. It needs OpenCV and NumPy, nothing of
medimg, and travels with exported models as `dicom_text.py`.
"""

from math import ceil

import cv2
import numpy as np

# Of a side: how far in the border reaches, and how high a letter may be.
_BORDER, _TALLEST = 0.25, 0.06
_LARGEST = 1400  # pixels of the shorter side that are looked at: more tell no more
_SHORTEST = 6  # pixels
_LETTERS = 3  # at least, in a row


def text_boxes(image: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Where text may be: (x, y, width, height) of each row of letters, in pixels.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).
    """
    grey = image.max(axis=2) if image.ndim == 3 else image
    grey = grey if grey.dtype == np.uint8 else (grey >> 8).astype(np.uint8)
    scale = max(1.0, min(grey.shape) / _LARGEST)
    if scale > 1:
        size = (round(grey.shape[1] / scale), round(grey.shape[0] / scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    height, width = grey.shape
    tallest = max(_SHORTEST, int(_TALLEST * min(height, width)))
    rows: list[list[tuple[int, int, int, int]]] = []
    for sign in (grey, 255 - grey):
        for letter in sorted(_letters(sign, tallest)):
            row = next((row for row in reversed(rows) if _follows(row[-1], letter)), None)
            rows.append([letter]) if row is None else row.append(letter)
    boxes = [_around(row) for row in rows if len(row) >= _LETTERS]
    boxes = [box for box in boxes if _at_border(box, height, width)]
    return [(int(x * scale), int(y * scale), ceil(w * scale), ceil(h * scale)) for x, y, w, h in boxes]


def checked(image: np.ndarray, is_flagged: bool, mask: bool) -> tuple[np.ndarray, list[str]]:
    """The image, text found at its borders black where that is asked for, and what is to be told of it.

    Args:
        image: as of `text_boxes`.
        is_flagged: its header says that text is burned in.
        mask: make what is found black.
    """
    boxes = text_boxes(image)
    treatment = "made black" if mask else "not made black (--mask-text of 'medimg data prepare' makes it so)"
    warnings = ["burned-in annotation, by its header"] * is_flagged
    warnings += [f"may show burned-in text at its border, {treatment}"] * bool(boxes)
    return masked(image, boxes) if mask else image, warnings


def masked(image: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """The image with the boxes, and a margin of a third of their height, black."""
    image = image.copy()
    for x, y, width, height in boxes:
        margin = max(2, height // 3)
        image[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin] = 0
    return image


def _letters(grey: np.ndarray, tallest: int) -> list[tuple[int, int, int, int]]:
    """Small parts that stand out from what is around them, and are even in themselves."""
    size = 2 * (tallest // 3) + 1
    stands_out = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, np.ones((size, size), np.uint8))
    _, strokes = cv2.threshold(stands_out, 100, 255, cv2.THRESH_BINARY)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    letters = []
    wide, high, share = stats[:, 2], stats[:, 3], stats[:, 4] / (stats[:, 2] * stats[:, 3])
    fits = (high >= _SHORTEST) & (high <= tallest) & (wide <= 1.5 * high) & (share >= 0.12) & (share <= 0.95)
    # The first is what stands out of nothing.
    for number in np.flatnonzero(fits[1:]) + 1:
        x, y, width, height, _ = stats[number].tolist()
        values = grey[y : y + height, x : x + width][parts[y : y + height, x : x + width] == number]
        if np.percentile(values, 20) >= 0.7 * values.max():
            letters.append((x, y, width, height))
    return letters


def _follows(before: tuple[int, int, int, int], letter: tuple[int, int, int, int]) -> bool:
    """Whether a letter stands on the same line, to the right of another and of its size."""
    x, y, width, height = before
    gap, low = letter[0] - (x + width), (letter[1] + letter[3]) - (y + height)
    size = max(height, letter[3])
    return -0.3 * size <= gap <= 1.2 * size and abs(low) <= 0.25 * size and min(height, letter[3]) >= 0.6 * size


def _around(row: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    left, top = min(x for x, _, _, _ in row), min(y for _, y, _, _ in row)
    right, bottom = max(x + w for x, _, w, _ in row), max(y + h for _, y, _, h in row)
    return left, top, right - left, bottom - top


def _at_border(box: tuple[int, int, int, int], height: int, width: int) -> bool:
    x, y, wide, high = box
    across, down = _BORDER * width, _BORDER * height
    return y + high / 2 < down or y + high / 2 > height - down or x + wide < 2 * across or x > width - 2 * across
