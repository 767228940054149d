"""ISIC skin lesions: class folders with the HAM10000 table beside them, or images whose labels are in a table alone.

The second are HAM10000 as it is published and the challenges of 2018 (task 3), 2019 and 2020.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions, LabelFileOptions
from medimg.sources.base import Scan, Source, task_of, to_records
from medimg.sources.folder import class_files, class_root, left_out, reader
from medimg.sources.given_table import need_columns, read_table
from medimg.sources.image_files import ImageFiles
from medimg.sources.label_table import named_table
from medimg.sources.table_of_images import scan_rows
from medimg.sources.tree import files_below, need_folder
from medimg.style.words import listed

_ID = re.compile(r"ISIC_\d+")
_METADATA = ("dx", "dx_type", "age", "sex", "localization")
# Columns of ids, of labels (else one for each class) and of those whose images never cross parts, best first.
_IDS = ("image_id", "image_name", "image", "isic_id")
_LABELS = ("dx", "benign_malignant", "target", "diagnosis")
_GROUPS = ("patient_id", "lesion_id")
# The challenges' columns for classes.
_CLASSES = {"MEL", "NV", "BCC", "AK", "AKIEC", "BKL", "DF", "VASC", "SCC", "UNK"}
# Folders that are no classes.
_PLAIN_FOLDER = re.compile(r"images?|input|part_?\d|jpe?g|png|^(train|test|val)\w*$", re.I)
_LICENCE = "of each image: CC0, CC BY or CC BY-NC (ISIC archive); HAM10000 CC BY-NC 4.0: not for commercial use"
_CITATION = (
    "Tschandl, Rosendahl and Kittler (2018), HAM10000, Scientific Data 5:180161, doi:10.1038/sdata.2018.161; "
    "Codella et al. (2018), ISIC challenge, arXiv:1710.05006"
)


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find lesions; a lesion, where patients are not known, counts as a patient, whose images never cross parts.

    Args:
        path: the folder of `Train` and `Test`, of the classes, or of the tables and the folders of images.
        config: `labels` names the HAM10000 table when it is not a `*metadata*.csv` in the folder, or that of labels.

    Raises:
        InputError: no class folders, an empty class, one class only, or a table without `lesion_id` and `image_id`.
    """
    folder = need_folder(path, "isic")
    images = files_below(folder)[0]
    if images and all(_PLAIN_FOLDER.search(image.parent.name) or image.parent == folder for image in images):
        return _labelled_by_table(folder, images, config)
    root, passed = class_root(folder)
    entries, rejected = class_files(root)
    table = _table(folder, root, config.labels)
    rejected = [(file, reason) for file, reason in rejected if table is None or Path(file).name != table.name]
    rejected += [(file.as_posix(), "lies outside the class folders") for file in passed if file != table]
    lesions = _lesions(table)
    rows = [_row(file, label, part, lesions) for file, label, part in entries]
    notes = left_out(rejected)
    unknown = sum(row["isic_id"] == row["patient"] for row in rows)
    if unknown:
        where = f"in {table.name}" if table else "(no HAM10000 table beside the folders)"
        notes.append(f"{unknown} of {len(rows)} images have no lesion id {where}: their ISIC id counts as the patient")
    copies = [file for file, _, _ in entries if re.search(r"\(\d+\)\.\w+$", file)]
    if copies:
        notes.append(f"{len(copies)} files are copies by their name: {listed(copies)}")
    classes = tuple(sorted({label for _, label, _ in entries}))
    return Scan(
        name=root.name,
        task=task_of(classes),
        classes=classes,
        records=to_records(rows),
        read=reader(root, config),
        modality="dermatoscopy",
        licence=_LICENCE,
        citation=_CITATION,
        rejected=rejected,
        notes=notes,
        root=root,
        tables=(table,) if table else (),
    )


def _row(file: str, label: str, part: str, lesions: dict[str, dict]) -> dict:
    # `ISIC_0025509(1).jpg` is a copy of `ISIC_0025509.jpg`: the id in the name counts, not the name.
    match = _ID.search(Path(file).name)
    name = match[0] if match else file
    lesion = lesions.get(name, {})
    metadata = {column: lesion.get(column, "") for column in _METADATA} if lesions else {}
    row = {"image": file, "label": label, "patient": lesion.get("lesion_id") or name, "split": part}
    return {**row, "isic_id": name, **metadata}


