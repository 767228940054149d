"""Ids of patients that are planted in a Dataset are in nothing that a command prints or writes, but where it is said.

`predictions.csv` has them, as intervals and paired tests are by patient; a private Run's has its val and test patients.
Leakage names whom it is about, as what it says has to be mended.
"""

import base64
import re
import shutil
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from explain.config import ReviewConfig
from medimg.data.dataset import Dataset
from medimg.run import Run
from tests.command import medimg
from tests.datasets import write_dataset, write_table
from tests.volumes import write_dicom

MARK = "Qz7Planted"
MODEL = ("--model-arg", "width=4", "--model-arg", "stages=1", "--image-size", "32", "--epochs", "1")
FEDERATION = ("--model", "logistic", "--partition", "iid", "--clients", "2", "--rounds", "1", "--no-comparison")
PRIVATE = ("--dp-epsilon", "9", "--dp-delta", "1e-3")
STUDY = ("--epochs", "1", "--dp-delta", "1e-3", "--epsilon", "9", "--seeds", "1", "--bootstrap", "20")
TINY_STUDY = ("--seeds", "1", "--bootstrap", "20", "--epochs", "1", "--image-size", "32")
MAPS = ("--model", "baseline_cnn", "--method", "gradcam", "--score-count", "4", "--seeds", "1", *MODEL)
REHEARSAL = ("--model", "logistic", "--rounds", "1", "--no-comparison")
# What is kept by patient, and stays with the Dataset's holder (docs/ideas/run.md).
BY_PATIENT = {"predictions.csv"}
COMMANDS = {
    "images": (
        ("train", "{data}", "--out", "{run}", *MODEL),
        ("evaluate", "{run}", "--bootstrap", "20"),
        ("explain", "{run}", "--count", "2", "--score-count", "0"),
        ("audit", "{run}", "--attack", "threshold", "--bootstrap", "20"),
        ("validate", "{run}", "{data}", "--bootstrap", "20"),
        ("predict", "{run}", "{data}", "--out", "{out}/p.csv"),
        ("report", "{run}"),
        ("export", "{run}", "--out", "{out}/served"),
        ("export", "{run}", "--format", "onnx", "--out", "{out}/onnx"),
        ("data", "inspect", "{data}", "--out", "{out}/inspection"),
        ("study", "imbalance", "{data}", "--out", "{out}/study", "--cell", "class weights", *TINY_STUDY),
        ("study", "interpretability", "{data}", "--out", "{out}/maps", *MAPS),
    ),
    "table": (
        ("train", "{data}", "--out", "{run}", "--model", "logistic", "--epochs", "2"),
        ("evaluate", "{run}", "--bootstrap", "20"),
        ("explain", "{run}"),
        ("audit", "{run}", "--attack", "threshold", "--bootstrap", "20"),
        ("predict", "{run}", "{data}", "--out", "{out}/p.csv"),
        ("report", "{run}"),
        ("compare", "{run}", "--bootstrap", "20", "--out", "{out}/comparison"),
        ("export", "{run}", "--out", "{out}/served"),
        ("data", "inspect", "{data}", "--out", "{out}/inspection"),
        ("synthesize", "{data}", "--model", "marginals", "--out", "{out}/made"),
        ("judge", "{out}/made", "--real", "{data}", "--bootstrap", "200", "--report", "{out}/judged"),
        ("federate", "{data}", *FEDERATION, "--out", "{out}/federated"),
        ("federate", "verify", "{out}/federated"),
        ("dossier", "{out}/federated", "--out", "{out}/dossier"),
    ),
    "private": (
        ("train", "{data}", "--out", "{run}", "--model", "logistic", "--epochs", "2", *PRIVATE),
        ("evaluate", "{run}", "--bootstrap", "20"),
        ("report", "{run}"),
        ("export", "{run}", "--out", "{out}/served"),
        ("validate", "{run}", "{data}", "--split", "test", "--bootstrap", "20"),
        ("explain", "{run}"),
        ("audit", "{run}", "--attack", "threshold", "--bootstrap", "20"),
        ("study", "privacy-utility", "{data}", "--out", "{out}/study", "--model", "logistic", *STUDY),
        ("synthesize", "{data}", "--model", "marginals", "--out", "{out}/made", *PRIVATE),
        ("synthesize", "{data}", "--model", "marginals", "--partition", "site", "--out", "{out}/sites", *PRIVATE),
        ("data", "ledger", "{data}"),
        ("federate", "rehearse", "{data}", *REHEARSAL, "--out", "{out}/rehearsed"),
        ("study", "synthetic-heart", "{data}", "--out", "{out}/heart", "--cell", "marginals", "--bootstrap", "200"),
    ),
}


