"""NIH ChestX-ray14: Data_Entry table (both years), boxes, official lists, images in one or many folders."""

import re
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions, LabelFileOptions
from medimg.sources.base import Scan, Source, to_records
from medimg.sources.folder import reader
from medimg.sources.given_table import need_columns, read_table
from medimg.sources.image_labels import NEGATIVE
from medimg.sources.label_table import named_table
from medimg.sources.tree import files_below, need_folder
from medimg.style.words import listed

CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
BOXES = "BBox_List_2017.csv"
# Boxes were drawn on the published 1024 x 1024 PNGs.
FRAME = (1024, 1024)
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
# Years by the letter behind an age: the first release has 058Y, 011M and 003D, the second 58.
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_RENAMED = {"Infiltrate": "Infiltration"}
_CITATION = "Wang et al. (2017), ChestX-ray8, CVPR, doi:10.1109/CVPR.2017.369; NIH Clinical Center"
_LICENCE = "no restriction on use; credit the NIH Clinical Center and cite Wang et al., CVPR 2017"


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find the images that the label table names.

    Args:
        path: the folder with the table and `images/`, `images_001/images/` and so on.
        config: `labels` picks the table when there is more than one; `max_megapixels` is used.

    Raises:
        InputError: no table, a row that can't be read, or no image of the table.
    """
    root = need_folder(path, "chestxray14")
    table = _table(root, config.labels)
    entries, odd = _entries(table)
    images, chosen, rejected = _images(root, table)
    boxes, parts = _boxes(root), _official(root)
    rows = [
        {**entry, "image": images[name], **boxes.get(name, {}), "split": parts.get(name, "")}
        for name, entry in entries.items()
        if name in images
    ]
    if not rows:
        raise InputError(
            f"{root}: none of the {len(entries)} images of {table.name} is in {listed(chosen) or 'its folders'}"
        )
    unknown = [file for name, file in images.items() if name not in entries]
    rejected += [(file, f"has no row in {table.name}") for file in unknown]
    notes = [f"labels of {table.name}, images of {listed(chosen)}"]
    if lost := len(entries) - len(rows):
        notes.append(f"{lost} of the {len(entries)} rows of {table.name} have no image file and are left out")
    notes += odd
    if unknown:
        notes.append(f"{len(unknown)} images have no row in {table.name}: {listed(unknown)}")
    return Scan(
        name="chestxray14",
        task="multilabel",
        classes=CLASSES,
        records=to_records(rows),
        read=reader(root, config),
        negative=NEGATIVE,
        modality="chest X-ray",
        licence=_LICENCE,
        citation=_CITATION,
        box_frame=FRAME,
        rejected=rejected,
        notes=notes,
        root=root,
        tables=(table, *(file for file in (root / name for name in (BOXES, *_LISTS)) if file.is_file())),
    )


def _table(root: Path, labels: str | None) -> Path:
    if labels is not None:
        return named_table(root, labels)
    existing = [root / name for name in TABLES if (root / name).is_file()]
    if len(existing) == 1:
        return existing[0]
    others = sorted(file.name for file in root.glob("*Entry*.csv"))
    if existing or others:
        raise InputError(f"{root}: which table holds the labels? pick one with --labels: {', '.join(others)}")
    raise InputError(f"{root}: {TABLES[0]} is missing; put it beside the images or name it with --labels")


def _entries(table: Path) -> tuple[dict[str, dict], list[str]]:
    """Rows of the label table by file name, and notes.

    The header splits `OriginalImage[Width,Height]` and `OriginalImagePixelSpacing[x,y]` in two at their commas, as the
    rows are.
    """
    content = read_table(table)
    place = _places(table, list(content))
    entries: dict[str, dict] = {}
    for number, cell in enumerate(content[list(place.values())].set_axis(list(place), axis=1).to_dict("records"), 2):
        name = cell.pop("name")
        if name in entries:
            raise InputError(f"{table} row {number}: image '{name}' is listed twice; keep one row")
        entries[name] = _entry(table, number, cell)
    lost = [entry.pop("odd") for entry in entries.values() if "odd" in entry]
    return entries, [f"{len(lost)} ages can't be read: taken as missing: {listed(lost)}"] if lost else []


def _places(table: Path, header: list[str]) -> dict[str, str]:
    wanted = {
        "name": ("Image Index",),
        "label": ("Finding Labels",),
        "patient": ("Patient ID",),
        "age": ("Patient Age",),
        "sex": ("Patient Gender", "Patient Sex"),
        "view": ("View Position",),
        "follow_up": ("Follow-up #",),
        "original_width": ("OriginalImage[Width",),
        "original_height": ("Height]",),
        "spacing_mm": ("OriginalImagePixelSpacing[x",),
    }
    places = {role: name for role, names in wanted.items() for name in names if name in header}
    for role in ("name", "label", "patient"):
        if role not in places:
            raise InputError(f"{table}: column '{wanted[role][0]}' is missing; it has {', '.join(header) or 'nothing'}")
    return places


def _entry(table: Path, number: int, cell: dict[str, str]) -> dict:
    from medimg.tables.cells import shown

    names = [_RENAMED.get(name.strip(), name.strip()) for name in cell["label"].split(SEPARATOR) if name.strip()]
    for name in names:
        if name not in (*CLASSES, NEGATIVE):
            raise InputError(f"{table} row {number}: label '{name}' is not one of the 14 nor '{NEGATIVE}'; mend it")
    if not cell["patient"]:
        raise InputError(f"{table} row {number}: Patient ID is empty")
    entry = {**cell, "label": SEPARATOR.join(name for name in names if name != NEGATIVE) or (NEGATIVE if names else "")}
    if cell.get("age"):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([YMWD]?)", cell["age"].upper())
        if match:
            years = round(float(match[1]) * _YEARS[match[2]], 2)
            entry["age"] = int(years) if years == int(years) else years
        else:
            entry |= {"age": "", "odd": f"'{shown(cell['age'])}' in row {number}"}
    return entry


def _images(root: Path, table: Path) -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
    """File name -> path below root, of the folders that go with the table."""
    folders = [item for item in sorted(root.iterdir()) if item.is_dir() and item.name.startswith("images")]
    named = [folder for folder in folders if table.stem.endswith(f"_{folder.name}")]
    plain = [folder for folder in folders if folder.name == "images" or folder.name[len("images_") :].isdigit()]
    chosen = named or plain or folders or [root]
    images, rejected = {}, []
    for folder in chosen:
        files, others = files_below(folder)
        rejected += [(file.relative_to(root).as_posix(), reason) for file, reason in others]
        for file in files:
            key = file.relative_to(root).as_posix()
            if file.name in images:
                rejected.append((key, f"is in {images[file.name]} too"))
            images.setdefault(file.name, key)
    return images, [folder.name for folder in chosen], rejected


def _boxes(root: Path) -> dict[str, dict]:
    """Boxes by file name, in pixels of the 1024 frame, several joined."""
    path = root / BOXES
    if not path.is_file():
        return {}
    table = read_table(path)
    need_columns(path, table, {"Image Index": "", "Finding Label": ""})
    # The header `Bbox [x,y,w,h]` is either four columns or quoted into one; the numbers are the four after the label.
    first = list(table.columns).index("Finding Label") + 1
    boxes = {}
    for number, line in enumerate(table.itertuples(index=False), start=2):
        finding = _RENAMED.get(line[first - 1], line[first - 1])
        try:
            values = [f"{float(value):.3f}" for value in line[first : first + 4]]
        except ValueError as error:
            raise InputError(f"{path} row {number}: the box is not four numbers ({error})") from error
        row = boxes.setdefault(line[list(table.columns).index("Image Index")], {})
        for name, value in zip(("x", "y", "width", "height", "finding"), (*values, finding), strict=True):
            row[name] = SEPARATOR.join([row[name], value]) if name in row else value
    return boxes


def _official(root: Path) -> dict[str, str]:
    return {
        name.strip(): part
        for file, part in _LISTS.items()
        if (root / file).is_file()
        for name in (root / file).read_text(encoding="utf-8-sig").splitlines()
        if name.strip()
    }


SOURCE = Source(
    name="chestxray14",
    task="multilabel",
    modality="chest X-ray",
    licence=_LICENCE,
    citation=_CITATION,
    layout=(
        f"{' or '.join(TABLES)}, optional {BOXES}, {', '.join(_LISTS)}, and images/*.png or images_001/images/*.png; "
        "absent images are left out"
    ),
    how_to_get="https://nihcc.app.box.com/v/ChestXray-NIHCC (112,120 images, 42 GB; any part of it will do)",
    scan=scan,
    options=(
        DecodingOptions,
        LabelFileOptions,
    ),
)
