"""Images, decoded once into a cache of raw pixels at the model's size, which `medimg.pipeline.batches` streams.

The cache is one array (N, S, S, C) of uint8 (uint16 where the images have 16 bits), in RAM when it fits in the budget,
else in a file read with plain positioned reads: a memory map would count every page it touched as the process's own.
"""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.data.imaging import read_image
from medimg.data.resizing import resize
from medimg.errors import InputError
from medimg.listener import Progress
from medimg.untrusted.image_size import MEGAPIXELS

# Images that a thread decodes before it asks for more.
_TASK = 16


def load_image(path: Path, image_size: int, channels: int, max_megapixels: float = MEGAPIXELS) -> np.ndarray:
    """One image as the model sees it: float32 (S, S, C) in 0..255; 16-bit values are divided by 257."""
    return as_pixels(load_raw(path, image_size, channels, max_megapixels))


def load_raw(path: Path, image_size: int, channels: int, max_megapixels: float = MEGAPIXELS) -> np.ndarray:
    """One image at the model's size and channels in its own depth: uint8 or uint16 (S, S, C)."""
    return at_model_size(read_image(path, max_megapixels), image_size, channels)


def at_model_size(image: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """uint8 or uint16 (H, W) or (H, W, 3) -> (S, S, C) of the same depth."""
    import cv2

    if channels == 1 and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    image = resize(image, image_size)
    if image.ndim == 2 and channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return image if image.ndim == 3 else image[:, :, None]


def as_pixels(raw: np.ndarray) -> np.ndarray:
    """uint8 or uint16 of any shape -> float32 in 0..255."""
    pixels = raw.astype(np.float32)
    if raw.dtype == np.uint16:
        pixels /= np.float32(257.0)
    return pixels


@dataclass(frozen=True)
class ImageForm:
    """Channels (1 or 3) and bits (8 or 16) that hold every image of a set."""

    channels: int
    bits: int


def image_form(paths: list[Path]) -> ImageForm:
    """Read the files' headers only: colour if any image has colour, 16 bits if any has them."""
    channels, bits = 1, 8
    for path in paths:
        channel, depth = _header(path)
        channels, bits = max(channels, channel), max(bits, depth)
        if channels == 3 and bits == 16:
            break
    return ImageForm(channels, bits)


def _header(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            start = file.read(26)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); prepare the data set again") from error
    # PNG: bit depth and colour type are bytes 24 and 25 of the IHDR chunk; 0 and 4 are grey.
    if len(start) == 26 and start[:8] == b"\x89PNG\r\n\x1a\n":
        return (1 if start[25] in (0, 4) else 3), (16 if start[24] == 16 else 8)
    image = read_image(path)
    return (1 if image.ndim == 2 else 3), image.dtype.itemsize * 8


class PixelCache:
    """Raw pixels of N images at the model's size.

    Attributes:
        shape: (N, S, S, C).
        dtype: uint8 or uint16.
    """

    def __init__(self, shape: tuple, dtype: np.dtype, array: np.ndarray | None, file: Path | None):
        self.shape, self.dtype, self._array, self._file = shape, np.dtype(dtype), array, file
        self._row_bytes = int(np.prod(shape[1:])) * self.dtype.itemsize
        self._handle = None if file is None else os.open(file, os.O_RDONLY)

    @classmethod
    def build(
        cls,
        paths: list[Path],
        image_size: int,
        channels: int,
        budget_gb: float,
        folder: Path,
        name: str,
        progress: Progress | None = None,
    ) -> "PixelCache":
        """Decode all images, into RAM when they fit in `budget_gb`, else into `folder/name.raw`.

        Raises:
            InputError: an image can't be read, or the disk is full.
        """
        bits = image_form(paths).bits
        need = len(paths) * image_size * image_size * channels * bits // 8
        if need <= budget_gb * 1e9:
            return cls.in_memory(paths, image_size, channels, bits, progress)
        return cls.on_disk(paths, image_size, channels, folder / f"{name}.raw", bits, progress)

    @classmethod
    def in_memory(
        cls,
        paths: list[Path],
        image_size: int,
        channels: int,
        bits: int | None = None,
        progress: Progress | None = None,
    ) -> "PixelCache":
        """Decode all images into one array."""
        dtype = _dtype(bits or image_form(paths).bits)
        shape = (len(paths), image_size, image_size, channels)
        array = np.empty(shape, dtype)

        def store(i: int, raw: np.ndarray) -> None:
            array[i] = raw

        _decode(paths, image_size, channels, dtype, store, progress)
        return cls(shape, dtype, array, None)

    @classmethod
    def on_disk(
        cls,
        paths: list[Path],
        image_size: int,
        channels: int,
        file: Path,
        bits: int | None = None,
        progress: Progress | None = None,
    ) -> "PixelCache":
        """Decode all images into a file, a few at a time."""
        dtype = _dtype(bits or image_form(paths).bits)
        shape = (len(paths), image_size, image_size, channels)
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        with atomic.replacing(file) as temporary, temporary.open("r+b") as target:
            # Claimed at once: a full disk shows before hours of decoding, and no write can come up short.
            os.posix_fallocate(target.fileno(), 0, max(1, row_bytes * len(paths)))

            def store(i: int, raw: np.ndarray) -> None:
                os.pwrite(target.fileno(), np.ascontiguousarray(raw).data, i * row_bytes)

            _decode(paths, image_size, channels, dtype, store, progress)
        return cls(shape, dtype, None, file)

    @classmethod
    def of(cls, array: np.ndarray) -> "PixelCache":
        """Of pixels that are there already, (N, S, S, C)."""
        return cls(array.shape, array.dtype, array, None)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Rows by index: uint8 or uint16 (len(indices), S, S, C)."""
        if self._array is not None:
            return self._array[indices]
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, index in zip(rows, indices, strict=True):
            os.preadv(self._handle, [row.reshape(-1).view(np.uint8)], int(index) * self._row_bytes)
        return rows

    def close(self) -> None:
        """Free the memory or remove the file."""
        self._array = None
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            self._file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._file.parent.rmdir()


def _dtype(bits: int) -> np.dtype:
    return np.dtype(np.uint16 if bits == 16 else np.uint8)


def _decode(
    paths: list[Path],
    image_size: int,
    channels: int,
    dtype: np.dtype,
    store: Callable[[int, np.ndarray], None],
    progress: Progress | None,
) -> None:
    """Decode and store every image in threads (OpenCV frees the interpreter while it decodes)."""

    def some(start: int) -> int:
        chosen = paths[start : start + _TASK]
        for i, path in enumerate(chosen, start):
            raw = load_raw(path, image_size, channels)
            if raw.dtype != dtype:
                deepen = dtype == np.uint16
                raw = raw.astype(np.uint16) * 257 if deepen else (raw // 257).astype(np.uint8)
            store(i, raw)
        return len(chosen)

    done = 0
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for finished in pool.map(some, range(0, len(paths), _TASK)):
            done += finished
            if progress:
                progress(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
