"""Folders as people have them: a server's thumbnails, links, long names, damaged files, detectors of 12 bits."""

import io
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medimg.config import PrepareConfig
from medimg.data.decoder_warnings import collected
from medimg.data.imaging import read_image
from medimg.data.intensity import to_full_scale
from medimg.errors import InputError
from medimg.preparation import decoding
from medimg.preparation.decoding import as_prepared
from medimg.preparation.prepare import prepare

SYSTEM = ("@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", ".cache")


def pixels(seed: int, high: int = 256, kind=np.uint8, size: int = 32) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, high, (6, 6)).astype(np.float32)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, high - 1).astype(kind)


def draw(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def classes(root: Path, count: int = 24, end: str = ".png", seed: int = 0, **more) -> Path:
    for i in range(count):
        draw(root / "ab"[i % 2] / f"{i:02d}{end}", pixels(seed + i, **more))
    return root


def listed(out: Path, name: str = "rejected.csv") -> dict[str, str]:
    table = pd.read_csv(out / name)
    return dict(zip(*(table[column] for column in table), strict=True))


@pytest.mark.parametrize("parts", [False, True])
def test_what_systems_keep_is_no_patient(parts, tmp_path):
    root = tmp_path / "set"
    seeds = {root / "train": 0, root / "test": 100} if parts else {root: 0}
    holders = [classes(holder, 16, seed=seed) for holder, seed in seeds.items()]
    plain = prepare("folder", root, tmp_path / "plain", PrepareConfig())
    for holder in holders:
        for name in SYSTEM:
            # Beside the classes, in a class, and deeper: as a NAS does it, a folder for each image.
            for place in (holder, holder / "a", holder / "b" / "deep"):
                draw(place / name / "00.png" / "SYNOPHOTO_THUMB_M.jpg", pixels(77))
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._00.png"):
            (holder / "a" / name).write_bytes(b"x")
    found = prepare("folder", root, tmp_path / "data", PrepareConfig())
    pd.testing.assert_frame_equal(found.manifest, plain.manifest)
    left_out = listed(found.root)
    assert sum("folder of the system's" in reason for reason in left_out.values()) == 3 * len(SYSTEM) * len(holders)
    assert sum("file of the system's" in reason for reason in left_out.values()) == 4 * len(holders)
    notes = " ".join(found.preparation["notes"])
    assert f"{3 * len(SYSTEM) * len(holders)} folders left out and listed in rejected.csv" in notes
    assert f"{4 * len(holders)} files left out" in notes


@pytest.mark.parametrize("parts", [False, True])
def test_a_dataset_that_lies_in_its_source_is_no_class_of_it(parts, tmp_path):
    root = tmp_path / "set"
    for seed, holder in enumerate((root / "train", root / "test") if parts else (root,)):
        classes(holder, 16, seed=100 * seed)
    options = PrepareConfig(image_size=16)
    first = prepare("folder", root, root / "made", options)
    prepare("folder", root, root / ("train/a" if parts else "a") / "made", options)
    again = prepare("folder", root, tmp_path / "data", options)
    assert again.classes == ("a", "b")
    pd.testing.assert_frame_equal(again.manifest, first.manifest)
    reasons = [why for why in listed(again.root).values() if why.startswith("a prepared Dataset")]
    assert len(reasons) == 2


def test_links_that_lead_back_end(tmp_path):
    root = classes(tmp_path / "set")
    plain = prepare("folder", root, tmp_path / "plain", PrepareConfig())
    (root / "a" / "all").symlink_to("..")
    (root / "again").symlink_to(".")
    (root / "b" / "deep").mkdir()
    (root / "b" / "deep" / "up").symlink_to(root / "b")
    found = prepare("folder", root, tmp_path / "data", PrepareConfig())
    pd.testing.assert_frame_equal(found.manifest, plain.manifest)
    assert {file for file, reason in listed(found.root).items() if "it lies in" in reason} == {
        "a/all",
        "again",
        "b/deep/up",
    }
    # A link that leads elsewhere is followed as before.
    (tmp_path / "elsewhere").symlink_to(root / "a")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "linked" / "b").symlink_to(root / "b")
    assert len(prepare("folder", tmp_path / "linked", tmp_path / "third", PrepareConfig()).manifest) == 24


def test_nothing_but_a_loop_is_an_error(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "again").symlink_to(".")
    with pytest.raises(InputError, match="holds no class folders"):
        prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig())


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_that_fill_a_file_systems_room(letter, tmp_path):
    name = letter * (246 // len(letter.encode()))
    for i in range(12):
        draw(tmp_path / "set" / "ab"[i % 2] / f"{i:02d}{name}.png", pixels(i))
    found = prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig())
    assert len(found.manifest) == 12
    for row in found.manifest.itertuples():
        np.testing.assert_array_equal(
            read_image(found.root / row.image), read_image(tmp_path / "set" / row.source_file)
        )


