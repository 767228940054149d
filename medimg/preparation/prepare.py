"""A source's files -> a Dataset's folder: scan, decode, settle duplicates and patients, split, write."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic, lock
from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.intensity import TWELVE_BITS
from medimg.data.positive import positive_last
from medimg.data.splits import parse_split
from medimg.errors import InputError
from medimg.phantom.config import PhantomConfig
from medimg.preparation import source_files
from medimg.preparation.claim import SCRATCH, claim, identity, remove, start
from medimg.preparation.decoding import Decoded, decode_all, mask_name, scale_all, stamps_of
from medimg.preparation.image_splits import assign_parts, parts_wanted
from medimg.preparation.source_files import stamp
from medimg.preparation.table import write_table
from medimg.sources import source_named
from medimg.sources.base import Scan, TableScan
from medimg.style.words import listed
from medimg.untrusted.image_size import MEGAPIXELS

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
    killed preparation goes on where it stopped when it is called again; a finished one of the same options and of files
    that hold the same is loaded.
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
        InputError: the source can't be read or has changed since, `out` holds something else or can't be written, a
            class has no image left, or identical images need a decision (`on_duplicates="error"`).
    """
    if config.split:
        parse_split(config.split)
    if config.max_megapixels > MEGAPIXELS and config.image_size is None:
        raise InputError(
            f"--max-megapixels {config.max_megapixels}: more than {MEGAPIXELS} are for images that are made smaller; "
            "give --image-size N"
        )
    chosen = source_named(source)
    chosen.refuse_unread([*config.names_given(), *(phantom.names_given() if phantom else ())])
    made_of = identity(source, path, config, phantom)
    extra = {"phantom": phantom} if source == "phantom" else {}
    # Before anything at `out` is touched: a mistyped path must not cost the Dataset that is to be replaced.
    scan = (scan or chosen.scan)(path, config, **extra)
    classes, undecided = positive_last(scan.task, scan.classes, config.positive)
    scan = replace(scan, notes=scan.notes + undecided)
    if isinstance(scan, Scan):
        parts_wanted(scan.records["split"], config)
    out = Path(out)
    with lock.locked(out):
        return claim(out, made_of, scan, overwrite) or _write(scan, classes, out, config, made_of, progress)


def _write(
    scan: Scan | TableScan,
    classes: tuple[str, ...],
    out: Path,
    config: PrepareConfig,
    made_of: dict,
    progress: Callable[[int, int], None] | None,
) -> Dataset:
    """Write what a source has; the classes in the order of a model's outputs."""
    scratch = start(out, made_of)
    stamps = {path.name: stamp([path]) for path in scan.tables}
    if isinstance(scan, Scan):
        return _write_images(scan, classes, out, scratch, stamps, config, made_of, progress)
    source_files.write(out, scan, stamps)
    dataset = write_table(scan, out, config, made_of, classes, progress)
    remove(scratch)
    return dataset


