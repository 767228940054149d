"""All images in small: what copies and near copies are sought on, decoded once and a block at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from medimg.pipeline.pixels import PixelCache, as_pixels
from synthetic.judge.rows import Subject

SIDE = 16
BLOCK = 256  # images decoded at once: at most 50 MB of pixels
# A copy moved by this part of its width is sought too: a pixel of 28.
_MOVED = 1 / 28


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Averages over areas of images, float32 (N, T, T, C) in 0..255, T at most SIDE.

    Attributes:
        made: synthetic images in several forms: as they are, mirrored, moved in four directions.
        train: training images as they are.
        held_out: images of `Subject.reserve`, in the same forms.
        real: training images at `real_positions`, in the same forms.
        real_positions: int (R,).
        is_test: bool, which of the held-out images are of split test.
        held_out_patients: of the held-out images.
        size: pixels of a side that images were decoded at.
        channels: 1 or 3.
    """

    made: list[np.ndarray]
    train: np.ndarray
    held_out: list[np.ndarray]
    real: list[np.ndarray]
    real_positions: np.ndarray
    is_test: np.ndarray
    held_out_patients: np.ndarray
    size: int
    channels: int


def load(
    subject: Subject, size: int, channels: int, real_positions: np.ndarray, progress: Callable[[str, int, int], None]
) -> Thumbnails:
    """Decode all images.

    Args:
        subject: whose images; nothing of it is left out.
        size: pixels of a side at which images are compared.
        channels: 1 or 3.
        real_positions: int, training images that are held against the others of train.
        progress: called with what is done, how far, and of how many.

    Raises:
        InputError: an image can't be read.
    """
    reserve = subject.reserve
    forms = {}
    for name, dataset, rows, moved in (
        ("synthetic", subject.synthetic, subject.made, np.arange(len(subject.made))),
        ("train", subject.real, subject.train, real_positions),
        ("held out", subject.real, reserve, np.arange(len(reserve))),
    ):
        step = partial(progress, f"copies: {name}")
        forms[name] = _forms(dataset.paths(rows), (size, channels), moved, step)
    small, moved = forms["train"]
    return Thumbnails(
        _all(*forms["synthetic"]),
        small,
        _all(*forms["held out"]),
        _all(small[real_positions], moved),
        real_positions,
        (reserve["split"] == "test").to_numpy(),
        reserve["patient"].to_numpy(),
        size,
        channels,
    )


def pixels(paths: list[Path], size: int, channels: int) -> np.ndarray:
    """float32 (N, S, S, C) in 0..255."""
    cache = PixelCache.in_memory(paths, size, channels)
    images = as_pixels(cache.take(np.arange(len(paths))))
    cache.close()
    return images


def _all(small: np.ndarray, moved: np.ndarray) -> list[np.ndarray]:
    return [small, small[:, :, ::-1], *moved]


def _forms(paths: list[Path], form: tuple[int, int], moved: np.ndarray, progress):
    """Thumbnails (N, T, T, C), and of the images at `moved` those of the moved image: (4, P, T, T, C)."""
    side, step = min(SIDE, form[0]), max(1, round(form[0] * _MOVED))
    small = np.empty((len(paths), side, side, form[1]), np.float32)
    places = {int(position): place for place, position in enumerate(moved)}
    shifted = np.empty((4, len(moved), side, side, form[1]), np.float32)
    for start in range(0, len(paths), BLOCK):
        for i, image in enumerate(pixels(paths[start : start + BLOCK], *form), start):
            small[i] = _shrunk(image, side)
            if i in places:
                for turn, away in enumerate(((step, 0), (-step, 0), (0, step), (0, -step))):
                    shifted[turn, places[i]] = _shrunk(_shifted(image, *away), side)
        progress(min(start + BLOCK, len(paths)), len(paths))
    return small, shifted


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    shrunk = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return shrunk.reshape(side, side, image.shape[2])


def _shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Moved, its edge repeated where nothing is known."""
    padded = np.pad(image, ((abs(down),) * 2, (abs(right),) * 2, (0, 0)), "edge")
    rows, columns = abs(down) - down, abs(right) - right
    return padded[rows : rows + image.shape[0], columns : columns + image.shape[1]]
