"""Decode every image of a Scan once, in threads, into the PNGs of a Dataset; go on where a killed run stopped."""

import json
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.imaging import byte_hash, pixel_hash, read_image, without_idle_colour, write_png
from medimg.data.intensity import TWELVE_BITS, to_full_scale
from medimg.data.resizing import resize, resize_mask
from medimg.errors import InputError
from medimg.listener import Progress
from medimg.preparation.source_files import Stamp, stamp
from medimg.sources.base import Scan

_JOURNAL = "decoded.jsonl"
LONGEST_NAME = 255  # bytes, of a file on any common file system


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image that is on disk.

    Attributes:
        key: as in the Scan.
        image: path below the Dataset's folder.
        pixels, bytes: hashes of the written pixels and of the PNG file.
        width, height: of the source's image.
        out_width, out_height: of the written one.
        highest: largest value of the source's image of 16 bits; 0 of 8 bits.
        warning: what the decoder complained of.
        stamps: of the source's image, and of its mask.
    """

    key: str
    image: str
    pixels: str
    bytes: str
    width: int
    height: int
    out_width: int
    out_height: int
    highest: int
    warning: str
    stamps: tuple[Stamp, ...]


def decode_all(
    scan: Scan,
    out: Path,
    scratch: Path,
    image_size: int | None,
    white: int | None,
    workers: int,
    progress: Progress | None,
) -> tuple[dict[str, Decoded], list[tuple[str, str]]]:
    """Write `images/` and `masks/` of a Dataset.

    At most a few images per thread are in memory, however many there are. Each that is written is noted in a journal
    in `scratch`; those noted there are not decoded again unless their file's content has changed.

    Args:
        scan: what to read.
        out: the Dataset's folder.
        scratch: folder of the journal.
        image_size: resize to a square of so many pixels; None keeps each image's size.
        white: of `as_prepared`.
        workers: threads.
        progress: called with images done and images in all.

    Returns:
        Images by key, and (key, reason) of those that can't be read.

    Raises:
        InputError: the folder can't be written or the disk is full.
    """
    keys = list(scan.records["image"])
    names = dict(zip(keys, unique_names(keys), strict=True))
    masks = dict(zip(keys, scan.records["mask"], strict=True)) if "mask" in scan.records else {}
    journal = scratch / _JOURNAL
    done = {item.key: item for item in _noted(journal, out, scan, names, masks)}
    rejected = []
    work = partial(_decode_one, scan, out, image_size, white)
    jobs = ((key, names[key], masks.get(key, "")) for key in keys if key not in done)
    count = len(done)
    try:
        with journal.open("a", encoding="utf-8", buffering=1) as notes:
            # A line cut off by a kill must not swallow the next one.
            notes.write("\n")
            for result in in_threads(work, jobs, workers):
                if isinstance(result, Decoded):
                    done[result.key] = result
                    notes.write(json.dumps(astuple(result)) + "\n")
                else:
                    rejected.append(result)
                count += 1
                if progress:
                    progress(count, len(keys))
    except OSError as error:
        raise atomic.cannot_write(journal, error) from error
    return done, rejected


def unique_names(keys: list[str]) -> list[str]:
    """Paths below a Dataset's folder, different even where case does not count: `a b.jpg` -> `images/a_b.png`."""
    used, names = set(), []
    for key in keys:
        # Drive letters, `..` and leading slashes are not for a path of ours.
        pieces = re.split(r"[\\/]+", unicodedata.normalize("NFC", key))
        parts = [re.sub(r"[^\w.()-]+", "_", part).strip(".") for part in pieces]
        stem = "/".join(part for part in parts if part) or "image"
        stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", stem)
        name, number = _fitting(stem, ""), 1
        while name.lower() in used:
            number += 1
            name = _fitting(stem, f"-{number}")
        used.add(name.lower())
        names.append(f"images/{name}.png")
    return names


def _fitting(stem: str, ending: str) -> str:
    """A path with an ending, its last name cut where `.png` would not fit into a file's name any more."""
    folder, slash, name = stem.rpartition("/")
    room = LONGEST_NAME - len(f"{ending}.png")
    return folder + slash + name.encode()[:room].decode("utf-8", "ignore") + ending


def mask_name(image: str) -> str:
    """`images/a.png` -> `masks/a.png`."""
    return "masks" + image.removeprefix("images")


def stamps_of(decoded: dict[str, Decoded], scan: Scan) -> dict[str, Stamp]:
    """Stamps of the files that were decoded, by the keys of images and masks."""
    if not scan.has_files:
        return {}
    records = scan.records
    masks = dict(zip(records["image"], records["mask"], strict=True)) if "mask" in records else {}
    return {
        file: of_file
        for key, item in decoded.items()
        for file, of_file in zip([key, *([masks[key]] if masks.get(key) else [])], item.stamps, strict=True)
    }


