"""Encoded images that show nobody: smooth noise in the forms and sizes that a served model may be sent."""

import cv2
import numpy as np

from medimg.data.imaging import encode_png

# File, pixel type and planes; the commonest first, since a short warm-up takes the first few.
FORMS = (
    ("png", np.uint8, 1),
    ("png", np.uint8, 3),
    ("png", np.uint16, 1),
    ("jpeg", np.uint8, 3),
    ("jpeg", np.uint8, 1),
    ("png", np.uint16, 3),
)
# Height and width over the model's size: as it is, larger on both axes, smaller, one axis each.
_STRETCHES = ((1.0, 1.0), (1.5, 2.0), (0.75, 0.5), (2.0, 0.75))
_COARSE = 6  # grid points along an axis: a few blurs across the image, as anatomy has


def drawn_images(count: int, size: int, seed: int = 0) -> list[bytes]:
    """PNG and JPEG content by turns, grey and colour, 8 and 16 bits, square and not.

    Args:
        count: of images.
        size: width and height in pixels of what the model takes.
        seed: of the noise; nothing else decides the images.
    """
    images = []
    for number in range(count):
        kind, dtype, planes = FORMS[number % len(FORMS)]
        high, wide = _STRETCHES[number % len(_STRETCHES)]
        shape = (max(1, round(size * high)), max(1, round(size * wide)))
        noise = _smooth(np.random.default_rng((seed, number)), shape, planes)
        image = np.rint(noise * np.iinfo(dtype).max).astype(dtype)
        image = image[..., 0] if planes == 1 else image
        images.append(encode_png(image) if kind == "png" else _encode_jpeg(image))
    return images


def drawn_pixels(count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth noise as a model takes it.

    Args:
        count: of images.
        size: width and height in pixels.
        channels: 1 or 3.
        seed: of the noise.

    Returns:
        float32 (count, size, size, channels), whole numbers in 0..255.
    """
    noise = [_smooth(np.random.default_rng((seed, number)), (size, size), channels) for number in range(count)]
    return np.rint(255.0 * np.stack(noise)).astype(np.float32)


def _smooth(draw: np.random.Generator, shape: tuple[int, int], planes: int) -> np.ndarray:
    """float64 (H, W, planes) that spans 0 to 1."""
    coarse = draw.normal(size=(_COARSE, _COARSE, planes))
    fine = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC).reshape(*shape, planes)
    span = float(np.ptp(fine)) or 1.0
    return (fine - fine.min()) / span


def _encode_jpeg(image: np.ndarray) -> bytes:
    ordered = image[:, :, ::-1] if image.ndim == 3 else image
    return cv2.imencode(".jpg", np.ascontiguousarray(ordered))[1].tobytes()
