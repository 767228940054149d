"""UCI Heart Disease: 13 measurements of patients at four hospitals who were sent for coronary angiography."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.sources.base import Source, TableScan
from medimg.style.words import listed

if TYPE_CHECKING:
    import pandas as pd

SITES = ("cleveland", "hungarian", "switzerland", "va")
CLASSES = ("healthy", "disease")
# Type of each column, and the codes that the documentation gives it. All of it is known without looking at a patient.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "age": ("continuous", ()),
    "sex": ("categorical", (0, 1)),
    "cp": ("categorical", (1, 2, 3, 4)),
    "trestbps": ("continuous", ()),
    "chol": ("continuous", ()),
    "fbs": ("categorical", (0, 1)),
    "restecg": ("categorical", (0, 1, 2)),
    "thalach": ("continuous", ()),
    "exang": ("categorical", (0, 1)),
    "oldpeak": ("continuous", ()),
    "slope": ("ordinal", (1, 2, 3)),
    "ca": ("integer", (0, 1, 2, 3)),
    "thal": ("categorical", (3, 6, 7)),
}
# What adults sent for angiography can have, in the documentation's units: no value of the files decided it.
BOUNDS = {
    "age": (20.0, 90.0),
    "trestbps": (70.0, 220.0),
    "chol": (80.0, 600.0),
    "thalach": (50.0, 220.0),
    "oldpeak": (-3.0, 7.0),
    "ca": (0.0, 3.0),
}
LABEL = "num"
_FIELDS = (*COLUMNS, LABEL)
_GRADES = (0, 1, 2, 3, 4)
# No living patient's: the hospitals wrote 0 for not measured.
_NOT_ZERO = ("trestbps", "chol")
# The full files' mark of a value that is not known.
_UNKNOWN = -9
_FILE = re.compile(r"processed[._-](cleveland|hungarian|switzerland|va)\.(data|csv|txt)", re.I)


@dataclass
class _Found:
    """Rows of the files read so far, and what was not taken from them."""

    rows: list[dict] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    zeros: dict[str, int] = field(default_factory=dict)
    odd_codes: dict[str, list[str]] = field(default_factory=dict)


def scan(path: Path | None, config: PrepareConfig) -> TableScan:
    """Read the processed files of one or more of the four hospitals.

    Args:
        path: the folder that holds `processed.SITE.data` (or `.csv`), any of them, or one such file.
        config: not used.

    Raises:
        InputError: there is no such file, it is not such a file inside, or only one class is in them.
    """
    files = _files(path)
    content = _Found()
    for site, file in files.items():
        _read(site, file, content)
    present = {row["label"] for row in content.rows}
    for name in CLASSES:
        if name not in present:
            raise InputError(f"{path}: no patient is '{name}'; give the folder of all four files")
    return TableScan(
        name="heart",
        task="binary",
        classes=CLASSES,
        features=_features(),
        read=lambda progress: (_frame(content.rows), []),
        modality=SOURCE.modality,
        licence=SOURCE.licence,
        citation=SOURCE.citation,
        rejected=content.rejected,
        notes=_notes(content, files),
        tables=tuple(files.values()),
    )


def _files(path: Path | None) -> dict[str, Path]:
    """The file of each site, in the order of SITES."""
    what = "source 'heart' needs the folder of processed.cleveland.data and its sisters, or one of these files"
    if path is None:
        raise InputError(f"PATH is missing: {what}")
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: does not exist; {what}")
    files: dict[str, Path] = {}
    # Reversed, so that of several files of a hospital `.data`, as published, stays.
    for file in sorted(path.iterdir(), reverse=True) if path.is_dir() else [path]:
        match = _FILE.fullmatch(file.name)
        if match and file.is_file():
            kind = match[1].lower()
            if kind not in files or file.suffix.lower() == ".data":
                files[kind] = file
    if not files:
        named = "holds no file" if path.is_dir() else "is no file"
        raise InputError(f"{path}: {named} named like processed.cleveland.data; {what}")
    return {site: files[site] for site in SITES if site in files}


def _read(site: str, file: Path, content: _Found) -> None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not text; download the file again") from error
    count = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fields = _fields(line)
        if not any(fields):
            continue
        if not count and _is_prose(fields):
            _check_header(file, number, fields)
            content.skipped[file.name] = content.skipped.get(file.name, 0) + 1
            continue
        try:
            row = _row(fields, content)
        except ValueError as error:
            content.rejected.append((file.name, f"line {number}: {error}"))
            continue
        count += 1
        name = f"{site}-{count:03d}"
        content.rows.append({"row": name, "patient": name, "site": site, **row})
    if not count:
        raise InputError(f"{file}: no line of {len(_FIELDS)} numbers separated by commas; download the file again")


def _fields(line: str) -> list[str]:
    try:
        return [text.strip() for text in next(csv.reader([line]), [])]
    except csv.Error:
        return [line]


def _is_prose(fields: list[str]) -> bool:
    """A header or a sentence: fewer than half of the fields are numbers or marks of a missing one."""
    values = sum(_is_value(text) for text in fields)
    return values * 2 < len(fields) or len(fields) == 1


def _is_value(text: str) -> bool:
    return text in ("", "?") or re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) is not None


def _check_header(file: Path, number: int, fields: list[str]) -> None:
    """A mirror's own header is fine, unless it says that the columns stand in another order."""
    names = [text.lower() for text in fields]
    expected = list(COLUMNS)
    if set(expected) <= set(names) and names[: len(expected)] != expected:
        raise InputError(
            f"{file} line {number}: the columns are not in the published order ({', '.join(_FIELDS)}); "
            "use source 'table', or the file as published"
        )