def _write_images(
    scan: Scan,
    classes: tuple[str, ...],
    out: Path,
    scratch: Path,
    stamps: dict[str, source_files.Stamp],
    config: PrepareConfig,
    made_of: dict,
    progress: Callable[[int, int], None] | None,
) -> Dataset:
    """Decode, settle, split and write images."""
    wanted = parts_wanted(scan.records["split"], config)
    white = 0 if config.intensity == "max" else None
    workers = config.workers or os.cpu_count() or 1
    decoded, broken = decode_all(scan, out, scratch, config.image_size, white, workers, progress)
    if config.intensity == "auto" and not scan.fills_depth and scale_all(decoded, out, scratch, workers):
        white = TWELVE_BITS
    source_files.write(out, scan, stamps | stamps_of(decoded, scan))
    notes = scan.notes + _decoding_notes(decoded, white, out)
    table = _table(scan, decoded, config.image_size is not None)
    del decoded, stamps
    # The table has all of it now: two of them would be in memory until the end. In place: the caller has the scan too.
    scan.records.drop(scan.records.index, inplace=True)
    rejected = scan.rejected + broken
    _write_rejected(out, rejected)
    _check_classes(scan, table, broken, "could be read", out)
    if broken:
        first = listed(f"{file} ({reason})" for file, reason in broken)
        notes.append(f"{len(broken)} broken files left out and listed in rejected.csv: {first}")
    parted = assign_parts(table, config, wanted.fractions, out)
    rejected += parted.rejected
    _write_rejected(out, rejected)
    _check_classes(scan, parted.table, parted.rejected, "is left", out)
    notes += wanted.notes + parted.notes
    dataset = Dataset(
        root=out,
        name=scan.name,
        task=scan.task,
        classes=classes,
        manifest=parted.table,
        modality=scan.modality,
        licence=scan.licence,
        citation=scan.citation,
        source=made_of["source"],
        negative=scan.negative,
        preparation={**made_of, "split": wanted.how, "white": white, "rejected": len(rejected), "notes": notes},
    )
    dataset.save(scan.classes)
    _tidy(dataset)
    return dataset


def _decoding_notes(decoded: dict[str, Decoded], white: int | None, out: Path) -> list[str]:
    """What was noticed while decoding; `warnings.csv` lists the files that decoders complained of."""
    notes = []
    if white == TWELVE_BITS:
        notes.append(
            f"16-bit images hold no value above {TWELVE_BITS}: taken for 12 bits and stretched to the full scale "
            "(--intensity full leaves them dark)"
        )
    if white == 0:
        notes.append("each image's own maximum is white (--intensity max): brightness does not compare between images")
    warned = [(key, item.warning) for key, item in decoded.items() if item.warning]
    path = out / "warnings.csv"
    path.unlink(missing_ok=True)
    if warned:
        atomic.write_csv(path, pd.DataFrame(warned, columns=["file", "warning"]))
        first = listed(f"{key} ({warning})" for key, warning in warned)
        notes.append(
            f"{len(warned)} images are damaged, or show text, by what was seen decoding them; kept, and listed in "
            f"warnings.csv: {first}"
        )
    return notes


def _table(scan: Scan, decoded: dict[str, Decoded], resized: bool) -> pd.DataFrame:
    """Records of the decoded images in the manifest's columns."""
    readable = scan.records["image"].isin(decoded)
    # By column, so that rows are copied once: copies of tables would be the peak of a preparation's memory.
    columns = {name: scan.records.loc[readable, name].to_numpy() for name in scan.records}
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


def _check_classes(scan: Scan, table: pd.DataFrame, lost: list[tuple[str, str]], what: str, out: Path) -> None:
    if table.empty:
        raise InputError(f"no image {what}: {listed(f'{file} ({reason})' for file, reason in lost)}")
    if scan.task == "multilabel" or scan.any_classes:
        return
    present = set(table["label"])
    for name in scan.classes:
        if name not in present:
            why = f"{len(lost)} left out, listed in {out / 'rejected.csv'}" if lost else "the source has none"
            raise InputError(f"class '{name}': no image {what} ({why}); add images or remove the class")


def _write_rejected(out: Path, rejected: list[tuple[str, str]]) -> None:
    atomic.write_csv(out / "rejected.csv", pd.DataFrame(rejected, columns=["file", "reason"]))


def _tidy(dataset: Dataset) -> None:
    """Remove the journal, and images that were decoded but left out since."""
    images = set(dataset.manifest["image"])
    images |= set(dataset.manifest.get("mask", ()))
    try:
        for folder in ("images", "masks"):
            # Not rglob: it remembers every path that it gives.
            for place, _, names in os.walk(dataset.root / folder):
                below = Path(place).relative_to(dataset.root).as_posix()
                for name in names:
                    if f"{below}/{name}" not in images:
                        Path(place, name).unlink()
        shutil.rmtree(dataset.root / SCRATCH)
    except OSError as error:
        raise atomic.cannot_write(dataset.root, error) from error
