"""From files to a Dataset: pixels, parts, duplicates, resuming; on small sets and on real samples."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import byte_hash, pixel_hash, read_image
from medimg.data.leakage import find_leakage
from medimg.data.resizing import resize
from medimg.data.splits import parts_note
from medimg.errors import InputError
from medimg.phantom.config import PhantomConfig
from medimg.preparation.claim import SCRATCH
from medimg.preparation.decoding import unique_names
from medimg.preparation.prepare import prepare
from tests.command import medimg

KERMANY = r"(person\d+|IM-\d+|NORMAL2-IM-\d+)"
DRAW = np.random.default_rng(0)


def draw(path: Path, image: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), DRAW.integers(0, 256, (12, 10), np.uint8) if image is None else image)


def folders(root: Path, count: int = 20) -> Path:
    for name in ("a", "b"):
        for i in range(count):
            draw(root / name / f"{name}{i:02d}.png")
    return root


def rejected(out: Path) -> dict[str, str]:
    table = pd.read_csv(out / "rejected.csv")
    return dict(zip(table["file"], table["reason"], strict=True))


def split_of(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.manifest["source_file"], dataset.manifest["split"], strict=True))


def test_images_manifest_and_hashes(tmp_path):
    source = folders(tmp_path / "set", 10)
    colour, deep = (DRAW.integers(0, 256, (9, 7, 3), np.uint8), DRAW.integers(0, 65536, (9, 7), np.uint16))
    draw(source / "a" / "colour.png", colour)
    draw(source / "b" / "deep one.png", deep)
    draw(source / "b" / "idle.png", np.repeat(colour[:, :, :1], 3, 2))
    steps = []
    dataset = prepare("folder", source, tmp_path / "data", PrepareConfig(), None, lambda *step: steps.append(step))
    assert steps == [(i + 1, 23) for i in range(23)]
    again = Dataset.load(tmp_path / "data")
    pd.testing.assert_frame_equal(again.manifest, dataset.manifest)
    rows = again.manifest.set_index("source_file")
    images = {key: read_image(again.root / rows["image"][key]) for key in rows.index}
    np.testing.assert_array_equal(images["a/colour.png"], colour[:, :, ::-1])
    np.testing.assert_array_equal(images["b/deep one.png"], deep)
    np.testing.assert_array_equal(images["b/idle.png"], colour[:, :, 0])
    assert rows["image"]["b/deep one.png"] == "images/b/deep_one.png"
    for key, row in rows.iterrows():
        assert row["pixels"] == pixel_hash(images[key])
        assert row["bytes"] == byte_hash((again.root / row["image"]).read_bytes())
    assert not (again.root / SCRATCH).exists()
    assert rejected(again.root) == {}


def test_boxes_and_masks_scale_with_the_image(tmp_path):
    for i in range(6):
        draw(tmp_path / f"{i}.png")
        mask = np.zeros((12, 10), np.uint8)
        mask[3:6, 5:10] = 2
        draw(tmp_path / f"m{i}.png", mask)
    rows = [f"{i}.png,{'ab'[i % 2]},{i % 3},5|0,3|6,5|10,3|6,m{i}.png" for i in range(6)]
    (tmp_path / "t.csv").write_text("image,label,patient,x,y,width,height,mask\n" + "\n".join(rows))
    dataset = prepare("csv", tmp_path / "t.csv", tmp_path / "data", PrepareConfig(image_size=20))
    row = dataset.manifest.iloc[0]
    assert (row["x"], row["y"], row["width"], row["height"]) == ("10|0", "5|10", "10|20", "5|10")
    mask = read_image(dataset.root / row["mask"])
    assert mask.shape == (20, 20)
    assert (mask[5:10, 10:] == 2).all()
    assert (mask == 2).sum() == 50
    source = read_image(tmp_path / row["source_file"])
    np.testing.assert_array_equal(read_image(dataset.root / row["image"]), resize(source, 20))


def test_names_are_unique_on_every_file_system():
    names = unique_names(["a/x.png", "a/x.jpg", "A/X.png", "../a/x.tif", "ü b(1).png", "..", "p.1.png"])
    assert names[:4] == ["images/a/x.png", "images/a/x-2.png", "images/A/X-3.png", "images/a/x-4.png"]
    assert names[4:] == ["images/ü_b(1).png", "images/image.png", "images/p.1.png"]


def test_a_class_that_breaks_whole_is_an_error(tmp_path):
    source = folders(tmp_path / "set", 3)
    for file in (source / "b").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"class 'b': no image could be read .*rejected.csv"):
        prepare("folder", source, tmp_path / "data", PrepareConfig())
    assert len(rejected(tmp_path / "data")) == 3
    assert not (tmp_path / "data" / "dataset.yaml").exists()


def test_group_by_another_column_keeps_patients_whole_too(tmp_path):
    rows = []
    for i in range(60):
        draw(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},p{i // 2},ward{i // 6}")
    (tmp_path / "t.csv").write_text("image,label,patient,ward\n" + "\n".join(rows))
    dataset = prepare("csv", tmp_path / "t.csv", tmp_path / "data", PrepareConfig(group_by="ward"))
    assert (dataset.manifest.groupby("ward")["split"].nunique() == 1).all()
    with pytest.raises(InputError, match="--group-by city: no such column; there are image, label, patient"):
        prepare("csv", tmp_path / "t.csv", tmp_path / "other", PrepareConfig(group_by="city"))


# --- official parts


def official(root: Path) -> Path:
    for part, count in (("train", 20), ("test", 5)):
        for name in ("a", "b"):
            for i in range(count):
                draw(root / part / name / f"{part}{i:02d}_{name}.png")
    return root


def test_official_parts_stay_and_val_is_carved(tmp_path):
    dataset = prepare("folder", official(tmp_path / "set"), tmp_path / "data", PrepareConfig(split="official"))
    parts = split_of(dataset)
    assert {part for key, part in parts.items() if key.startswith("test/")} == {"test"}
    assert len(dataset.rows("val")) == 6
    assert dataset.rows("val")["label"].value_counts().to_dict() == {"a": 3, "b": 3}
    assert any("no official val" in note for note in dataset.preparation["notes"])


def test_official_parts_are_the_default(tmp_path):
    source = official(tmp_path / "set")
    default = prepare("folder", source, tmp_path / "data", PrepareConfig())
    named = prepare("folder", source, tmp_path / "named", PrepareConfig(split="official"))
    pd.testing.assert_frame_equal(default.manifest, named.manifest)
    assert default.preparation["split"] == "official"
    notes = default.preparation["notes"]
    assert any("the source's own parts are kept (train 40, test 10)" in note for note in notes)
    assert any("no official val: 15% of the training part, by patient" in note for note in notes)


def test_parts_drawn_anew_are_said_to_be_so(tmp_path):
    source = official(tmp_path / "set")
    anew = prepare("folder", source, tmp_path / "data", PrepareConfig(split="70/15/15"))
    assert {split_of(anew)[f"test/a/test{i:02d}_a.png"] for i in range(5)} != {"test"}
    assert any(note.startswith("not the official test part") for note in anew.preparation["notes"])
    assert parts_note(Dataset.load(anew.root).preparation)[0].startswith("not the official test part")
    drawn = prepare("folder", folders(tmp_path / "other"), tmp_path / "drawn", PrepareConfig())
    assert drawn.preparation["split"] == "drawn"
    assert not any("official" in note for note in drawn.preparation["notes"])
    assert parts_note(drawn.preparation) == []
    with pytest.raises(InputError, match="--split-draw lot: official parts are not drawn"):
        prepare("folder", source, tmp_path / "lot", PrepareConfig(split_draw="lot"))
    lot = PrepareConfig(split="70/15/15", split_draw="lot")
    assert prepare("folder", source, tmp_path / "lot", lot).preparation["split"] == "drawn anew"


def test_counts_say_what_they_count(tmp_path):
    for i in range(40):
        draw(tmp_path / f"{i}.png")
    rows = [f"{i}.png,{'ab'[i % 2]},p{i // 2},{('train', 'test')[i > 29]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("image,label,patient,split\n" + "\n".join(rows))
    command = ("data", "prepare", "csv", tmp_path / "t.csv", "--split", "70/15/15", "--out", tmp_path / "data")
    for output in (medimg(*command).output, medimg("data", "inspect", tmp_path / "data").output):
        assert "14 of 20 patients are in training, 3 in validation, 3 in test; 28, 6 and 6 of 40 images" in output
        assert "not the official test part" in output


def test_official_parts_patients_in_two_stay_in_test(tmp_path):
    source = official(tmp_path / "set")
    for name in ("train/a/test00_a.png", "train/b/test00_a_again.png"):
        draw(source / name)
    config = PrepareConfig(split="official", patient_pattern=r"((train|test)\d+_[ab])")
    dataset = prepare("folder", source, tmp_path / "data", config)
    assert split_of(dataset)["test/a/test00_a.png"] == "test"
    assert len(dataset.rows("test")) == 10
    assert rejected(dataset.root) == {
        "train/a/test00_a.png": "patient test00_a is in test too",
        "train/b/test00_a_again.png": "patient test00_a is in test too",
    }
    assert not find_leakage(dataset)
    assert {p.name for p in (dataset.root / "images").rglob("test00_a*.png")} == {"test00_a.png"}


def test_official_parts_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="--split official: the source gives no parts"):
        prepare("folder", folders(tmp_path / "set", 3), tmp_path / "data", PrepareConfig(split="official"))


# --- duplicates


@pytest.fixture
def copies(tmp_path):
    """Copies within train, across parts, and under two labels."""
    source = official(tmp_path / "set")
    for name, copy in (
        ("train/a/train00_a.png", "train/a/same_part.png"),
        ("test/a/test01_a.png", "train/a/across.png"),
        ("train/b/train02_b.png", "train/a/conflict.png"),
    ):
        (source / copy).write_bytes((source / name).read_bytes())
    return source


def test_duplicates_stop_with_a_list_and_go_on_by_option(copies, tmp_path):
    with pytest.raises(InputError, match="2 groups of identical images") as error:
        prepare("folder", copies, tmp_path / "data", PrepareConfig(split="official"))
    assert "duplicates.csv" in str(error.value)
    assert "--on-duplicates" in str(error.value)
    listed = pd.read_csv(tmp_path / "data" / "duplicates.csv")
    assert set(listed["problem"]) == {"several parts", "conflicting labels"}
    assert len(listed) == 4
    dataset = prepare("folder", copies, tmp_path / "data", PrepareConfig(split="official", on_duplicates="drop"))
    gone = rejected(dataset.root)
    assert set(gone) == {"train/a/across.png", "train/a/conflict.png", "train/b/train02_b.png"}
    assert gone["train/a/across.png"] == "identical to test/a/test01_a.png"
    assert "labelled both a and b" in gone["train/a/conflict.png"]
    assert not find_leakage(dataset)
    # Harmless in one part, but never torn apart when val is carved out of it.
    parts = split_of(dataset)
    assert parts["train/a/same_part.png"] == parts["train/a/train00_a.png"]


@pytest.mark.parametrize("split", ["70/15/15", "official"])
def test_duplicates_grouped_are_one_patient(copies, tmp_path, split):
    dataset = prepare("folder", copies, tmp_path / "data", PrepareConfig(split=split, on_duplicates="group"))
    assert {"train/a/conflict.png", "train/b/train02_b.png"} <= set(rejected(dataset.root))
    assert not find_leakage(dataset)
    rows = dataset.manifest.set_index("source_file")
    assert ("train/a/across.png" in rows.index) == (split != "official")
    if split != "official":
        for one, other in (
            ("test/a/test01_a.png", "train/a/across.png"),
            ("train/a/train00_a.png", "train/a/same_part.png"),
        ):
            assert rows["patient"][one] == rows["patient"][other]
            assert rows["split"][one] == rows["split"][other]
            assert {rows["patient_given"][one], rows["patient_given"][other]} == {one, other}


# --- folders that are taken, killed runs


def test_a_finished_dataset_is_not_made_again(tmp_path):
    source = folders(tmp_path / "set", 5)
    first = prepare("folder", source, tmp_path / "data", PrepareConfig())
    before = (tmp_path / "data" / "manifest.csv").stat().st_mtime_ns
    again = prepare("folder", source, tmp_path / "data", PrepareConfig(workers=1))
    assert again.fingerprint() == first.fingerprint()
    assert (tmp_path / "data" / "manifest.csv").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds another Dataset"):
        prepare("folder", source, tmp_path / "data", PrepareConfig(seed=1))
    other = prepare("folder", source, tmp_path / "data", PrepareConfig(image_size=5), overwrite=True)
    assert read_image(other.paths(other.manifest)[0]).shape == (5, 5)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    source = folders(tmp_path / "set", 3)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no Dataset"):
            prepare("folder", source, source, PrepareConfig(), overwrite=overwrite)
    assert len(list(source.rglob("*.png"))) == 6
    dataset = prepare("folder", source, tmp_path / "data", PrepareConfig())
    with pytest.raises(InputError, match="does not exist"):
        prepare("folder", tmp_path / "typo", dataset.root, PrepareConfig(), overwrite=True)
    assert Dataset.load(dataset.root).fingerprint() == dataset.fingerprint()


def test_a_killed_preparation_goes_on(tmp_path):
    source = folders(tmp_path / "set", 200)
    script = """
        import sys, time
        from pathlib import Path
        from medimg.config import PrepareConfig
        from medimg.preparation.prepare import prepare
        prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]), PrepareConfig(), None, lambda *_: time.sleep(0.02))
    """
    out = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), source, out], cwd=Path(__file__).parents[3]
    )
    journal = out / SCRATCH / "decoded.jsonl"
    deadline = time.time() + 60
    while not (journal.is_file() and len(journal.read_text().splitlines()) > 30) and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "dataset.yaml").exists()
    # A line cut off in the middle, and an image whose line is there but whose file is not.
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines) + '\n["a/a19')
    written = {path: path.stat().st_mtime_ns for path in sorted((out / "images").rglob("a*.png"))[:30]}
    gone = next(iter(written))
    gone.unlink()
    with pytest.raises(InputError, match="unfinished preparation of another image size"):
        prepare("folder", source, out, PrepareConfig(image_size=8))
    dataset = prepare("folder", source, out, PrepareConfig())
    assert all(path.stat().st_mtime_ns == then for path, then in written.items() if path != gone)
    whole = prepare("folder", source, tmp_path / "whole", PrepareConfig())
    assert dataset.fingerprint() == whole.fingerprint()
    assert {p.relative_to(out) for p in out.rglob("*")} == {p.relative_to(whole.root) for p in whole.root.rglob("*")}


# --- real samples


@pytest.mark.slow
def test_kermany_official_has_no_patient_in_two_parts(medical_data, tmp_path):
    source = medical_data / "kermany_chest_xray_224" / "chest_xray"
    config = PrepareConfig(split="official", patient_pattern=KERMANY, image_size=32)
    dataset = prepare("folder", source, tmp_path / "data", config)
    assert (dataset.manifest.groupby("patient")["split"].nunique() == 1).all()
    files = sum(1 for _ in (source / "test").rglob("*.jpeg"))
    assert len(dataset.rows("test")) == files
    assert len(dataset.manifest) + len(rejected(dataset.root)) == sum(1 for _ in source.rglob("*.jpeg"))
    assert not find_leakage(dataset)


@pytest.mark.slow
def test_isic_conflicts_are_listed_by_file(medical_data, tmp_path):
    source = medical_data / "isic_9class_180"
    with pytest.raises(InputError, match=r"groups of identical images .*with conflicting labels.*duplicates.csv"):
        prepare("isic", source, tmp_path / "data", PrepareConfig(split="official"))
    listed = pd.read_csv(tmp_path / "data" / "duplicates.csv")
    same = {tuple(sorted(group["source_file"])) for _, group in listed.groupby("group")}
    assert ("Test/actinic keratosis/ISIC_0024470.jpg", "Train/nevus/ISIC_0024470.jpg") in same
    dataset = prepare("isic", source, tmp_path / "data", PrepareConfig(split="official", on_duplicates="drop"))
    assert not find_leakage(dataset)


def test_chestxray14_boxes_scale_from_their_own_frame(medical_data, tmp_path):
    config = PrepareConfig(image_size=128)
    dataset = prepare("chestxray14", medical_data / "nih_chestxray14", tmp_path / "data", config)
    row = dataset.manifest[dataset.manifest["source_file"] == "images/00000193_019.png"].iloc[0]
    box = [float(row[name]) for name in ("x", "y", "width", "height")]
    assert box == pytest.approx([703.715555 / 8, 616.997934 / 8, 218.453333 / 8, 249.173333 / 8], abs=1e-3)


def test_pneumoniamnist_shared_images(medical_data, tmp_path):
    source = medical_data / "medmnist" / "pneumoniamnist.npz"
    with pytest.raises(InputError, match="2 with several parts"):
        prepare("medmnist", source, tmp_path / "data", PrepareConfig(split="official"))
    config = PrepareConfig(split="official", on_duplicates="drop")
    dataset = prepare("medmnist", source, tmp_path / "data", config)
    with np.load(source) as arrays:
        assert len(dataset.rows("test")) == len(arrays["test_images"])
        assert len(dataset.rows("val")) == len(arrays["val_images"])
        assert len(dataset.rows("train")) == len(arrays["train_images"]) - 2
    assert not find_leakage(dataset)


def test_phantom_is_the_same_with_any_number_of_threads(tmp_path):
    phantom = PhantomConfig(patients=12, phantom_size=64)
    one = prepare("phantom", None, tmp_path / "one", PrepareConfig(workers=1), phantom)
    three = prepare("phantom", None, tmp_path / "three", PrepareConfig(workers=3), phantom)
    assert one.fingerprint() == three.fingerprint()
    for name in one.manifest["mask"][one.manifest["mask"] != ""]:
        assert (one.root / name).read_bytes() == (three.root / name).read_bytes()
