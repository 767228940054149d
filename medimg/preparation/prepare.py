"""A source's files -> a Dataset's folder: scan, decode, settle duplicates and patients, split, write."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medimg import atomic, lock
from medimg.config import PhantomConfig, PrepareConfig
from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.positive import positive_last
from medimg.data.splits import parse_split
from medimg.errors import InputError
from medimg.preparation.decoding import Decoded, decode_all, mask_name
from medimg.preparation.image_splits import assign_parts
from medimg.preparation.table import write_table
from medimg.privacy.dataset_ledger import FILE as PRIVACY_LEDGER
from medimg.sources import source_named
from medimg.sources.base import Scan, TableScan
from medimg.style.words import listed
from medimg.untrusted.image_size import MEGAPIXELS

# Where a preparation keeps its journal until the Dataset is whole.
SCRATCH = ".preparing"
_FIRST = ["image", "label", "patient", "site", "split", "x", "y", "width", "height", "finding", "mask"]
_BOX = ["x", "y", "width", "height"]
_LAST = ["source_width", "source_height", "source_file", "pixels", "bytes"]


def prepare(
    source: str,
    path: Path | None,
    out: Path,
    config: PrepareConfig,
    phantom: PhantomConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    scan: Callable[[Path, PrepareConfig], Scan] | None = None,
) -> Dataset:
    """Make a Dataset of a source's files.

    Every image is decoded once, in threads, and written as PNG of its own depth (colour only where there is any). A
    killed preparation goes on where it stopped when it is called again; a finished one of the same options is loaded.
    Rows of a table are written by `medimg.preparation.table`.

    Args:
        source: name in `medimg.sources.SOURCES`.
        path: the source's folder or file; None for `phantom`.
        out: folder of the Dataset; `rejected.csv` there lists what was left out and why, and `duplicates.csv` the
            identical images that needed a decision.
        config: options; `preparation["notes"]` of the result holds what the user should read.
        phantom: what to draw, for `phantom`.
        progress: called with images (or rows) done and in all.
        overwrite: replace the Dataset, or the unfinished preparation, at `out`.
        scan: what finds the files in the place of the source's own scan.

    Raises:
        InputError: the source can't be read, `out` holds something else or can't be written, a class has no image
            left, or identical images need a decision (`on_duplicates="error"`).
    """
    fractions = parse_split(config.split)
    if fractions is None and config.split_draw != "balanced":
        raise InputError("--split-draw lot: official parts are not drawn; leave it out")
    if config.max_megapixels > MEGAPIXELS and config.image_size is None:
        raise InputError(
            f"--max-megapixels {config.max_megapixels}: more than {MEGAPIXELS} are for images that are made smaller; "
            "give --image-size N"
        )
    chosen = source_named(source)
    chosen.refuse_unread([*config.given(), *(phantom.given() if phantom else ())])
    identity = _identity(source, path, config, phantom)
    extra = {"phantom": phantom} if source == "phantom" else {}
    # Before anything at `out` is touched: a mistyped path must not cost the Dataset that is to be replaced.
    scan = (scan or chosen.scan)(path, config, **extra)
    classes, undecided = positive_last(scan.task, scan.classes, config.positive)
    scan = replace(scan, notes=scan.notes + undecided)
    out = Path(out)
    with lock.locked(out):
        finished = _claim(out, identity, overwrite)
        return finished or _write(scan, classes, out, config, fractions, identity, progress)


def _write(
    scan: Scan | TableScan,
    classes: tuple[str, ...],
    out: Path,
    config: PrepareConfig,
    fractions: tuple[float, ...] | None,
    identity: dict,
    progress: Callable[[int, int], None] | None,
) -> Dataset:
    """Decode, settle, split and write what a source has; the classes in the order of a model's outputs."""
    scratch = _start(out, identity)
    if isinstance(scan, TableScan):
        dataset = write_table(scan, out, config, fractions, identity, classes, progress)
        _remove(scratch)
        return dataset
    decoded, broken = decode_all(scan, out, scratch, config.image_size, config.workers or os.cpu_count() or 1, progress)
    table = _table(scan, decoded, config.image_size is not None)
    del decoded
    # The table has all of it now: two of them would be in memory until the end. In place: the caller has the scan too.
    scan.records.drop(scan.records.index, inplace=True)
    rejected = scan.rejected + broken
    _write_rejected(out, rejected)
    _check_classes(scan, table, len(broken), "could be read", out)
    notes = list(scan.notes)
    if broken:
        first = listed(f"{file} ({reason})" for file, reason in broken)
        notes.append(f"{len(broken)} broken files left out and listed in rejected.csv: {first}")
    parted = assign_parts(table, config, fractions, out)
    rejected += parted.rejected
    _write_rejected(out, rejected)
    _check_classes(scan, parted.table, len(parted.rejected), "is left", out)
    notes += parted.notes
    dataset = Dataset(
        root=out,
        name=scan.name,
        task=scan.task,
        classes=classes,
        manifest=parted.table,
        modality=scan.modality,
        licence=scan.licence,
        citation=scan.citation,
        source=identity["source"],
        negative=scan.negative,
        preparation={**identity, "rejected": len(rejected), "notes": notes},
    )
    dataset.save(scan.classes)
    _tidy(dataset)
    return dataset


def _identity(source: str, path: Path | None, config: PrepareConfig, phantom: PhantomConfig | None) -> dict:
    """What decides the result; how many threads made it does not."""
    options = {key: value for key, value in config.to_dict().items() if key != "workers"}
    if config.max_megapixels == MEGAPIXELS:
        # Dataset folders of before there was a limit are the same with it.
        del options["max_megapixels"]
    for name in ("image_dir", "extension", "label_separator"):
        # Likewise.
        if not options[name]:
            del options[name]
    identity = {"source": source, "path": str(Path(path).resolve()) if path else "", "options": options}
    if source == "phantom":
        identity["phantom"] = (phantom or PhantomConfig()).to_dict()
    return identity


