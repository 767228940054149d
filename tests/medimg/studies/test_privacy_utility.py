"""The privacy-utility study: what it trains, what it keeps, what it refuses."""

import json
from pathlib import Path

import pytest

from medimg.privacy.ledger import read
from tests.command import medimg
from tests.datasets import write_table

TRAINING = ("--model", "logistic", "--epochs", 2, "--batch-size", 16, "--dp-delta", 1e-3, "--bootstrap", 20)


@pytest.mark.slow
def test_every_epsilon_is_trained_evaluated_and_attacked(tmp_path):
    data, out = write_table(tmp_path / "data").root, tmp_path / "out"
    words = ("study", "privacy-utility", data, "--out", out, *TRAINING, "--seeds", 1, "--epsilon", "inf")
    result = medimg(*words, "--epsilon", 2)
    assert result.exit_code == 0, result.output
    plain, private = json.loads((out / "study.json").read_text())["rows"]
    assert (plain["label"], private["label"]) == ("no privacy", "epsilon 2")
    assert private["metrics"]["epsilon spent"]["value"] <= 2
    assert "epsilon spent" not in plain["metrics"]
    assert read(plain["folders"][0]["train"]) is None
    measured = json.loads(Path(private["folders"][0]["train"], "metrics.json").read_text())["metrics"]
    assert private["metrics"]["AUROC"]["value"] == pytest.approx(measured["auroc"]["value"])
    # Taken up again, finished trainings stay as they are: their secret noise would never come again. Other options make
    # another training.
    models = {path: path.stat().st_mtime_ns for path in out.glob("work/train-*/done/model.keras")}
    assert len(models) == 2
    assert medimg(*words, "--epsilon", 2).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("work/train-*/done/model.keras")} == models
    assert medimg(*words, "--learning-rate", 0.02).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in models} == models
    assert len(list(out.glob("work/train-*"))) == 3


@pytest.mark.parametrize("epsilon", ["0", "-1", "much", "nan"])
def test_an_epsilon_must_be_a_number_above_0(tmp_path, epsilon):
    data = write_table(tmp_path / "data").root
    result = medimg("study", "privacy-utility", data, "--out", tmp_path / "out", "--model", "mlp", "--epsilon", epsilon)
    assert result.exit_code == 2
    assert f"--epsilon {epsilon}: must be a number above 0" in result.output