def half_zero(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : -2] = bytes(len(data) - 2 - len(data) // 2)
    path.write_bytes(data)


def test_a_damaged_jpeg_is_kept_and_listed(tmp_path, capfd):
    root = classes(tmp_path / "set", end=".jpg", size=96)
    for i in range(4):
        half_zero(root / "ab"[i % 2] / f"{i:02d}.jpg")
    found = prepare("folder", root, tmp_path / "data", PrepareConfig())
    assert len(found.manifest) == 24
    assert set(listed(found.root, "warnings.csv")) == {"a/00.jpg", "b/01.jpg", "a/02.jpg", "b/03.jpg"}
    assert all("Corrupt JPEG data" in warning for warning in listed(found.root, "warnings.csv").values())
    assert any(note.startswith("4 images are damaged") for note in found.preparation["notes"])
    # It is said by us, not by the decoder in the middle of what we print.
    assert "Corrupt" not in capfd.readouterr().err
    # The pixels are what a reader without warnings gives.
    np.testing.assert_array_equal(
        read_image(found.root / found.manifest["image"][0]), read_image(root / found.manifest["source_file"][0])
    )


def test_only_decoders_are_listened_to(capfd):
    warnings: list[str] = []
    go = threading.Event()

    def talk() -> None:
        go.wait()
        os.write(2, b"epoch 3\n")
        os.write(2, b"Corrupt JPEG data: bad Huffman code\n")

    thread = threading.Thread(target=talk)
    thread.start()
    with collected(warnings):
        go.set()
        thread.join()
    assert warnings == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "epoch 3\n"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "BMP"])
def test_other_damaged_files_are_left_out(form, tmp_path):
    file = io.BytesIO()
    Image.fromarray(pixels(0, size=96)).save(file, form)
    path = tmp_path / f"a.{form.lower()}"
    data = file.getvalue()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        read_image(path)


def deep(root: Path, high: int) -> Path:
    classes(root, high=high, kind=np.uint16)
    draw(root / "a" / "eight.png", pixels(90))
    return root


@pytest.mark.parametrize("size", [None, 20])
def test_twelve_bits_are_found_in_the_whole_set(size, tmp_path):
    found = prepare("folder", deep(tmp_path / "set", 4096), tmp_path / "data", PrepareConfig(image_size=size))
    assert found.preparation["white"] == 4095
    assert any("taken for 12 bits" in note for note in found.preparation["notes"])
    for row in found.manifest.itertuples():
        image, source = read_image(found.root / row.image), read_image(tmp_path / "set" / row.source_file)
        np.testing.assert_array_equal(image, as_prepared(source, size, 4095))
        if size is None and source.dtype == np.uint16:
            np.testing.assert_allclose(image / 65535, source / 4095, atol=1e-5)
    again = prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig(image_size=size))
    assert again.fingerprint() == found.fingerprint()


def test_one_brighter_image_says_that_the_bits_are_sixteen(tmp_path):
    root = deep(tmp_path / "set", 4096)
    draw(root / "b" / "bright.png", pixels(5, high=5000, kind=np.uint16) + 100)
    found = prepare("folder", root, tmp_path / "data", PrepareConfig())
    assert found.preparation["white"] is None
    for row in found.manifest.itertuples():
        np.testing.assert_array_equal(read_image(found.root / row.image), read_image(root / row.source_file))


@pytest.mark.parametrize("intensity", ["full", "max"])
def test_intensity_as_told(intensity, tmp_path):
    root = deep(tmp_path / "set", 4096)
    found = prepare("folder", root, tmp_path / "data", PrepareConfig(intensity=intensity))
    for row in found.manifest.itertuples():
        image, source = read_image(found.root / row.image), read_image(root / row.source_file)
        if intensity == "full":
            np.testing.assert_array_equal(image, source)
        else:
            assert image.max() == np.iinfo(image.dtype).max
            np.testing.assert_allclose(image / image.max(), source / source.max(), atol=1 / 255)
        np.testing.assert_array_equal(image, as_prepared(source, None, found.preparation["white"]))


def test_a_kill_while_values_are_stretched_stretches_none_twice(tmp_path, monkeypatch):
    root, done = deep(tmp_path / "set", 4096), []
    real = decoding._scale_one

    def dying(out, item):
        done.append(real(out, item))
        if len(done) > 5:
            raise KeyboardInterrupt
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_scale_one", dying)
        with pytest.raises(KeyboardInterrupt):
            prepare("folder", root, tmp_path / "data", PrepareConfig(workers=1))
    found = prepare("folder", root, tmp_path / "data", PrepareConfig(workers=1))
    assert found.fingerprint() == prepare("folder", root, tmp_path / "fresh", PrepareConfig()).fingerprint()


def test_stretching_by_hand():
    image = np.array([[0, 1, 4095, 5000]], np.uint16)
    assert to_full_scale(image, 4095).tolist() == [[0, 16, 65535, 65535]]
    assert to_full_scale(image, 65535) is image
    assert to_full_scale(np.array([[0, 51]], np.uint8), 0).tolist() == [[0, 255]]
    assert to_full_scale(np.zeros((2, 2), np.uint8), 0).max() == 0
