"""The same command again: the same content is the same Dataset, anything else is said and nothing is lost or mixed."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.preparation.claim import SCRATCH
from medimg.preparation.prepare import prepare
from medimg.preparation.source_files import FILE
from tests.command import medimg


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (12, 10), np.uint8))


def folder(root: Path) -> Path:
    for i in range(24):
        draw(root / "ab"[i % 2] / f"{i:02d}.png", i)
    return root


def csv(root: Path) -> Path:
    for i in range(24):
        draw(root / "films" / f"{i:02d}.png", i)
        cv2.imwrite(str(root / "films" / f"m{i:02d}.png"), np.full((12, 10), i % 2, np.uint8))
    rows = [f"films/{i:02d}.png,{'ab'[i % 2]},p{i},films/m{i:02d}.png" for i in range(24)]
    (root / "t.csv").write_text("image,label,patient,mask\n" + "\n".join(rows) + "\n")
    return root / "t.csv"


def table(root: Path) -> Path:
    root.mkdir()
    rows = [f"{i * 1.37:.3f},{'ab'[i % 2]}" for i in range(40)]
    (root / "rows.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
    return root / "rows.csv"


def chestxray14(root: Path) -> Path:
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID"]
    for i in range(24):
        draw(root / "images" / f"{i:08d}_000.png", i)
        lines.append(f"{i:08d}_000.png,{['Mass', 'No Finding'][i % 2]},0,{i}")
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    names = [line.split(",")[0] for line in lines[1:]]
    (root / "train_val_list.txt").write_text("\n".join(names[:18]))
    (root / "test_list.txt").write_text("\n".join(names[18:]))
    return root


def isic(root: Path) -> Path:
    for i in range(24):
        draw(root / "ab"[i % 2] / f"ISIC_{i:07d}.png", i)
    rows = [f"HAM_{i},ISIC_{i:07d}" for i in range(24)]
    (root / "HAM10000_metadata.csv").write_text("lesion_id,image_id\n" + "\n".join(rows) + "\n")
    return root


def medmnist(root: Path) -> Path:
    root.mkdir()
    draw_ = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 20), ("val", 8), ("test", 8)):
        arrays[f"{part}_images"] = draw_.integers(0, 256, (count, 8, 8), np.uint8)
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 2
    np.savez(root / "own.npz", **arrays)
    return root / "own.npz"


def swapped(path: Path, a: str, b: str) -> None:
    path.write_text(path.read_text().replace(a, "\0").replace(b, a).replace("\0", b))


def other_labels(path: Path) -> None:
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"train_labels": 1 - arrays["train_labels"]}))


CHANGES = [
    (folder, lambda path: draw(path / "a" / "00.png", 99), "1 file changed (a/00.png)"),
    (folder, lambda path: (path / "a" / "00.png").rename(path / "b" / "00.png"), "1 file new (b/00.png), 1 file gone"),
    (csv, lambda path: swapped(path, ",a,", ",b,"), "1 file changed (t.csv)"),
    (csv, lambda path: draw(path.parent / "films" / "m03.png", 99), "1 file changed (films/m03.png)"),
    (table, lambda path: swapped(path, ",a", ",b"), "1 file changed (rows.csv)"),
    (
        chestxray14,
        lambda path: swapped(path / "Data_Entry_2017.csv", "Mass", "No Finding"),
        "1 file changed (Data_Entry_2017.csv)",
    ),
    (chestxray14, lambda path: swapped(path / "test_list.txt", "20", "20"), ""),
    (
        chestxray14,
        lambda path: (path / "test_list.txt").write_text((path / "test_list.txt").read_text()[:-17]),
        "1 file changed (test_list.txt)",
    ),
    (isic, lambda path: swapped(path / "HAM10000_metadata.csv", "HAM_1,", "HAM_2,"), "1 file changed (HAM10000"),
    (medmnist, other_labels, "1 file changed (own.npz)"),
]


@pytest.mark.parametrize(("make", "change", "told"), CHANGES, ids=range(len(CHANGES)))
def test_what_a_source_holds_now_decides(make, change, told, tmp_path):
    path, out = make(tmp_path / "set"), tmp_path / "data"
    first = prepare(make.__name__, path, out, PrepareConfig())
    content = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    change(path)
    if told:
        with pytest.raises(InputError) as caught:
            prepare(make.__name__, path, out, PrepareConfig())
        assert told in str(caught.value)
        assert "--overwrite" in str(caught.value)
    else:
        assert prepare(make.__name__, path, out, PrepareConfig()).fingerprint() == first.fingerprint()
        (out / FILE).write_bytes(content[out / FILE])
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == content
    if told:
        again = prepare(make.__name__, path, out, PrepareConfig(), overwrite=True)
        assert again.fingerprint() == prepare(make.__name__, path, tmp_path / "other", PrepareConfig()).fingerprint()
        name = first.manifest["mask"][3] if "m03" in told else "manifest.csv"
        assert (out / name).read_bytes() != content[out / name]


def test_a_touched_file_is_the_same_and_is_read_once(tmp_path, monkeypatch):
    path, out = csv(tmp_path / "set"), tmp_path / "data"
    first = prepare("csv", path, out, PrepareConfig())
    for file in (path, path.parent / "films" / "03.png"):
        os.utime(file, (1e9, 1e9))
    assert prepare("csv", path, out, PrepareConfig()).fingerprint() == first.fingerprint()
    assert json.loads((out / FILE).read_text())["t.csv"][1] == 10**18
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *rest, **more: opened.append(self) or real(self, *rest, **more))
    prepare("csv", path, out, PrepareConfig())
    assert not [file for file in opened if file.suffix == ".png"]


def test_the_command_says_which(tmp_path):
    path, out = csv(tmp_path / "set"), tmp_path / "data"
    told = [medimg("data", "prepare", "csv", path, "--out", out) for _ in range(2)]
    assert [given.exit_code for given in told] == [0, 0]
    assert told[0].output.splitlines()[-1].startswith("prepared 24 images")
    assert told[1].output.splitlines()[-1].startswith("already prepared")
    swapped(path, ",a,", ",b,")
    given = medimg("data", "prepare", "csv", path, "--out", out)
    assert given.exit_code == 2
    assert len(given.output.splitlines()) == 1
    assert "1 file changed (t.csv)" in given.output


def test_what_differs_is_named(tmp_path):
    path, out = folder(tmp_path / "set"), tmp_path / "data"
    prepare("folder", path, out, PrepareConfig())
    with pytest.raises(InputError, match="of another --image-size and --seed"):
        prepare("folder", path, out, PrepareConfig(image_size=8, seed=1))


def test_a_dataset_of_before_is_not_taken_for_what_is_there_now(tmp_path):
    path, out = folder(tmp_path / "set"), tmp_path / "data"
    prepare("folder", path, out, PrepareConfig())
    (out / FILE).unlink()
    with pytest.raises(InputError, match="earlier version, which did not note what its source held"):
        prepare("folder", path, out, PrepareConfig())
    assert len(Dataset.load(out).manifest) == 24


class KilledError(Exception):
    pass


def stopped_after(count: int):
    def progress(done, total):
        if done == count:
            raise KilledError

    return progress


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_preparation_mixes_nothing_old_with_new(seed, tmp_path):
    path, out = csv(tmp_path / "set"), tmp_path / "data"
    with pytest.raises(KilledError):
        prepare("csv", path, out, PrepareConfig(workers=1), None, stopped_after(12))
    assert len((out / SCRATCH / "decoded.jsonl").read_text().splitlines()) > 10
    # An image, a mask and the labels change; one comes whose name shifts others'; one goes.
    draw(path.parent / "films" / "02.png", 99)
    cv2.imwrite(str(path.parent / "films" / "m04.png"), np.full((12, 10), 7, np.uint8))
    draw(path.parent / "films" / "00.jpg", 100)
    swapped(path, ",a,", ",b,")
    lines = path.read_text().splitlines()
    order = np.random.default_rng(seed).permutation(np.arange(1, len(lines) - 1))
    path.write_text("\n".join([lines[0], "films/00.jpg,a,new,", *(lines[i] for i in order)]) + "\n")
    found = prepare("csv", path, out, PrepareConfig(workers=1))
    fresh = prepare("csv", path, tmp_path / "fresh", PrepareConfig(workers=1))
    pd.testing.assert_frame_equal(found.manifest, fresh.manifest)
    for column in ("image", "mask"):
        for name in found.manifest[column]:
            if name:
                np.testing.assert_array_equal(read_image(out / name), read_image(fresh.root / name))


def test_names_that_shift_to_and_fro(tmp_path):
    path, out = folder(tmp_path / "set"), tmp_path / "data"
    twin = path / "a" / "00.jpg"
    states = [False, True, False]
    for there in states:
        draw(twin, 77) if there else twin.unlink(missing_ok=True)
        with pytest.raises(KilledError):
            prepare("folder", path, out, PrepareConfig(workers=1), None, stopped_after(24 + there))
    found = prepare("folder", path, out, PrepareConfig())
    for row in found.manifest.itertuples():
        np.testing.assert_array_equal(read_image(out / row.image), read_image(path / row.source_file))


@pytest.mark.parametrize("content", ["", "7", "[", "a: &a [*a]"])
def test_a_damaged_note_of_what_was_begun_is_told_in_a_line(tmp_path, content):
    source, out = folder(tmp_path / "films"), tmp_path / "out"
    (out / SCRATCH).mkdir(parents=True)
    (out / SCRATCH / "options.yaml").write_text(content)
    with pytest.raises(InputError, match=r"options\.yaml: "):
        prepare("folder", source, out, PrepareConfig())
    assert (out / SCRATCH / "options.yaml").read_text() == content
    assert len(prepare("folder", source, out, PrepareConfig(), overwrite=True).manifest) == 24
