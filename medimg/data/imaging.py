"""Image files to arrays and back: every form of PNG, JPEG and the like becomes grey or RGB in its own depth.

OpenCV decodes the ordinary PNG and JPEG (fast, and it lets other threads run); Pillow tells what a file is and decodes
what OpenCV gets wrong (palette, CMYK). The content decides, never the extension.
"""

import hashlib
import io
import stat
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from medimg import atomic
from medimg.data.decoder_warnings import collected
from medimg.errors import InputError
from medimg.untrusted import image_size

# Pillow warns beyond this and refuses twice as many: OpenCV's own limit, which ours never reaches.
Image.MAX_IMAGE_PIXELS = 2**30
# What Pillow is asked to open (an MPO opens as JPEG): others run programs (EPS) or hold images of another size than
# they say (ICO).
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")
# Bytes of a file beyond those of its pixels, 16-bit colour and alpha.
_MOST_BESIDE = 1 << 26

# Bit depth and colour type (0 grey, 2 RGB) of the PNGs that OpenCV reads right, and chunks that make one special.
_PLAIN_PNG = (b"\x08\x00", b"\x08\x02", b"\x10\x00", b"\x10\x02")
_SPECIAL_PNG = (b"tRNS", b"eXIf", b"acTL")
_JPEG_END, _JPEG_SCAN, _PNG_END = b"\xff\xd9", b"\xff\xda", b"IEND"
# EXIF 2.32, tag 0x0112: how often to turn by 90 degrees counter-clockwise after an optional mirroring left to right.
_ORIENTATIONS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


