"""A CSV of image paths and labels; the names of its columns are options."""

import os
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.option_groups.sources import ColumnOptions, DecodingOptions, ImageColumnOptions
from medimg.sources.base import PARTS, Scan, Source, task_of, to_records
from medimg.sources.folder import reader
from medimg.sources.given_table import need_columns, read_table
from medimg.sources.image_files import ImageFiles, image_folders
from medimg.style.words import listed

_DEFAULTS = PrepareConfig()
_BOXES = ("x", "y", "width", "height")
# What a manifest of ours adds: made anew by prepare.
_MADE_BY_PREPARE = ("pixels", "bytes", "source_file", "source_width", "source_height")
_ROLES = ("image", "patient", "site", "split")


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Read a table of images.

    Args:
        path: the table; image and mask paths in it are relative to its folder, and lie in it, or in `image_dir`.
        config: `image_column`, `label_column`, `label_separator`, `patient_column`, `site_column`, `split_column`,
            `image_dir` and `extension` are used.

    Raises:
        InputError: the table or a column is missing, an image path is empty, a split is unknown, or one class only.
    """
    path = _need_file(path)
    base = Path(os.path.realpath(path.parent))
    files = ImageFiles(base, image_folders(path.parent, config.image_dir), config.extension)
    return scan_rows(path, read_table(path), files, config)


def scan_rows(path: Path, table, files: ImageFiles, config: PrepareConfig) -> Scan:
    """What a table of images says.

    Args:
        path: the table, for messages.
        table: as of `read_table`.
        files: where its images lie.
        config: as for `scan`.

    Raises:
        InputError: as for `scan`.
    """
    from medimg.sources.image_labels import labels_of

    need_columns(path, table, {config.image_column: "--image-column"})
    roles = {getattr(config, f"{role}_column") for role in _ROLES}
    labels = labels_of(path, table, config, {*roles, *_BOXES, "mask", *_MADE_BY_PREPARE})
    columns = {"image": table[config.image_column], "label": labels.text}
    notes = [*table.attrs.get("notes", ()), *labels.notes]
    for role in _ROLES[1:]:
        columns[role], note = _optional(path, table, role, config)
        notes += note
    columns["split"] = parts_of(path, columns["split"], config)
    roles |= {*labels.columns, *columns, *_MADE_BY_PREPARE}
    extra = [name for name in table if name not in roles]
    records = to_records(table[extra].assign(**columns).to_dict("records"))
    records, rejected, missing = _existing(path, records, files)
    records, merged = _one_row_an_image(path, records)
    classes, task, negative = _classes(path, records["label"])
    records["patient"] = records["patient"].where(records["patient"] != "", records["image"])
    return Scan(
        name=path.stem,
        task=task,
        classes=classes,
        records=_without_broken_boxes(records),
        read=reader(files.base, config),
        read_mask=_mask_reader(files.base, config) if "mask" in records else None,
        negative=negative,
        rejected=rejected,
        notes=notes + missing + merged,
        root=files.base,
        tables=(path,),
    )


def _need_file(path: Path | None) -> Path:
    if path is None:
        raise InputError("PATH is missing: source 'csv' needs the table of image paths and labels")
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{path}: {what}; source 'csv' needs the table of image paths and labels")
    return Path(path)


def _optional(path: Path, table, role: str, config: PrepareConfig):
    name = getattr(config, f"{role}_column")
    if name in table and role != "split":
        from medimg.data import schema

        return schema.as_text(table[name], schema.MISSING_NAME), []
    if name in table:
        return table[name], []
    if name != getattr(_DEFAULTS, f"{role}_column"):
        need_columns(path, table, {name: f"--{role}-column"})
    note = "no patients known: every image counts as its own patient (--patient-column names their column)"
    return "", [note] if role == "patient" else []


def parts_of(path: Path, column, config: PrepareConfig):
    """A column's parts, without those of no known name: a column that is just called so may say something else.

    Raises:
        InputError: it has such names, and a person asked for its parts.
    """
    if isinstance(column, str):
        return column
    parts = column.str.lower().map(lambda text: PARTS.get(text, text))
    unknown = ~parts.isin(["", "train", "val", "test"])
    if not unknown.any():
        return parts
    if config.split == "official" or config.split_column != _DEFAULTS.split_column:
        row = int(unknown.to_numpy().argmax())
        raise InputError(
            f"{path} row {row + 2}: split '{column[row]}' is not one of train, val, test; mend it, or --split-column"
        )
    return parts.where(~unknown, "")


def _existing(path: Path, records, files: ImageFiles):
    """Keys of the files in the place of names; rows without one, or whose files lie elsewhere, go, each by its row."""
    rejected, keys = [], []
    masks = records["mask"] if "mask" in records else [""] * len(records)
    for number, (image, mask) in enumerate(zip(records["image"], masks, strict=True), start=2):
        where = f"{path} row {number}"
        key, why = files.find(image, where) if image else ("", "image is empty")
        mask_key, why = files.find(mask, where) if mask and not why else (mask, why)
        if why:
            rejected.append((image, f"row {number} of {path.name}: {why}"))
        keys.append(("" if why else key, mask_key))
    records["image"] = [key for key, _ in keys]
    if "mask" in records:
        records["mask"] = [mask for _, mask in keys]
    keep = records["image"] != ""
    if not keep.any():
        raise InputError(
            f"{path}: none of its {len(records)} images exists there (first: {rejected[0][1]}); paths are relative to "
            "the table's folder, and lie in it, or in that of --image-dir"
        )
    notes = []
    if rejected:
        notes.append(
            f"{len(rejected)} rows have no file there, listed in rejected.csv: "
            f"{listed(reason for _, reason in rejected)}"
        )
    if files.respelt:
        first = listed(f"{name} is {key}" for key, name in files.respelt.items())
        notes.append(f"{len(files.respelt)} files are spelt otherwise in the table: {first}")
    return records[keep], rejected, notes


def _one_row_an_image(path: Path, records):
    """Rows of one image become one, which has all their boxes; the index of `records` counts the table's rows."""
    count = len(records)
    if records["image"].is_unique:
        return records.reset_index(drop=True), []
    records = records.drop_duplicates()
    boxed = set(_BOXES) <= set(records)
    images = records.groupby("image", sort=False)
    for role in ("patient", "site", "split", "mask", *(() if boxed else ("label",))):
        if role in records and (differ := images[role].transform("nunique") > 1).any():
            rows = records[records["image"] == records.loc[differ.idxmax(), "image"]]
            first = rows[role].iloc[0]
            row = (rows[role] != first).idxmax()
            raise InputError(
                f"{path} row {row + 2}: image '{rows['image'].iloc[0]}' is listed twice, with {role} '{first}' and "
                f"'{rows[role][row]}'; mend it, or keep one row"
            )
    whole = records.drop_duplicates("image").set_index("image")
    whole["label"] = images["label"].agg(_together)
    if boxed:
        boxes = records.assign(finding=records.get("finding", records["label"]))[records["x"] != ""].groupby("image")
        for name in (*_BOXES, "finding"):
            whole[name] = boxes[name].agg(SEPARATOR.join).reindex(whole.index, fill_value="")
    note = f"{count - len(whole)} rows of images that have a row already: one image with all boxes"
    return whole.reset_index(), [note + "; other columns are those of its first row"]


