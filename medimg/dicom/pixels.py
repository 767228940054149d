"""DICOM pixels to a grey or RGB image: modality LUT, VOI LUT or window, MONOCHROME1, palette, YBR; by pydicom alone.

Needs pydicom and NumPy, nothing of medimg: it travels with exported models as `dicom_pixels.py`, so that a client
decodes what it sends as training did. No message has a header's value: it may name a patient.
Source: DICOM PS3.3 C.7.6.3, C.11.1, C.11.2 and C.7.6.16.2.9.
"""

import io
import json
import os
import struct
import sys
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array

# Centre and width in Hounsfield units: what readers of CT use.
WINDOWS = {"lung": (-600.0, 1500.0), "bone": (400.0, 1800.0), "brain": (40.0, 80.0), "soft-tissue": (40.0, 400.0)}
# Markers of JPEG that tell a frame's size, of JPEG-LS the last.
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_IN_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
# What pydicom has to say of a header has the header's values in it.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.logger.disabled = True
warnings.filterwarnings("ignore", module="pydicom")


def parse_window(text: str | None) -> tuple[float, float] | str | None:
    """`C,W` -> (centre, width); the name of a window as it is; None: each file's first.

    Raises:
        ValueError: two numbers of which the second is no width.
    """
    if text is None or "," not in text:
        return WINDOWS.get(text, text) if text else None
    try:
        centre, width = map(float, text.split(","))
    except ValueError:
        raise ValueError("give the centre and the width as C,W, e.g. -600,1500") from None
    if not (np.isfinite(centre) and width > 1 and np.isfinite(width)):
        raise ValueError("the width must be more than 1")
    return centre, width


def read_frame(
    file: str | BinaryIO,
    index: int | None = None,
    window: tuple[float, float] | str | None = None,
    megapixels: float = 100,
) -> np.ndarray:
    """One frame of a file as it is looked at; see `displayed`.

    Args:
        file: path, or an open file.
        index: of the frame, from 0: of the file no more is read. None: the file has one frame, or the first is meant.
        window: of `parse_window`.
        megapixels: of a frame that says it has more, nothing is decoded.

    Raises:
        ValueError: it is no image, is truncated or broken, or needs a decoder that is not installed.
    """
    try:
        with Path(file).open("rb") if isinstance(file, str) else nullcontext(_rewound(file)) as opened:
            header = pydicom.dcmread(opened, force=True, stop_before_pixels=index is not None)
            if "Rows" not in header or "Columns" not in header:
                raise _ToldError("holds no pixels")
            if int(header.Rows) * int(header.Columns) > megapixels * 1e6:
                raise _ToldError(f"has {header.Rows} x {header.Columns} pixels, above {megapixels:g} megapixels")
            _require_told_size(header, opened, index)
        pixels = header.pixel_array if index is None and frames(header) == 1 else _frame(file, index or 0)
        return displayed(pixels, frame_header(header, index or 0), window)
    except _ToldError:
        raise
    except Exception as error:
        raise ValueError(_why(error)) from None


def _require_told_size(header: Dataset, opened: BinaryIO, index: int | None) -> None:
    """See that a compressed frame is no larger than its header says: decoders make room for what it says itself.

    JPEG (ITU-T T.81, B.2.2), JPEG-LS (T.87) and JPEG 2000 (T.800, A.5.1) tell height and width before any pixel.
    """
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated:
        return
    if index is None:
        buffer = header.PixelData
    else:
        # The file stands at the element's tag and length, between which a representation that is told takes four bytes.
        opened.seek(4 if opened.read(8)[4:6].isalpha() else 0, os.SEEK_CUR)
        buffer = opened
    data = get_frame(buffer, index or 0, number_of_frames=frames(header))
    start = data.find(b"\xff\x4f\xff\x51")
    if start >= 0:
        right, low, left, top = struct.unpack_from(">IIII", data, start + 8)
        width, height = right - left, low - top
    elif data[:2] == b"\xff\xd8":
        height, width = _size_of_jpeg(data)
    else:
        return
    if height * width > int(header.Rows) * int(header.Columns):
        raise _ToldError("is compressed from more pixels than its header says")


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    place = 2
    while data[place + 1] not in _FRAMES:
        (length,) = struct.unpack_from(">H", data, place + 2)
        place += 1 if data[place + 1] == 0xFF else 2 + length
    return struct.unpack_from(">HH", data, place + 5)


