"""A patient hidden beside the rows that are measured: in another split, without a label, in a column, in a file."""

import shutil

import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.imaging import write_png
from medimg.untrusted.csv_cells import read_csv
from synthetic.judge import unjudged
from synthetic.judge.judge import measures
from synthetic.judge.rows import load
from synthetic.judge.verdict import judge as verdict_on
from tests.synthetic.judge.conftest import as_real, as_synthetic, as_synthetic_images, mixed_rows
from tests.synthetic.judge.test_tail import QUICK


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    return as_real(mixed_rows(700, 5), tmp_path_factory.mktemp("unjudged") / "ward", (400, 150, 150))


@pytest.fixture(scope="module")
def honest(ward, tmp_path_factory):
    made = as_synthetic(ward, mixed_rows(400, 8), tmp_path_factory.mktemp("unjudged") / "made")
    result, _ = measures(load(made.root, ward.root), QUICK)
    return made, result


@pytest.fixture
def made(honest, tmp_path):
    return Dataset.load(shutil.copytree(honest[0].root, tmp_path / "made"))


def verdict(made, ward, honest) -> dict:
    """With the measures of the honest rows, which are as they were."""
    found = unjudged.measure(load(made.root, ward.root))
    result = {**honest[1], "privacy": {**honest[1]["privacy"], "unjudged": found}}
    return verdict_on(result, "none")


def told(judged) -> str:
    return " ".join(judged["reasons"])


@pytest.mark.slow
def test_an_honest_folder_is_shared(made, ward, honest):
    assert verdict_on(honest[1], "none")["verdict"] == "share"
    assert honest[1]["privacy"]["unjudged"] == unjudged.measure(load(made.root, ward.root))


@pytest.mark.parametrize("hidden", [{"split": "val"}, {"split": "test"}, {"label": ""}])
def test_patients_in_rows_that_are_not_measured(made, ward, honest, hidden):
    leaked = ward.rows("train").iloc[:20].assign(split="train")
    names = [f"synthetic-x{i}" for i in range(20)]
    leaked = leaked.assign(row=names, patient=names, **hidden)[list(made.manifest)]
    whole = pd.concat([read_csv(made.root / "manifest.csv"), leaked])
    whole.to_csv(made.root / "manifest.csv", index=False)
    judged = verdict(made, ward, honest)
    assert judged["verdict"] == "do-not-share"
    assert "Privacy: 20 rows of the manifest " in told(judged)


def test_a_column_that_no_measure_looks_at(made, ward, honest):
    rows = read_csv(made.root / "manifest.csv")
    real = ward.rows("train")["row"].to_numpy()[: len(rows)]
    rows.assign(constant=1, origin=real).to_csv(made.root / "manifest.csv", index=False)
    judged = verdict(made, ward, honest)
    assert judged["verdict"] == "share-with-care"
    assert "Privacy: origin are columns" in told(judged)


def test_real_names(made, ward, honest):
    rows = read_csv(made.root / "manifest.csv")
    rows.loc[:2, "patient"] = ward.rows("train")["patient"].to_numpy()[:3]
    rows.to_csv(made.root / "manifest.csv", index=False)
    judged = verdict(made, ward, honest)
    assert judged["verdict"] == "share-with-care"
    assert "3 rows bear the name of a real patient" in told(judged)


@pytest.mark.parametrize("name", ["patients.csv", ".hidden", "deep/er/x.bin", "images/0.png"])
def test_files_that_nobody_made(made, ward, honest, name):
    (made.root / name).parent.mkdir(parents=True, exist_ok=True)
    ward.rows("train").iloc[:20].to_csv(made.root / name)
    judged = verdict(made, ward, honest)
    assert judged["verdict"] == "share-with-care"
    assert f"{name} are no part of the synthetic rows" in told(judged)


@pytest.mark.parametrize("name", ["patients.csv", "training/history.csv", "privacy.json"])
def test_a_file_of_the_real_data_under_any_name(made, ward, honest, name):
    (made.root / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ward.root / "manifest.csv", made.root / name)
    judged = verdict(made, ward, honest)
    assert judged["verdict"] == "do-not-share"
    assert f"{name} are files of the real Dataset" in told(judged)


def test_what_synthesize_leaves_is_its_own(made, ward, honest):
    for name in ("config.yaml", "environment.json", "privacy.json", "training/history.csv"):
        (made.root / name).parent.mkdir(exist_ok=True)
        (made.root / name).write_text("{}")
    assert verdict(made, ward, honest)["verdict"] == "share"


def test_images_that_no_row_names_and_masks(films, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path / "made", 20)
    subject = load(made.root, films.root)
    assert not any(unjudged.measure(subject).values())
    shutil.copy(films.paths(films.rows("train"))[0], made.root / "training-sample.png")
    write_png(made.root / "masks/1.png", np.zeros((8, 8), np.uint8))
    found = unjudged.measure(subject)
    assert found["real_files"] == ["training-sample.png"]
    assert found["other_files"] == ["masks/1.png"]
    masked = made.manifest.assign(mask=["masks/1.png", *[""] * (len(made.manifest) - 1)])
    masked.to_csv(made.root / "manifest.csv", index=False)
    found = unjudged.measure(load(made.root, films.root))
    assert found["columns"] == ["mask"]
    assert found["other_files"] == ["masks/1.png"]
