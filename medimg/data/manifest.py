"""manifest.csv: its columns, and the rows that can't be used, refused by number.

An empty cell alone is missing, so that a class None, a patient NA and a code 008 are read back as they were written.
"""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data import schema
from medimg.data.copies import GIVEN
from medimg.errors import InputError
from medimg.untrusted.csv_cells import read_csv
from medimg.untrusted.inside import Folder

SPLITS = ("train", "val", "test")
# Columns that name files of the Dataset's folder.
FILE_COLUMNS = ("image", "mask")
# Read as text, whatever they look like: patient 007 is not patient 7, and boxes are lists.
TEXT_COLUMNS = ("image", "label", "patient", "site", "split", "mask", "finding", "x", "y", "width", "height")

# Likewise, without a look at blanks.
_MADE_BY_PREPARE = ("source_file", "pixels", "bytes")
# No code: 008 stays text.
_NUMBER = r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf"


def name_text(name: str) -> str:
    """A label's, patient's or site's name as a manifest holds it: Unicode's composed form, without blanks around it."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8")).strip()


def read_images(path: Path) -> pd.DataFrame:
    """A manifest of images: `image`, `label`, `patient`, `split` and what else it has.

    Raises:
        InputError: a missing column, or a row that can't be used, by its number.
    """
    manifest = _cells(path, dtype=str, keep_default_na=False)
    for column in ("image", "label", "patient", "split"):
        if column not in manifest:
            raise InputError(f"{path}: column '{column}' is missing")
    for column in manifest:
        if column in TEXT_COLUMNS:
            manifest[column] = manifest[column].str.strip()
        elif column not in _MADE_BY_PREPARE:
            manifest[column] = _metadata(manifest[column])
    _refuse_rows(path, manifest["image"] == "", "image is empty")
    _refuse_rows(path, manifest["patient"] == "", "patient is empty; give every image a patient")
    _refuse_rows(path, ~manifest["split"].isin(SPLITS), f"split is not one of {', '.join(SPLITS)}")
    _refuse_rows(path, manifest["image"].duplicated(), "the same image is listed twice")
    _refuse_files_outside(path, manifest)
    if "site" not in manifest:
        manifest["site"] = ""
    return manifest


def _cells(path: Path, **options) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: missing; prepare the data set again")
    return read_csv(path, low_memory=False, **options)


def _metadata(cells: pd.Series) -> pd.Series:
    """Numbers where all known cells are; else text. Missing is NaN, also a word for it among numbers."""
    known = ~cells.str.lower().isin((*schema.MISSING, "none"))
    if cells[known].str.fullmatch(_NUMBER).all():
        return pd.to_numeric(cells.where(known), errors="coerce")
    return cells.where(cells != "")


def _refuse_files_outside(path: Path, manifest: pd.DataFrame) -> None:
    folder = Folder(path.parent)
    for column in FILE_COLUMNS:
        for row, name in enumerate(manifest.get(column, ())):
            why = folder.outside(name) if name else ""
            if why:
                raise InputError(
                    f"{path} row {row + 2}: {column} {why}; a Dataset holds its files: copy it there, or prepare the "
                    "data set again"
                )


def read_rows(path: Path, features: tuple[schema.Feature, ...]) -> pd.DataFrame:
    """A table's manifest, its columns as their types say.

    Raises:
        InputError: a missing column, or a row that can't be used, by its number.
    """
    text = {f.name: str for f in features if not f.is_number}
    numbers = {f.name: np.float64 for f in features if f.is_number}
    table = _cells(
        path,
        dtype={**text, **dict.fromkeys((*schema.ROLES, GIVEN), str)},
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
        # The default is off in the last digit, and a value would differ from the source's.
        float_precision="round_trip",
    )
    for column in ("label", "patient", "split", *text, *numbers):
        if column not in table:
            raise InputError(f"{path}: column '{column}' is missing")
    if "row" not in table:
        table.insert(0, "row", np.arange(2, len(table) + 2).astype(str))
    if "site" not in table:
        table["site"] = ""
    for name in (*schema.ROLES, *text):
        table[name] = table[name].fillna("").str.strip()
    _numbers(path, table, list(numbers))
    _refuse_rows(path, table["row"].duplicated(), "the same row name is listed twice")
    _refuse_rows(path, table["patient"] == "", "patient is empty; give every row a patient")
    _refuse_rows(path, ~table["split"].isin(SPLITS), f"split is not one of {', '.join(SPLITS)}")
    return table


def _numbers(path: Path, table: pd.DataFrame, names: list[str]) -> None:
    """Make the columns float64 with NaN for missing, in place."""
    # Only where it is needed: of 20,000 columns each assignment would cost a block of the frame.
    for name in names:
        if table[name].dtype == np.float64 and not np.isinf(table[name].to_numpy()).any():
            continue
        try:
            table[name] = schema.as_numbers(table[name])
        except ValueError as error:
            message, index = error.args
            raise InputError(
                f"{path} row {index + 2}: column '{name}': {message}; mend it, or give the column another type in "
                "dataset.yaml"
            ) from None


def _refuse_rows(path: Path, bad: pd.Series, why: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        more = int(bad.sum()) - 1
        raise InputError(f"{path} row {row + 2}: {why}" + (f" (and {more} more rows)" if more else ""))
