"""Maps that know nothing of the model: what a score is worth is its distance from theirs."""

import numpy as np

from explain.methods.evidence import stretched

# Cells of the random map's side, as coarse as usual class activation maps; the centre's spread as a share of the side.
_GRID, _SPREAD = 8, 0.25


def random(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Smooth noise, float32 (N, S, S)."""
    size = pixels.shape[1]
    return stretched(draw.random((len(pixels), min(_GRID, size), min(_GRID, size)), np.float32), size)


def centre(pixels: np.ndarray) -> np.ndarray:
    """The same bell in the middle of every image, float32 (N, S, S)."""
    size = pixels.shape[1]
    away = (np.arange(size) - (size - 1) / 2) / (_SPREAD * size)
    bell = np.exp(-(away[:, None] ** 2 + away**2) / 2).astype(np.float32)
    return np.repeat(bell[None], len(pixels), axis=0)


def edges(pixels: np.ndarray) -> np.ndarray:
    """Sobel's edges of the image's mean over channels, float32 (N, S, S)."""
    import cv2

    grey = pixels.mean(axis=-1)
    return np.stack([np.hypot(cv2.Sobel(g, cv2.CV_32F, 1, 0), cv2.Sobel(g, cv2.CV_32F, 0, 1)) for g in grey])
