"""A CSV of image paths and labels; the names of its columns are options."""

from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups import ColumnOptions, DecodingOptions, ImageColumnOptions
from medimg.sources.base import PARTS, SEPARATOR, Scan, Source, need_columns, read_table, task_of, to_records
from medimg.sources.folder import reader
from medimg.style.words import listed
from medimg.untrusted.inside import Folder

_DEFAULTS = PrepareConfig()
_BOXES = ("x", "y", "width", "height")
# What a manifest of ours adds: made anew by prepare.
_MADE_BY_PREPARE = ("pixels", "bytes", "source_file", "source_width", "source_height")
_NEGATIVES = ("no finding", "no findings")
_NAN = ("nan", "na", "n/a", "none", "null", "?")


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Read a table of images.

    Args:
        path: the CSV; image and mask paths in it are relative to its folder, and lie in it.
        config: `image_column`, `label_column`, `patient_column`, `site_column` and `split_column` are used.

    Raises:
        InputError: the table or a column is missing, an image path is empty, a split is unknown, or one class only.
    """
    path = _need_file(path)
    table = read_table(path)
    need_columns(path, table, {config.image_column: "--image-column", config.label_column: "--label-column"})
    label = _labels(table[config.label_column])
    columns = {"image": table[config.image_column], "label": label}
    notes = [_note_unlabelled(label)] if (label == "").any() else []
    for role in ("patient", "site", "split"):
        columns[role], note = _optional(path, table, role, config)
        notes += note
    columns["split"] = _parts(path, columns["split"], config)
    taken = {getattr(config, f"{role}_column") for role in ("image", "label", "patient", "site", "split")}
    extra = [name for name in table if name not in taken and name not in (*columns, *_MADE_BY_PREPARE)]
    records = to_records(table[extra].assign(**columns).to_dict("records"))
    records, rejected, missing = _existing(path, records)
    classes, task, negative = _classes(path, records["label"])
    records["patient"] = records["patient"].where(records["patient"] != "", records["image"])
    return Scan(
        name=path.stem,
        task=task,
        classes=classes,
        records=_without_broken_boxes(records),
        read=reader(path.parent, config),
        read_mask=_mask_reader(path.parent, config) if "mask" in records else None,
        negative=negative,
        rejected=rejected,
        notes=notes + missing,
        root=path.parent,
        tables=(path,),
    )


def _need_file(path: Path | None) -> Path:
    if path is None:
        raise InputError("PATH is missing: source 'csv' needs the table of image paths and labels")
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{path}: {what}; source 'csv' needs the table of image paths and labels")
    return Path(path)


def _labels(column):
    """Labels with the ways of writing "not known" as '' and stray spaces around `|` gone."""
    cleaned = column.where(~column.str.lower().isin(_NAN), "")
    return cleaned.map(lambda text: SEPARATOR.join(part.strip() for part in text.split(SEPARATOR) if part.strip()))


def _note_unlabelled(label) -> str:
    return f"{int((label == '').sum())} rows have no label: kept as unlabelled images"


def _optional(path: Path, table, role: str, config: PrepareConfig):
    name = getattr(config, f"{role}_column")
    if name in table:
        return table[name], []
    if name != getattr(_DEFAULTS, f"{role}_column"):
        need_columns(path, table, {name: f"--{role}-column"})
    note = "no patients known: every image counts as its own patient (--patient-column names their column)"
    return "", [note] if role == "patient" else []


def _parts(path: Path, column, config: PrepareConfig):
    if isinstance(column, str):
        return column
    parts = column.str.lower().map(lambda text: PARTS.get(text, text))
    unknown = ~parts.isin(["", "train", "val", "test"])
    if not unknown.any():
        return parts
    if config.split == "official":
        row = int(unknown.to_numpy().argmax())
        raise InputError(f"{path} row {row + 2}: split '{column[row]}' is not one of train, val, test; mend it")
    return parts.where(~unknown, "")


def _existing(path: Path, records):
    """Leave out rows without their file, or whose files lie elsewhere, and name each by its row."""
    rejected, keep, seen = [], [], set()
    folder = Folder(path.parent)
    masks = records["mask"] if "mask" in records else [""] * len(records)
    for number, (image, mask) in enumerate(zip(records["image"], masks, strict=True), start=2):
        reason = ""
        if not image:
            reason = f"row {number} of {path.name}: image is empty"
        elif outside := folder.outside(image) or (mask and folder.outside(mask)):
            reason = f"row {number} of {path.name}: {outside}"
        elif not (path.parent / image).is_file():
            reason = f"row {number} of {path.name}: the file does not exist"
        elif image in seen:
            raise InputError(f"{path} row {number}: image '{image}' is listed twice; keep one row per image")
        seen.add(image)
        keep.append(not reason)
        if reason:
            rejected.append((image, reason))
    if rejected and not any(keep):
        raise InputError(
            f"{path}: none of its {len(records)} images exists there (first: {rejected[0][1]}); paths are relative to "
            "the table's folder, and lie in it"
        )
    notes = []
    if rejected:
        notes.append(
            f"{len(rejected)} rows have no file there, listed in rejected.csv: "
            f"{listed(reason for _, reason in rejected)}"
        )
    return records[keep].reset_index(drop=True), rejected, notes


def _classes(path: Path, labels) -> tuple[tuple[str, ...], str, str]:
    multilabel = labels.str.contains(SEPARATOR, regex=False).any()
    names = sorted({name for label in labels for name in label.split(SEPARATOR)} - {""})
    negative = ""
    if multilabel:
        negative = next((name for name in names if name.lower() in _NEGATIVES), "")
        names = [name for name in names if name != negative]
    classes = tuple(names)
    if len(classes) < 2:
        found = f"only one class, '{classes[0]}'" if classes else "no labels"
        raise InputError(f"{path}: {found}; a classifier needs two (--label-column names the column of labels)")
    return classes, "multilabel" if multilabel else task_of(classes), negative


def _without_broken_boxes(records):
    """Columns of those names that are no boxes (a table may call the image's own size `width`) stay as metadata."""
    present = [name for name in _BOXES if name in records]
    if present and len(present) < len(_BOXES):
        return records.rename(columns={name: f"image_{name}" for name in present})
    return records


def _mask_reader(root: Path, config: PrepareConfig):
    def read_mask(key: str):
        from medimg.data.imaging import read_image, without_idle_colour

        mask = without_idle_colour(read_image(root / key, config.max_megapixels))
        if mask.ndim != 2 or mask.dtype.name != "uint8":
            raise InputError(f"{root / key}: a mask must be an 8-bit grey image, 0 = background")
        return mask

    return read_mask


SOURCE = Source(
    name="csv",
    task="binary, multiclass, or multilabel when labels are joined by '|'",
    modality="any",
    licence="of your images",
    citation="",
    layout="a CSV of image paths (inside its folder) and labels; patient, site, split, boxes, mask optional",
    how_to_get="your own table; --image-column, --label-column, --patient-column and the like name its columns",
    scan=scan,
    options=(
        DecodingOptions,
        ImageColumnOptions,
        ColumnOptions,
    ),
)