def _row(fields: list[str], content: _Found) -> dict:
    """The columns of a line.

    Raises:
        ValueError: it says why the line can't be used.
    """
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{len(fields)} fields instead of {len(_FIELDS)}")
    numbers = {}
    for name, text in zip(_FIELDS, fields, strict=True):
        if not _is_value(text):
            raise ValueError(f"{name} is '{text[:40]}', not a number or ?")
        number = None if text in ("", "?") else float(text)
        numbers[name] = None if number == _UNKNOWN else number
    if numbers[LABEL] not in _GRADES:
        raise ValueError(f"{LABEL} is '{fields[-1]}', not 0 to 4")
    # Counted when the line is known to be used.
    for name, (_, codes) in COLUMNS.items():
        if name in _NOT_ZERO and numbers[name] == 0:
            content.zeros[name] = content.zeros.get(name, 0) + 1
            numbers[name] = None
        elif codes and numbers[name] is not None and numbers[name] not in codes:
            content.odd_codes.setdefault(name, []).append(f"{numbers[name]:g}")
            numbers[name] = None
    return {"label": CLASSES[numbers[LABEL] > 0], **numbers}


def _features():
    from medimg.data.schema import Feature

    typed = (_feature(name, kind, tuple(map(str, codes))) for name, (kind, codes) in COLUMNS.items())
    return (*typed, Feature(LABEL, "metadata"))


def _feature(name: str, kind: str, codes: tuple[str, ...]):
    from medimg.data.schema import Feature

    return Feature(
        name,
        kind,
        order=codes if kind == "ordinal" else (),
        bound=BOUNDS.get(name),
        categories=codes if kind == "categorical" else (),
    )


def _frame(rows: list[dict]) -> pd.DataFrame:
    import pandas as pd

    from medimg.data import schema

    table = pd.DataFrame(rows).assign(split="")
    for feature in _features():
        values = table[feature.name].astype(float)
        table[feature.name] = values if feature.is_number else schema.as_text(values)
    return table[[*schema.ROLES, *_FIELDS]]


def _notes(content: _Found, files: dict[str, Path]) -> list[str]:
    notes = ["no patient numbers are published: every row counts as its own patient"]
    absent = [site for site in SITES if site not in files]
    if absent:
        notes.append(f"no file of {' and '.join(absent)}")
    for name, count in content.skipped.items():
        notes.append(f"{name}: {count} lines of header or prose before the rows skipped")
    if content.zeros:
        counts = " and ".join(f"{count} of {name}" for name, count in content.zeros.items())
        notes.append(f"zeros that stand for not measured taken as missing: {counts}")
    for name, values in content.odd_codes.items():
        notes.append(f"{name}: {len(values)} values that are none of its codes taken as missing: {listed(values)}")
    if content.rejected:
        examples = listed(f"{name} {reason}" for name, reason in content.rejected)
        notes.append(f"{len(content.rejected)} lines left out, listed in rejected.csv: {examples}")
    return notes


SOURCE = Source(
    name="heart",
    task="binary: angiographic narrowing of 50% or more (num > 0) against less",
    modality="clinical table",
    licence="CC BY 4.0",
    citation="Janosi, Steinbrunn, Pfisterer, Detrano (1988), Heart Disease, UCI, doi:10.24432/C52P4X",
    layout="folder of processed.{cleveland,hungarian,switzerland,va}.data, any of them, or one such file",
    how_to_get="https://archive.ics.uci.edu/dataset/45/heart+disease",
    scan=scan,
    options=(),
)
