"""PATHs of `medimg predict` -> the images that they name; nothing is decoded, no TensorFlow is imported."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.builtin import resolve
from medimg.sources.dicom_files import DicomFile, find, is_dicom, read_header
from medimg.sources.dicom_images import Look, View, views
from medimg.sources.tree import MADE, NOT_AN_IMAGE, files_below
from medimg.style.words import listed
from medimg.tables.raw import require_columns
from medimg.tables.reading import open_table
from medimg.untrusted.inside import Folder

_LOOK = Look()
TABLES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Image:
    """An image to predict.

    Attributes:
        name: what the first column of the result calls it: its path, or what the Dataset or the CSV calls it.
        path: the file.
        is_prepared: it is of a Dataset; any other file is first brought into the form that a Dataset would hold.
        why: it can't be used, and why.
        view: it is of DICOM files, and which of them.
        columns: what the Dataset or the CSV says of it beside pixels, where the model takes such columns.
    """

    name: str
    path: Path
    is_prepared: bool = False
    why: str = ""
    view: View | None = None
    columns: pd.DataFrame | None = None


def existing(paths: tuple[str, ...]) -> list[Path]:
    """The paths; the word `phantom` is the built-in Dataset.

    Raises:
        InputError: names the first that does not exist.
    """
    places = [resolve(path) for path in paths]
    for path in places:
        if not path.exists():
            raise InputError(f"{path}: does not exist; give files, folders, a Dataset or a CSV")
    return places


def is_dataset(path: Path) -> bool:
    """A prepared Dataset's folder."""
    return (path / "dataset.yaml").is_file()


def images_of(
    paths: list[Path], column: str | None, look: Look = _LOOK, beside: tuple[str, ...] = ()
) -> tuple[list[Image], list[str]]:
    """The images of files, folders, Datasets and CSVs of paths, in this order.

    Args:
        paths: that exist.
        column: of the CSVs' paths, None: `image`.
        look: which slices of DICOM files, which are put together into volumes where they are given one after another.
        beside: columns that the model takes beside pixels.

    Returns:
        The images, and sentences on files that are left out.

    Raises:
        InputError: a folder without images, a table in the place of images, or a CSV that can't be read.
    """
    images, notes = [], []
    for are_dicom, group in groupby(paths, holds_dicom):
        some = list(group)
        for path in some:
            _check_columns(path, beside)
        if are_dicom:
            images += dicom_images([file for path in some for file in find(path)[0]], look)
            continue
        for path in some:
            more, sentences = _of_path(path, column, look, beside)
            images, notes = images + more, notes + sentences
    if column and not any(path.is_file() and path.suffix.lower() in TABLES for path in paths):
        raise InputError(f"--image-column {column}: no PATH is a CSV of paths; leave it out")
    return images, notes


def _check_columns(path: Path, beside: tuple[str, ...]) -> None:
    is_table = path.is_file() and path.suffix.lower() in TABLES
    if beside and not is_table and not is_dataset(path):
        raise InputError(
            f"{path}: the model takes {listed(beside, 12)} beside pixels: give a CSV of paths and columns, or a Dataset"
        )


def _of_path(path: Path, column: str | None, look: Look, beside: tuple[str, ...]) -> tuple[list[Image], list[str]]:
    images, notes = [], []
    if is_dataset(path):
        images += of_dataset(Dataset.load(path), beside)
    elif path.is_dir():
        files, others = files_below(path)
        dicom = [
            file for place, why in others if why == NOT_AN_IMAGE and is_dicom(file := DicomFile(place, str(place)))
        ]
        if not (files or dicom):
            raise InputError(f"{path}: holds no images by their extensions; give another folder, or files")
        images += [Image(str(file), file) for file in files]
        images += dicom_images([file for file in dicom if file.path.name.upper() != "DICOMDIR"], look)
        dicom_paths = {file.path for file in dicom}
        others = [(file, why) for file, why in others if file not in dicom_paths]
        if others:
            names = listed(file.relative_to(path).as_posix() for file, _ in others)
            beside_datasets = ", or Datasets" if any(why == MADE for _, why in others) else ""
            notes.append(
                f"{path}: {len(others)} left out, hidden or no images by their extension{beside_datasets}: {names}"
            )
    elif path.suffix.lower() in TABLES:
        images += _of_table(path, column or "image", look, beside)
    else:
        images.append(Image(str(path), path))
    return images, notes


def holds_dicom(path: Path) -> bool:
    """A DICOM file, a zip or a DICOMDIR."""
    return path.is_file() and (zipfile.is_zipfile(path) or is_dicom(DicomFile(path, path.name)))


def dicom_images(files: list[DicomFile], look: Look) -> list[Image]:
    """The images that DICOM files are made into, named by their paths and, of several frames, `#` and the frame."""
    headers, images = [], []
    for file in files:
        try:
            headers.append(read_header(file))
        except InputError as error:
            images.append(Image(_name(file), file.path, why=str(error)))
    looked_at, rejected = views(headers, look)
    for view in looked_at:
        frame = "" if view.frame is None else f"#{view.frame}"
        images.append(Image(_name(view.header.file) + frame, view.header.file.path, view=view))
    paths = {header.file.name: header.file for header in headers}
    return images + [Image(_name(paths[name]), paths[name].path, why=why) for name, why in rejected]


def _name(file: DicomFile) -> str:
    return f"{file.path}/{file.member}" if file.member else str(file.path)


def of_dataset(dataset: Dataset, beside: tuple[str, ...] = (), rows: pd.DataFrame | None = None) -> Iterator[Image]:
    """The images of some rows of a Dataset (None: all), with the columns that the model takes beside pixels."""
    if dataset.is_table:
        raise InputError(f"{dataset.root}: holds rows of a table; this model needs images")
    rows = dataset.manifest if rows is None else rows
    for place, name in enumerate(rows["image"]):
        columns = _columns(rows, place, beside, f"{dataset.root}/manifest.csv")
        yield Image(name, dataset.root / name, True, columns=columns)


def _columns(rows: pd.DataFrame, place: int, beside: tuple[str, ...], where: object) -> pd.DataFrame | None:
    if not beside:
        return None
    try:
        require_columns(rows, list(beside))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return rows[list(beside)].iloc[[place]]


def _of_table(path: Path, column: str, look: Look, beside: tuple[str, ...]) -> Iterator[Image]:
    """Of a stranger's table files of its own folder alone are read."""
    file, folder = open_table(path), Folder(path.parent)
    if column not in file.names:
        raise InputError(
            f"{path}: column '{column}' is missing; it has {listed(file.names, 12)}; name the column of paths with "
            "--image-column"
        )
    place, row = file.names.index(column), file.first_row
    for block in file.blocks():
        rows = pd.DataFrame({name: block[i].to_pylist() for i, name in enumerate(file.names) if name in beside})
        for i, cell in enumerate(block[place].to_pylist()):
            name = str(cell).strip()
            why = folder.outside(name) if name else f"row {row} of {path.name}: {column} is empty"
            columns = _columns(rows, i, beside, path)
            if not why and holds_dicom(path.parent / name):
                in_file = dicom_images(find(path.parent / name)[0], look)
                yield from (replace(image, columns=columns) for image in in_file)
            else:
                yield Image(name, path.parent / name, why=why, columns=columns)
            row += 1
