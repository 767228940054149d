"""What is written is what is read back: names that files, spreadsheets, YAML and pandas would each take for another."""

import csv
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.manifest import read_images
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.untrusted.csv_cells import read_csv

WORDS = [
    *("None", "NA", "N/A", "nan", "null", "no", "yes", "on", "True", "~", "1", "0", "1.5", "007", "0x1F", "1e5", "inf"),
    *(
        "2020-01-01",
        "12:30",
        "=1+1",
        "+x",
        "-",
        "@a",
        "'=a",
        "''",
        '"q"',
        "a,b",
        "a;b",
        "a\tb",
        "a\nb",
        "a\rb",
        "\r\nb",
    ),
    *(
        " lead",
        "trail ",
        "in  side",
        "\u00a0hard",
        "\u00fc",
        "u\u0308",
        "\u65e5\u672c",
        "\U0001f642",
        "\u2028",
        "\ufeffm",
    ),
    *(
        "# c",
        "- item",
        "a: b",
        "{x}",
        "[y]",
        "%tag",
        "&anchor",
        "*alias",
        "!tag",
        "back\\slash",
        "\x85",
        "\x1b[31m",
        "\x7f",
    ),
    *("x" * 120, "\u00e9" * 60, "row", "image", "test", "s3", "...", "`", "$HOME", "<b>", "p_a"),
]
REPEATS = 8


def plain(name):
    return unicodedata.normalize("NFC", name).strip()


def names(draw, count, refused=lambda name: False):
    """Different names, also without regard to case, of one to three of the words."""
    found = {}
    while len(found) < count:
        name = "".join(draw.choice(np.array(WORDS, object), draw.integers(1, 4)))
        if plain(name) and not refused(name):
            found.setdefault(plain(name).casefold(), name)
    return list(found.values())


def picture(path: Path, i: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.random.default_rng(i).integers(0, 255, (4, 4), np.uint8))[1].tobytes())


def same(made: Dataset) -> Dataset:
    """The Dataset read again, when it is the one that was made, and is so again when it is written once more."""
    read = Dataset.load(made.root)
    assert read.classes == made.classes
    for column in made.manifest:
        left, right = read.manifest[column], made.manifest[column]
        if column in ("label", "patient", "site", "split", made.unit, "source_file"):
            assert list(left) == list(right), column
    fingerprint = read.fingerprint()
    read.save()
    assert Dataset.load(made.root).fingerprint() == fingerprint
    return read


@pytest.mark.parametrize("seed", range(REPEATS))
def test_folders_and_files_of_any_name(tmp_path, seed):
    def refused(name):
        return "/" in name or len(name.encode()) > 250 or name.startswith(".") or plain(name).lower() == "test"

    draw = np.random.default_rng(seed)
    classes = names(draw, 3, refused)
    files = names(draw, 24, refused)
    for i, name in enumerate(files):
        picture(tmp_path / "set" / classes[i % 3] / f"{name}.png", i)
    read = same(prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig()))
    assert set(read.classes) == set(map(plain, classes))
    assert all(path.is_file() for path in read.paths(read.manifest))
    given = {f"{classes[i % 3]}/{name}.png": plain(classes[i % 3]) for i, name in enumerate(files)}
    assert dict(zip(read.manifest["source_file"], read.manifest["label"], strict=True)) == given


@pytest.mark.parametrize("seed", range(REPEATS))
@pytest.mark.parametrize("source", ["csv", "table"])
def test_tables_of_any_name(tmp_path, seed, source):
    # A label of these words is none, in a table as people write it.
    missing = ("", "?", "na", "n/a", "nan", "null", "-", ".")
    draw = np.random.default_rng(seed)
    classes = names(draw, 3, lambda name: plain(name).lower() in missing)
    patients = names(draw, 30, lambda name: plain(name).lower() in set(missing) - {"na"})
    sites = ["NA", *names(draw, 2, lambda name: plain(name).lower() in missing)]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        table.writerow(["image", "label", "patient", "site", "ward", "age"])
        for i, patient in enumerate(patients):
            picture(tmp_path / f"{i}.png", i)
            table.writerow([f"{i}.png", classes[i % 3], patient, sites[i % 3], classes[i % 3], 20.5 + 7 * i])
    options = {} if source == "csv" else {"column_type": {"ward": "categorical"}}
    config = PrepareConfig(label_separator="none", **options)
    read = same(prepare(source, tmp_path / "t.csv", tmp_path / "data", config))
    assert set(read.classes) == set(map(plain, classes))
    order = [int(Path(name).stem) for name in read.manifest["source_file" if source == "csv" else "source_image"]]
    assert list(read.manifest["patient"]) == [plain(patients[i]) for i in order]
    assert list(read.manifest["site"]) == [plain(sites[i % 3]) for i in order]
    assert list(read.manifest["age"]) == [20.5 + 7 * i for i in order]


