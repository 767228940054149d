"""A patient's name planted wherever a DICOM file has room for one, and looked for in all that medimg leaves."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.fileset import FileSet

from medimg.serving import check
from tests.command import medimg
from tests.medimg.sources.test_dicom import planted, write_labels
from tests.volumes import write_dicom

FILE, FOLDER = "PHIFILE", "PHIFOLDER"
TINY = ("--image-size", "16", "--epochs", "1", "--model-arg", "width=4", "--model-arg", "stages=1")


def more_planted(header) -> set[str]:
    """Beside `planted`: overlays, structured content, bytes after the pixels and in private sequences."""
    header.add_new(0x60000010, "US", 9)
    header.add_new(0x60000011, "US", 9)
    header.add_new(0x60000022, "LO", "PHIOVERLAY")
    header.add_new(0x60001500, "LO", "PHILABEL")
    header.add_new(0x60003000, "OW", b"PHIPLANE".ljust(12, b"\0"))
    person, text = pydicom.Dataset(), pydicom.Dataset()
    person.PersonName, person.ValueType = "PHICONTENT", "PNAME"
    text.TextValue, text.ContentSequence = "PHITEXT", [person]
    header.ContentSequence = [text]
    hidden = pydicom.Dataset()
    hidden.add_new(0x00110011, "LO", "PHIINNER")
    block = header.private_block(0x0011, "PHIMAKER", create=True)
    block.add_new(1, "SQ", [hidden])
    block.add_new(2, "OB", b"PHIBYTES")
    header.add_new(0xFFFCFFFC, "OB", b"PHIPADDING")
    return {
        "PHIOVERLAY",
        "PHILABEL",
        "PHIPLANE",
        "PHICONTENT",
        "PHITEXT",
        "PHIINNER",
        "PHIMAKER",
        "PHIBYTES",
        "PHIPADDING",
    }


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder of 16 planted files, the same as a DICOMDIR and a zip, a table of labels, and what was planted."""
    root, labels, markers = tmp_path_factory.mktemp("films"), {}, set()
    draw = np.random.default_rng(0)
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        index = FileSet()
        for i in range(16):
            path = root / "src" / FOLDER / f"{FILE}{i}.dcm"
            header = write_dicom(path, draw.integers(0, 255, (20, 20), np.uint8), Modality="US")
            kept = {name: header[name].value for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}
            markers |= {*planted(header), *more_planted(header)}
            for name, value in kept.items():
                setattr(header, name, value)
            header.PatientID, header.PatientName, header.BurnedInAnnotation = f"PHIPATIENT{i}", "PHINAME", "YES"
            labels[header.SOPInstanceUID] = "ab"[i % 2]
            header.save_as(path)
            index.add(pydicom.dcmread(path))
        index.write(root / "disc")
    finally:
        pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    with zipfile.ZipFile(root / "films.zip", "w") as packed:
        for path in (root / "src").rglob("*.dcm"):
            packed.write(path, path.relative_to(root / "src"))
    # What cannot be used is told of, in words that are ours.
    for place in (root / "src" / FOLDER / "cut.dcm", root / "disc" / "cut.dcm"):
        place.write_bytes(path.read_bytes()[:3000])
    table = write_labels(root / "l.csv", "SOPInstanceUID", labels)
    secrets = markers | set(labels) | {"PHIPATIENT", "PHINAME"}
    for place in ("src", "disc"):
        there = b"".join(path.read_bytes() for path in (root / place).rglob("*") if path.is_file())
        assert len([secret for secret in secrets if secret.encode() in there]) > 300
    assert all(secret.encode() in there for secret in more_planted(pydicom.Dataset()))
    return root, table, secrets


def content(path: Path) -> bytes:
    """Of a file, those of an archive unpacked."""
    data = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return data + b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    return data


def assert_clean(secrets: set[str], root: Path, said: str) -> None:
    texts = {"what is said": said.encode()}
    texts |= {path.relative_to(root).as_posix(): content(path) for path in root.rglob("*") if path.is_file()}
    assert len(texts) > 3
    found = {name: [s for s in secrets if s.encode() in text or s in name] for name, text in texts.items()}
    assert {name: some for name, some in found.items() if some} == {}


def run(*words) -> str:
    done = medimg(*words)
    # What is broken, as the file that is cut off, is 1.
    assert done.exit_code == (1 if words[0] == "predict" else 0), done.output
    return done.output


@pytest.mark.parametrize("source", ["src", "disc/DICOMDIR", "films.zip"])
def test_no_dataset_has_it(films, tmp_path, capfd, source):
    root, table, secrets = films
    options = ("--labels", table, "--salt", tmp_path / "salt", "--out", tmp_path / "out" / "data")
    said = run("data", "prepare", "dicom", root / source, *options)
    told = capfd.readouterr()
    assert len(pd.read_csv(tmp_path / "out" / "data" / "manifest.csv")) == 16
    # Paths of files that are refused are told, and are the user's own to name.
    secrets = secrets | ({FILE, FOLDER} if source != "src" else {FILE})
    assert_clean(secrets, tmp_path / "out", said + told.out + told.err)


@pytest.mark.slow
def test_no_run_report_export_or_prediction_has_it(films, tmp_path, capfd, caplog, monkeypatch):
    root, table, secrets = films
    data, runs = tmp_path / "out" / "data", tmp_path / "out" / "run"
    files = sorted((root / "src").rglob("*.dcm"))
    salt = ("--salt", tmp_path / "salt")
    said = run("data", "prepare", "dicom", root / "films.zip", "--labels", table, *salt, "--out", data, "--mask-text")
    said += run("train", data, *TINY, "--out", runs)
    said += run("evaluate", runs, "--bootstrap", "20")
    said += run("explain", runs, "--count", "2")
    said += run("export", runs, "--out", tmp_path / "out" / "served")
    told = capfd.readouterr()
    secrets = secrets | {FILE, FOLDER}
    assert_clean(secrets, tmp_path / "out", said + told.out + told.err + caplog.text)
    # Files that are given by name are told by it; of what is in them nothing is.
    secrets -= {FILE, FOLDER}
    said = run("predict", runs, root / "src", "--out", tmp_path / "out" / "p.csv", "--save-maps")
    said += run("explain", runs, "--image", files[0], "--image", root / "disc" / "DICOMDIR")
    monkeypatch.syspath_prepend(str(tmp_path / "out" / "served"))
    for path in files[1:3]:
        (sent,) = check.sent(path, {})
        (tmp_path / "out" / f"{path.stem}.png").write_bytes(sent)
    told = capfd.readouterr()
    assert_clean(secrets, tmp_path / "out", said + told.out + told.err + caplog.text)
