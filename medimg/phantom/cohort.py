"""Phantom: chest radiographs drawn by rule, so that the truth is known to the pixel.

Any image can be drawn alone, in any order and in any thread: it depends on the configuration, the patient
and the view only. Anatomy and findings are the patient's; pose, exposure and noise are the view's; gain and
contrast are the site's. Size changes the sampling, not the scene.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from medimg.errors import InputError
from medimg.phantom.anatomy import Anatomy, expose, grow
from medimg.phantom.config import PhantomConfig
from medimg.phantom.film import Film
from medimg.phantom.opacity import Opacity, place, regions

CLASSES = ("normal", "opacity")
FINDINGS = (0.5, 0.3, 0.2)  # probabilities of 1, 2 and 3 opacities
MEAN_BRIGHTNESS = 0.42
NOISE = 0.022
# With this mean radius in pixels, the smallest and flattest opacity still covers a pixel's centre.
LEAST_RADIUS = 3.5
# Random streams of one seed.
_COHORT, _SITES, _PATIENT, _VIEW = range(4)


@dataclass(frozen=True, eq=False)
class Phantom:
    """One drawn image and the truth about it.

    Attributes:
        image: uint8 (S, S).
        mask: uint8 (S, S), 0 = background, k = where opacity k adds more than half of its peak; where two would
            meet (they are placed apart) the later one has the pixel.
        lungs: bool (S, S), the lung fields; every opacity is inside.
        boxes: tight (x, y, width, height) of each opacity in pixels, in the order of the mask's numbers.
        label: `normal` or `opacity`.
        patient, site: names.
        marker: 1 when the corner marker is on the film.
        gain, contrast: the site's.
        age, sex: years; `F` or `M`; neither goes with the label.
    """

    image: np.ndarray
    mask: np.ndarray
    lungs: np.ndarray
    boxes: list[tuple[int, int, int, int]]
    label: str
    patient: str
    site: str
    marker: int
    gain: float
    contrast: float
    age: int
    sex: str


@dataclass(frozen=True)
class Patient:
    """A patient of the cohort: what is known of him before any image is drawn."""

    number: int
    label: str
    site: int
    images: int
    findings: int
    age: int
    sex: str

    @property
    def name(self) -> str:
        """The name in the manifest."""
        return f"P{self.number:05d}"


@lru_cache(maxsize=8)
def cohort(config: PhantomConfig) -> tuple[Patient, ...]:
    """The patients: prevalence is exact to one patient, and every site has its share of each label.

    Raises:
        InputError: the opacities would be smaller than pixels.
    """
    if config.opacity_size * config.phantom_size < LEAST_RADIUS:
        raise InputError(
            f"--opacity-size {config.opacity_size}: a radius under {LEAST_RADIUS} pixels at --phantom-size "
            f"{config.phantom_size}; enlarge one of them"
        )
    rng = _stream(config, _COHORT)
    order = rng.permutation(config.patients)
    sick = round(config.prevalence * config.patients)
    opaque = np.isin(np.arange(config.patients), order[:sick])
    sites = np.empty(config.patients, int)
    sites[order] = np.arange(config.patients) % config.sites
    images = rng.integers(1, config.images_per_patient + 1, config.patients)
    findings = 1 + rng.choice(len(FINDINGS), config.patients, p=FINDINGS)
    ages = np.clip(rng.normal(56, 16, config.patients), 18, 92).astype(int)
    women = rng.random(config.patients) < 0.48
    return tuple(
        Patient(
            number=i,
            label=CLASSES[int(opaque[i])],
            site=int(sites[i]),
            images=int(images[i]),
            findings=int(findings[i]) if opaque[i] else 0,
            age=int(ages[i]),
            sex="F" if women[i] else "M",
        )
        for i in range(config.patients)
    )


@lru_cache(maxsize=8)
def exposures(config: PhantomConfig) -> tuple[tuple[float, float], ...]:
    """Gain and contrast of each site, spread evenly over 1 ± site_shift; which site has which is drawn."""
    rng = _stream(config, _SITES)
    steps = np.linspace(-1, 1, config.sites) if config.sites > 1 else np.zeros(1)
    gains, contrasts = (1 + config.site_shift * rng.permutation(steps) for _ in range(2))
    return tuple((float(g), float(c)) for g, c in zip(gains, contrasts, strict=True))


def marked(config: PhantomConfig, patient: int, view: int) -> int:
    """1 when the view carries the marker.

    With s = config.shortcut, P(1 | opacity) = (1 + s) / 2 and P(1 | normal) = (1 - s) / 2; at s = 0 there is no marker.
    """
    share = (1 + config.shortcut) / 2
    if cohort(config)[patient].label != "opacity":
        share = 1 - share
    # The first number of the view's stream, so that the rest of the image is the same with and without.
    return int(config.shortcut > 0 and _stream(config, _VIEW, patient, view).random() < share)


def draw(config: PhantomConfig, patient: int, view: int) -> Phantom:
    """Draw one view of one patient.

    Args:
        config: what to draw.
        patient: 0 to config.patients - 1.
        view: 0 to the patient's number of images - 1.

    Returns:
        The image and the truth about it.

    Raises:
        InputError: the opacities would be smaller than pixels.
    """
    person = cohort(config)[patient]
    gain, contrast = exposures(config)[person.site]
    anatomy, opacities = _inside(config, patient)
    film, rng = _position(config, patient, view)
    picture = expose(anatomy, film)
    x, y = film.coordinates()
    for opacity in opacities:
        picture += (opacity.peak * opacity.profile(x, y)).astype(np.float32)
    mask, boxes = regions(opacities, x, y)
    marker = marked(config, patient, view)
    image = _develop(picture, film, gain, contrast, rng)
    if marker:
        _stamp(image)
    return Phantom(
        image=image,
        mask=mask,
        lungs=np.maximum(*(film.fill(outline) for outline in anatomy.lungs)) > 0,
        boxes=boxes,
        label=person.label,
        patient=person.name,
        site=site_name(person.site),
        marker=marker,
        gain=gain,
        contrast=contrast,
        age=person.age,
        sex=person.sex,
    )


def findings(config: PhantomConfig, patient: int, view: int) -> tuple[np.ndarray, list[tuple]]:
    """The mask and the boxes of `draw`, without drawing the image."""
    film, _ = _position(config, patient, view)
    return regions(_inside(config, patient)[1], *film.coordinates())


def site_name(site: int) -> str:
    """The name in the manifest: `site1` for the first."""
    return f"site{site + 1}"


def _stream(config: PhantomConfig, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([config.seed, *key]))


@lru_cache(maxsize=64)
def _inside(config: PhantomConfig, patient: int) -> tuple[Anatomy, tuple[Opacity, ...]]:
    person, rng = cohort(config)[patient], _stream(config, _PATIENT, patient)
    anatomy = grow(rng, person.sex == "F")
    return anatomy, place(config, person.findings, anatomy, rng)


def _position(config: PhantomConfig, patient: int, view: int) -> tuple[Film, np.random.Generator]:
    """The view's film and the rest of its random stream."""
    rng = _stream(config, _VIEW, patient, view)
    rng.random()  # the marker's
    return Film(config.phantom_size, _pose(rng)), rng


