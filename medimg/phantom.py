"""Phantom: chest radiographs drawn by rule, so that the truth is known to the pixel.

Any image can be drawn alone, in any order and in any thread: it depends on the configuration, the patient
and the view only. Anatomy and findings are the patient's; pose, exposure and noise are the view's; gain and
contrast are the site's. Size changes the sampling, not the scene.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from medimg.config import PhantomConfig
from medimg.errors import InputError
from medimg.phantom_anatomy import Anatomy, Film, expose, grow

CLASSES = ("normal", "opacity")
FINDINGS = (0.5, 0.3, 0.2)  # probabilities of 1, 2 and 3 opacities
MEAN_BRIGHTNESS = 0.44
NOISE = 0.022
PLACING_GRID = 128
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
        """What it adds at coordinates of the patient's frame, as a fraction of its peak: 1 at the centre, 0.5 at the edge."""
        right, down = x - self.centre[0], y - self.centre[1]
        along = right * np.cos(self.tilt) + down * np.sin(self.tilt)
        across = (down * np.cos(self.tilt) - right * np.sin(self.tilt)) / self.flatness
        angle = np.arctan2(across, along)
        amplitudes, phases = self.waves
        wobble = sum(
            a * np.cos((k + 2) * angle + p)
            for k, (a, p) in enumerate(zip(amplitudes, phases, strict=True))
        )
        # At its widest the edge reaches `radius` and no further: that is what placing relies on.
        edge = self.radius * (1 + wobble) / (1 + amplitudes.sum())
        return np.exp2(-(((along**2 + across**2) / edge**2) ** 2))


@lru_cache(maxsize=8)
def cohort(config: PhantomConfig) -> tuple[Patient, ...]:
    """The patients: prevalence is exact to one patient, and every site has its share of each label.

    Raises:
        InputError: the opacities would be smaller than pixels.
    """
    if config.opacity_size * config.phantom_size < 2:
        raise InputError(
            f"--opacity-size {config.opacity_size}: smaller than 2 of the --phantom-size {config.phantom_size} pixels; "
            "enlarge one of them"
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
    """1 when the view carries the marker: P(1 | opacity) = (1 + s) / 2, P(1 | normal) = (1 - s) / 2, and never at s = 0."""
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
    body_rng, view_rng = _stream(config, _PATIENT, patient), _stream(config, _VIEW, patient, view)
    view_rng.random()  # the marker's
    anatomy = grow(body_rng, person.sex == "F")
    opacities = _opacities(config, person.findings, anatomy, body_rng)
    film = Film(config.phantom_size, _pose(view_rng))
    picture = expose(anatomy, film)
    x, y = film.coordinates()
    mask = np.zeros(picture.shape, np.uint8)
    for number, opacity in enumerate(opacities, start=1):
        profile = opacity.profile(x, y)
        picture += (opacity.peak * profile).astype(np.float32)
        mask[profile > 0.5] = number
    marker = marked(config, patient, view)
    image = _develop(picture, film, gain, contrast, view_rng)
    if marker:
        _stamp(image)
    return Phantom(
        image=image,
        mask=mask,
        lungs=np.maximum(*(film.fill(outline) for outline in anatomy.lungs)) > 0,
        boxes=[_box(mask == number) for number in range(1, len(opacities) + 1)],
        label=person.label,
        patient=person.name,
        site=site_name(person.site),
        marker=marker,
        gain=gain,
        contrast=contrast,
        age=person.age,
        sex=person.sex,
    )


def site_name(site: int) -> str:
    """The name in the manifest: `site1` for the first."""
    return f"site{site + 1}"


def _stream(config: PhantomConfig, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([config.seed, *key]))


def _pose(rng: np.random.Generator) -> np.ndarray:
    turn, scale, shift = rng.normal(0, 0.03), rng.uniform(0.93, 1.04), rng.uniform(-0.06, 0.06, 2)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def _opacities(
    config: PhantomConfig, count: int, anatomy: Anatomy, rng: np.random.Generator
) -> list[Opacity]:
    """Place opacities inside the lungs and apart from each other; one that is too large shrinks to what fits."""
    standing = Film(PLACING_GRID, np.eye(2, 3))
    free = np.maximum(*(standing.fill(outline) for outline in anatomy.lungs)) > 0.99
    x, y = standing.coordinates()
    # Behind the heart an opacity can hardly be seen: there are none.
    free &= standing.fill(anatomy.heart) < 0.5
    placed = []
    for _ in range(count):
        # From a pixel's centre to the nearest one outside, less a pixel of margin for the grid's coarseness.
        reach = (
            (cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5) - 1.5) * 2 / PLACING_GRID
        )
        wanted = 2 * config.opacity_size * rng.uniform(0.75, 1.25)
        radius = min(wanted, 0.98 * float(reach.max()))
        if placed and radius < wanted / 2:
            break
        spots = np.flatnonzero(reach.ravel() >= radius)
        spot = rng.choice(spots)
        centre = (float(x.flat[spot]), float(y.flat[spot]))
        waves = np.stack([rng.uniform(0, [0.12, 0.08, 0.05]), rng.uniform(0, 2 * np.pi, 3)])
        tilt, flatness = rng.uniform(0, np.pi), rng.uniform(0.7, 1.0)
        peak = config.opacity_contrast * rng.uniform(0.75, 1.25)
        placed.append(Opacity(centre, radius, flatness, tilt, waves, peak))
        free &= (x - centre[0]) ** 2 + (y - centre[1]) ** 2 > (1.3 * radius) ** 2
    return placed


def _develop(
    picture: np.ndarray, film: Film, gain: float, contrast: float, rng: np.random.Generator
) -> np.ndarray:
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
    letter = np.array(
        [(0, 9), (0, 0), (4, 0), (5.5, 2.3), (4, 4.6), (0, 4.6), (2.6, 4.6), (5.8, 9)]
    ) + (4, 4)
    points = np.round(letter * unit * 16).astype(np.int32)
    cv2.polylines(image, [points], False, 245, max(1, round(1.4 * unit)), cv2.LINE_AA, 4)


def _box(region: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )
