"""Look over a Dataset of images before training: counts, leakage, label conflicts, broken files, image sizes.

What is looked for in a table is in `medimg.inspection.tables`.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import SPLITS, Dataset
from medimg.data.imaging import read_image
from medimg.data.leakage import Leakage, leakage_between
from medimg.data.splits import missing_classes
from medimg.inspection.counts import class_counts
from medimg.untrusted.image_size import PNG


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        name, task, classes: of the Dataset.
        counts: part -> class -> images; `(unlabelled)` and the negative label are counted too.
        images, patients: part -> number.
        sites: site -> part -> images.
        images_per_patient: number of images -> patients with so many.
        sizes: `width x height` -> images.
        depths: e.g. `8-bit grey` -> images.
        findings: images with boxes or masks.
        duplicates: groups of identical images, harmless ones of one part and label among them.
        leakage: patients and images in two parts, images under two labels.
        broken: a sentence for each missing or broken file.
        problems: sentences; any of them is a reason not to train.
        notes: sentences that are worth knowing.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    images: dict[str, int]
    patients: dict[str, int]
    sites: dict[str, dict[str, int]]
    images_per_patient: dict[int, int]
    sizes: dict[str, int]
    depths: dict[str, int]
    findings: int
    duplicates: int
    leakage: Leakage
    broken: list[str]
    problems: list[str]
    notes: list[str]


def facts(dataset: Dataset, pixels: pd.Series, broken: list[str]) -> Inspection:
    """What is found in a Dataset of images.

    Args:
        dataset: what to look over.
        pixels: digest of each image's pixels, by row of the manifest; empty where it can't be read.
        broken: why each file that can't be read can't.
    """
    manifest = dataset.manifest
    leakage = leakage_between(manifest, pixels)
    readable = [path for path, digest in zip(dataset.paths(manifest), pixels, strict=True) if digest]
    shapes = [_shape(path) for path in readable]
    sites = manifest[manifest["site"] != ""].groupby(["site", "split"]).size().unstack(fill_value=0)
    marked = [manifest[name] != "" for name in ("x", "mask") if name in manifest]
    return Inspection(
        name=dataset.name,
        task=dataset.task,
        classes=dataset.classes,
        counts=class_counts(dataset),
        images={part: len(dataset.rows(part)) for part in SPLITS},
        patients={part: int(dataset.rows(part)["patient"].nunique()) for part in SPLITS},
        sites={str(site): {part: int(row.get(part, 0)) for part in SPLITS} for site, row in sites.iterrows()},
        images_per_patient=_sorted_counts(manifest["patient"].value_counts()),
        sizes=_commonest(f"{width} x {height}" for width, height, _ in shapes),
        depths=_commonest(depth for _, _, depth in shapes),
        findings=int(np.logical_or.reduce(marked).sum()) if marked else 0,
        duplicates=int(pixels[(pixels != "") & pixels.duplicated(keep=False)].nunique()),
        leakage=leakage,
        broken=broken,
        problems=leakage.problems() + broken,
        notes=_notes(dataset),
    )


def _notes(dataset: Dataset) -> list[str]:
    manifest = dataset.manifest
    notes = [str(note) for note in dataset.preparation.get("notes", [])]
    for name, part, count in missing_classes(manifest["label"], manifest["split"]):
        note = f"class '{name}' has no image in {part} ({count} in all)"
        notes += [] if note in notes else [note]
    notes += [f"part '{part}' is empty" for part in SPLITS if dataset.rows(part).empty]
    return notes


def _shape(path: Path) -> tuple[int, int, str]:
    """Width, height and depth; of a PNG from its header alone (IHDR: width, height, bits, colour type)."""
    with path.open("rb") as file:
        start = file.read(26)
    if start.startswith(PNG):
        width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
        return (width, height, f"{16 if bits == 16 else 8}-bit {'grey' if colour in (0, 4) else 'colour'}")
    image = read_image(path)
    kind = "grey" if image.ndim == 2 else "colour"
    return image.shape[1], image.shape[0], f"{8 * image.dtype.itemsize}-bit {kind}"


def _commonest(values) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _sorted_counts(numbers: pd.Series) -> dict[int, int]:
    return {int(number): int(count) for number, count in numbers.value_counts().sort_index().items()}