def _frame(file: str | BinaryIO, index: int) -> np.ndarray:
    """A frame's pixels, read alone where pydicom can: not of deflated files."""
    try:
        return pixel_array(_rewound(file), index=index)
    except Exception:
        return pixel_array(pydicom.dcmread(_rewound(file), force=True), index=index)


def _rewound(file: str | BinaryIO) -> str | BinaryIO:
    if not isinstance(file, str):
        file.seek(0)
    return file


class _ToldError(ValueError):
    """Said in our own words."""


def looked_at(path: str, window: str | None = None, neighbours: int = 0) -> tuple[list[np.ndarray], bool]:
    """A file's frames as training looked at them, and whether its header says that text is burned in.

    Args:
        path: of the file.
        window: as in training; `check.json` of an export has it.
        neighbours: likewise.

    Raises:
        ValueError: as of `read_frame`, the window is of CT and the file is not, or neighbours are asked for that are
            files of their own.
    """
    try:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        count, is_flagged = frames(header), flagged(header)
    except Exception as error:
        raise ValueError(_why(error)) from None
    if window in WINDOWS and header.get("Modality") != "CT":
        raise ValueError(f"the model looks through the window '{window}', which CT alone has")
    if neighbours and count == 1:
        raise ValueError("the model looks at three slices at once: give a file of several frames, or 'medimg predict'")
    images = [read_frame(path, i if count > 1 else None, parse_window(window)) for i in range(count)]
    if neighbours:
        around = [(max(i - neighbours, 0), i, min(i + neighbours, count - 1)) for i in range(count)]
        images = [np.stack([images[i] for i in three], axis=2) for three in around]
    return images, is_flagged


