"""What the page draws of a file: an image as it is, or DICOM values whose window the reader chooses."""

import base64

import cv2
import numpy as np
import pydicom

from medimg.dicom import pixels
from medimg.errors import InputError
from medimg.prediction.images import Reader
from medimg.sources.dicom_images import View, read_view

_LONGEST = 1024  # pixels of the longer side that are sent


def fitted(width: int, height: int, longest: int = _LONGEST) -> tuple[int, int]:
    """Width and height at which an image is sent: as it is, or with `longest` pixels of its longer side."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def small(image: np.ndarray, longest: int = _LONGEST) -> np.ndarray:
    """8 bits and no longer than that, uint8 (H, W) or (H, W, 3)."""
    image = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    height, width = image.shape[:2]
    size = fitted(width, height, longest)
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def of_image(image: np.ndarray) -> dict:
    """uint8 or uint16 (H, W) or (H, W, 3): values from 0 to 255 for JSON."""
    picture = small(image)
    picture = picture if picture.ndim == 3 else picture[:, :, None]
    return {**_sent(picture), "window": None, "size": [image.shape[1], image.shape[0]]}


def of_dicom(view: View, reader: Reader) -> dict:
    """Values that a window can be laid over, where the file has a range of them; else as it is looked at."""
    file, frame = view.header.file, view.frame
    span = _span(str(file.path), frame or 0)
    if span is None:
        picture = read_view(view, reader.look, reader.max_megapixels, read_frame=reader.read_frame)
        return of_image(picture[:, :, 1] if len(view.channels) > 1 else picture)
    low, high, window, is_inverted = span
    try:
        # The whole range as a window: what comes is linear in the file's values.
        full_window = ((low + high + 1) / 2, high - low + 1)
        levels = reader.read_frame(file.open(), frame, full_window, reader.max_megapixels)
    except ValueError as error:
        raise InputError(str(error)) from error
    if levels.ndim != 2:
        return of_image(levels)
    size = fitted(levels.shape[1], levels.shape[0])
    picture = levels if size == levels.shape[::-1] else cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    full = np.iinfo(levels.dtype).max
    picture = full - picture if is_inverted else picture
    if window is None:
        extremes = low + (high - low) * np.array([picture.min(), picture.max()], float) / full
        window = (float(extremes.mean()), max(1.0, float(np.ptp(extremes))))
    entry = {"low": low, "high": high, "full": int(full), "centre": window[0], "width": window[1]}
    entry["inverted"] = is_inverted
    return {**_sent(picture[:, :, None]), "window": entry, "size": [levels.shape[1], levels.shape[0]]}


def _sent(values: np.ndarray) -> dict:
    """(H, W, channels) in little-endian bytes."""
    content = base64.b64encode(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes())
    height, width, channels = values.shape
    bits = 8 * values.dtype.itemsize
    return {"width": width, "height": height, "channels": channels, "bits": bits, "data": content.decode("ascii")}


def _span(path: str, frame: int) -> tuple[float, float, tuple[float, float] | None, bool] | None:
    """Lowest and highest value that the file can hold, its window, and whether the lowest is white.

    None: of colour, or of values that a table makes, nothing is linear.
    """
    try:
        header = pixels.frame_header(pydicom.dcmread(path, force=True, stop_before_pixels=True), frame)
        kind = str(header.get("PhotometricInterpretation", ""))
        bits, is_signed = int(header.get("BitsStored", 0)), int(header.get("PixelRepresentation") or 0) == 1
        slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
        window = _window(header)
    except Exception:
        # A stranger's header can raise anything; without a window the image is shown and answered as it is.
        return None
    if kind not in ("MONOCHROME1", "MONOCHROME2") or "ModalityLUTSequence" in header or not 1 < bits <= 16:
        return None
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    low, high = low * slope + intercept, high * slope + intercept
    # Not of a slope that turns values about, nor of numbers so large that they no longer differ, or have no sum.
    if not (low < high and np.isfinite(low + high + 1)):
        return None
    return low, high, window, kind == "MONOCHROME1"


def _window(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Centre and width of the file's first window; None: it has none."""
    stated = header.get("WindowCenter"), header.get("WindowWidth")
    numbers = [value[0] if isinstance(value, pydicom.multival.MultiValue) else value for value in stated]
    if None in numbers:
        return None
    centre, width = map(float, numbers)
    return (centre, width) if width > 1 and np.isfinite([centre, width]).all() else None
