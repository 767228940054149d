"""Explanation maps as colours, the same on a page, in a figure and in a DICOM capture."""

import cv2
import numpy as np

# Of a map's maximum over its image.
OPACITY = 0.6


def coloured(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map's colours, transparent where it is 0.

    Args:
        heat: float32 (H, W), from 0 to 1.
        size: width and height in pixels of the answer.

    Returns:
        uint8 (height, width, 4), RGBA.
    """
    levels = np.rint(255 * np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    return np.dstack([colours, levels])


def laid_over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map over its image.

    Args:
        image: uint8 (H, W, 3).
        heat: float32, from 0 to 1, stretched over the image.

    Returns:
        uint8 (H, W, 3).
    """
    colours = coloured(heat, image.shape[1::-1])
    share = OPACITY * (colours[:, :, 3:] / np.float32(255))
    return np.rint(image * (1 - share) + colours[:, :, :3] * share).astype(np.uint8)
