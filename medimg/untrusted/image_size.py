"""How many pixels an image file says that it has, before any is decoded: a few bytes can stand for gigabytes."""

import re
import struct

from PIL import Image

from medimg.errors import InputError

MEGAPIXELS = 100  # the largest image that is decoded unless an option says otherwise
PNG = b"\x89PNG\r\n\x1a\n"
# Byte order and version of TIFF and BigTIFF.
_TIFF = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
# TIFF 6.0: ImageWidth and ImageLength, TileWidth and TileLength.
_SIDES = {256: 0, 257: 1, 322: 2, 323: 3}
_MOST_TAGS = 4096
# Netpbm: width, height and the largest value, with comments between them, which Pillow reads byte by byte.
_NETPBM = re.compile(rb"P[1-6](?:(?:\s|#[^\r\n]*[\r\n])+\d+){2,3}")
_LONGEST_HEAD = 1 << 16  # bytes


def check(data: bytes, header: Image.Image | None, megapixels: float) -> None:
    """See that an image is not larger than the limit by what its file says.

    Args:
        data: the file.
        header: the same as Pillow opened it, not decoded; None: Pillow does not know it.
        megapixels: the limit, in millions of pixels.

    Raises:
        InputError: it is larger, or a TIFF whose first directory is broken.
    """
    sizes = [header.size] if header is not None else []
    if data[:8] == PNG and len(data) >= 24:
        # What libpng goes by, whatever Pillow made of later chunks.
        sizes.append(struct.unpack(">II", data[16:24]))
    if is_tiff(data):
        sizes += _tiff_sizes(data)
    if not sizes:
        raise InputError("truncated (its header is missing); get the file again or remove it")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    check_size(width, height, megapixels)


def check_head(data: bytes) -> None:
    """See that a Netpbm file's header has an end that is soon reached: 64 MB of comment take Pillow minutes.

    Raises:
        InputError: it has none.
    """
    if re.match(rb"P[1-6]", data) and not _NETPBM.match(data, 0, _LONGEST_HEAD):
        raise InputError("truncated or broken (its header has no end)")


def check_size(width: int, height: int, megapixels: float) -> None:
    """See that so many pixels are not above the limit.

    Raises:
        InputError: they are.
    """
    if width * height > megapixels * 1e6:
        raise InputError(
            f"has {width} x {height} pixels, {width * height / 1e6:.4g} megapixels, above the limit of {megapixels:g}; "
            "make it smaller, or raise --max-megapixels if you trust it"
        )


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return data[:4] in _TIFF


def _tiff_sizes(data: bytes) -> list[tuple[int, int]]:
    """Of the image and of its tiles; the largest where a side is told twice."""
    order, big = _TIFF[data[:4]]
    sides = [0, 0, 0, 0]
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        first, step = start + (8 if big else 2), 20 if big else 12
        if count > _MOST_TAGS:
            raise InputError(f"broken (a TIFF of {count} tags)")
        for number in range(count):
            place = first + number * step
            tag, kind = struct.unpack_from(order + "HH", data, place)
            if tag in _SIDES:
                form = {1: "B", 3: "H", 16: "Q"}.get(kind, "I")
                (side,) = struct.unpack_from(order + form, data, place + (12 if big else 8))
                sides[_SIDES[tag]] = max(sides[_SIDES[tag]], side)
    except (struct.error, OverflowError) as error:
        raise InputError("truncated or broken (the TIFF's directory is missing)") from error
    return [(sides[0], sides[1]), (sides[2], sides[3])]
