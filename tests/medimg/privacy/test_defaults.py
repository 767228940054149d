"""Defaults of private training: rules of public facts alone; what is given stays."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from medimg.config import TrainConfig
from medimg.listener import Listener
from medimg.models.weight_store import add
from medimg.privacy.defaults import coarse, private_defaults
from medimg.privacy.ledger import read
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.ensemble import ensemble
from medimg.training.open_options import settled, tell
from medimg.training.train import train
from tests.command import medimg
from tests.datasets import write_table

GIVEN = TrainConfig(model="logistic", dp_epsilon=2.0, dp_delta=1e-3)
RULED = ("optimizer", "batch_size", "epochs", "learning_rate")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("defaults") / "data", n=80)


def test_they_are_of_public_facts_alone(table):
    """Other labels, values and a patient more or less: the same options, as long as the coarse number is the same."""
    config, by_rule = settled(GIVEN, table)
    patients = table.rows("train")["patient"].nunique()
    assert set(by_rule) == set(RULED)
    assert config.batch_size == coarse(patients)
    rows = table.manifest
    other = rows.assign(label=rows["label"].to_numpy()[::-1])
    for feature in table.inputs:
        other[feature.name] = np.random.default_rng(0).permutation(other[feature.name].to_numpy())
    fewer = rows.drop(rows.index[rows["split"] == "train"][0])
    assert coarse(patients) == coarse(patients - 1)
    for manifest in (other, fewer):
        assert settled(GIVEN, dataclasses.replace(table, manifest=manifest)) == (config, by_rule)


def test_passes_grow_as_the_root_of_the_budget_and_larger_steps_stand_for_those_too_many():
    few, more = (private_defaults(dataclasses.replace(GIVEN, dp_epsilon=e), "row", 100) for e in (1.0, 4.0))
    assert (few["epochs"][0], more["epochs"][0]) == (20, 40)
    assert few["learning_rate"][0] == more["learning_rate"][0] == 0.05
    many = private_defaults(GIVEN, "row", 50_000)
    assert many["epochs"][0] == 200
    # 2 sqrt(100,000) passes were wanted.
    assert many["learning_rate"][0] == pytest.approx(0.05 * 632 / 200, rel=0.05)


@pytest.mark.parametrize(
    ("name", "value"), [("optimizer", "adam"), ("batch_size", 7), ("epochs", 3), ("learning_rate", 0.2)]
)
def test_what_is_given_stays(table, name, value):
    config, by_rule = settled(dataclasses.replace(GIVEN, **{name: value}), table)
    assert getattr(config, name) == value
    assert name not in by_rule
    if name == "optimizer":
        # The rate of the rule is of steps without Adam's own scale.
        assert config.learning_rate == 0.01
    else:
        assert config.optimizer == "momentum"


def test_the_rate_goes_with_the_clip():
    narrow, wide = (private_defaults(dataclasses.replace(GIVEN, dp_clip=clip), "row", 100) for clip in (0.5, 2.0))
    assert narrow["learning_rate"][0] * 0.5 == wide["learning_rate"][0] * 2.0


@pytest.fixture
def empty_store(tmp_path, monkeypatch):
    """No weights are kept on this machine."""
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))


def test_a_table_and_images_get_a_model_that_can_be_private(table, noise, empty_store):
    bare = TrainConfig(dp_epsilon=2.0)
    assert settled(bare, table)[0].model == "logistic"
    assert settled(bare.with_given_names(["dp_epsilon", "model"]), table)[0].model == "baseline_cnn"
    config, by_rule = settled(bare, noise)
    assert (config.model, config.norm, set(by_rule)) == ("baseline_cnn", "group", {"norm"})
    assert (config.optimizer, config.batch_size, config.epochs) == ("adam", 32, 20)
    assert settled(bare.with_given_names(["dp_epsilon", "norm"]), noise)[0].norm == "batch"


def test_of_weights_at_hand_the_last_layer_is_trained(noise, empty_store, pretrained_weights):
    """Those of a folder, or of the store: ImageNet's largest, and what trains a head by few noisy steps."""
    head = {"model", "model_arg", "weights", "freeze"}
    bare = TrainConfig(dp_epsilon=2.0, dp_delta=1e-3)
    config, by_rule = settled(dataclasses.replace(bare, weights=str(pretrained_weights)), noise)
    assert set(by_rule) == {*head, *RULED, "dp_clip", "dropout"}
    assert (config.dp_clip, config.dropout) == (10.0, 0.0)
    tighter = settled(dataclasses.replace(config, dp_clip=1.0, learning_rate=None), noise)[0]
    # Both to two figures.
    assert tighter.learning_rate == pytest.approx(10 * config.learning_rate, rel=0.05) == pytest.approx(0.02, rel=0.1)
    assert (config.model, config.model_arg, config.freeze, config.norm) == (
        "mobilenet",
        {"alpha": "0.75"},
        "backbone",
        "batch",
    )
    assert Path(config.weights) == (pretrained_weights / "mobilenet_7_5_224_tf_no_top.h5").resolve()
    assert (config.optimizer, config.batch_size) == ("momentum", coarse(24))
    # Of features whose norm nobody has measured, as without a rule.
    other = dataclasses.replace(config, model="resnet50", model_arg={}, dp_clip=None)
    assert settled(other, noise)[0].dp_clip == 1.0
    # A Run, or a fold, that goes on by all of these is asked nothing again.
    assert settled(config.with_given_names(()), noise) == (config, {})
    add(pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5")
    assert settled(bare, noise)[0].model_arg == {"alpha": "0.25"}
    for given in ("model", "model_arg", "weights", "freeze", "norm"):
        closed = settled(bare.with_given_names(["dp_epsilon", given]), noise)[0]
        assert closed.model == "baseline_cnn", given
    # Too small for what is at hand.
    assert settled(dataclasses.replace(bare, image_size=16), noise)[0].model == "baseline_cnn"


def test_weights_whose_data_are_not_known_are_no_start_of_a_private_training(
    noise, empty_store, pretrained_weights, tmp_path
):
    """They may remember these very patients."""
    own = tmp_path / "own.h5"
    own.write_bytes((pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5").read_bytes() + b" ")
    add(own, family="mobilenet alpha=0.25", licence="ours", source="radiographs of this hospital")
    assert settled(TrainConfig(dp_epsilon=2.0), noise)[0].model == "baseline_cnn"


def test_a_batch_of_nearly_all_patients_is_not_put_through_a_backbone_at_once():
    """Their features are computed, and validation is, in batches that fit memory."""
    wide = TrainConfig(freeze="backbone", batch_size=5000)
    assert dataclasses.replace(wide, dp_epsilon=1.0).images_at_once == 64
    assert wide.images_at_once == 5000


def test_folds_are_ruled_by_the_smallest_of_them(table):
    config, _ = settled(dataclasses.replace(GIVEN, folds=4), table)
    assert config.batch_size <= 20
    assert settled(TrainConfig(model="logistic"), table)[1] == {}


def test_a_plan_is_read_as_it_was_meant(table, tmp_path):
    """YAML takes 5e-05 for text."""
    run = Run.create(tmp_path / "run", table.root, "train", GIVEN.to_dict(), False)
    tell(run, GIVEN, {"learning_rate": (5e-05, "small")}, Listener())
    assert TrainConfig.from_dict(yaml.safe_load((run.root / "plan.yaml").read_text())).learning_rate == 5e-05


@pytest.mark.slow
@pytest.mark.parametrize("several", [{"folds": 2}, {"seeds": 2}])
def test_they_are_told_of_several_trainings(table, tmp_path, several):
    notes = []
    config = dataclasses.replace(GIVEN, epochs=1, **several)
    (cross_validate if "folds" in several else ensemble)(
        table.root, tmp_path / "run", config, listener=Listener(note=notes.append)
    )
    plan = yaml.safe_load((tmp_path / "run" / "plan.yaml").read_text())
    assert plan["optimizer"] == "momentum"
    assert sum(note.startswith("--optimizer momentum: ") for note in notes) == 1


@pytest.mark.slow
def test_they_are_told_kept_and_trained_by_again(table, tmp_path):
    notes = []
    config = dataclasses.replace(GIVEN, dp_seed=5)
    run = train(table.root, tmp_path / "run", config, listener=Listener(note=notes.append))
    plan = yaml.safe_load((run.root / "plan.yaml").read_text())
    options = run.config["options"]
    assert {name: plan[name] for name in RULED} == {name: options[name] for name in RULED}
    assert "dp_seed" not in plan
    assert any(note.startswith(f"--batch-size {options['batch_size']}: noise is added once a step") for note in notes)
    patients = table.rows("train")["patient"].nunique()
    assert read(run.root)["steps"] == options["epochs"] * -(-patients // plan["batch_size"])
    out = tmp_path / "again"
    result = medimg("train", table.root, "--config", run.root / "plan.yaml", "--dp-seed", 5, "--out", out)
    assert result.exit_code == 0, result.output
    again = Run.load(out)
    for one, same in zip(run.model().get_weights(), again.model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    # Nothing was open, so nothing was chosen.
    assert not (again.root / "plan.yaml").exists()


@pytest.mark.slow
def test_a_head_is_told_kept_and_trained_by_again(noise, empty_store, pretrained_weights, tmp_path):
    add(pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5")
    privately = ("--dp-epsilon", 2, "--dp-delta", 1e-3, "--dp-seed", 5, "--image-size", 32, "--epochs", 2)
    result = medimg("train", noise.root, *privately, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    for words in ("--model mobilenet: ", "--model-arg alpha=0.25: of these", "--dp-clip 10.0: ", "--batch-size 20: "):
        assert f"note: {words}" in result.output
    run = Run.load(tmp_path / "run")
    plan = yaml.safe_load((run.root / "plan.yaml").read_text())
    assert (plan["freeze"], plan["image_size"], plan["epochs"]) == ("backbone", 32, 2)
    assert read(run.root)["l2_norm_clip"] == 10.0
    result = medimg(
        "train", noise.root, "--config", run.root / "plan.yaml", "--dp-seed", 5, "--out", tmp_path / "again"
    )
    assert result.exit_code == 0, result.output
    for one, same in zip(run.model().get_weights(), Run.load(tmp_path / "again").model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
