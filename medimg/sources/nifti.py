"""NIfTI volumes of any kind, whose labels are in a table: axial slices as images."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import (
    ColumnOptions,
    DecodingOptions,
    LabelFileOptions,
    NeighbourOptions,
    SliceOptions,
    WindowOptions,
)
from medimg.sources.base import Scan, Source
from medimg.sources.label_table import LabelTable, read_labels, scan_of
from medimg.sources.slices import check_slices, neighbours_of, slices_of
from medimg.sources.tree import LOOP, NOT_AN_IMAGE, files_below, need_folder
from medimg.style.words import listed


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find volumes and join them with a table of labels.

    Args:
        path: the folder of the files, and of the table unless `labels` names it.
        config: `labels` and its columns, `window`, `slices` and `neighbours`.

    Raises:
        InputError: no NIfTI file, no table, or no row of it is of a file.
    """
    from medimg.sources import nifti_volumes
    from medimg.sources.windows import span_of

    folder, span = need_folder(path, "nifti"), span_of(config.window)
    labels = read_labels(folder, config, ("path", "image", "file"))
    files, rejected = nifti_files(folder)
    rejected = [(name, why) for name, why in rejected if folder / name != labels.path]
    check_slices(config.slices)
    rows, places, used, uneven = _rows(folder, files, labels, config, rejected)
    if not rows:
        raise InputError(f"{folder}: no NIfTI volume is left: {listed(f'{name} ({why})' for name, why in rejected)}")
    load = nifti_volumes.Recent(lambda file: _Volume(file, span, config.max_megapixels))

    def read(key: str, _warnings: list[str] | None = None) -> np.ndarray:
        file, place = places[key]
        try:
            return load(file).image(place, config.neighbours)
        except InputError as error:
            # By the file: its slices have no names that a person knows.
            raise InputError(f"{file.relative_to(folder)}: {str(error).removeprefix(f'{file}: ')}") from error

    notes = [*labels.notes, *labels.unused(used)]
    if uneven:
        notes.append(f"{len(uneven)} volumes have pixels that are not square: stretched ({listed(uneven)})")
    if rejected:
        notes.append(f"{len(rejected)} files left out, listed in rejected.csv")
    return scan_of(
        labels.path,
        rows,
        folder,
        config,
        read=read,
        located=lambda key: (places[key][0],),
        tables=(labels.path,),
        rejected=rejected,
        notes=notes,
        fills_depth=True,
    )


def _rows(folder: Path, files: list[Path], labels: LabelTable, config: PrepareConfig, rejected: list):
    """A row of each slice, (file, slice) by its key, keys of the table that are used, and volumes of uneven pixels."""
    from medimg.sources import nifti_volumes

    rows, places, used, uneven = [], {}, set(), []
    for file in files:
        name = file.relative_to(folder).as_posix()
        key, columns = _columns_of(name, labels)
        used |= {key}
        stem = nifti_volumes.stem(name)
        try:
            geometry = nifti_volumes.geometry(file, config.max_megapixels)
            chosen = slices_of(geometry.shape[2], config.slices)
            if not nifti_volumes.is_square(geometry.pixel):
                uneven.append(name)
        except InputError as error:
            rejected.append((name, str(error).removeprefix(f"{file}: ")))
            continue
        for place in chosen:
            image = f"{stem}/{place:03d}"
            places[image] = file, place
            rows.append(
                {"image": image, "label": "", **columns, "patient": columns.get("patient") or stem, "slice": place}
            )
    return rows, places, used, uneven


class _Volume:
    """A volume's slices and what is black and white of it."""

    def __init__(self, file: Path, span: tuple[float, float] | None, megapixels: float):
        from medimg.sources import nifti_volumes

        self.slices = nifti_volumes.axial(file, megapixels=megapixels)
        self.pixel = nifti_volumes.geometry(file, megapixels).pixel
        self.megapixels = megapixels
        self.span = span or nifti_volumes.robust_span(self.slices)

    def image(self, place: int, distance: int) -> np.ndarray:
        """uint16 (H, W) or (H, W, 3)."""
        from medimg.dicom.pixels import levels
        from medimg.sources.nifti_volumes import squared

        around = [self.slices[i] for i in neighbours_of(place, len(self.slices), distance)]
        image = around[0] if len(around) == 1 else np.stack(around, axis=2)
        if around[len(around) // 2].min() == around[len(around) // 2].max():
            raise InputError(f"slice {place} is blank")
        return levels(squared(image, self.pixel, megapixels=self.megapixels), *self.span, 65535)


def nifti_files(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The NIfTI files below a folder, and (name, reason) of what is none."""
    from medimg.sources.nifti_volumes import ENDINGS

    images, others = files_below(folder)
    files, rejected = [], [(image.relative_to(folder).as_posix(), "no NIfTI file") for image in images]
    for place, why in others:
        is_one = why != LOOP and place.name.lower().endswith(ENDINGS) and place.is_file() and place.name[0] != "."
        name = place.relative_to(folder).as_posix()
        files.append(place) if is_one else rejected.append((name, "no NIfTI file" if why == NOT_AN_IMAGE else why))
    return sorted(files), rejected


def _columns_of(name: str, labels: LabelTable) -> tuple[str, dict[str, str]]:
    """The table's row of a file, which it may call by its path or name, with or without extension."""
    for key in _spellings(name):
        if key in labels.rows:
            return key, labels.rows[key]
    return "", {}


def _spellings(name: str) -> Iterable[str]:
    from medimg.sources.nifti_volumes import stem

    last = name.rpartition("/")[2]
    return name, stem(name), last, stem(last)


SOURCE = Source(
    name="nifti",
    task="binary, multiclass or multilabel, by the table of labels",
    modality="CT, MR and others",
    licence="of your volumes",
    citation="",
    layout="a folder of .nii and .nii.gz files; a CSV of path (or name), label, and perhaps patient, site, split",
    how_to_get="your own volumes; dcm2niix makes them of DICOM",
    scan=scan,
    options=(DecodingOptions, LabelFileOptions, ColumnOptions, WindowOptions, SliceOptions, NeighbourOptions),
)
