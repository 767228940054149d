"""The phantom's opacities: their shape, their places in the lungs, their masks and boxes."""

from dataclasses import dataclass

import cv2
import numpy as np

from medimg.phantom.anatomy import Anatomy
from medimg.phantom.config import PhantomConfig
from medimg.phantom.film import Film

PLACING_GRID = 128


@dataclass(frozen=True, eq=False)
class Opacity:
    """A soft blob in the patient's frame: brightness = peak * 2^-(r / edge(angle))^4, so half the peak at the edge."""

    centre: tuple[float, float]
    radius: float
    flatness: float
    tilt: float
    waves: np.ndarray
    peak: float

    def profile(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What it adds at points in the patient's frame, as a fraction of its peak (0.5 at the edge)."""
        right, down = x - self.centre[0], y - self.centre[1]
        along = right * np.cos(self.tilt) + down * np.sin(self.tilt)
        across = (down * np.cos(self.tilt) - right * np.sin(self.tilt)) / self.flatness
        angle = np.arctan2(across, along)
        amplitudes, phases = self.waves
        wobble = sum(a * np.cos((k + 2) * angle + p) for k, (a, p) in enumerate(zip(amplitudes, phases, strict=True)))
        # At its widest the edge reaches `radius` and no further: that is what placing relies on.
        edge = self.radius * (1 + wobble) / (1 + amplitudes.sum())
        return np.exp2(-(((along**2 + across**2) / edge**2) ** 2))


def place(config: PhantomConfig, count: int, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Opacity, ...]:
    """Place opacities inside the lungs and apart from each other; one that is too large shrinks to what fits."""
    standing = Film(PLACING_GRID, np.eye(2, 3))
    free = np.maximum(*(standing.fill(outline) for outline in anatomy.lungs)) > 0.99
    x, y = standing.coordinates()
    # Behind the heart an opacity can hardly be seen: there are none.
    free &= standing.fill(anatomy.heart) < 0.5
    placed = []
    for _ in range(count):
        # From a pixel's centre to the nearest one outside, less a pixel of margin for the grid's coarseness.
        reach = (cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5) - 1.5) * 2 / PLACING_GRID
        wanted = 2 * config.opacity_size * rng.uniform(0.75, 1.25)
        radius = min(wanted, 0.98 * float(reach.max()))
        if placed and radius < 0.75 * wanted:
            break
        spots = np.flatnonzero(reach.ravel() >= radius)
        spot = rng.choice(spots)
        centre = (float(x.flat[spot]), float(y.flat[spot]))
        waves = np.stack([rng.uniform(0, [0.12, 0.08, 0.05]), rng.uniform(0, 2 * np.pi, 3)])
        tilt, flatness = rng.uniform(0, np.pi), rng.uniform(0.7, 1.0)
        peak = config.opacity_contrast * rng.uniform(0.75, 1.25)
        placed.append(Opacity(centre, radius, flatness, tilt, waves, peak))
        free &= (x - centre[0]) ** 2 + (y - centre[1]) ** 2 > (1.3 * radius) ** 2
    return tuple(placed)


def regions(opacities: tuple[Opacity, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[tuple]]:
    """Mask and tight boxes of opacities, seen at the pixels' coordinates in the patient's frame.

    Args:
        opacities: in the order of their numbers.
        x: float (S, S), as `Film.coordinates` gives it.
        y: likewise.

    Returns:
        uint8 (S, S), 0 = background, k = where opacity k adds more than half of its peak (where two would meet, the
        later one has the pixel), and each one's (x, y, width, height) in pixels.
    """
    mask = np.zeros(x.shape, np.uint8)
    for number, opacity in enumerate(opacities, start=1):
        mask[opacity.profile(x, y) > 0.5] = number
    return mask, [_box(mask == number) for number in range(1, len(opacities) + 1)]


def _box(region: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1))
