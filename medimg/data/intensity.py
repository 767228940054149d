"""Which value of an image is white: a 16-bit file often holds the 12 bits of a detector."""

import numpy as np

TWELVE_BITS = 4095


def to_full_scale(image: np.ndarray, white: int) -> np.ndarray:
    """Stretch values so that `white` becomes the depth's largest; what is above becomes that too.

    Args:
        image: uint8 or uint16 of any shape.
        white: the value, e.g. 4095 of a 12-bit detector; 0: the image's own maximum.

    Returns:
        Same dtype and shape.
    """
    full = np.iinfo(image.dtype).max
    white = white or int(image.max(initial=0))
    if white in (0, full):
        return image
    return ((np.minimum(image, white).astype(np.uint64) * full + white // 2) // white).astype(image.dtype)
