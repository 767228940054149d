"""The privacy-utility study: what it trains, what it keeps, what it refuses."""

import json
from pathlib import Path

import pytest

from medimg.commands.study import _without_secret
from medimg.config import TrainConfig
from medimg.privacy.ledger import read
from medimg.run import Run
from medimg.studies.config import PrivacyUtilityConfig
from medimg.studies.declared import load
from medimg.studies.privacy_utility import with_epsilons
from medimg.studies.steps import Inputs, Shared
from medimg.studies.steps import train as train_step
from medimg.training.open_options import settled
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
    # other trainings.
    models = {path: path.stat().st_mtime_ns for path in out.glob("work/train-*/done/model.keras")}
    assert len(models) == 2
    assert medimg(*words, "--epsilon", 2).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("work/train-*/done/model.keras")} == models
    assert medimg(*words, "--epsilon", 2, "--learning-rate", 0.02).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in models} == models
    assert len(list(out.glob("work/train-*"))) == 4


def test_all_its_cells_have_the_backbone_that_a_private_training_has(noise, pretrained_weights):
    """What privacy costs is not what another model is worth; a model that is named stays."""
    config = PrivacyUtilityConfig(epsilon=("inf", "2"))
    given = TrainConfig(dp_delta=1e-3, weights=str(pretrained_weights))
    cells = with_epsilons(load("privacy-utility"), noise, config, given).cells
    plain, private = (dict(cell.steps)["train"] for cell in cells)
    for name in ("model", "model_arg", "weights", "freeze"):
        assert plain[name] == private[name]
    assert (plain["model"], private["dp_clip"], "dp_clip" in plain) == ("mobilenet", 10.0, False)
    named = TrainConfig(dp_delta=1e-3).with_given_names(["model", "dp_delta"])
    cells = with_epsilons(load("privacy-utility"), noise, config, named).cells
    assert all("model" not in dict(cell.steps)["train"] for cell in cells)


@pytest.mark.slow
def test_its_trainings_are_those_of_train(tmp_path):
    """What nobody gives is chosen by the rules of private trainings, and a budget finds the epochs that it can cut."""
    table = write_table(tmp_path / "data", n=40)
    given = TrainConfig(dp_delta=1e-3)
    config = PrivacyUtilityConfig(epsilon=("inf", "2"))
    plain, private = with_epsilons(load("privacy-utility"), table, config, given).cells
    options = dict(private.steps)["train"]
    expected = settled(TrainConfig(dp_delta=1e-3, dp_epsilon=2.0), table)[0]
    assert TrainConfig.from_dict(options) == expected
    assert (options["model"], options["optimizer"]) == ("logistic", "momentum")
    assert (dict(plain.steps)["train"]["model"], dict(plain.steps)["train"]["epochs"]) == ("logistic", 200)
    # A cell that is declared without them is settled alike.
    few = {"dp_epsilon": 2.0, "dp_delta": 1e-3, "epochs": 2}
    inputs = Inputs(table.root, (table.root,), {}, (), 20, Shared())
    assert train_step.run(inputs, tmp_path / "run", dict(few))["epsilon"] <= 2
    trained = Run.load(tmp_path / "run").config["options"]
    assert (trained["model"], trained["optimizer"]) == ("logistic", "momentum")
    assert trained["batch_size"] == expected.batch_size


def test_the_page_does_not_tell_the_seed_of_the_noise():
    words = ["study", "privacy-utility", "DATA", "--dp-seed", "41", "--seeds", "1", "--dp-seed=41"]
    assert _without_secret(words) == ["study", "privacy-utility", "DATA", "--seeds", "1"]


@pytest.mark.parametrize("epsilon", ["0", "-1", "much", "nan"])
def test_an_epsilon_must_be_a_number_above_0(tmp_path, epsilon):
    data = write_table(tmp_path / "data").root
    result = medimg("study", "privacy-utility", data, "--out", tmp_path / "out", "--model", "mlp", "--epsilon", epsilon)
    assert result.exit_code == 2
    assert f"--epsilon {epsilon}: must be a number above 0" in result.output