def scale_all(decoded: dict[str, Decoded], out: Path, scratch: Path, workers: int) -> bool:
    """Stretch the images of 16 bits where none of them uses more than 12; their entries in `decoded` are replaced.

    Decided for all at once: of a single dark image nobody knows how many bits the detector had.

    Returns:
        Whether it was done.
    """
    deep = [item for item in decoded.values() if item.highest]
    if not deep or max(item.highest for item in deep) > TWELVE_BITS:
        return False
    # Whoever is killed now can't tell what is done, and decodes again.
    (scratch / _JOURNAL).unlink(missing_ok=True)
    for item in in_threads(partial(_scale_one, out), iter(deep), workers):
        decoded[item.key] = item
    return True


def _scale_one(out: Path, item: Decoded) -> Decoded:
    image = to_full_scale(read_image(out / item.image), TWELVE_BITS)
    data = write_png(out / item.image, image)
    return replace(item, pixels=pixel_hash(image), bytes=byte_hash(data))


def _decode_one(
    scan: Scan, out: Path, size: int | None, white: int | None, job: tuple[str, str, str]
) -> Decoded | tuple[str, str]:
    key, name, mask_key = job
    # Before they are read: a file that changes meanwhile is then found changed.
    stamps = tuple(stamp(scan.files(file)) for file in (key, mask_key) if file and scan.has_files)
    warnings: list[str] = []
    try:
        image = scan.read(key, warnings)
        mask = scan.read_mask(mask_key) if mask_key else None
    except InputError as error:
        called = scan.called(key) if scan.called else key
        return called, str(error).rsplit(f"{called}: ", 1)[-1]
    height, width = image.shape[:2]
    if mask is not None and mask.shape != (height, width):
        return (key, f"its mask has {mask.shape[1]} x {mask.shape[0]} pixels, the image {width} x {height}")
    highest = int(image.max()) if image.dtype == np.uint16 else 0
    image = as_prepared(image, size, white)
    if mask is not None:
        write_png(out / mask_name(name), mask if size is None else resize_mask(mask, size))
    data = write_png(out / name, image)
    sizes = (width, height, image.shape[1], image.shape[0])
    sentence = "; ".join(dict.fromkeys(warnings))
    return Decoded(key, name, pixel_hash(image), byte_hash(data), *sizes, highest, sentence, stamps)


def as_prepared(image: np.ndarray, size: int | None, white: int | None = None) -> np.ndarray:
    """A decoded image as a Dataset holds it: grey where no channel differs, stretched to (size, size) where one is set.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).
        size: `--image-size` of the preparation, None: each image keeps its own.
        white: `preparation["white"]` of the Dataset: the value of 16-bit images that becomes white; 0: of images of any
            depth their own maximum; None: values stay as they are.
    """
    image = without_idle_colour(image)
    if size is not None:
        image = resize(image, size)
    if white is None or (white and image.dtype != np.uint16):
        return image
    return to_full_scale(image, white)


def prepared_size(description: dict, dataset: Dataset | None) -> int | None:
    """The size that a Run's images were prepared at, None: each its own; of Runs that don't say so, its Dataset's."""
    options = dataset.preparation.get("options") if dataset else None
    return description.get("prepared_size", (options or {}).get("image_size"))


def in_threads(work: Callable, jobs: Iterable, workers: int, ahead: int | None = None) -> Iterator:
    """Results in the order of the jobs, with at most `ahead` of them (default: 4 a worker) under way."""
    ahead = ahead or 4 * workers
    pool = ThreadPoolExecutor(workers)
    under_way = deque()
    try:
        for job in jobs:
            under_way.append(pool.submit(work, job))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _noted(journal: Path, out: Path, scan: Scan, names: dict[str, str], masks: dict[str, str]) -> Iterator[Decoded]:
    """What is on disk and was made of what is at the source now, under the name that it has now."""
    if not journal.is_file():
        return
    # The last to write a file is whose it is: names shift where files have come or gone between two runs.
    last: dict[str, Decoded] = {}
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            *values, stamps = json.loads(line)
            item = Decoded(*values, tuple(Stamp(*one) for one in stamps))
        except (ValueError, TypeError):
            # The line that was being written when the process was killed.
            continue
        last[item.image] = item
    for item in last.values():
        if names.get(item.key) != item.image or not (out / item.image).is_file():
            continue
        files = [file for file in (item.key, masks.get(item.key, "")) if file and scan.has_files]
        if len(files) == len(item.stamps) and all(
            stamp(scan.files(file), recorded).hash == recorded.hash
            for file, recorded in zip(files, item.stamps, strict=True)
        ):
            yield item
