"""What a recipe knows of a Dataset: of its training and validation rows, never of its test part."""

from dataclasses import dataclass, replace

import numpy as np

from medimg.data.dataset import Dataset
from medimg.training.unseen import LEARNT_FROM

# Files whose headers tell the size of all.
_MOST_HEADERS = 200


@dataclass(frozen=True)
class Fingerprint:
    """A Dataset in numbers.

    Attributes:
        unit: `image` or `row`.
        task: of the Dataset.
        rows: labelled ones, of training and validation.
        patients: theirs.
        classes: name -> rows.
        side: median of the images' shorter sides in pixels; 0: a table.
        grey: whether the images are.
        modality: as the source names it.
    """

    unit: str
    task: str
    rows: int
    patients: int
    classes: dict[str, int]
    side: int
    grey: bool
    modality: str

    @property
    def imbalance(self) -> float:
        """Rows of the commonest class over those of the rarest that has any."""
        counts = [count for count in self.classes.values() if count]
        return max(counts) / min(counts) if counts else 1.0

    def words(self) -> str:
        """One line."""
        what = f"{self.side} px, {'grey' if self.grey else 'colour'}" if self.side else "a table"
        return (
            f"{self.rows} labelled {self.unit}s of {self.patients} patients to learn from, {len(self.classes)} classes "
            f"({self.imbalance:.1f} of the commonest to 1 of the rarest), {what}"
            + (f", {self.modality}" if self.modality else "")
        )


def learnt_from(dataset: Dataset) -> Dataset:
    """The Dataset without its test part: what a recipe reads."""
    is_learnt_from = dataset.manifest["split"].isin(LEARNT_FROM)
    return replace(dataset, manifest=dataset.manifest[is_learnt_from])


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Of a Dataset without its test part."""
    rows = dataset.rows(labelled=True)
    targets = dataset.targets(rows)
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=len(dataset.classes))
    side, grey = (0, False) if dataset.is_table else _look(dataset, rows)
    return Fingerprint(
        dataset.unit,
        dataset.task,
        len(rows),
        rows["patient"].nunique(),
        {name: int(count) for name, count in zip(dataset.classes, counts, strict=True)},
        side,
        grey,
        dataset.modality,
    )


def _look(dataset: Dataset, rows) -> tuple[int, bool]:
    from medimg.data.imaging import read_image
    from medimg.pipeline.pixels import image_form

    paths = dataset.paths(rows)
    some = paths[:: max(1, len(paths) // _MOST_HEADERS)]
    sides = [min(read_image(path).shape[:2]) for path in some]
    return int(np.median(sides)), image_form(paths).channels == 1
