"""A Dataset or a table from a stranger: which files it may name, and how large an image may say that it is."""

import os
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.pipeline.pixels import load_image
from medimg.preparation.prepare import prepare
from medimg.untrusted.inside import Folder
from tests.datasets import write_dataset


@pytest.fixture
def secret(tmp_path):
    """A picture that is none of the Dataset's."""
    (tmp_path / "private").mkdir()
    path = tmp_path / "private" / "secret.png"
    cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))
    return path


@pytest.fixture
def folder(tmp_path, secret):
    """A folder with every way out of it, and the ways that stay inside."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    cv2.imwrite(str(root / "images/own.png"), np.zeros((8, 8), np.uint8))
    (root / "images/out.png").symlink_to(secret)
    (root / "images/relative.png").symlink_to("../../private/secret.png")
    (root / "images/twice.png").symlink_to("out.png")
    (root / "elsewhere").symlink_to(secret.parent)
    (root / "images/inside.png").symlink_to("own.png")
    (root / "again").symlink_to("images")
    (root / "dangling.png").symlink_to("/nowhere/at/all.png")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe.png")
    return root


OUT = {
    "/etc/passwd": "absolute",
    "//server/share/x.png": "absolute",
    "C:\\x.png": "absolute",
    "\\\\server\\share\\x.png": "absolute",
    "C:x.png": "absolute",
    "../private/secret.png": r"'\.\.'",
    "images/../../private/secret.png": r"'\.\.'",
    "images\\..\\..\\private\\secret.png": r"'\.\.'",
    "..": r"'\.\.'",
    "images/out.png": "link",
    "images/relative.png": "link",
    "images/twice.png": "link",
    "elsewhere/secret.png": "link",
    "again/../elsewhere/secret.png": r"'\.\.'",
    "dangling.png": "link",
    "pipe.png": "pipe",
}


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_manifest_names_its_own_files_only(folder, name, column):
    manifest = pd.DataFrame(
        {
            "image": ["images/own.png", "images/inside.png"],
            "label": ["a", "b"],
            "patient": ["1", "2"],
            "split": ["train", "test"],
            "mask": ["", "again/own.png"],
        }
    )
    dataset = Dataset(folder, "x", "binary", ("a", "b"), manifest)
    dataset.save()
    Dataset.load(folder)
    manifest.loc[1, column] = name
    dataset.save()
    with pytest.raises(InputError, match=rf"manifest.csv row 3: {column} .*{OUT[name]}") as refused:
        Dataset.load(folder)
    assert "\n" not in str(refused.value)


def test_names_that_only_look_so(folder):
    inside = Folder(folder)
    for name in ("images/..a.png", "images/a..png", "...", "new/x.png", "images/é b.png", "-", "~"):
        assert inside.outside(name) == ""
    assert "no name" in inside.outside("a\0.png")
    assert "\n" not in inside.outside("../a\nb")


def test_a_folder_that_is_a_link_itself(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    inside = Folder(link)
    assert inside.outside("images/own.png") == "" == inside.outside("again/own.png")
    assert "link" in inside.outside("images/out.png")


def test_many_rows_are_checked_at_once(tmp_path):
    """A hundred thousand names in a few seconds: NIH's set has as many."""
    inside = Folder(tmp_path)
    began = time.monotonic()
    assert not any(inside.outside(f"images/{i}.png") for i in range(100_000))
    assert time.monotonic() - began < 20


def test_every_reader_of_a_dataset_refuses(tmp_path, secret):
    """Commands and a site's process read a Dataset by one function."""
    from federated.flower.serve import serve
    from medimg.config import TrainConfig
    from medimg.evaluation.config import EvaluateConfig
    from medimg.training.train import train
    from synthetic.judge.rows import load

    honest = write_dataset(tmp_path / "honest", n=8, size=16)
    dataset = write_dataset(tmp_path / "data", n=8, size=16)
    rows = dataset.manifest
    rows.loc[0, "image"] = "../private/secret.png"
    replace(dataset, manifest=rows).save()
    calls = [
        lambda: train(dataset.root, tmp_path / "run", TrainConfig(model="baseline_cnn")),
        lambda: load(dataset.root, honest.root),
        lambda: load(honest.root, dataset.root),
        lambda: serve(dataset.root, *[tmp_path] * 2, "h:1", *[tmp_path] * 2, print),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"row 2: image '\.\./private/secret\.png'"):
            call()
    assert EvaluateConfig(data=str(dataset.root)).data