def read_image(
    path: Path, max_megapixels: float = image_size.MEGAPIXELS, warnings: list[str] | None = None
) -> np.ndarray:
    """Decode one image file.

    Grey stays grey; black-and-white becomes 0 and 255; palettes and CMYK become RGB (grey when all their colours are);
    transparent pixels are laid over black; EXIF orientation is applied.

    Args:
        path: the file, with any extension.
        max_megapixels: of a larger image nothing is decoded.
        warnings: takes what libjpeg says of a damaged JPEG, which is decoded all the same; then one JPEG is decoded at
            a time.

    Returns:
        uint8 or uint16, (H, W) or (H, W, 3) in RGB order.

    Raises:
        InputError: the file is missing, empty, truncated, not an image, has several frames, pixels of more than
            16 bits, or more of them than the limit.
    """
    path = Path(path)
    data = file_content(path, max_megapixels)
    try:
        return _decode(data, max_megapixels, warnings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def file_content(path: Path, max_megapixels: float = image_size.MEGAPIXELS) -> bytes:
    """The bytes of an image file, which are no more than so many pixels can need.

    Raises:
        InputError: it is missing, no file, or larger.
    """
    try:
        status = path.stat()
        # A pipe or a device has no end, and may never begin.
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: can't be read (it is no file); remove it")
        if status.st_size > 8 * max_megapixels * 1e6 + _MOST_BESIDE:
            raise InputError(
                f"{path}: has {status.st_size:,} bytes, more than an image of {max_megapixels:g} megapixels; make it "
                "smaller, or raise --max-megapixels if you trust it"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error


def without_idle_colour(image: np.ndarray) -> np.ndarray:
    """An RGB image whose three channels are equal as one channel; any other image as it is."""
    if image.ndim == 3 and (image == image[:, :, :1]).all():
        return np.ascontiguousarray(image[:, :, 0])
    return image


def pixel_hash(image: np.ndarray) -> str:
    """What identical images share: the first 32 hex digits of SHA-256 over shape, dtype and pixels."""
    digest = hashlib.sha256(f"{image.shape}{image.dtype.name}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


def byte_hash(data: bytes) -> str:
    """The first 32 hex digits of SHA-256 over a file's content."""
    return hashlib.sha256(data).hexdigest()[:32]


def encode_png(image: np.ndarray) -> bytes:
    """PNG content of a uint8 or uint16 image, (H, W) or (H, W, 3) in RGB order."""
    ordered = image[:, :, ::-1] if image.ndim == 3 else image
    return cv2.imencode(".png", np.ascontiguousarray(ordered))[1].tobytes()


def write_png(path: Path, image: np.ndarray) -> bytes:
    """Write an image as PNG atomically.

    Args:
        path: where.
        image: uint8 or uint16, (H, W) or (H, W, 3) in RGB order.

    Returns:
        The content of the file.

    Raises:
        InputError: the disk is full or the folder can't be written.
    """
    data = encode_png(image)
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(data)
    return data


def _decode(data: bytes, max_megapixels: float, warnings: list[str] | None) -> np.ndarray:
    if not data:
        raise InputError("has zero bytes; get the file again or remove it")
    if _is_plain_png(data):
        image_size.check(data, None, max_megapixels)
        return _with_opencv(data)
    image_size.check_head(data)
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        # What Pillow does not know, such as 16-bit colour TIFF, OpenCV may.
        if not (image_size.is_tiff(data) or data.startswith(image_size.PNG)):
            raise InputError("not an image, or broken; get the file again or remove it") from error
        image_size.check(data, None, max_megapixels)
        return _with_opencv(data)
    except Exception as error:
        # Whatever a decoder stumbles over in a stranger's bytes, the file can't be used.
        raise InputError(f"can't be decoded ({_words(error)})") from error
    with opened as header:
        image_size.check(data, header, max_megapixels)
        try:
            if header.format != "MPO" and (frames := getattr(header, "n_frames", 1)) > 1:
                raise InputError(f"holds {frames} frames; give one file per frame")
            image = _with_best(header, data, warnings)
            return _upright(image, _orientation(header, data))
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"truncated or broken ({_words(error)})") from error


def _is_plain_png(data: bytes) -> bool:
    """A whole grey or RGB PNG of 8 or 16 bits without transparency or EXIF, as prepare writes them.

    These need none of Pillow's knowledge, and reading its header costs as much as decoding a small image.
    """
    return (
        data[:8] == b"\x89PNG\r\n\x1a\n"
        and data[24:26] in _PLAIN_PNG
        and data[-8:-4] == _PNG_END
        and not any(name in data for name in _SPECIAL_PNG)
    )


def _with_best(header: Image.Image, data: bytes, warnings: list[str] | None) -> np.ndarray:
    kind, mode = header.format, header.mode
    if kind in ("JPEG", "MPO"):
        # OpenCV and Pillow both fill a cut-off scan with grey when padding follows: the end must be there.
        if data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
            raise InputError("truncated (the JPEG's end is missing); get the file again or remove it")
        if mode in ("L", "RGB"):
            with collected(warnings) if warnings is not None else nullcontext():
                return _with_opencv(data)
    elif kind == "PNG":
        if _PNG_END not in data[-64:] and _PNG_END not in data:
            raise InputError("truncated (the PNG's end is missing); get the file again or remove it")
        if mode in ("L", "RGB", "RGBA", "I;16") and "transparency" not in header.info:
            return _with_opencv(data)
    elif kind == "TIFF" and mode in ("RGB", "I;16", "I;16B"):
        # Pillow reduces 16-bit colour to 8 bits.
        return _with_opencv(data)
    return _with_pillow(header)


def _with_opencv(data: bytes) -> np.ndarray:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"can't be decoded ({error.err})") from error
    if image is None:
        raise InputError("not an image, or broken; get the file again or remove it")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"has {image.dtype} pixels; convert it to 8 or 16 bits")
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return _over_black(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _with_pillow(header: Image.Image) -> np.ndarray:
    mode = header.mode
    if mode in ("1", "L"):
        return np.asarray(header.convert("L"))
    if mode.startswith("I"):
        image = np.asarray(header).astype(np.int64)
        if image.min() < 0 or image.max() > 65535:
            raise InputError("has pixels of more than 16 bits; convert it to 8 or 16 bits")
        return image.astype(np.uint16)
    if mode == "F":
        raise InputError("has floating-point pixels; convert it to 8 or 16 bits")
    if mode in ("LA", "La"):
        return _over_black(np.asarray(header.convert("LA")))
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in header.info:
        image = _over_black(np.asarray(header.convert("RGBA")))
    else:
        image = np.asarray(header.convert("RGB"))
    return without_idle_colour(image) if mode in ("P", "PA", "CMYK") else image


def _over_black(image: np.ndarray) -> np.ndarray:
    """Lay colour or grey with alpha in its last channel over black: (H, W, 4) -> (H, W, 3), (H, W, 2) -> (H, W)."""
    colour, alpha = image[:, :, :-1], image[:, :, -1:]
    full = np.iinfo(image.dtype).max
    if not (alpha == full).all():
        product = colour.astype(np.uint32) * alpha
        colour = ((product + full // 2) // full).astype(image.dtype)
    colour = np.ascontiguousarray(colour)
    return colour[:, :, 0] if colour.shape[2] == 1 else colour


def _orientation(header: Image.Image, data: bytes) -> int:
    # Asking a PNG for EXIF decodes it whole, so only those that have it are asked.
    if header.format == "PNG" and b"eXIf" not in data:
        return 1
    return header.getexif().get(0x0112, 1)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation not in _ORIENTATIONS:
        return image
    mirrored, turns = _ORIENTATIONS[orientation]
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, turns))


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
