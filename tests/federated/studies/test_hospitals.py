"""The study federated-hospitals: its division of patients, its means over sites, a small one from end to end."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import cli  # noqa: F401 - names the steps of the other rooms
from federated.studies.algorithms import with_algorithms
from federated.studies.config import HospitalsConfig
from federated.studies.hospitals import measured
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.exact import clopper_pearson
from medimg.evaluation.predictions import Predictions
from medimg.studies.declared import load
from medimg.studies.running import Runner
from medimg.studies.steps import Shared
from medimg.studies.steps.divide import divided
from tests.command import medimg

pytestmark = pytest.mark.final_figures


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> Dataset:
    """160 patients of two hospitals; the label follows `x`, which is measured higher at one of them."""
    root = tmp_path_factory.mktemp("hospitals") / "data"
    root.mkdir()
    draw = np.random.default_rng(0)
    names = [f"p{i:03d}" for i in range(160)]
    sites = np.where(np.arange(160) % 2, "east", "west")
    x = draw.normal(size=160)
    sick = x + 0.5 * draw.normal(size=160) > 0
    table = pd.DataFrame(
        {
            "row": names,
            "label": np.where(sick, "sick", "well"),
            "patient": names,
            "site": sites,
            "split": np.tile(["train", "train", "train", "train", "val", "val", "test", "test"], 20),
            "x": x + (sites == "east"),
            "noise": draw.normal(size=160),
        }
    )
    features = (Feature("x", "continuous"), Feature("noise", "continuous"))
    classes = ("well", "sick")
    dataset = Dataset(root, "two", "binary", classes, table, features=features)
    dataset.save()
    return Dataset.load(root)


def test_division_keeps_sites_classes_and_copies(hospitals):
    manifest = hospitals.manifest.copy()
    # The second row is the first one entered twice under another name.
    same = ["label", "site", "x", "noise"]
    manifest.loc[1, same] = manifest.loc[0, same]
    dataset = dataclasses.replace(hospitals, manifest=manifest)
    seeds = [divided(dataset, 0.1, 0.34, seed).manifest for seed in range(6)]
    for rows in seeds:
        share = rows.groupby(["site", "label"])["split"].value_counts(normalize=True).unstack()
        assert share["test"].between(0.26, 0.42).all()
        assert share["val"].between(0.04, 0.17).all()
        assert rows.loc[0, "split"] == rows.loc[1, "split"]
    assert len({tuple(rows["split"]) for rows in seeds}) == 6
    assert divided(dataset, 0.1, 0.34, 3).manifest["split"].equals(seeds[3]["split"])


def test_division_names_a_row_without_site(hospitals):
    manifest = hospitals.manifest.copy()
    manifest.loc[4, "site"] = ""
    with pytest.raises(InputError, match="row 'p004' has no site"):
        divided(dataclasses.replace(hospitals, manifest=manifest), 0.1, 0.34, 0)


def test_means_are_over_the_sites_that_have_a_value():
    """Of two sites: four of eight right and an AUROC of 0.75; two of two right, and all of one class."""
    targets = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.1, 0.6, 0.4, 0.9, 0.1, 0.6, 0.4, 0.9, 0.8, 0.7])
    rows = pd.DataFrame({"patient": [f"p{i}" for i in range(10)]})
    test = SimpleNamespace(owners=np.array(["east"] * 8 + ["west"] * 2, dtype=object), rows=rows)
    decided = Predictions("binary", ("well", "sick"), targets, np.stack([1 - scores, scores], 1), 0.5)
    found = measured(SimpleNamespace(test=test), decided, 200)
    assert found["sites"]["west"] == {"n": 2, "accuracy": 1.0, "auroc": None}
    assert found["sites"]["east"] == {"n": 8, "accuracy": 0.5, "auroc": 0.75}
    assert found["accuracy"]["value"] == pytest.approx(0.75)
    assert found["auroc"]["value"] == pytest.approx(0.75)
    # West's accuracy does not vary, and leaves the mean half as unsure as two patients who are both right are.
    west = 1 - clopper_pearson(1.0, 2)[0]
    assert found["accuracy"]["low"] < 0.75 - west / 2 < 0.4
    assert 0.75 < found["accuracy"]["high"] <= 1.0


def test_rates_are_tried_where_they_are_to_be_chosen():
    tuned = with_algorithms(load("federated-hospitals"), HospitalsConfig(strategy=("fedavg", "fedadam"), tune=True))
    tried = {cell.name: dict(cell.steps)["hospitals"].get("tried") for cell in tuned.cells}
    assert [rate["learning_rate"] for rate in tried["fedavg"]] == [0.003, 0.01, 0.03]
    assert [rate["server_learning_rate"] for rate in tried["fedadam"]] == [0.03, 0.1, 0.3]
    assert (tried["local"], tried["centralised"]) == (None, None)
    assert tuned.claims == load("federated-hospitals").claims


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--strategy", "fedsgd"), "--strategy fedsgd: federated-hospitals has fedavg, fedprox"),
        (("--cell", "mean"), "--cell mean: federated-hospitals has fedavg"),
    ],
)
def test_what_is_not_known_is_one_line(hospitals, tmp_path, words, line):
    result = medimg("study", "federated-hospitals", hospitals.root, "--out", tmp_path / "out", *words)
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert line in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_hospitals_from_end_to_end_and_again(hospitals, tmp_path):
    words = ("study", "federated-hospitals", hospitals.root, "--out", tmp_path, "--rounds", 8, "--bootstrap", 20)
    words += ("--seeds", 1, "--strategy", "fedavg", "--strategy", "fedadam")
    result = medimg(*words)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "study.json").read_text())
    rows = {row["label"]: row for row in content["rows"]}
    assert list(rows) == ["fedavg", "fedadam", "local", "centralised"]
    for row in rows.values():
        # One column decides, so all of them must have found it.
        assert row["metrics"]["AUROC"]["value"] > 0.85
        assert row["metrics"]["AUROC"]["low"] < row["metrics"]["AUROC"]["value"] <= row["metrics"]["AUROC"]["high"]
    # Both references are one training.
    assert rows["local"]["folders"] == rows["centralised"]["folders"]
    assert len(list(tmp_path.glob("work/divide-*"))) == 1
    assert "| fedadam |" in (tmp_path / "study.md").read_text()
    assert {one["claim"]["less"] for one in content["claims"]} == {"local", "centralised"}
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/*/result.json")}
    assert medimg(*words).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/*/result.json")} == files


@pytest.mark.slow
def test_hospitals_tune_chooses_by_validation(hospitals, tmp_path):
    words = ("--seeds", 1, "--rounds", 1, "--strategy", "fedavg", "--cell", "fedavg", "--bootstrap", 20)
    losses = {}
    for rate in (0.003, 0.01, 0.03):
        study = load("federated-hospitals")
        (cell,) = (cell for cell in study.cells if cell.name == "fedavg")
        losses[rate] = _loss(hospitals, tmp_path / str(rate), cell, rate)
    result = medimg("study", "federated-hospitals", hospitals.root, "--out", tmp_path / "out", *words, "--tune")
    assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "out").glob("work/hospitals-*/result.json")
    chosen = json.loads(file.read_text())["result"]["fedavg"]
    assert chosen["chosen"] == {"learning_rate": min(losses, key=losses.get)}
    assert chosen["val_loss"] == pytest.approx(min(losses.values()), abs=1e-6)
    assert len(set(losses.values())) == 3


def _loss(dataset: Dataset, out, cell, rate: float) -> float:
    """On validation, of one rate alone."""
    with Shared() as shared:
        done = Runner([dataset.root], out, 20, shared).run(cell.with_options(learning_rate=rate, rounds=1), 0)
    return done.results["hospitals"]["fedavg"]["val_loss"]