def png(image: np.ndarray) -> bytes:
    """PNG (ISO/IEC 15948), which an exported model takes, of uint8 or uint16 (H, W) or (H, W, 3), without a library."""
    height, width = image.shape[:2]
    depth, colour = 8 * image.dtype.itemsize, 2 if image.ndim == 3 else 0
    rows = image.astype(image.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    filtered = np.zeros((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 1:] = rows
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered.tobytes(), 1)),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def frames(header: Dataset) -> int:
    """How many frames a file has."""
    try:
        return max(1, int(header.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def flagged(header: Dataset) -> bool:
    """Whether a header says that text is burned into the pixels."""
    return str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES"


def frame_header(header: Dataset, index: int) -> Dataset:
    """The header of one frame: where an enhanced file's functional groups tell its values and windows, with theirs."""
    groups = [header.get("SharedFunctionalGroupsSequence") or (), header.get("PerFrameFunctionalGroupsSequence") or ()]
    of_frame = [group[place] for group, place in zip(groups, (0, index), strict=True) if place < len(group)]
    items = [item for group in of_frame for name in _IN_GROUPS for item in group.get(name) or ()]
    if not items:
        return header
    merged = _image_elements(header)
    for item in items:
        merged.update({element.tag: element for element in item})
    return merged


def _image_elements(header: Dataset) -> Dataset:
    """A header of its own with what tells of pixels."""
    return Dataset({element.tag: element for element in header.group_dataset(0x0028)})


def displayed(pixels: np.ndarray, header: Dataset, window: tuple[float, float] | str | None = None) -> np.ndarray:
    """Stored pixels as they are looked at, white at the depth's largest value.

    Grey values go through the modality LUT or rescale, then the VOI LUT, the file's first window or the one that is
    asked for; without any, the file's 8 bits are as they are, and of more bits the frame's lowest value is black and
    its highest white.

    Args:
        pixels: (H, W) or (H, W, 3), of the decoder, YBR made RGB.
        header: of the frame.
        window: of `parse_window`.

    Returns:
        uint8, or uint16 of files of more than 8 bits; (H, W) or (H, W, 3).

    Raises:
        ValueError: an unknown photometric interpretation, or no window of that name.
    """
    kind = str(header.get("PhotometricInterpretation", ""))
    if kind == "PALETTE COLOR":
        colour = apply_color_lut(pixels, header)
        return colour if colour.dtype == np.uint8 else levels(colour, 0, 65535, 65535)
    bits = int(header.get("BitsStored") or 8 * pixels.dtype.itemsize)
    full = 255 if bits <= 8 and pixels.dtype.kind != "f" else 65535
    if pixels.ndim == 3:
        return levels(pixels, 0, 2**bits - 1, full)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise _ToldError("its photometric interpretation is not read")
    header = _with_window(header, window)
    is_changed = _span(header) or "ModalityLUTSequence" in header or "RescaleSlope" in header
    if pixels.dtype == np.uint8 and bits == 8 and not is_changed:
        return 255 - pixels if kind == "MONOCHROME1" else pixels

    def shown(values: np.ndarray) -> np.ndarray:
        values = apply_modality_lut(values, header)
        if span := _span(header):
            values = apply_voi_lut(values, header)
        elif bits <= 8 and values.dtype.kind == "u":
            span = 0, 2**bits - 1
        else:
            span = float(values.min()), float(values.max())
        grey = levels(values, *span, full)
        return full - grey if kind == "MONOCHROME1" else grey

    low, high = (int(pixels.min()), int(pixels.max())) if pixels.dtype.kind in "iu" else (0, pixels.size)
    # Without a window, a LUT of values that the frame does not have would decide what is white.
    if high - low >= pixels.size or ("ModalityLUTSequence" in header and not _span(header)):
        return shown(pixels)
    # The same, once for each value in the place of once for each pixel.
    return np.take(shown(np.arange(low, high + 1).astype(pixels.dtype)), pixels.astype(np.int64) - low)


def _with_window(header: Dataset, window: tuple[float, float] | str | None) -> Dataset:
    """The header with the window that is asked for as its first and only one."""
    if window is None:
        return header
    if isinstance(window, str):
        names = header.get("WindowCenterWidthExplanation") or ()
        names = [str(name).strip().casefold() for name in ([names] if isinstance(names, str) else names)]
        if window.casefold() not in names:
            raise _ToldError(f"has no window called '{window}'")
        place = names.index(window.casefold())
        window = tuple(float(_each(header.get(name))[place]) for name in ("WindowCenter", "WindowWidth"))
    header = _image_elements(header)
    for name in ("VOILUTSequence", "VOILUTFunction"):
        header.pop(name, None)
    header.WindowCenter, header.WindowWidth = window
    return header


def _each(value) -> list:
    return list(value) if isinstance(value, pydicom.multival.MultiValue) else [value]


def _span(header: Dataset) -> tuple[float, float] | None:
    """Black and white of what `apply_voi_lut` answers; None: it has nothing to apply."""
    luts = header.get("VOILUTSequence")
    if luts and luts[0].get("LUTDescriptor") is not None and luts[0].get("LUTData") is not None:
        return 0, 2 ** int(luts[0].LUTDescriptor[2]) - 1
    if header.get("WindowWidth") is None or header.get("WindowCenter") is None:
        return None
    least = 1.0 if header.get("VOILUTFunction", "LINEAR") == "LINEAR" else 1e-30
    if not float(_each(header.WindowWidth)[0]) >= least:
        raise _ToldError("has a window of no width; give another by --window")
    with np.errstate(over="ignore"):
        low, high = apply_windowing(np.array([-1e30, 1e30]), header)
    return float(low), float(high)


def levels(values: np.ndarray, low: float, high: float, full: int) -> np.ndarray:
    """Values as levels: `low` is 0, `high` is `full`."""
    kind = np.uint8 if full == 255 else np.uint16
    if (low, high) == (0, full) and values.dtype == kind:
        return values
    if not np.isfinite([low, high]).all():
        raise _ToldError("has pixels that are no numbers")
    scale = full / (high - low) if high != low else 0.0
    return np.rint(np.clip((values.astype(np.float64) - low) * scale, 0, full)).astype(kind)


def _why(error: Exception) -> str:
    text = str(error)
    if "missing dependencies" in text or ("plugins" in text and "missing" in text):
        return "its compression needs a decoder that is not installed"
    if isinstance(error, MemoryError):
        return "has more pixels than there is memory for"
    return "truncated or broken pixel data"


def _serve() -> None:
    """Answer arguments of `read_frame` with pixels or a message, until the asker is gone.

    Both ways a line of JSON, and the bytes whose number or shape it tells: nothing that is read can run anything.
    """
    answers = os.fdopen(os.dup(1), "wb")
    # A decoder's own words must not be among the answers.
    os.dup2(2, 1)
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        request = json.loads(line)
        window = tuple(request["window"]) if isinstance(request["window"], list) else request["window"]
        file = request["path"] if request["bytes"] is None else io.BytesIO(sys.stdin.buffer.read(request["bytes"]))
        answer, content = {}, b""
        try:
            pixels = read_frame(file, request["index"], window, request["megapixels"])
            answer, content = {"shape": pixels.shape, "dtype": pixels.dtype.name}, pixels.tobytes()
        except ValueError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n" + content)
        answers.flush()


if __name__ == "__main__":
    _serve()