def test_a_table_of_images_names_files_of_its_folder(folder, tmp_path):
    rows = [("images/own.png", "a", ""), ("images/inside.png", "b", "")]
    rows += [(name, "a", "") for name in OUT]
    rows += [("images/with a mask.png", "a", "../private/secret.png")]
    (folder / "images/inside.png").unlink()
    (folder / "images/inside.png").symlink_to("other.png")
    for name, grey in (("other", 5), ("with a mask", 9)):
        cv2.imwrite(str(folder / f"images/{name}.png"), np.full((8, 8), grey, np.uint8))
    pd.DataFrame(rows, columns=["image", "label", "mask"]).to_csv(folder / "t.csv", index=False)
    made = prepare("csv", folder / "t.csv", tmp_path / "out", PrepareConfig())
    assert sorted(made.manifest["source_file"]) == ["images/inside.png", "images/own.png"]
    rejected = pd.read_csv(tmp_path / "out/rejected.csv")
    assert len(rejected) == len(OUT) + 1
    assert rejected["reason"].str.contains(r"row \d+ of t\.csv: .*(?:leads out|pipe)").all()


def png(width: int, height: int, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG of so many pixels in a few bytes: a line that is repeated is next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    line = b"\0" * (width * {0: 1, 2: 3, 3: 1}[colour] + 1)
    pixels = b"".join(packer.compress(line) for _ in range(min(height, 50))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    palette = chunk(b"PLTE", b"\1\2\3") if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + palette + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def resized(kind: str, width: int, height: int) -> bytes:
    """A small image whose header is changed to so many pixels."""
    import io

    target = io.BytesIO()
    options = {"compression": "raw"} if kind == "TIFF" else {}
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(target, kind, **options)
    data = bytearray(target.getvalue())
    small, large = {
        "JPEG": (struct.pack(">HH", 7, 9), struct.pack(">HH", height, width)),
        "BMP": (struct.pack("<ii", 9, 7), struct.pack("<ii", width, height)),
        "GIF": (struct.pack("<HH", 9, 7), struct.pack("<HH", width, height)),
        "PPM": (b"9 7", f"{width} {height}".encode()),
        "JPEG2000": (struct.pack(">II", 7, 9), struct.pack(">II", height, width)),
        "TIFF": (b"", b""),
    }[kind]
    if kind == "TIFF":
        for tag, side in ((256, width), (257, height)):
            at = next(
                data.index(struct.pack("<HHI", tag, k, 1)) for k in (3, 4) if struct.pack("<HHI", tag, k, 1) in data
            )
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, side)
    assert small in data
    data[data.index(small) : data.index(small) + len(small)] = large
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        png(20_000, 20_000),
        png(20_000, 20_000, 2),
        png(20_000, 20_000, 3),
        png(20_000, 20_000, extra=b"\0\0\0\0eXIf\0\0\0\0"),
        png(200_000_000, 1),
        *(resized(kind, 30_000, 30_000) for kind in ("JPEG", "BMP", "GIF", "PPM", "JPEG2000")),
        resized("TIFF", 30_000, 30_000),
    ],
    ids=["grey", "colour", "palette", "special", "line", "jpeg", "bmp", "gif", "ppm", "jp2", "tiff"],
)
def test_bombs_are_refused_by_their_header(tmp_path, content):
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"bomb\.png: has .* megapixels, above the limit of 100;.*--max-megapixels"):
        read_image(path)
    assert time.monotonic() - began < 5


def test_a_real_webp_and_a_tiff_that_pillow_does_not_know(tmp_path):
    """The largest WebP has 268 megapixels; 16-bit colour TIFFs are OpenCV's alone."""
    path = tmp_path / "a.img"
    Image.new("L", (3000, 2000)).save(path, "WEBP", lossless=True)
    with pytest.raises(InputError, match=r"3000 x 2000 pixels, 6 megapixels, above the limit of 5;"):
        read_image(path, 5)
    assert read_image(path, 6).shape[:2] == (2000, 3000)
    colour = np.zeros((20, 30, 3), np.uint16)
    path.write_bytes(cv2.imencode(".tif", colour, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
    assert read_image(path).shape == (20, 30, 3)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HHI", 256, 3, 1))
    data[at : at + 12] = struct.pack("<HHII", 256, 4, 1, 50_000_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"50000000 x 20 pixels"):
        read_image(path)


def test_a_tag_told_twice_and_tiles_count_too(tmp_path):
    def tiff(*tags):
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 8

    path = tmp_path / "a.tif"
    for tags in (((256, 10), (256, 100_000), (257, 100_000)), ((256, 10), (257, 10), (322, 60_000), (323, 60_000))):
        path.write_bytes(tiff(*tags))
        with pytest.raises(InputError, match=r"megapixels, above the limit|broken"):
            read_image(path)


def test_the_limit_is_exact(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((1000, 1000), np.uint8))
    assert read_image(path, 1).shape == (1000, 1000)
    cv2.imwrite(str(path), np.zeros((1000, 1001), np.uint8))
    with pytest.raises(InputError, match=r"1001 x 1000 pixels, 1.001 megapixels"):
        read_image(path, 1)
    assert load_image(path, 8, 1, 2).shape == (8, 8, 1)
    with pytest.raises(InputError, match=r"above the limit of 1;"):
        load_image(path, 8, 1, 1)


def test_a_sparse_file_and_a_pipe_are_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"bytes, more than an image of 100 megapixels"):
        read_image(path)
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"can't be read"):
        read_image(tmp_path / "b.png")


