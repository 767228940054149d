"""PATHs of `medimg predict` -> the images that they name; nothing is decoded, no TensorFlow is imported."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.builtin import resolve
from medimg.sources.base import files_below
from medimg.style.words import listed
from medimg.tables.raw import require_columns
from medimg.tables.reading import open_table
from medimg.untrusted.inside import Folder

TABLES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Image:
    """An image to predict.

    Attributes:
        name: what the first column of the result calls it: its path, or what the Dataset or the CSV calls it.
        path: the file.
        is_prepared: it is of a Dataset; any other file is first brought into the form that a Dataset would hold.
        why: it can't be used, and why.
        columns: what the Dataset or the CSV says of it beside pixels, where the model takes such columns.
    """

    name: str
    path: Path
    is_prepared: bool = False
    why: str = ""
    columns: pd.DataFrame | None = None


def existing(paths: tuple[str, ...]) -> list[Path]:
    """The paths; the word `phantom` is the built-in Dataset.

    Raises:
        InputError: names the first that does not exist.
    """
    found = [resolve(path) for path in paths]
    for path in found:
        if not path.exists():
            raise InputError(f"{path}: does not exist; give files, folders, a Dataset or a CSV")
    return found


def is_dataset(path: Path) -> bool:
    """A prepared Dataset's folder."""
    return (path / "dataset.yaml").is_file()


def images_of(paths: list[Path], column: str | None, beside: tuple[str, ...] = ()) -> tuple[list[Image], list[str]]:
    """The images of files, folders, Datasets and CSVs of paths, in this order.

    Args:
        paths: that exist.
        column: of the CSVs' paths, None: `image`.
        beside: columns that the model takes beside pixels.

    Returns:
        The images, and sentences on files that are left out.

    Raises:
        InputError: a folder without images, a table in the place of images, or a CSV that can't be read.
    """
    images, notes = [], []
    for path in paths:
        is_table = path.is_file() and path.suffix.lower() in TABLES
        if beside and not is_table and not is_dataset(path):
            raise InputError(
                f"{path}: the model takes {listed(beside, 12)} beside pixels: give a CSV of paths and columns, or a "
                "Dataset"
            )
        if is_dataset(path):
            images += of_dataset(Dataset.load(path), beside)
        elif path.is_dir():
            found, others = files_below(path)
            if not found:
                raise InputError(f"{path}: holds no images by their extensions; give another folder, or files")
            images += [Image(str(file), file) for file in found]
            if others:
                names = listed(file.relative_to(path).as_posix() for file, _ in others)
                notes.append(f"{path}: {len(others)} left out, hidden or no images by their extension: {names}")
        elif path.suffix.lower() in TABLES:
            images += _of_table(path, column or "image", beside)
        else:
            images.append(Image(str(path), path))
    if column and not any(path.is_file() and path.suffix.lower() in TABLES for path in paths):
        raise InputError(f"--image-column {column}: no PATH is a CSV of paths; leave it out")
    return images, notes


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


def _of_table(path: Path, column: str, beside: tuple[str, ...]) -> Iterator[Image]:
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
            yield Image(name, path.parent / name, why=why, columns=_columns(rows, i, beside, path))
            row += 1