def _labelled_by_table(folder: Path, images: list[Path], config: PrepareConfig) -> Scan:
    """Images whose classes no folder tells."""
    tables = {path: read_table(path) for path in _tables_of_ids(folder)}
    labels = {path: result for path, table in tables.items() if (result := _label_column(table))}
    if config.labels is not None:
        chosen = _table(folder, folder, config.labels)
        tables.setdefault(chosen, read_table(chosen))
        labels = {chosen: _label_column(tables[chosen])}
    if len(labels) != 1 or not all(labels.values()):
        raise InputError(
            f"{folder}: which table holds the labels, by {' or '.join(_IDS)}, in {', '.join(_LABELS)} or a column a "
            f"class? Put it there, or pick one with --labels: {listed(path.name for path in labels) or 'none is there'}"
        )
    ((path, label),) = labels.items()
    table = tables.pop(path)
    name = _id_column(path, table)
    table, used = _joined(table, name, tables)
    base = Path(os.path.realpath(folder))
    files = ImageFiles(base, sorted({image.parent for image in images}))
    group = next((column for column in _GROUPS if column in table), config.patient_column)
    result = scan_rows(path, table, files, replace(config, image_column=name, label_column=label, patient_column=group))
    with_row = set(result.records["image"])
    spare = [file.name for file in images if files.key(file) not in with_row]
    notes = [f"labels of {path.name}" + (f"; a {group[:-3]} counts as a patient" if group in _GROUPS else "")]
    notes += [f"more of each image in {listed(used)}"] if used else []
    notes += [f"{len(spare)} images have no row in {path.name}: {listed(spare)}"] if spare else []
    return replace(
        result,
        name=folder.name,
        modality="dermatoscopy",
        licence=_LICENCE,
        citation=_CITATION,
        rejected=result.rejected + [(name, f"has no row in {path.name}") for name in spare],
        # Ids have no extension, and that needs no word.
        notes=notes + [note for note in result.notes if "spelt otherwise" not in note],
    )


def _joined(table, name: str, others: dict) -> tuple:
    """With the columns of other tables (patients, lesions, ages and the like), and which of these had any."""
    used = []
    for path, rows in others.items():
        more = rows.set_index(_id_column(path, rows)).drop(columns=[*table], errors="ignore")
        if len(more.columns) and more.index.is_unique and table[name].isin(more.index).any():
            joined = table.join(more, on=name).fillna("")
            joined.attrs, table = table.attrs, joined
            used.append(path.name)
    return table, used


def _tables_of_ids(folder: Path) -> list[Path]:
    from medimg.tables.reading import open_table

    return [path for path in sorted(folder.glob("*.csv")) if set(_IDS) & set(open_table(path).names)]


def _id_column(path: Path, table) -> str:
    column = next((name for name in _IDS if name in table), None)
    if column is None:
        need_columns(path, table, {_IDS[0]: ""})
    return str(column)


def _label_column(table) -> str:
    """The column of labels, or those of the classes joined by commas; '' = none."""
    classes = [name for name in table if name in _CLASSES]
    return ",".join(classes) if len(classes) > 1 else next((name for name in _LABELS if name in table), "")


def _table(folder: Path, root: Path, labels: str | None) -> Path | None:
    if labels is not None:
        return named_table(folder, labels)
    tables = sorted({*folder.glob("*metadata*.csv"), *root.glob("*metadata*.csv")})
    if len(tables) > 1:
        raise InputError(
            f"{folder}: which table holds the lesions? pick one with --labels: {listed(t.name for t in tables)}"
        )
    return tables[0] if tables else None


def _lesions(path: Path | None) -> dict[str, dict]:
    if path is None:
        return {}
    table = read_table(path)
    need_columns(path, table, {"lesion_id": "", "image_id": ""})
    return {row["image_id"]: row for row in table.to_dict("records")}


SOURCE = Source(
    name="isic",
    task="multiclass (7 to 9 classes), or benign and malignant (2020)",
    modality="dermatoscopy",
    licence=_LICENCE,
    citation=_CITATION,
    layout=(
        "{Train,Test}/<class>/ISIC_*.jpg, with HAM10000_metadata.csv (lesion_id, image_id) beside them; or HAM10000's "
        "and the 2018 to 2020 challenges' tables beside their folders of images"
    ),
    how_to_get="Kaggle nodoubttome/skin-cancer9-classesisic; HAM10000_metadata from doi:10.7910/DVN/DBW86T",
    scan=scan,
    options=(
        DecodingOptions,
        LabelFileOptions,
    ),
)
