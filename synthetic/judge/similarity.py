"""Multi-scale structural similarity of pairs of images.

Sources: Wang, Simoncelli and Bovik, Asilomar 2003 (MS-SSIM); Odena et al., AC-GAN, ICML 2017 (its mean over random
pairs of a class as an index of mode collapse).
"""

import numpy as np
from scipy.ndimage import correlate1d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """MS-SSIM of each pair.

    As many of the five scales as leave the window of 11 pixels room, their weights made to sum to 1.

    Args:
        first: float (N, S, S), grey, in 0..255.
        second: likewise, the other of each pair.

    Returns:
        float64 (N,), 1 for equal images; negative similarities count as 0.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    scales = 1
    while scales < len(WEIGHTS) and first.shape[1] >> scales >= WINDOW:
        scales += 1
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    result = np.ones(len(first))
    for scale, weight in enumerate(weights):
        luminance, contrast = _similarity(first, second)
        value = contrast if scale < scales - 1 else luminance * contrast
        result *= np.clip(value.mean(axis=(1, 2)), 0, None) ** weight
        first, second = _halved(first), _halved(second)
    return result


def _similarity(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure maps."""
    mean1, mean2 = _blurred(first), _blurred(second)
    variance = _blurred(first**2) + _blurred(second**2) - mean1**2 - mean2**2
    covariance = _blurred(first * second) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + _C1) / (mean1**2 + mean2**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variance + _C2)


def _blurred(images: np.ndarray) -> np.ndarray:
    """Gaussian means where the window is wholly inside."""
    half = min(WINDOW, images.shape[1]) // 2
    offsets = np.arange(-half, half + 1)
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        images = correlate1d(images, kernel, axis=axis, mode="nearest")
    inner = slice(half, images.shape[1] - half) if images.shape[1] > 2 * half else slice(None)
    return images[:, inner, inner]


def _halved(images: np.ndarray) -> np.ndarray:
    side = images.shape[1] // 2 * 2
    return images[:, :side, :side].reshape(len(images), side // 2, 2, side // 2, 2).mean((2, 4))