def _pixels_of(identity: dict) -> dict:
    """The part of an identity that decides the written images, whose change makes them useless."""
    return {
        "source": identity["source"],
        "path": identity["path"],
        "image_size": identity["options"]["image_size"],
        "phantom": identity.get("phantom"),
    }


def _claim(out: Path, identity: dict, overwrite: bool) -> Dataset | None:
    """See that `out` is free, or ours: the finished Dataset when it is this very one."""
    whole, scratch = (out / "dataset.yaml").is_file(), out / SCRATCH / "options.yaml"
    if not scratch.is_file() and all(item.name == SCRATCH for item in lock.content(out)):
        # Empty, or killed as it began.
        return None
    if not whole and not scratch.is_file():
        raise InputError(f"--out {out}: already holds files that are no Dataset; give another folder")
    if overwrite:
        # What was spent on these patients stays spent.
        lock.empty(out, last=["dataset.yaml", SCRATCH], keep=[PRIVACY_LEDGER])
        return None
    if whole:
        existing = Dataset.load(out)
        if identity.items() <= existing.preparation.items():
            return existing
        raise InputError(f"--out {out}: holds another Dataset ({existing.name}); give another folder or --overwrite")
    if yaml.safe_load(scratch.read_text(encoding="utf-8")) != _pixels_of(identity):
        raise InputError(
            f"--out {out}: holds an unfinished preparation of another source or image size; give another folder or "
            "--overwrite"
        )
    return None


def _remove(out: Path) -> None:
    try:
        shutil.rmtree(out)
    except OSError as error:
        raise atomic.cannot_write(out, error) from error


def _start(out: Path, identity: dict) -> Path:
    scratch = out / SCRATCH
    if not (scratch / "options.yaml").is_file():
        atomic.write_text(scratch / "options.yaml", yaml.safe_dump(_pixels_of(identity)))
    return scratch


def _table(scan: Scan, decoded: dict[str, Decoded], resized: bool) -> pd.DataFrame:
    """Records of the decoded images in the manifest's columns."""
    known = scan.records["image"].isin(decoded)
    # By column, so that rows are copied once: copies of tables would be the peak of a preparation's memory.
    columns = {name: scan.records.loc[known, name].to_numpy() for name in scan.records}
    items = [decoded[key] for key in columns["image"]]
    # A file system takes names that are no Unicode, which a manifest can't hold.
    columns["source_file"] = [name.encode("utf-8", "replace").decode() for name in columns["image"]]
    for name in ("image", "pixels", "bytes"):
        columns[name] = [getattr(item, name) for item in items]
    if resized:
        columns["source_width"] = [item.width for item in items]
        columns["source_height"] = [item.height for item in items]
    if "mask" in columns:
        pairs = zip(columns["image"], columns["mask"], strict=True)
        columns["mask"] = [mask_name(image) if mask else "" for image, mask in pairs]
    if "x" in columns:
        for row in np.flatnonzero(columns["x"] != ""):
            sides = [columns[name][row] for name in _BOX]
            for name, side in zip(_BOX, _scaled(scan, sides, items[row]), strict=True):
                columns[name][row] = side
    first = [name for name in _FIRST if name in columns]
    middle = [name for name in columns if name not in (*_FIRST, *_LAST)]
    last = [name for name in _LAST if name in columns]
    return pd.DataFrame({name: columns[name] for name in first + middle + last})


def _scaled(scan: Scan, sides: list[str], item: Decoded) -> list[str]:
    """An image's boxes (x, y, width, height, several joined) in pixels of the prepared image."""
    wide, high = scan.box_frame or (item.width, item.height)
    scale = (item.out_width / wide, item.out_height / high)
    try:
        return [
            SEPARATOR.join(f"{float(value) * scale[i % 2]:.10g}" for value in side.split(SEPARATOR))
            for i, side in enumerate(sides)
        ]
    except ValueError as error:
        raise InputError(f"{item.key}: its box is not made of numbers ({error}); mend x, y, width, height") from error


def _check_classes(scan: Scan, table: pd.DataFrame, lost: int, what: str, out: Path) -> None:
    if table.empty:
        raise InputError(f"no image {what}: all were left out; {out / 'rejected.csv'} says why")
    if scan.task == "multilabel" or scan.any_classes:
        return
    present = set(table["label"])
    for name in scan.classes:
        if name not in present:
            why = f"{lost} left out, listed in {out / 'rejected.csv'}" if lost else "the source has none"
            raise InputError(f"class '{name}': no image {what} ({why}); add images or remove the class")


def _write_rejected(out: Path, rejected: list[tuple[str, str]]) -> None:
    atomic.write_csv(out / "rejected.csv", pd.DataFrame(rejected, columns=["file", "reason"]))


def _tidy(dataset: Dataset) -> None:
    """Remove the journal, and images that were decoded but left out since."""
    kept = set(dataset.manifest["image"])
    kept |= set(dataset.manifest.get("mask", ()))
    try:
        for folder in ("images", "masks"):
            # Not rglob: it remembers every path that it gives.
            for place, _, names in os.walk(dataset.root / folder):
                below = Path(place).relative_to(dataset.root).as_posix()
                for name in names:
                    if f"{below}/{name}" not in kept:
                        Path(place, name).unlink()
        shutil.rmtree(dataset.root / SCRATCH)
    except OSError as error:
        raise atomic.cannot_write(dataset.root, error) from error
