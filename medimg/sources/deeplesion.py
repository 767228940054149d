"""NIH DeepLesion: CT slices with boxes of lesions, 16-bit PNG of Hounsfield units, or 8-bit copies of key slices."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions, LabelFileOptions, WindowOptions
from medimg.sources.base import Scan, Source
from medimg.sources.given_table import need_columns, read_table
from medimg.sources.label_table import scan_of, table_at
from medimg.sources.tree import files_below, need_folder
from medimg.style.words import listed

if TYPE_CHECKING:
    import pandas as pd

# Coarse_lesion_type; -1 is not known.
TYPES = {
    "1": "bone", "2": "abdomen", "3": "mediastinum", "4": "liver", "5": "lung", "6": "kidney", "7": "soft tissue",
    "8": "pelvis",
}  # fmt: skip
_PARTS = {"1": "train", "2": "val", "3": "test", "": ""}
_NEEDED = ("File_name", "Patient_index", "Bounding_boxes", "Coarse_lesion_type")
_OFFSET = 32768
_SLICE, _SERIES = re.compile(r"\d+$"), re.compile(r"\d+_\d+_\d+$")


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find key slices by their table.

    Args:
        path: the folder of `DL_info.csv` and the images, in folders of series or beside each other.
        config: `labels` names the table where it is another, `window` the window in the place of each row's.

    Raises:
        InputError: no table or column, a cell that is not as documented, or no image is there.
    """
    from medimg.sources.windows import span_of

    folder, span = need_folder(path, "deeplesion"), span_of(config.window)
    tables = _tables(folder, config.labels)
    rows, spans, rejected = _rows(folder, tables, span)
    if not rows:
        raise InputError(f"{folder}: none of the {len(rejected)} slices of {listed(t.name for t in tables)} is there")
    notes = [f"{path.name}: {note}" for path, table in tables.items() for note in table.attrs.get("notes", ())]
    if rejected:
        notes.append(
            f"{len(rejected)} rows have no image there, listed in rejected.csv: {listed(n for n, _ in rejected)}"
        )
    of_train = [row["label"] for row in rows if row["split"] == "train"]
    if of_train and not any(of_train):
        notes.append(
            "no training row has a type (as published): --split 70/15/15 draws parts of the rows that have one"
        )
    return scan_of(
        next(iter(tables)),
        rows,
        folder,
        config,
        read=lambda key, warnings=None: _read(folder / key, spans[key], config.max_megapixels, warnings),
        root=Path(os.path.realpath(folder)),
        tables=tuple(tables),
        modality="CT",
        licence=SOURCE.licence,
        citation=SOURCE.citation,
        rejected=rejected,
        notes=notes,
        fills_depth=True,
    )


def _rows(folder: Path, tables: dict[Path, pd.DataFrame], span: tuple[float, float] | None):
    """A row of each lesion, black and white of each image, and (file, reason) of rows without an image."""
    files = _files(folder)
    rows, spans, rejected, seen = [], {}, [], set()
    for path, table in tables.items():
        names = set()
        for number, cells in enumerate(table.to_dict("records"), start=2):
            where = f"{path} row {number}"
            row, name = _row(cells, where), _name(cells["File_name"])
            file = files.get(name)
            if name in seen:
                # Of a slice in two tables the first says what is on it.
                continue
            if file is None:
                rejected.append((cells["File_name"], f"row {number} of {path.name}: the file does not exist"))
                continue
            names.add(name)
            row["image"] = file.relative_to(folder).as_posix()
            spans[row["image"]] = span or _window(cells.get("DICOM_windows", ""), where)
            rows.append(row)
        seen |= names
    return rows, spans, rejected