def _together(labels) -> str:
    return SEPARATOR.join(dict.fromkeys(name for label in labels for name in label.split(SEPARATOR) if name))


def _classes(path: Path, labels) -> tuple[tuple[str, ...], str, str]:
    from medimg.sources.image_labels import NEGATIVES

    multilabel = labels.str.contains(SEPARATOR, regex=False).any()
    names = sorted({name for label in labels for name in label.split(SEPARATOR)} - {""})
    negative = ""
    if multilabel:
        negative = next((name for name in names if name.lower() in NEGATIVES), "")
        names = [name for name in names if name != negative]
    classes = tuple(names)
    if len(classes) < 2:
        problem = f"only one class, '{classes[0]}'" if classes else "no labels"
        raise InputError(f"{path}: {problem}; a classifier needs two (--label-column names the column of labels)")
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
    task="binary, multiclass, or multilabel when labels are joined by '|', ';' or ','",
    modality="any",
    licence="of your images",
    citation="",
    layout="a table (CSV, TSV, Parquet) of images and labels, or a column a class; patient, site, boxes, mask optional",
    how_to_get="your own table; --image-column, --label-column, --patient-column and the like name its columns",
    scan=scan,
    options=(
        DecodingOptions,
        ImageColumnOptions,
        ColumnOptions,
    ),
)
