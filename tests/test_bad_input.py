"""Wrong files, disks and options end in one line that names them; unusual but right ones are handled."""

import dataclasses
import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import Result
from PIL import Image

import cli
from medimg.commands.command_line import _unforeseen
from medimg.errors import InputError
from medimg.options import Config
from tests.command import medimg
from tests.datasets import write_dataset

CLASSES = ("normal", "pneumonia")
PER_CLASS = 12


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one line on stderr that holds the words."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("medimg: error:")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output, result.output
    for word in words:
        assert str(word) in lines[0]


def numbers(command=cli.medimg):
    """Options of all commands that are a number."""
    for child in getattr(command, "commands", {}).values():
        yield from numbers(child)
    yield from (p for p in command.params if isinstance(p, click.Option) and p.type.name.startswith(("float", "int")))


def kinds_of(config: type) -> list[type]:
    return [config, *(kind for child in config.__subclasses__() for kind in kinds_of(child))]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_every_number_has_a_range_and_is_finite(value):
    """Wherever its option is written down."""
    fields = {field.name: kind for kind in kinds_of(Config)[1:] for field in dataclasses.fields(kind)}
    assert len(list(numbers())) > 100
    for param in numbers():
        if param.name in fields:
            with pytest.raises(InputError, match=f"^{param.opts[0]} [^\n]*$"):
                fields[param.name](**{param.name: value})
        else:
            assert isinstance(param.type, click.IntRange), param.name


@pytest.mark.parametrize(
    "line", ["data inspect {data}", "validate {run} {data}", "compare {run} {run}", "export {run}"]
)
@pytest.mark.parametrize("taken", ["data", "run"])
def test_a_result_goes_into_no_run_or_dataset(tmp_path, line, taken):
    """Where its files would come among theirs, or replace them."""
    data = write_dataset(tmp_path / "data", n=6)
    (tmp_path / "run").mkdir()
    config = {"command": "train", "data": str(data.root), "options": {}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "run" / "model.json").write_text(json.dumps({"task": data.task, "classes": list(data.classes)}))
    before = sorted(tmp_path.rglob("*"))
    words = line.format(data=data.root, run=tmp_path / "run").split()
    refused(medimg(*words, "--out", tmp_path / taken), f"{taken}: is a Run or a Dataset; give another folder")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "change", [{"command": None}, {"command": ["train"]}, {"options": []}, {"data": 1}, {"data": None}]
)
def test_a_run_without_its_command_data_or_options_is_refused_by_name(tmp_path, change):
    config = {"command": "train", "data": ".", "options": {}} | change
    kept = {name: value for name, value in config.items() if value is not None}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(kept))
    words = f"config.yaml: '{next(iter(change))}' is missing, or of another kind"
    for line in (["evaluate", tmp_path], ["report", tmp_path], ["compare", tmp_path, tmp_path]):
        refused(medimg(*line), words)


def test_made_patients_are_no_model(tmp_path):
    (tmp_path / "config.yaml").write_text("command: synthesize\ndata: .\noptions: {}\n")
    for words in (["predict", tmp_path, tmp_path, "--out", tmp_path / "x.csv"], ["evaluate", tmp_path]):
        refused(medimg(*words), "makes patients, no predictions; give a Run of 'medimg train' or 'federate'")


def films(folder: Path, classes=CLASSES, count: int = PER_CLASS) -> Path:
    """Class folders of noise whose brightness goes with the class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(60 * number, 60 * number + 100, (40, 40), np.uint8)
            cv2.imwrite(str(folder / name / f"{name}{i:02d}.png"), image)
    return folder


def prepare(source: Path, out: Path, *options) -> Result:
    return medimg("data", "prepare", "folder", source, "--out", out, "--image-size", 32, *options)


def prepared(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "manifest.csv", dtype=str)


def image_of(out: Path, stem: str) -> np.ndarray:
    """The prepared image whose name holds `stem`: (32, 32) or (32, 32, 3) in RGB order."""
    rows = prepared(out)
    (name,) = rows.loc[rows["image"].str.contains(stem, regex=False), "image"]
    return np.asarray(Image.open(out / name))


@pytest.fixture
def source(tmp_path) -> Path:
    return films(tmp_path / "films")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A Dataset without fault; tests copy it before they break it."""
    folder = tmp_path_factory.mktemp("good")
    done(prepare(films(folder / "films"), folder / "data"))
    return folder / "data"


