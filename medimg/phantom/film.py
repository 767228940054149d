"""Film: what projects a patient's outlines and lines of tissue onto an image of any size."""

from dataclasses import dataclass

import cv2
import numpy as np

SUBPIXEL_BITS = 4


@dataclass(frozen=True, eq=False)
class Stroke:
    """A line of tissue: points (N, 2), width, and brightness (1 = 255) that it adds."""

    points: np.ndarray
    width: float
    brightness: float


class Film:
    """Projects outlines and lines of a patient's frame onto a square image.

    Args:
        size: width and height in pixels.
        pose: float (2, 3), the view's rotation, scale and shift in the frame's unit.
    """

    def __init__(self, size: int, pose: np.ndarray):
        self.size = size
        self.pose = pose

    def fill(self, outline: np.ndarray, softness: float = 0.0) -> np.ndarray:
        """A filled outline as float32 (size, size) in 0..1; `softness` is the Gaussian sigma of its edge."""
        layer = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(layer, [self._pixels(outline)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        return self.soften(layer, softness)

    def lines(self, strokes: tuple[Stroke, ...], softness: float = 0.0) -> np.ndarray:
        """Strokes as float32 (size, size); where they cross, the later one shows."""
        layer = np.zeros((self.size, self.size), np.uint8)
        # All points are placed at once: one by one it would take most of the time.
        ends = np.cumsum([len(stroke.points) for stroke in strokes])
        lines = np.split(self._pixels(np.concatenate([stroke.points for stroke in strokes])), ends[:-1])
        for stroke, points in zip(strokes, lines, strict=True):
            width = stroke.width * self.size / 2
            # OpenCV's thinnest line is a pixel wide: a thinner one is as bright as what it covers of that pixel.
            value = int(255 * stroke.brightness * min(1.0, width))
            cv2.polylines(layer, [points], False, value, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)
        return self.soften(layer, softness)

    def soften(self, layer: np.ndarray, softness: float) -> np.ndarray:
        """Blur a layer (uint8 becomes float32 0..1) with a Gaussian of that sigma."""
        if layer.dtype == np.uint8:
            layer = layer.astype(np.float32) / 255
        sigma = softness * self.size / 2
        return cv2.GaussianBlur(layer, (0, 0), sigma) if sigma > 0.2 else layer

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y in the patient's frame of every pixel's centre, each float64 (size, size)."""
        line = (np.arange(self.size) + 0.5) / self.size * 2 - 1
        x, y = np.meshgrid(line - self.pose[0, 2], line - self.pose[1, 2])
        back = np.linalg.inv(self.pose[:, :2])
        return back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        placed = points @ self.pose[:, :2].T + self.pose[:, 2]
        pixels = (placed + 1) / 2 * self.size - 0.5
        return np.round(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)
