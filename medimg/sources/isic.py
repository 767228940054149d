"""ISIC skin lesions in class folders, with lesion ids of the HAM10000 table beside them."""

import re
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups import DecodingOptions, LabelFileOptions
from medimg.sources.base import Scan, Source, need_columns, need_folder, read_table, task_of, to_records
from medimg.sources.folder import class_files, class_root, left_out, reader
from medimg.style.words import listed

_ID = re.compile(r"ISIC_\d+")
_METADATA = ("dx", "dx_type", "age", "sex", "localization")
_LICENCE = "ISIC archive CC0 or CC BY-NC, HAM10000 CC BY-NC 4.0: not for commercial use"
_CITATION = (
    "Tschandl, Rosendahl and Kittler (2018), HAM10000, Scientific Data 5:180161, doi:10.1038/sdata.2018.161; "
    "Codella et al. (2018), ISIC challenge, arXiv:1710.05006"
)


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find lesions in class folders; a lesion counts as a patient, whose images never cross parts.

    Args:
        path: the folder of `Train` and `Test`, or of the classes.
        config: `labels` names the HAM10000 table when it is not a `*metadata*.csv` in the folder.

    Raises:
        InputError: no class folders, an empty class, one class only, or a table without `lesion_id` and `image_id`.
    """
    folder = need_folder(path, "isic")
    root, passed = class_root(folder)
    entries, rejected = class_files(root)
    table = _table(folder, root, config.labels)
    rejected = [(file, reason) for file, reason in rejected if table is None or Path(file).name != table.name]
    rejected += [(file.as_posix(), "lies outside the class folders") for file in passed if file != table]
    lesions = _lesions(table)
    rows = []
    for file, label, part in entries:
        # `ISIC_0025509(1).jpg` is a copy of `ISIC_0025509.jpg`: the id in the name counts, not the name.
        match = _ID.search(Path(file).name)
        name = match[0] if match else file
        known = lesions.get(name, {})
        metadata = {column: known.get(column, "") for column in _METADATA} if lesions else {}
        row = {"image": file, "label": label, "patient": known.get("lesion_id") or name, "split": part}
        rows.append({**row, "isic_id": name, **metadata})
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


def _table(folder: Path, root: Path, labels: str | None) -> Path | None:
    if labels is not None:
        place = next((place for place in (Path(labels), folder / labels) if place.is_file()), None)
        if place is None:
            raise InputError(f"--labels {labels}: no such file, nor in {folder}")
        return place
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
    task="multiclass (9 classes)",
    modality="dermatoscopy",
    licence=_LICENCE,
    citation=_CITATION,
    layout="{Train,Test}/<class>/ISIC_*.jpg, with HAM10000_metadata.csv (lesion_id, image_id) beside them",
    how_to_get="Kaggle nodoubttome/skin-cancer9-classesisic; HAM10000_metadata from doi:10.7910/DVN/DBW86T",
    scan=scan,
    options=(
        DecodingOptions,
        LabelFileOptions,
    ),
)