@pytest.fixture
def data(good, tmp_path) -> Path:
    subprocess.run(["cp", "-r", good, tmp_path / "data"], check=True)
    return tmp_path / "data"


@contextmanager
def disk(place: Path, *options: str):
    """A real file system of its own at `place`, unmounted afterwards."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(place)], check=True)


# --- files that can't be decoded: prepared without, and listed with the reason


def truncated_png(path: Path) -> None:
    content = cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (50, 50), np.uint8))[1]
    path.write_bytes(content.tobytes()[: len(content) // 2])


def truncated_jpeg(path: Path) -> None:
    content = cv2.imencode(".jpg", np.random.default_rng(2).integers(0, 255, (50, 50), np.uint8))[1]
    path.write_bytes(content.tobytes()[: len(content) // 2])


def zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def text_called_image(path: Path) -> None:
    path.write_text("the film is in the other folder\n")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("bad.png", truncated_png), ("bad.jpg", truncated_jpeg), ("bad.png", zero_bytes), ("bad.jpeg", text_called_image)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_file_is_left_out_and_listed_with_its_reason(source, tmp_path, name, spoil):
    spoil(source / "normal" / name)
    result = done(prepare(source, tmp_path / "data"))
    rejected = pd.read_csv(tmp_path / "data" / "rejected.csv", dtype=str)
    assert len(rejected) == 1
    assert name in rejected.iloc[0].to_string()
    assert rejected["reason"].str.len().iloc[0] > 5
    assert len(prepared(tmp_path / "data")) == 2 * PER_CLASS
    assert "rejected.csv" in result.output


def test_nothing_but_broken_files_is_an_error_that_leaves_no_dataset(tmp_path):
    for name in CLASSES:
        (tmp_path / "films" / name).mkdir(parents=True)
        zero_bytes(tmp_path / "films" / name / f"{name}.png")
    refused(prepare(tmp_path / "films", tmp_path / "data"))
    assert not (tmp_path / "data" / "dataset.yaml").exists()


# --- unusual files that are right


def test_a_jpeg_called_png_is_decoded_by_its_content(source, tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None], 32, axis=0)
    content = cv2.imencode(".jpg", ramp, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    (source / "normal" / "ramp.png").write_bytes(content)
    done(prepare(source, tmp_path / "data"))
    np.testing.assert_allclose(image_of(tmp_path / "data", "ramp"), ramp, atol=4)


def test_one_pixel_becomes_an_even_image(source, tmp_path):
    cv2.imwrite(str(source / "normal" / "dot.png"), np.full((1, 1), 77, np.uint8))
    done(prepare(source, tmp_path / "data"))
    np.testing.assert_array_equal(image_of(tmp_path / "data", "dot"), np.full((32, 32), 77))


def test_twenty_thousand_pixels_wide_is_averaged_down(source, tmp_path):
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 256, (64, 20_000), np.uint8)
    cv2.imwrite(str(source / "normal" / "wide.png"), wide)
    done(prepare(source, tmp_path / "data"))
    means = wide.reshape(32, 2, 32, 625).mean(axis=(1, 3))
    np.testing.assert_allclose(image_of(tmp_path / "data", "wide"), means, atol=1)


def test_cmyk_becomes_the_colours_that_it_prints(source, tmp_path):
    red = Image.new("RGB", (40, 40), (200, 30, 40))
    red.convert("CMYK").save(source / "normal" / "print.jpg", quality=95)
    done(prepare(source, tmp_path / "data"))
    image = image_of(tmp_path / "data", "print")
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), (200, 30, 40), atol=5)


def test_transparent_pixels_lie_over_black(source, tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (10, 200, 90, 255)
    pixels[:, 16:] = (255, 255, 255, 0)
    Image.fromarray(pixels).save(source / "normal" / "clear.png")
    done(prepare(source, tmp_path / "data"))
    image = image_of(tmp_path / "data", "clear")
    assert (image[:, :16] == (10, 200, 90)).all()
    assert (image[:, 16:] == 0).all()


def test_a_palette_is_looked_up(source, tmp_path):
    indices = Image.fromarray(np.repeat([[0, 1]], 32, axis=0).repeat(16, axis=1).astype(np.uint8), "P")
    indices.putpalette([10, 20, 30, 240, 60, 50])
    indices.save(source / "normal" / "palette.png")
    done(prepare(source, tmp_path / "data"))
    image = image_of(tmp_path / "data", "palette")
    assert (image[:, :16] == (10, 20, 30)).all()
    assert (image[:, 16:] == (240, 60, 50)).all()


# --- classes and labels


def test_an_empty_class_folder_is_named(source, tmp_path):
    (source / "abscess").mkdir()
    refused(prepare(source, tmp_path / "data"), "abscess")
    assert not (tmp_path / "data" / "dataset.yaml").exists()


def test_one_class_only_is_named(tmp_path):
    refused(prepare(films(tmp_path / "films", ("normal",)), tmp_path / "data"), "normal")


def test_a_training_part_of_one_class_is_refused(data, tmp_path):
    rows = prepared(data)
    rows.loc[rows["split"] == "train", "label"] = "normal"
    rows.to_csv(data / "manifest.csv", index=False)
    result = medimg("train", data, "--out", tmp_path / "run", "--image-size", 32)
    refused(result, "manifest.csv", "one class")
    assert not (tmp_path / "run").exists()


def table(tmp_path: Path, labels: list[str]) -> Path:
    folder = films(tmp_path / "films")
    paths = sorted(folder.rglob("*.png"))
    frame = pd.DataFrame({"image": [str(p.relative_to(folder)) for p in paths], "label": labels})
    frame["patient"] = [f"p{i}" for i in range(len(frame))]
    frame.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.mark.parametrize("empty", ["", "NaN", "nan"])
def test_missing_labels_are_unlabelled_and_not_a_class(tmp_path, empty):
    labels = [name for name in CLASSES for _ in range(PER_CLASS)]
    labels[3] = labels[20] = empty
    source = table(tmp_path, labels)
    done(medimg("data", "prepare", "csv", source, "--out", tmp_path / "data"))
    labels = prepared(tmp_path / "data")["label"]
    assert labels.isna().sum() == 2
    assert set(labels.dropna()) == set(CLASSES)


def test_a_table_without_a_single_label_is_refused(tmp_path):
    source = table(tmp_path, [""] * 2 * PER_CLASS)
    refused(medimg("data", "prepare", "csv", source, "--out", tmp_path / "data"), "label")


def test_an_unknown_label_in_a_manifest_is_named_with_its_row(data):
    rows = prepared(data)
    rows.loc[4, "label"] = "pnuemonia"
    rows.to_csv(data / "manifest.csv", index=False)
    refused(medimg("data", "inspect", data), "row 6", "pnuemonia")


# --- manifests and folders


@pytest.mark.parametrize("spoil", [Path.unlink, zero_bytes, truncated_png])
def test_training_on_a_missing_or_broken_file_names_it(data, tmp_path, spoil):
    rows = prepared(data)
    name = rows.loc[rows["split"] == "train", "image"].iloc[0]
    spoil(data / name)
    refused(medimg("train", data, "--out", tmp_path / "run", "--image-size", 32), name)


def test_inspecting_missing_and_broken_files_lists_them(data):
    rows = prepared(data)
    (data / rows["image"][0]).unlink()
    zero_bytes(data / rows["image"][1])
    result = medimg("data", "inspect", data)
    assert result.exit_code == 1
    assert rows["image"][0] in result.stdout
    assert rows["image"][1] in result.stdout


def test_a_folder_that_is_not_there_is_named(tmp_path):
    refused(prepare(tmp_path / "nowhere", tmp_path / "data"), "nowhere")
    refused(medimg("train", tmp_path / "nowhere", "--out", tmp_path / "run"), "nowhere")
    refused(medimg("evaluate", tmp_path / "nowhere"), "nowhere")


# --- disks


def test_a_full_disk_stops_prepare_and_space_lets_it_go_on(source, tmp_path):
    rng = np.random.default_rng(4)
    for i in range(8):
        noise = rng.integers(0, 256, (400, 400), np.uint8)
        cv2.imwrite(str(source / "normal" / f"large{i}.png"), noise)
    command = ("data", "prepare", "folder", source, "--out", tmp_path / "small" / "data")
    with disk(tmp_path / "small", "size=1m") as small:
        refused(medimg(*command), "small", "No space left")
        assert not (small / "data" / "dataset.yaml").exists()
        assert not list(small.rglob(".*-*.png"))
        remount(small, "size=64m")
        done(medimg(*command))
        rows = prepared(small / "data")
        assert len(rows) == 2 * PER_CLASS + 8
        assert all(cv2.imread(str(small / "data" / image)) is not None for image in rows["image"])


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path):
    from medimg import atomic
    from medimg.errors import InputError

    with disk(tmp_path / "small", "size=64k") as small:
        atomic.write_text(small / "metrics.json", "before")
        with pytest.raises(InputError, match="No space left"):
            atomic.write_text(small / "metrics.json", "x" * 200_000)
        assert (small / "metrics.json").read_text() == "before"
        assert [path.name for path in small.iterdir()] == ["metrics.json"]


def test_a_read_only_output_is_named(source, good, tmp_path):
    with disk(tmp_path / "fixed", "ro"):
        refused(prepare(source, tmp_path / "fixed" / "data"), "fixed", "Read-only")
        training = ("train", good, "--out", tmp_path / "fixed" / "run", "--image-size", 32)
        refused(medimg(*training), "fixed", "Read-only")


def test_an_output_that_is_a_file_is_named(source, good, tmp_path):
    (tmp_path / "taken").write_text("a letter")
    refused(prepare(source, tmp_path / "taken"), "taken")
    refused(medimg("train", good, "--out", tmp_path / "taken", "--image-size", 32), "taken")
    assert (tmp_path / "taken").read_text() == "a letter"


TRAINING = ("--model", "baseline_cnn", "--image-size", 32, "--epochs", 2, "--batch-size", 8)


@pytest.mark.slow
def test_a_full_disk_stops_training_and_space_lets_it_go_on(good, tmp_path):
    with disk(tmp_path / "small", "size=64k") as small:
        refused(medimg("train", good, "--out", small / "run", *TRAINING), "small", "No space left")
        assert not (small / "run" / "model.keras").exists()
        remount(small, "size=512m")
        done(medimg("train", good, "--out", small / "run", "--resume"))
        assert (small / "run" / "model.keras").is_file()


@pytest.mark.slow
def test_evaluating_into_a_read_only_run_names_it_and_changes_nothing(good, tmp_path):
    with disk(tmp_path / "shelf", "size=512m") as shelf:
        done(medimg("train", good, "--out", shelf / "run", *TRAINING))
        before = sorted(shelf.rglob("*"))
        remount(shelf, "ro")
        refused(medimg("evaluate", shelf / "run", "--bootstrap", 0), "shelf", "Read-only")
        assert sorted(shelf.rglob("*")) == before


def test_what_is_not_foreseen_is_one_line_where_libraries_lie_beside_medimg():
    """Installed, no frame need be of a folder that is medimg's own."""
    try:
        exec(compile("1 / 0", "/lib/site-packages/library/broken.py", "exec"))
    except ZeroDivisionError as error:
        line = _unforeseen(error.with_traceback(error.__traceback__.tb_next), [], {})
    assert "ZeroDivisionError division by zero (broken.py:1)" in line