def planted(root: Path, kind: str) -> Dataset:
    """A Dataset whose patients' ids are met nowhere by chance."""
    dataset = write_dataset(root, n=32) if kind == "images" else write_table(root, n=80)
    manifest = dataset.manifest.assign(patient=[f"{MARK}{name}" for name in dataset.manifest["patient"]])
    if kind != "images":
        # Columns that are no features, and names of rows, tell whose they are as well.
        manifest["mrn"] = [f"{MARK}mrn{i}" for i in range(len(manifest))]
    Dataset(root, dataset.name, dataset.task, dataset.classes, manifest, features=dataset.features).save()
    return Dataset.load(root)


def holders(folder: Path) -> set[str]:
    """Files below the folder with a planted id in their name or content, also inside archives."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if MARK in name:
            found.add(name)
        if not path.is_file():
            continue
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(one) for one in archive.namelist()]
        wide = (MARK.encode(), MARK.encode("utf-16-le"), MARK.encode("utf-32-le"))
        if any(mark in content for content in contents for mark in wide):
            found.add(name)
    return found


def test_the_search_finds_what_it_seeks(tmp_path):
    (tmp_path / "a.txt").write_text(f"x{MARK}1")
    pd.Series([f"{MARK}2"]).to_numpy("U").tofile(tmp_path / "b.bin")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", MARK * 9)
    (tmp_path / "d.txt").write_text("Qz7")
    assert holders(tmp_path) == {"a.txt", "b.bin", "c.zip"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
def test_no_id_in_what_is_printed_or_written(kind, tmp_path):
    planted(tmp_path / "data", kind)
    places = {"data": tmp_path / "data", "run": tmp_path / "run", "out": tmp_path / "out"}
    (tmp_path / "out").mkdir()
    for words in COMMANDS[kind]:
        result = medimg(*(word.format(**places) for word in words))
        assert result.exit_code == 0, (words, result.output)
        assert MARK not in result.output, words
    assert holders(tmp_path / "data") == {"manifest.csv"}
    shutil.rmtree(tmp_path / "data")
    named = {name for name in holders(tmp_path) if Path(name).name not in BY_PATIENT}
    # A study's own Dataset, of some of the rows.
    named = {name for name in named if not fnmatch(name, "out/study/work/thin-*/done/manifest.csv")}
    assert named == set()
    assert f"{MARK}p" in (tmp_path / "run" / "predictions.csv").read_text()


@pytest.mark.parametrize(("kind", "source"), [("images", "csv"), ("table", "table")])
def test_no_id_in_what_prepare_prints_or_keeps_beside_the_manifest(kind, source, tmp_path):
    """Also of rows that are refused, are copies, or have no label."""
    rows = planted(tmp_path / "made", kind).manifest.drop(columns=["split"])
    rows.loc[3, "label"] = ""
    if kind == "images":
        shutil.copy(tmp_path / "made" / rows.loc[4, "image"], tmp_path / "made" / rows.loc[5, "image"])
        (tmp_path / "made" / rows.loc[7, "image"]).write_bytes(b"no image")
    else:
        rows.loc[5, [name for name in rows if name not in ("patient", "row")]] = rows.loc[4]
    rows.to_csv(tmp_path / "made" / "rows.csv", index=False)
    columns = ("--patient-column", "patient", "--label-column", "label", "--on-duplicates", "drop")
    result = medimg("data", "prepare", source, tmp_path / "made" / "rows.csv", "--out", tmp_path / "data", *columns)
    assert result.exit_code == 0, result.output
    assert MARK not in result.output
    # Whose images are alike is to be mended by whoever has the films.
    assert holders(tmp_path / "data") - {"duplicates.csv"} == {"manifest.csv"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a Dataset whose image files hold ids as well, a Run, and DICOM files of two patients and a PNG."""
    root = tmp_path_factory.mktemp("trained")
    dataset = planted(root / "data", "images")
    for words in (COMMANDS["images"][0], ("evaluate", "{run}", "--bootstrap", "20")):
        result = medimg(*(word.format(data=root / "data", run=root / "run") for word in words))
        assert result.exit_code == 0, result.output
    said = PngInfo()
    said.add_text("Description", f"{MARK}text")
    for path in dataset.paths(dataset.manifest):
        Image.open(path).save(path, pnginfo=said)
    (root / "films").mkdir()
    draw = np.random.default_rng(0)
    for one in range(2):
        own = {"PatientID": f"{MARK}own{one}", "PatientName": f"{MARK}own{one}^Name", "StationName": f"{MARK}station"}
        pixels = draw.integers(0, 255, (40, 40), np.uint8)
        write_dicom(root / "films" / f"{MARK}file{one}.dcm", pixels, **own, StudyDate="20200101")
    shutil.copy(dataset.paths(dataset.manifest)[0], root / "films" / f"{MARK}file2.png")
    return root


