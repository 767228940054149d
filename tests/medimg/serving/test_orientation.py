"""Orientation read in the served graph, against Pillow and against what training sees."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from medimg.pipeline.pixels import load_image
from medimg.serving.images import decode
from medimg.serving.orientation import exif_orientation

PHOTO = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), (60, 40), interpolation=cv2.INTER_CUBIC
)


def jpeg(exif: bytes = b"") -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", exif=exif)
    return file.getvalue()


def exif(orientation: int, order: str, before: int = 0) -> bytes:
    """An EXIF block by hand: `<` Intel or `>` Motorola order, after `before` other entries."""
    entries = [struct.pack(order + "HHII", 0x0100 + i, 4, 1, 7) for i in range(before)]
    entries.append(struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0))
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    return b"Exif\0\0" + head + struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0" * 4


def png(block: bytes, last: bool = False, image: np.ndarray = PHOTO) -> bytes:
    """A PNG with an eXIf chunk before its pixels, or as its last chunk."""
    data = cv2.imencode(".png", image)[1].tobytes()
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    at = len(data) - 12 if last else 33
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("order", "before", "last", "marked"), [("<", 0, False, False), (">", 3, True, True)])
def test_a_turned_png_is_served_as_it_was_trained(orientation, order, before, last, marked, tmp_path):
    data = png(exif(orientation, order, before)[0 if marked else 6 :], last)
    assert exif_orientation(tf.constant(data)).numpy() == orientation
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    for size in (32, 64):
        served = decode(tf.constant(data), size, 3).numpy()
        np.testing.assert_array_equal(served, load_image(path, size, 3))


def test_a_png_without_or_with_broken_exif_is_as_stored():
    for block in (b"", b"II*\0\xff\xff\0\0", b"\xff" * 40, exif(9, ">")[6:]):
        assert exif_orientation(tf.constant(png(block))).numpy() == 1
    plain = cv2.imencode(".png", PHOTO)[1].tobytes()
    endless = plain[:8] + b"\xff\xff\xff\xff" + plain[12:]
    for data in (plain, endless, plain[:8], plain[:15], plain[:40]):
        assert exif_orientation(tf.constant(data)).numpy() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("order", "before"), [("<", 0), (">", 3)])
def test_a_turned_photograph_is_served_as_it_was_trained(orientation, order, before, tmp_path):
    data = jpeg(exif(orientation, order, before))
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation
    assert exif_orientation(tf.constant(data)).numpy() == orientation
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for size in (32, 64):
        served = decode(tf.constant(data), size, 3).numpy()
        np.testing.assert_array_equal(served, load_image(path, size, 3))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\0\0",
        b"Exif\0\0" + b"\xff" * 40,
        exif(0, "<"),
        exif(9, ">"),
        b"http://ns.adobe.com/xap/1.0/\0<x/>",
    ],
)
def test_no_or_broken_exif_means_as_stored(block):
    assert exif_orientation(tf.constant(jpeg(block))).numpy() == 1


def test_a_broken_header_ends():
    for data in (b"\xff", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8\xff\xe1\0\0"):
        assert exif_orientation(tf.constant(data)).numpy() == 1
