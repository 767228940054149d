"""Named numbers of an image's brightness, texture and shape, each group blind to what the others are about.

Brightness is of grey values alone, wherever they lie. Texture is measured on grey levels of equal frequency, so that a
brighter or flatter copy has the same; shape on the outlines that are left after fine structure is blurred away.

Sources: Haralick et al., "Textural features for image classification", IEEE Trans. SMC 3, 1973 (co-occurrence);
Ojala et al., IEEE TPAMI 24, 2002 (uniform local binary patterns); Otsu, IEEE Trans. SMC 9, 1979.
"""

import cv2
import numpy as np
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.measure import label, regionprops

FEATURES = {
    "brightness": ("mean", "contrast", "dark end", "bright end", "skewness", "saturation"),
    "texture": (
        "co-occurrence contrast", "co-occurrence homogeneity", "co-occurrence correlation",
        "coarse co-occurrence correlation", "local pattern entropy", "flat local patterns",
    ),
    "shape": ("bright area", "regions", "eccentricity", "solidity", "roundness", "outline length", "height", "width"),
}  # fmt: skip
NAMES = tuple(f"{group}: {name}" for group, names in FEATURES.items() for name in names)
GROUPS = np.array([group for group, names in FEATURES.items() for _ in names])
# Grey levels of equal frequency, distances in pixels between them, and neighbours of a local pattern.
_LEVELS, _NEAR, _FAR, _NEIGHBOURS = 16, 1, 4, 8
# Larger images are shrunk to this side: what is measured costs time, and a model sees little finer.
_MOST_SIDE = 128
# Of the side: sigma that fine structure is blurred away by; of the image: the smallest region that is counted.
_BLUR, _SMALLEST = 1 / 24, 0.005


def measure(pixels: np.ndarray) -> np.ndarray:
    """float64 (N, len(NAMES)).

    Args:
        pixels: (N, S, S, 1 or 3) in 0..255.
    """
    return np.nan_to_num([np.concatenate([_brightness(x), _texture(g), _shape(g)]) for x, g in map(_grey, pixels)])


def _grey(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image float32 (S, S, C) and its grey values uint8 (S, S)."""
    pixels = np.asarray(pixels, np.float32)
    if len(pixels) > _MOST_SIDE:
        shrunk = cv2.resize(pixels, (_MOST_SIDE, _MOST_SIDE), interpolation=cv2.INTER_AREA)
        pixels = shrunk.reshape(_MOST_SIDE, _MOST_SIDE, -1)
    return pixels, np.clip(np.rint(pixels.mean(axis=-1)), 0, 255).astype(np.uint8)


def _brightness(pixels: np.ndarray) -> list[float]:
    grey = pixels.mean(axis=-1)
    spread = grey.std()
    skewness = ((grey - grey.mean()) ** 3).mean() / spread**3 if spread > 0 else 0.0
    saturation = (pixels.max(axis=-1) - pixels.min(axis=-1)).mean()
    return [grey.mean(), spread, *np.percentile(grey, (5, 95)), skewness, saturation]


def _texture(grey: np.ndarray) -> list[float]:
    # Equal grey values get the same level, whatever it is then worth.
    ends = np.quantile(grey, np.arange(1, _LEVELS) / _LEVELS)
    levels = np.searchsorted(ends, grey, side="right").astype(np.uint8)
    angles = np.arange(4) * np.pi / 4
    together = graycomatrix(levels, [_NEAR, _FAR], angles, levels=_LEVELS, symmetric=True, normed=True)
    contrast, homogeneity, correlation = (
        graycoprops(together, name).mean(axis=1) for name in ("contrast", "homogeneity", "correlation")
    )
    patterns = local_binary_pattern(grey, _NEIGHBOURS, 1, method="uniform").astype(int)
    shares = np.bincount(patterns.ravel(), minlength=_NEIGHBOURS + 2) / patterns.size
    some = shares[shares > 0]
    entropy = -(some * np.log2(some)).sum()
    return [contrast[0], homogeneity[0], correlation[0], correlation[1], entropy, shares[_NEIGHBOURS]]


def _shape(grey: np.ndarray) -> list[float]:
    size = len(grey)
    smooth = cv2.GaussianBlur(grey, (0, 0), _BLUR * size)
    bright = cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    regions = [one for one in regionprops(label(bright)) if one.area >= _SMALLEST * bright.size]
    if not regions:
        return [0.0] * len(FEATURES["shape"])
    largest = max(regions, key=lambda one: one.area)
    top, left, bottom, right = largest.bbox
    roundness = 4 * np.pi * largest.area / max(largest.perimeter, 1.0) ** 2
    outline = sum(one.perimeter for one in regions) / size
    extent = (bottom - top) / size, (right - left) / size
    return [bright.mean(), len(regions), largest.eccentricity, largest.solidity, roundness, outline, *extent]
