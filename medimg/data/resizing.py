"""Images and masks at another size, rounded as the served model rounds them."""

import cv2
import numpy as np

# Half up, and a little more: two ways of computing the same average differ in the last digits of a float, which must
# not decide how an exact half is rounded. The served model resizes in TensorFlow and must agree.
ROUNDING = 0.501
_BLOCK = 1 << 22  # pixels


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Stretch to a square.

    An axis that shrinks is averaged over areas (no aliasing), one that grows is interpolated linearly. Whole numbers
    are rounded as the served model rounds them: OpenCV itself rounds an exact half now up, now to even, and
    interpolates bytes by coarse weights.

    Args:
        image: uint8, uint16 or float32, (H, W) or (H, W, 3).
        size: width and height in pixels.

    Returns:
        Same dtype, (size, size) or (size, size, 3).
    """
    if image.shape[:2] == (size, size):
        return image
    # Some rows at a time: a film as float32 takes four times its memory.
    rows = max(1, _BLOCK // image.shape[1])
    parts = (image[start : start + rows].astype(np.float32) for start in range(0, image.shape[0], rows))
    stretched = _stretched(np.concatenate([_stretched(part, size, part.shape[0]) for part in parts]), size, size)
    if image.dtype == np.float32:
        return stretched
    return np.floor(stretched + np.float32(ROUNDING)).astype(image.dtype)


def _stretched(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """float32 (H, W) or (H, W, 3) -> (height, width) or (height, width, 3)."""
    smaller = (min(image.shape[1], width), min(image.shape[0], height))
    if smaller != image.shape[1::-1]:
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Stretch a mask (H, W) to (size, size) without inventing values between findings' numbers."""
    if mask.shape == (size, size):
        return mask
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
