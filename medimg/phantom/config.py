"""Options of the phantom source."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option


@dataclass(frozen=True)
class PhantomConfig(Config):
    """What the phantom source draws."""

    patients: int = option(400, "phantom: number of patients.", minimum=1)
    images_per_patient: int = option(2, "phantom: most images of a patient (1 to N, drawn per patient).", minimum=1)
    sites: int = option(5, "phantom: number of sites, each with its gain and contrast.", minimum=1)
    phantom_size: int = option(96, "phantom: image width and height in pixels.", minimum=16)
    prevalence: float = option(0.5, "phantom: fraction of patients with opacities.", minimum=0.0, maximum=1.0)
    opacity_size: float = option(
        0.07, "phantom: mean radius of an opacity as a fraction of the width.", above=0.0, maximum=0.3
    )
    opacity_contrast: float = option(
        0.4, "phantom: brightness that an opacity adds, as a fraction of full scale.", minimum=0.0, maximum=1.0
    )
    site_shift: float = option(0.15, "phantom: spread of gain and contrast over sites.", minimum=0.0, maximum=0.9)
    shortcut: float = option(
        0.0,
        "phantom: how far a corner marker goes with the label (0: no marker, 1: a perfect shortcut).",
        minimum=0.0,
        maximum=1.0,
    )
    seed: int = option(0, "Seed of everything drawn.", minimum=0, maximum=LARGEST_SEED)