def test_names_as_long_as_a_file_system_takes(tmp_path):
    for i in range(24):
        picture(tmp_path / "set" / "ab"[i % 2] / f"{'x' * 249}{i:02d}.png", i)
        if i == 0:
            (tmp_path / "set" / "a" / f"{'x' * 249}{i:02d}.png").rename(tmp_path / "set" / "a" / ("y" * 251 + ".png"))
    read = same(prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig()))
    assert len(read.manifest) == 24
    assert max(len(Path(name).name.encode()) for name in read.manifest["image"]) == 255
    assert all(path.is_file() for path in read.paths(read.manifest))


def test_file_names_that_are_no_unicode(tmp_path):
    for i in range(24):
        picture(
            Path(os.fsdecode(os.fsencode(tmp_path) + (b"/set/caf\xe9/", b"/set/tea/")[i % 2] + b"\xff%d.png" % i)), i
        )
    (tmp_path / "set" / "tea" / os.fsdecode(b"\xfe.txt")).write_text("x")
    read = same(prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig()))
    assert read.classes == ("caf?", "tea")
    assert "?.txt" in read.preparation["notes"][0]


def test_classes_that_yaml_would_take_for_something_else(tmp_path):
    words = ["no", "yes", "1", "010", "null", "1.0", "2020-01-01", "~"]
    rows = [(f"{i}.png", word, f"p{i}", "", "train") for i, word in enumerate(words)]
    table = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    atomic.write_csv(tmp_path / "manifest.csv", table)
    description = f"name: on\ntask: multiclass\nclasses: [{', '.join(words)}]\n"
    (tmp_path / "dataset.yaml").write_text(description)
    read = Dataset.load(tmp_path)
    assert read.classes == tuple(words)
    assert read.name == "on"
    assert list(read.targets(read.manifest)) == list(range(len(words)))


def test_metadata_are_numbers_or_the_text_that_was_written(tmp_path):
    numbers = np.random.default_rng(0).normal(0, 10, 6)
    written = {
        "zip": ["01883", "02139", "00501", "10001", "", "94110"],
        "view": ["AP", "None", "NA", "", "null", "PA"],
        "dose": numbers,
        "age": ["61", "NA", "", "5", "40", "?"],
        "visits": range(6),
        "empty": "",
    }
    roles = {"image": [f"{i}.png" for i in range(6)], "label": "a", "patient": "p", "site": "NA", "split": "train"}
    atomic.write_csv(tmp_path / "manifest.csv", pd.DataFrame({**roles, **written}))
    read = read_images(tmp_path / "manifest.csv")
    assert list(read["zip"].fillna("")) == written["zip"]
    assert list(read["view"].fillna("")) == written["view"]
    # pandas' own reading of a decimal, as fingerprints of Datasets have always had it.
    np.testing.assert_allclose(read["dose"], numbers, rtol=1e-15)
    np.testing.assert_array_equal(read["age"], [61, np.nan, np.nan, 5, 40, np.nan])
    assert read["visits"].dtype == np.int64
    assert read["empty"].isna().all()
    assert set(read["site"]) == {"NA"}


def test_every_file_of_ours_keeps_line_ends_and_words_for_nothing(tmp_path):
    table = pd.DataFrame({"p_a\rb": ["x\ry", "None"], "site": ["NA", "a\r\nb"], "n": [np.nan, 0.1]})
    atomic.write_csv(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), table)


@pytest.mark.parametrize("name", ["a|b", "A ", "\u00e9"])
def test_classes_without_a_name_of_their_own_are_refused(tmp_path, name):
    for i, folder in enumerate(("A", "e\u0301", name)):
        picture(tmp_path / "set" / folder / f"{i}.png", i)
    with pytest.raises(InputError, match=r"class '.*give it another"):
        prepare("folder", tmp_path / "set", tmp_path / "data", PrepareConfig())