def _pose(rng: np.random.Generator) -> np.ndarray:
    turn, scale, shift = rng.normal(0, 0.03), rng.uniform(0.93, 1.04), rng.uniform(-0.06, 0.06, 2)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def _develop(picture: np.ndarray, film: Film, gain: float, contrast: float, rng: np.random.Generator) -> np.ndarray:
    """Automatic exposure, the site's gain and contrast, and quantum noise: uint8 (S, S).

    The exposure brings every film to the same mean before the site and the view change it, so the mean tells
    nothing of the label.
    """
    picture = film.soften(picture, 0.004)
    exposure = MEAN_BRIGHTNESS / float(picture.mean()) * rng.uniform(0.92, 1.08)
    picture = picture * exposure
    # Bright parts are where few quanta arrive, and where the noise is.
    grain = rng.standard_normal(picture.shape, np.float32)
    grain = 0.8 * grain + 0.9 * film.soften(grain, 0.012)
    picture = picture + NOISE * np.sqrt(np.clip(picture, 0, None) + 0.02) * grain
    # Contrast is the slope of a power-law film curve at the mean: air stays black.
    curve = (np.clip(picture, 0, None) / MEAN_BRIGHTNESS) ** np.float32(contrast)
    picture = gain * MEAN_BRIGHTNESS * curve
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _stamp(image: np.ndarray) -> None:
    """The bright R of a lead marker in the upper left corner, as on the films of some hospitals."""
    unit = image.shape[0] / 96
    letter = [(4, 13), (4, 4), (8, 4), (9.5, 6.3), (8, 8.6), (4, 8.6), (6.6, 8.6), (9.8, 13)]
    points = np.round(np.array(letter) * unit * 16).astype(np.int32)
    cv2.polylines(image, [points], False, 245, max(1, round(1.4 * unit)), cv2.LINE_AA, 4)