@pytest.mark.slow
def test_a_dicom_result_names_its_own_patient_alone(trained, tmp_path):
    words = ("predict", trained / "run", trained / "films", "--out", tmp_path / "p.csv")
    result = medimg(*words, "--save-maps", "--dicom-out", tmp_path / "dicom")
    # The PNG has no study for its result.
    assert result.exit_code == 1, result.output
    paths = sorted((tmp_path / "dicom").iterdir())
    assert len(paths) == 4
    for path in paths:
        own = pydicom.dcmread(path).PatientID
        assert set(re.findall(rb"%b\w*" % MARK.encode(), path.read_bytes())) == {own.encode()}
        assert str(trained).encode() not in path.read_bytes()
    assert MARK not in "".join(path.name for path in paths)
    maps = list((tmp_path / "p-maps").glob("*.png"))
    assert len(maps) == 3
    assert not [path for path in maps if MARK.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_page_of_review_names_nobody(trained):
    from explain.review.reviewer import Reviewer
    from explain.review.server import TOKEN, ReviewSite

    reviewer, token = Reviewer(Run.load(trained / "run"), ReviewConfig(nearest=3)), "s" * 43
    client = TestClient(ReviewSite(reviewer, ("127.0.0.1:8000",), token).app(), base_url="http://127.0.0.1:8000")
    told = [client.get("/", params={"token": token})]
    contents = [path.read_bytes() for path in sorted((trained / "films").iterdir())]
    # A file that is broken behind its first bytes, too.
    for content in (*contents, contents[0][:400], contents[2][:60]):
        told.append(client.post("/answer", content=content, headers={TOKEN: token, "x-medimg-name": "a"}))
    assert [one.status_code // 100 for one in told] == [2, 2, 2, 2, 4, 4]
    for one in told:
        pictures = re.findall(r"base64,([A-Za-z0-9+/=]+)", one.text)
        for text in (one.content, *map(base64.b64decode, pictures)):
            assert MARK.encode() not in text
            for place in (str(trained), "medimg-review-"):
                assert place.encode() not in text
