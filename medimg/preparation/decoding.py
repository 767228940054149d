"""Decode every image of a Scan once, in threads, into the PNGs of a Dataset; go on where a killed run stopped."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.data.imaging import byte_hash, pixel_hash, resize, resize_mask, without_idle_colour, write_png
from medimg.errors import InputError
from medimg.sources.base import Scan

Progress = Callable[[int, int], None]
_JOURNAL = "decoded.jsonl"


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image that is on disk.

    Attributes:
        key: as in the Scan.
        image: path below the Dataset's folder.
        pixels, bytes: hashes of the written pixels and of the PNG file.
        width, height: of the source's image.
        out_width, out_height: of the written one.
    """

    key: str
    image: str
    pixels: str
    bytes: str
    width: int
    height: int
    out_width: int
    out_height: int


def decode_all(
    scan: Scan, out: Path, scratch: Path, image_size: int | None, workers: int, progress: Progress | None
) -> tuple[dict[str, Decoded], list[tuple[str, str]]]:
    """Write `images/` and `masks/` of a Dataset.

    At most a few images per thread are in memory, however many there are. Each that is written is noted in a journal
    in `scratch`; those noted there are not decoded again.

    Args:
        scan: what to read.
        out: the Dataset's folder.
        scratch: folder of the journal.
        image_size: resize to a square of so many pixels; None keeps each image's size.
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
    done = {key: item for key, item in _noted(journal, out) if names.get(key) == item.image}
    rejected = []
    work = partial(_decode_one, scan, out, image_size)
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
    taken, names = set(), []
    for key in keys:
        # Drive letters, `..` and leading slashes are not for a path of ours.
        parts = [re.sub(r"[^\w.()-]+", "_", part).strip(".") for part in re.split(r"[\\/]+", key)]
        stem = "/".join(part for part in parts if part) or "image"
        stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", stem)
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names.append(f"images/{name}.png")
    return names


def mask_name(image: str) -> str:
    """`images/a.png` -> `masks/a.png`."""
    return "masks" + image.removeprefix("images")


def _decode_one(scan: Scan, out: Path, size: int | None, job: tuple[str, str, str]) -> Decoded | tuple[str, str]:
    key, name, mask_key = job
    try:
        image = scan.read(key)
        mask = scan.read_mask(mask_key) if mask_key else None
    except InputError as error:
        return key, str(error).rsplit(f"{key}: ", 1)[-1]
    height, width = image.shape[:2]
    if mask is not None and mask.shape != (height, width):
        return (key, f"its mask has {mask.shape[1]} x {mask.shape[0]} pixels, the image {width} x {height}")
    image = as_prepared(image, size)
    if mask is not None:
        write_png(out / mask_name(name), mask if size is None else resize_mask(mask, size))
    data = write_png(out / name, image)
    sizes = (width, height, image.shape[1], image.shape[0])
    return Decoded(key, name, pixel_hash(image), byte_hash(data), *sizes)


def as_prepared(image: np.ndarray, size: int | None) -> np.ndarray:
    """A decoded image as a Dataset holds it: grey where no channel differs, stretched to (size, size) where one is set.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).
        size: `--image-size` of the preparation, None: each image keeps its own.
    """
    image = without_idle_colour(image)
    return image if size is None else resize(image, size)


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


def _noted(journal: Path, out: Path) -> Iterator[tuple[str, Decoded]]:
    if not journal.is_file():
        return
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            item = Decoded(*json.loads(line))
        except (ValueError, TypeError):
            # The line that was being written when the process was killed.
            continue
        if (out / item.image).is_file():
            yield item.key, item
