"""Colours of images whitened by principal components, standardised or made grey, by one linear map of each pixel.

What is learnt comes from sums over pixels that can be added up across sites.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg.errors import InputError
from medimg.pipeline.pixels import PixelCache, as_pixels

# Squared grey levels. What varies by less than one grey level is rounding and the colour noise of JPEG, as in grey
# images stored as RGB; dividing by its deviation would make an image of it.
EIGENVALUE_FLOOR = 1.0
_IMAGES = 32  # decoded at once
# Of --normalize, those that are learnt from the training images.
LEARNT = ("standard", "pca")


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Sums over pixels of 0..255 with C channels; of several sets of images they add up with `+`.

    Whole numbers of 8-bit images are summed exactly (float64 holds them to 10^11 pixels), so it does not matter how
    the images are divided, and subtracting the squared mean loses nothing to rounding.

    Attributes:
        count: pixels.
        sums: float64 (C,), of the values.
        products: float64 (C, C), of the products of two channels.
    """

    count: int
    sums: np.ndarray
    products: np.ndarray

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(self.count + other.count, self.sums + other.sums, self.products + other.products)

    @classmethod
    def none(cls, channels: int) -> "PixelSums":
        """Of no pixels."""
        return cls(0, np.zeros(channels), np.zeros((channels, channels)))

    @property
    def mean(self) -> np.ndarray:
        """float64 (C,)."""
        return self.sums / self.count

    @property
    def covariance(self) -> np.ndarray:
        """float64 (C, C), of these very pixels: divided by their count."""
        return self.products / self.count - np.outer(self.mean, self.mean)


@dataclass(frozen=True)
class Whitening:
    """The map x -> matrix (x - mean) of a pixel's channels.

    Attributes:
        mean: (C,), in 0..255.
        matrix: (C, C); row i gives the i-th principal component, the one of the largest variance first; of another
            method the i-th channel.
        method: of `--normalize`: `pca`, `standard` or `grayscale`.
    """

    mean: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    method: str = "pca"

    @classmethod
    def from_dict(cls, values: dict) -> "Whitening":
        """The inverse of `to_dict`."""
        return cls(tuple(values["mean"]), tuple(map(tuple, values["matrix"])), values.get("method", "pca"))

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        # Models from before there were other methods name none.
        named = {} if self.method == "pca" else {"method": self.method}
        return {**named, "mean": list(self.mean), "matrix": [list(row) for row in self.matrix]}

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Whiten pixels (..., C) in 0..255: float64 of the same shape."""
        return (np.asarray(pixels, np.float64) - self.mean) @ np.asarray(self.matrix).T


def pixel_sums(batches: Iterable[np.ndarray]) -> PixelSums | None:
    """Sums over images.

    Args:
        batches: uint8 or uint16 (N, H, W, C); 16-bit values count as fractions of 0..255.

    Returns:
        None when there is no batch.
    """
    total = None
    for batch in batches:
        pixels = as_pixels(batch).astype(np.float64).reshape(-1, batch.shape[-1])
        one = PixelSums(len(pixels), pixels.sum(axis=0), pixels.T @ pixels)
        total = one if total is None else total + one
    return total


def image_sums(paths: list[Path], image_size: int, channels: int) -> PixelSums:
    """Sums over image files as a model gets them, in memory of a few images.

    Args:
        paths: files.
        image_size: images are resized to (image_size, image_size).
        channels: 1 or 3.

    Raises:
        InputError: an image can't be read.
    """

    def batches():
        for start in range(0, len(paths), _IMAGES):
            some = paths[start : start + _IMAGES]
            yield PixelCache.in_memory(some, image_size, channels).take(np.arange(len(some)))

    return pixel_sums(batches()) or PixelSums.none(channels)


def grayscale(channels: int) -> Whitening:
    """Every channel becomes the brightness (ITU-R BT.601)."""
    luma = (0.299, 0.587, 0.114) if channels == 3 else (1.0,)
    return Whitening((0.0,) * channels, (luma,) * channels, "grayscale")


def whitening(sums: PixelSums, method: str = "pca") -> Whitening:
    """PCA whitening: the covariance of what it gives is the identity; by `standard` each channel's variance is 1.

    Two things are settled here that the covariance leaves open. A component whose variance is below EIGENVALUE_FLOOR
    is divided by the root of the floor: it stays as small as it is. And of a component and its negative, the one is
    taken whose first channel of any weight (a tenth of the largest) counts positively, so that the first component of
    ordinary images is brightness and not darkness.

    Args:
        sums: over all training images.
        method: of LEARNT.

    Raises:
        InputError: there is no pixel.
    """
    if sums.count < 1:
        raise InputError(f"--normalize {method}: there are no training images to take the colours from")
    if method == "standard":
        deviations = np.sqrt(np.maximum(np.diag(sums.covariance), EIGENVALUE_FLOOR))
        rows = [tuple(row) for row in np.diag(1.0 / deviations).tolist()]
        return Whitening(tuple(sums.mean.tolist()), tuple(rows), method)
    variances, components = np.linalg.eigh(sums.covariance)
    rows = []
    for variance, component in zip(variances[::-1], components.T[::-1], strict=True):
        weighty = np.abs(component) >= 0.1 * np.abs(component).max()
        sign = np.sign(component[np.argmax(weighty)])
        rows.append(sign * component / np.sqrt(max(variance, EIGENVALUE_FLOOR)))
    return Whitening(tuple(sums.mean.tolist()), tuple(tuple(row.tolist()) for row in rows))
