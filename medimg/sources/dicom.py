"""DICOM: radiographs, CT, MR, ultrasound, mammograms; labels from a table; nobody's name or number leaves."""

from collections import Counter
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import (
    ColumnOptions,
    DecodingOptions,
    DicomOptions,
    LabelFileOptions,
    NeighbourOptions,
    SliceOptions,
    WindowOptions,
)
from medimg.sources.base import Scan, Source
from medimg.sources.dicom_files import IDS, Header, find, read_header
from medimg.sources.label_table import LabelTable, read_labels, scan_of
from medimg.style.words import listed

# From what is of one image to what is of many.
_KEYS = ("SOPInstanceUID", "path", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")
_SALT = ".salt"
_FEW = 64


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find DICOM images, join them with a table of labels, and give ids other names.

    Args:
        path: a folder, a zip, a DICOMDIR or a file.
        config: `labels` and the columns, `window`, `slices`, `neighbours`, `mask_text`, `modality`, `field`, `salt`.

    Raises:
        InputError: no DICOM file, a table or a column is missing, or a keyword that is none of DICOM's.
    """
    from medimg.dicom.decoders import Decoders
    from medimg.dicom.pixels import read_frame
    from medimg.dicom.pseudonyms import Pseudonyms, salt_at
    from medimg.sources.dicom_images import Look, read_view, views

    if path is None or not Path(path).exists():
        raise InputError(f"{path or 'PATH'}: {'does not exist' if path else 'is missing'}; source 'dicom' needs files")
    path = Path(path)
    look = Look(config.window, config.slices, config.neighbours, config.mask_text)
    folder = path if path.is_dir() else path.parent
    labels = read_labels(folder, config, _KEYS)
    headers, rejected = _headers(path, labels.path, config)
    # Of a folder called `.` or of a link, the folder's own name.
    salt = salt_at(Path(config.salt) if config.salt else _beside(path))
    images, spare = views(headers, look)
    named = dict(zip(_names(images, Pseudonyms(salt)), images, strict=True))
    rows, used = [], set()
    for key, view in named.items():
        row = _row(key, view.header, labels, Pseudonyms(salt))
        used |= {row.pop("key")}
        rows.append(row | ({"slice": str(view.frame)} if view.frame is not None else {}))
    if not rows:
        raise InputError(f"{path}: no image is left: {listed(f'{name} ({why})' for name, why in rejected + spare)}")
    # A few files are decoded before the processes have begun.
    decode = Decoders() if len(rows) > _FEW else read_frame
    return scan_of(
        labels.path,
        rows,
        path,
        config,
        read=lambda key, warnings=None: read_view(named[key], look, config.max_megapixels, warnings, decode),
        located=lambda key: tuple(dict.fromkeys(file.path for file, _ in named[key].channels)),
        called=lambda key: named[key].header.file.name,
        tables=(labels.path,),
        modality=", ".join(sorted({header.modality for header in headers})),
        rejected=rejected + spare,
        fills_depth=True,
        notes=[*labels.notes, *labels.unused(used), *_notes(headers, rejected + spare)],
    )


def _beside(path: Path) -> Path:
    real = path.resolve()
    return real.with_name(real.name + _SALT)


def _headers(path: Path, table: Path, config: PrepareConfig) -> tuple[list[Header], list[tuple[str, str]]]:
    from pydicom.datadict import tag_for_keyword

    for keyword in config.field:
        if tag_for_keyword(keyword) is None:
            raise InputError(f"--field {keyword}: no keyword of DICOM; e.g. PatientAge, PatientSex, ViewPosition")
    files, rejected = find(path)
    rejected = [(name, why) for name, why in rejected if (path / name) != table]
    headers = []
    for file in files:
        try:
            header = read_header(file, config.field, config.max_megapixels)
        except InputError as error:
            rejected.append((file.name, str(error)))
            continue
        if config.modality and header.modality not in config.modality:
            rejected.append((file.name, f"is {header.modality}, not {' or '.join(config.modality)} (--modality)"))
        else:
            headers.append(header)
    if not headers:
        raise InputError(f"{path}: no DICOM image: {listed(f'{name} ({why})' for name, why in rejected)}")
    return headers, rejected


def _names(images, pseudonyms) -> list[str]:
    """A key of each image, of hashes alone; files that share an id are told apart by where they lie."""
    files: dict[str, set[str]] = {}
    for view in images:
        files.setdefault(view.header.ids["SOPInstanceUID"], set()).add(view.header.file.name)
    names = []
    for view in images:
        ids, file = view.header.ids, view.header.file.name
        instance = ids["SOPInstanceUID"]
        image = pseudonyms("image", instance if instance and len(files[instance]) == 1 else f"{instance}\0{file}")
        frame = "" if view.frame is None else f"-{view.frame:04d}"
        names.append(f"{_patient(view.header, pseudonyms)}/{image}{frame}")
    return names


def _patient(header: Header, pseudonyms) -> str:
    """Who it is of; without a patient's id, whose study, series or file."""
    level = next((name for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID") if header.ids[name]), "")
    issuer = header.issuer if level == "PatientID" else ""
    return pseudonyms("patient", f"{issuer}\0{header.ids[level]}" if level else f"\0\0{header.file.name}")


def _row(image: str, header: Header, labels: LabelTable, pseudonyms) -> dict[str, str]:
    key = header.file.name if labels.column.casefold() == "path" else _id(header, labels.column)
    columns = dict(labels.rows.get(key, {}))
    patient = columns.pop("patient", "")
    return {
        "key": key,
        "image": image,
        "label": "",
        **columns,
        "patient": pseudonyms("patient", patient) if patient else _patient(header, pseudonyms),
        "study": pseudonyms("study", header.ids["StudyInstanceUID"] or header.file.name),
        "series": pseudonyms("series", header.ids["SeriesInstanceUID"] or header.file.name),
        "modality": header.modality,
        **header.fields,
    }


def _id(header: Header, column: str) -> str:
    return next(header.ids[name] for name in IDS if name.casefold() == column.casefold())


def _notes(headers: list[Header], rejected: list[tuple[str, str]]) -> list[str]:
    notes = []
    kinds = Counter(header.modality for header in headers)
    if len(kinds) > 1:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        notes.append(f"files are of several modalities ({counts}): a model may tell them apart; --modality keeps one")
    flagged = sum(header.is_flagged for header in headers)
    if flagged:
        notes.append(f"{flagged} files have burned-in annotation by their header: look at them before you share them")
    without = sum(not header.ids["PatientID"] for header in headers)
    if without:
        notes.append(f"{without} files have no patient's id: their study, series or file counts as the patient")
    if rejected:
        first = listed(f"{name} ({why})" for name, why in rejected)
        notes.append(f"{len(rejected)} files left out and listed in rejected.csv: {first}")
    return notes


SOURCE = Source(
    name="dicom",
    task="binary, multiclass or multilabel, by the table of labels",
    modality="CR, DX, CT, MR, US, MG and others",
    licence="of your images",
    citation="",
    layout=(
        "a folder of DICOM files (any names), a zip of one, or a DICOMDIR; --labels CSV: a column of "
        "SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, AccessionNumber or path, and label"
    ),
    how_to_get="your own files; or a public set such as the RSNA pneumonia challenge (Kaggle)",
    scan=scan,
    options=(
        DecodingOptions,
        LabelFileOptions,
        ColumnOptions,
        WindowOptions,
        SliceOptions,
        NeighbourOptions,
        DicomOptions,
    ),
)
