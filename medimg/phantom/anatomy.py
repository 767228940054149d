"""The phantom's chest: outlines of a patient in his own frame, and what they look like on a film.

The frame spans [-1, 1] both ways, x to the right of the image, y down; so the patient's left is at x > 0.
All lengths are in that unit, whatever the image's size: the same patient at 64 and at 224 pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from medimg.phantom.film import Film, Stroke

# Spread of slow brightness changes within the lungs: without it, their mean would tell the label.
HAZE = 0.06


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What is a patient's own: outlines (N, 2), strokes, and how dense his tissues are."""

    body: np.ndarray
    lungs: tuple[np.ndarray, np.ndarray]
    heart: np.ndarray
    mediastinum: np.ndarray
    stomach: np.ndarray
    breasts: tuple[np.ndarray, ...]
    ribs: tuple[Stroke, ...]
    collar_bones: tuple[Stroke, ...]
    vertebrae: tuple[Stroke, ...]
    vessels: tuple[Stroke, ...]
    spots: tuple[Stroke, ...]
    trachea: Stroke
    half_width: float
    tissue: float
    aeration: tuple[float, float]
    haze: np.ndarray


def grow(rng: np.random.Generator, female: bool) -> Anatomy:
    """Draw a patient's anatomy from the random stream."""
    wide, tall = rng.uniform(0.86, 1.06), rng.uniform(0.9, 1.05)
    base = rng.uniform(-0.09, 0.09)
    lungs = tuple(_lung(side, wide, tall, base, rng) for side in (-1, 1))
    vessels = tuple(stroke for side in (-1, 1) for stroke in _vessels(side, wide, rng))
    return Anatomy(
        body=_body(wide, rng),
        lungs=lungs,
        heart=_heart(wide, base, rng),
        mediastinum=_mediastinum(rng),
        stomach=_ellipse((0.42 * wide, 0.62 + base), (rng.uniform(0.08, 0.15), rng.uniform(0.04, 0.09))),
        breasts=_breasts(wide, rng) if female else (),
        ribs=tuple(stroke for side in (-1, 1) for stroke in _ribs(side, wide, tall, rng)),
        collar_bones=_collar_bones(wide, tall, rng),
        vertebrae=_vertebrae(rng),
        vessels=vessels,
        spots=_spots(wide, rng),
        trachea=Stroke(_curve([(0.0, -1.1), (0.01, -0.7), (rng.uniform(-0.03, 0.04), -0.36)]), 0.085, 1.0),
        half_width=0.92 * wide,
        tissue=rng.uniform(0.9, 1.1),
        aeration=tuple(rng.uniform(0.26, 0.42) + rng.uniform(-0.04, 0.04, 2)),
        haze=rng.uniform(-1, 1, (5, 5)).astype(np.float32),
    )


def expose(anatomy: Anatomy, film: Film) -> np.ndarray:
    """The chest without findings on a film: float32 (size, size), about 0 (air) to 1 (dense)."""
    body = film.fill(anatomy.body, 0.012)
    x, _ = film.coordinates()
    # The beam crosses more tissue in the middle of the trunk than at its flanks.
    depth = np.sqrt(np.clip(1.15 - (x.astype(np.float32) / anatomy.half_width) ** 2, 0.05, None))
    picture = anatomy.tissue * (0.34 + 0.3 * depth)
    lungs = [film.fill(outline, 0.018) for outline in anatomy.lungs]
    in_lungs = np.maximum(*lungs)
    picture += 0.15 * film.fill(anatomy.mediastinum, 0.035)
    picture -= anatomy.aeration[0] * lungs[0] + anatomy.aeration[1] * lungs[1]
    heart = film.fill(anatomy.heart, 0.025)
    picture += 0.3 * heart * (0.25 + 0.75 * in_lungs)
    picture -= 0.1 * film.fill(anatomy.stomach, 0.02) * (1 - in_lungs)
    for breast in anatomy.breasts:
        picture += 0.075 * film.fill(breast, 0.02)
    haze = cv2.resize(anatomy.haze, (film.size, film.size), interpolation=cv2.INTER_CUBIC)
    picture += haze * (0.02 + HAZE * in_lungs)
    picture += film.lines(anatomy.ribs, 0.006) * (0.35 + 0.65 * in_lungs)
    picture += film.lines(anatomy.vessels, 0.007) * in_lungs * (1 - 0.8 * heart)
    picture += film.lines(anatomy.spots, 0.008)
    picture += film.lines(anatomy.collar_bones, 0.008)
    picture += film.lines(anatomy.vertebrae, 0.012)
    picture -= 0.13 * film.lines((anatomy.trachea,), 0.018)
    return picture * body


