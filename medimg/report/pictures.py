"""Small pictures of a report: patients' images and maps over them, as JPEG inside the page."""

import base64
from pathlib import Path

import cv2
import numpy as np

from medimg.data.imaging import read_image

SIDE, _QUALITY = 220, 82
# How much of a map covers the image where it is strongest.
_COVER = 0.55


def shrunk(path: Path) -> np.ndarray:
    """An image as uint8 RGB (H, W, 3), its longer side at most SIDE; 16 bits between their extremes.

    Raises:
        InputError: it can't be read.
    """
    image = read_image(path)
    if image.dtype != np.uint8:
        low, high = np.percentile(image, (0.5, 99.5))
        image = (np.clip((image.astype(np.float32) - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def overlaid(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map over an image, uint8 (H, W, 3): of signed maps the evidence for the class, darkest where there is most.

    Args:
        picture: uint8 (H, W, 3).
        heat: float (S, S), larger where there is more evidence.
    """
    from matplotlib import colormaps

    # The model's square is stretched back over the image.
    heat = cv2.resize(np.maximum(heat, 0).astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    heat = heat / heat.max() if heat.max() > 0 else heat
    colours = colormaps["inferno"](heat)[..., :3] * 255
    cover = _COVER * heat[..., None] ** 0.5
    return (picture * (1 - cover) + colours * cover).astype(np.uint8)


def encoded(picture: np.ndarray) -> str:
    """The `src` of an image: uint8 RGB (H, W, 3) as JPEG."""
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