def test_programs_are_not_started_for_an_image(tmp_path):
    """Pillow hands EPS to Ghostscript, and an ICO holds a PNG of any size."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"not an image"):
        read_image(path)
    Image.new("RGB", (16, 16)).save(path, "ICO")
    with pytest.raises(InputError, match=r"not an image"):
        read_image(path)


def test_prepare_lists_bombs_and_its_option_lets_them_in(tmp_path):
    source = tmp_path / "source"
    for i in range(8):
        place = source / ("a", "b")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{i}.png"), np.full((16, 16), 20 * i, np.uint8))
    (source / "a/bomb.png").write_bytes(png(20_000, 20_000))
    cv2.imwrite(str(source / "b/large.png"), np.full((1500, 1500), 77, np.uint8))
    made = prepare("folder", source, tmp_path / "out", PrepareConfig(max_megapixels=2))
    rejected = pd.read_csv(tmp_path / "out/rejected.csv").set_index("file")["reason"]
    assert set(rejected.index) == {"a/bomb.png", "b/large.png"}
    assert rejected["a/bomb.png"].startswith("has 20000 x 20000 pixels, 400 megapixels, above")
    assert len(made.manifest) == 8
    made = prepare("folder", source, tmp_path / "again", PrepareConfig())
    assert len(made.manifest) == 9
    with pytest.raises(InputError, match=r"--max-megapixels 200: .*--image-size"):
        prepare("folder", source, tmp_path / "third", PrepareConfig(max_megapixels=200))
    PrepareConfig(max_megapixels=200, image_size=8)


def test_a_folder_prepared_before_there_was_a_limit_is_the_same(tmp_path):
    import yaml

    source = tmp_path / "source"
    for i in range(8):
        place = source / ("a", "b")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{i}.png"), np.full((16, 16), 20 * i, np.uint8))
    prepare("folder", source, tmp_path / "out", PrepareConfig())
    told = yaml.safe_load((tmp_path / "out/dataset.yaml").read_text())
    assert "max_megapixels" not in told["preparation"]["options"]
    before = (tmp_path / "out/dataset.yaml").stat().st_mtime_ns
    prepare("folder", source, tmp_path / "out", PrepareConfig(max_megapixels=100))
    assert Path(tmp_path / "out/dataset.yaml").stat().st_mtime_ns == before


def test_arrays_of_an_npz_have_the_limit_too(tmp_path):
    images = np.zeros((4, 600, 600), np.uint8)
    images[1:] += np.arange(1, 4, dtype=np.uint8)[:, None, None]
    labels = np.array([[0], [1], [0], [1]], np.uint8)
    arrays = {f"{p}_{k}": v for p in ("train",) for k, v in (("images", images), ("labels", labels))}
    np.savez(tmp_path / "x.npz", **arrays)
    many = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (1, 1200, 1200), (0, 0, 0))
    np.savez_compressed(tmp_path / "y.npz", train_images=many, train_labels=labels[:1])
    config = PrepareConfig(max_megapixels=1, split="100/0/0")
    with pytest.raises(InputError, match=r"y\.npz: each of train_images has 1200 x 1200 pixels"):
        prepare("medmnist", tmp_path / "y.npz", tmp_path / "out", config)
    pickled = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "z.npz", train_images=images, train_labels=pickled)
    with pytest.raises(InputError, match=r"z\.npz: not readable as npz"):
        prepare("medmnist", tmp_path / "z.npz", tmp_path / "out", PrepareConfig())


@pytest.mark.slow
def test_any_bytes_are_an_image_or_an_input_error(tmp_path):
    """Headers cut, changed and mixed."""
    import io
    import random

    drawn, path, told = random.Random(0), tmp_path / "a.png", []
    whole = [png(30, 20), png(30, 20, 3)]
    for kind in ("JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000"):
        target = io.BytesIO()
        Image.fromarray(np.arange(63, dtype=np.uint8).reshape(7, 9)).save(target, kind)
        whole.append(target.getvalue())
    for _ in range(600):
        data = bytearray(drawn.choice(whole))
        for _ in range(drawn.randint(0, 6)):
            data[drawn.randrange(min(len(data), 200))] = drawn.choice((0, 255, drawn.randrange(256)))
        path.write_bytes(data[: drawn.randrange(len(data) + 1)] if drawn.random() < 0.2 else data)
        try:
            image = read_image(path, max_megapixels=4)
            assert image.shape[0] * image.shape[1] <= 4e6
        except InputError as error:
            told.append(str(error))
    assert all(str(path) in text for text in told)


def test_a_header_of_thousands_is_not_told_whole(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"c{i}" for i in range(3000)) + "\n" + ",".join(["1"] * 3000) + "\n")
    with pytest.raises(InputError, match=r"c11 and 2988 more; name the right one") as refused:
        prepare("csv", path, tmp_path / "out", PrepareConfig())
    assert len(str(refused.value)) < 500