def _curve(points, closed: bool = False, steps: int = 8) -> np.ndarray:
    """A smooth line through the points (Catmull and Rom, 1974), `steps` pieces between two of them."""
    knots = np.asarray(points, np.float64)
    ring = np.concatenate([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    a, b, c, d = (ring[i : len(ring) - 3 + i, None] for i in range(4))
    pieces = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    line = pieces.reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


def _ellipse(centre, axes, tilt: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    across, along = axes[0] * np.cos(angle), axes[1] * np.sin(angle)
    turned = [across * np.cos(tilt) - along * np.sin(tilt), across * np.sin(tilt) + along * np.cos(tilt)]
    return np.stack(turned, axis=1) + centre


def _jitter(points, rng: np.random.Generator, spread: float) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points + rng.normal(0, spread, points.shape)


def _body(wide: float, rng: np.random.Generator) -> np.ndarray:
    slope, flank = rng.uniform(-0.05, 0.05), rng.uniform(0.9, 1.0) * wide
    right = [
        (0.2, -1.3), (0.22, -0.98), (0.42, -0.9 + slope / 2), (0.8, -0.8 + slope), (1.05, -0.62 + slope),
        (1.2, -0.2), (1.1, 0.02), (flank + 0.02, 0.1), (flank, 0.3), (flank - 0.02, 0.8), (flank, 1.3),
    ]  # fmt: skip
    left = [(-x, y) for x, y in reversed(right)]
    return _curve(right + left, closed=True)


def _lung(side: int, wide: float, tall: float, base: float, rng: np.random.Generator) -> np.ndarray:
    # The liver lifts the right dome (image left) a little above the left one.
    dome = base + (0.37 if side < 0 else 0.43)
    right = [
        (0.27, -0.76), (0.44, -0.66), (0.59, -0.4), (0.69, -0.05), (0.745, 0.3), (0.765, dome + 0.24),
        (0.64, dome + 0.1), (0.47, dome), (0.28, dome + 0.02), (0.14, dome + 0.09), (0.1, 0.12), (0.1, -0.25),
        (0.12, -0.55), (0.17, -0.71),
    ]  # fmt: skip
    points = _jitter(right, rng, 0.008)
    points[:, 1] = np.where(points[:, 1] < 0, points[:, 1] * tall, points[:, 1])
    return _curve(points * (side * wide, 1.0), closed=True)


def _heart(wide: float, base: float, rng: np.random.Generator) -> np.ndarray:
    size = rng.uniform(0.86, 1.14)
    outline = [
        (-0.1, -0.12), (-0.17, 0.05), (-0.2, 0.24), (-0.15, 0.44), (0.1, 0.52), (0.34, 0.5), (0.44, 0.38),
        (0.4, 0.2), (0.28, 0.02), (0.19, -0.12), (0.05, -0.18),
    ]  # fmt: skip
    return _curve(_jitter(outline, rng, 0.01) * (size * wide, 1.0) + (0.0, base), closed=True)


def _mediastinum(rng: np.random.Generator) -> np.ndarray:
    knob = rng.uniform(0.15, 0.22)
    outline = [
        (-0.12, -0.95), (-0.13, -0.5), (-0.15, -0.2), (-0.15, 0.1), (-0.13, 1.2), (0.13, 1.2), (0.14, 0.1),
        (0.15, -0.16), (0.13, -0.24), (knob, -0.36), (0.15, -0.46), (0.12, -0.6), (0.12, -0.95),
    ]  # fmt: skip
    return _curve(_jitter(outline, rng, 0.006), closed=True)


def _breasts(wide: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    low, axes = rng.uniform(0.3, 0.5), (rng.uniform(0.26, 0.34), rng.uniform(0.2, 0.3))
    return tuple(_ellipse((side * 0.5 * wide, low - axes[1] / 2 + 0.1), axes, side * 0.25) for side in (-1, 1))


def _ribs(side: int, wide: float, tall: float, rng: np.random.Generator) -> list[Stroke]:
    strokes = []
    density = rng.uniform(0.75, 1.25)
    reach = np.linspace(0, 1, 9)
    for number, start in enumerate(np.linspace(-0.74 * tall, 0.72, 10)):
        lateral = wide * np.interp(start, [-0.75, -0.4, 0.1, 0.7], [0.4, 0.68, 0.79, 0.84])
        height = start + rng.normal(0, 0.006)
        # A posterior rib leaves the spine upwards, then sinks towards the flank.
        y = height - 0.07 * np.sin(np.pi * reach * 0.75) + (0.1 + 0.008 * number) * reach**2
        back = np.stack([side * (0.07 + (lateral - 0.07) * np.sin(reach * np.pi / 2)), y], axis=1)
        strokes += _bone(back, 0.06, 0.12 * density)
        if 1 <= number <= 7:
            # Its anterior end runs on, fainter, down towards the sternum, and ends in cartilage that does not show.
            inward = np.linspace(0, 0.55, 7)
            x = lateral - (lateral - 0.1) * inward**1.2
            front = np.stack([side * x, y[-1] + 0.02 + 0.42 * inward**0.9], axis=1)
            strokes += _bone(front, 0.055, 0.06 * density)
    return strokes


def _bone(points: np.ndarray, width: float, brightness: float) -> list[Stroke]:
    # The cortex is denser than the marrow: a bright line with a fainter core.
    return [Stroke(points, width, brightness), Stroke(points, width * 0.55, brightness * 0.7)]


def _collar_bones(wide: float, tall: float, rng: np.random.Generator) -> tuple[Stroke, ...]:
    level, tilt = -0.66 * tall + rng.normal(0, 0.015), rng.uniform(0.06, 0.16)
    strokes = []
    for side in (-1, 1):
        s_shape = [(0.08, 0.03), (0.24, 0.02), (0.44, -tilt), (0.62, -tilt - 0.02), (0.78, -tilt + 0.02)]
        points = _curve([(side * x * wide, level + y) for x, y in s_shape])
        strokes += _bone(points, 0.075, 0.13)
    return tuple(strokes)


def _vertebrae(rng: np.random.Generator) -> tuple[Stroke, ...]:
    height, strokes = rng.uniform(0.125, 0.145), []
    for top in np.arange(-1.0, 1.0, height):
        middle = top + height * 0.45
        strokes.append(Stroke(np.array([(-0.06, middle), (0.06, middle)]), height * 0.72, 0.055))
    return tuple(strokes)


def _vessels(side: int, wide: float, rng: np.random.Generator) -> list[Stroke]:
    """A tree of pulmonary vessels: branches leave the hilum, taper and fork."""
    root = np.array([side * 0.15 * wide, -0.08 + 0.04 * (side < 0)])
    weight = rng.uniform(0.8, 1.25)
    strokes = [Stroke(_curve(root + np.array([(0, -0.06), (0, 0), (side * 0.03, 0.12)])), 0.1, 0.1 * weight)]
    # Per generation, each branch bends halfway and forks there and at its end.
    starts, angles = (np.repeat(root[None], 8, axis=0), np.linspace(-1.25, 1.3, 8) + rng.normal(0, 0.1, 8))
    lengths, width, brightness = rng.uniform(0.3, 0.55, 8), 0.034, 0.11 * weight
    for _ in range(3):
        bent = angles + rng.normal(0, 0.25, len(angles))
        middles = starts + _step(side, angles, lengths / 2)
        ends = middles + _step(side, bent, lengths / 2)
        strokes += [Stroke(line, width, brightness) for line in np.stack([starts, middles], axis=1)]
        strokes += [Stroke(line, width * 0.7, brightness * 0.8) for line in np.stack([middles, ends], axis=1)]
        turn = np.concatenate([np.full(len(bent), 0.5), np.full(len(bent), 0.35)])
        turn = turn * rng.choice((-1, 1), len(turn)) + rng.normal(0, 0.15, len(turn))
        starts, angles, lengths = (np.concatenate([middles, ends]), np.tile(bent, 2) + turn, np.tile(lengths * 0.6, 2))
        width, brightness = width * 0.55, brightness * 0.75
    return strokes


def _step(side: int, angles: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.stack([side * lengths * np.cos(angles), lengths * np.sin(angles)], axis=1)


def _spots(wide: float, rng: np.random.Generator) -> tuple[Stroke, ...]:
    """Benign bright dots that anyone may have: nipples, vessels seen end on, a calcified scar."""
    spots = []
    if rng.random() < 0.4:
        level = rng.uniform(0.22, 0.4)
        spots += [_dot((side * 0.5 * wide, level), 0.05, 0.09) for side in (-1, 1)]
    for _ in range(rng.integers(1, 5)):
        place = (rng.choice((-1, 1)) * rng.uniform(0.22, 0.45) * wide, rng.uniform(-0.35, 0.3))
        spots.append(_dot(place, rng.uniform(0.025, 0.045), rng.uniform(0.12, 0.25)))
    if rng.random() < 0.25:
        place = (rng.choice((-1, 1)) * rng.uniform(0.25, 0.55) * wide, rng.uniform(-0.5, 0.3))
        spots.append(_dot(place, 0.04, 0.35))
    return tuple(spots)


def _dot(centre, diameter: float, brightness: float) -> Stroke:
    return Stroke(np.array([centre, centre], np.float64), diameter, brightness)