def _tables(folder: Path, labels: str | None) -> dict[Path, pd.DataFrame]:
    """The table that is named, or all in the folder that are like DL_info.csv, which comes first."""
    from medimg.tables.reading import open_table

    if labels is not None:
        paths = [table_at(folder, labels)]
    else:
        info = folder / "DL_info.csv"
        others = [path for path in sorted(folder.glob("*.csv")) if set(_NEEDED) <= set(open_table(path).names)]
        paths = list(dict.fromkeys([info] * info.is_file() + others)) or [table_at(folder, None)]
    tables = {path: read_table(path) for path in paths}
    for path, table in tables.items():
        need_columns(path, table, dict.fromkeys(_NEEDED, ""))
    return tables


def _files(folder: Path) -> dict[str, Path]:
    """Images by `a_b_c_109`, whether they are called so or `a_b_c/109`, which is 16 bits and comes first."""
    named: dict[str, Path] = {}
    for file in files_below(folder)[0]:
        is_slice = _SLICE.match(file.stem) and _SERIES.match(file.parent.name)
        name = f"{file.parent.name}_{file.stem}" if is_slice else file.stem
        if is_slice or name not in named:
            named[name] = file
    return named


def _name(file_name: str) -> str:
    return re.sub(r"\.\w+$", "", file_name.replace("\\", "/")).replace("/", "_")


def _row(cells: dict[str, str], where: str) -> dict[str, str]:
    kind, part = cells["Coarse_lesion_type"], cells.get("Train_Val_Test", "")
    if kind not in (*TYPES, "-1", ""):
        raise InputError(f"{where}: Coarse_lesion_type is '{kind}', neither 1 to 8 nor -1; mend it")
    if part not in _PARTS:
        raise InputError(f"{where}: Train_Val_Test is '{part}', none of 1, 2 and 3; mend it")
    left, top, right, bottom = _numbers(cells["Bounding_boxes"], 4, f"{where}: Bounding_boxes")
    if not (right > left and bottom > top):
        raise InputError(f"{where}: Bounding_boxes '{cells['Bounding_boxes']}' is no box (left, top, right, bottom)")
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return {
        "label": TYPES.get(kind, ""),
        "finding": TYPES.get(kind, ""),
        "patient": cells["Patient_index"],
        "split": _PARTS[part],
        **{name: f"{value:.10g}" for name, value in sides.items()},
        "sex": cells.get("Patient_gender", ""),
        "age": cells.get("Patient_age", ""),
    }


def _window(text: str, where: str) -> tuple[float, float] | None:
    """Black and white of a row; None where it tells none, as those of 8-bit copies."""
    if not text:
        return None
    low, high = _numbers(text, 2, f"{where}: DICOM_windows")
    if high <= low:
        raise InputError(f"{where}: DICOM_windows '{text}' is no window (black, white)")
    return low, high


def _numbers(text: str, count: int, where: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{where} '{text}' are not {count} numbers with commas; mend it")
    return numbers


def _read(file: Path, span: tuple[float, float] | None, megapixels: float, warnings: list[str] | None) -> np.ndarray:
    from medimg.data.imaging import read_image, without_idle_colour
    from medimg.dicom.pixels import levels

    stored = without_idle_colour(read_image(file, megapixels, warnings))
    if stored.dtype == np.uint8:
        # A copy that has been through a window.
        return stored
    if stored.ndim != 2:
        raise InputError(f"{file}: is in colour; a slice of CT is grey")
    if span is None:
        raise InputError(f"{file}: its row has no DICOM_windows; say one with --window")
    return levels(stored.astype(np.int32) - _OFFSET, *span, 65535)


SOURCE = Source(
    name="deeplesion",
    task="multiclass (8 places of a lesion)",
    modality="CT",
    licence="NIH Clinical Center: free use with credit",
    citation="Yan, Wang, Lu and Summers (2018), DeepLesion, J Med Imaging 5:036501, doi:10.1117/1.JMI.5.3.036501",
    layout="DL_info.csv and Images_png/<series>/<slice>.png (16 bits), or 8-bit images called as in File_name",
    how_to_get="https://nihcc.box.com/v/DeepLesion",
    scan=scan,
    options=(DecodingOptions, LabelFileOptions, WindowOptions),
)
