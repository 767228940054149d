"""Chest radiographs drawn by rule, with the exact mask and box of every finding."""

from pathlib import Path

from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions
from medimg.phantom.config import PhantomConfig
from medimg.sources.base import Scan, Source, to_records

_MODALITY, _LICENCE = "synthetic radiograph", "CC0-1.0"
_CITATION = "Drawn by medimg: no patient, no hospital."


def scan(path: Path | None, config: PrepareConfig, phantom: PhantomConfig | None = None) -> Scan:
    """List the images of a phantom cohort; they are drawn when they are read.

    Args:
        path: must be None: there is nothing to find.
        config: not used.
        phantom: what to draw.

    Raises:
        InputError: a path was given, or the opacities would be smaller than pixels.
    """
    from medimg.phantom.cohort import CLASSES, cohort, draw, findings

    if path is not None:
        raise InputError(f"PATH {path}: source 'phantom' draws its images; leave PATH out")
    phantom = phantom or PhantomConfig()
    views = {
        f"{person.name}-{view + 1}.png": (person.number, view)
        for person in cohort(phantom)
        for view in range(person.images)
    }
    return Scan(
        name="phantom",
        task="binary",
        classes=CLASSES,
        records=to_records(_record(phantom, key, *view) for key, view in views.items()),
        read=lambda key, warnings=None: draw(phantom, *views[key]).image,
        read_mask=lambda key: findings(phantom, *views[key])[0],
        modality=_MODALITY,
        licence=_LICENCE,
        citation=_CITATION,
    )


def _record(config: PhantomConfig, key: str, patient: int, view: int) -> dict:
    from medimg.phantom.cohort import cohort, exposures, findings, marked, site_name

    person = cohort(config)[patient]
    gain, contrast = exposures(config)[person.site]
    _, boxes = findings(config, patient, view)
    sides = zip(*boxes, strict=True) if boxes else ((),) * 4
    x, y, width, height = (SEPARATOR.join(map(str, side)) for side in sides)
    return {
        "image": key,
        "label": person.label,
        "patient": person.name,
        "site": site_name(person.site),
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "mask": key if boxes else "",
        "finding": SEPARATOR.join(["opacity"] * len(boxes)),
        "findings": len(boxes),
        "view": view + 1,
        "age": person.age,
        "sex": person.sex,
        "marker": marked(config, patient, view),
        "gain": round(gain, 6),
        "contrast": round(contrast, 6),
    }


SOURCE = Source(
    name="phantom",
    task="binary",
    modality=_MODALITY,
    licence=_LICENCE,
    citation=_CITATION,
    layout="none: leave PATH out; --patients, --phantom-size, --shortcut and the like say what to draw",
    how_to_get="built in",
    scan=scan,
    options=(
        DecodingOptions,
        PhantomConfig,
    ),
)
