"""Plans as they are written, read back and timed; the rules' candidates."""

import numpy as np
import pytest
import yaml

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.models.at_hand import backbones
from medimg.recipes.fingerprint import Fingerprint, fingerprint, learnt_from
from medimg.recipes.machine import Machine
from medimg.recipes.plan import VIEWS, PlannedModel, parsed, seconds_of, written
from medimg.recipes.rules import candidates, timed

PROBE = {
    "model": "mobilenet",
    "model_arg": {"alpha": "0.75"},
    "weights": "/a folder/w.h5",
    "image_size": 224,
    "freeze": "backbone",
    "head_start": "logistic",
    "epochs": 0,
    "learning_rate": 0.01,
    "augment": "acquisition",
    "views": VIEWS,
    "cache_features": True,
}
NO_WEIGHTS = Machine(2, 16.0, 0, ())


def known(**more):
    usual = {"unit": "image", "task": "binary", "rows": 64, "patients": 60, "classes": {"a": 48, "b": 16}}
    return Fingerprint(**{**usual, "side": 28, "grey": True, "modality": "ultrasound", **more})


def test_a_plan_reads_back_as_it_was_written():
    plan = [
        PlannedModel(PROBE, "because", 12.0),
        PlannedModel({"model": "baseline_cnn", "epochs": 3}, "also", float("nan")),
    ]
    content = yaml.safe_load(written(plan, "5m", 7, ["data: many"]))
    assert (content["recipe"], content["time"], content["seed"]) == ("auto", "5m", 7)
    again = [parsed(words) for words in content["candidate"]]
    assert [one.options for one in again] == [one.options for one in plan]
    assert [one.name for one in again] == ["mobilenet-0.75-224px", "baseline_cnn"]
    assert again[0].is_probe
    assert not again[1].is_probe
    assert again[0].config(3).seed == 3
    # Judged as what it was trained on: other views than those of hard validation are no probe's.
    for changed in ({"augment": "none", "views": 0}, {"views": VIEWS - 1}):
        assert not PlannedModel({**PROBE, **changed}, "").is_probe


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--model", "options of 'medimg train' and their values"),
        ("", "options of 'medimg train'"),
        ("--modell baseline_cnn", "--modell is not an option"),
        ("--time 3m", "--time is not an option"),
        ("--dp-epsilon 3", "--dp-epsilon is not an option"),
        ("--folds 5", "--folds is not an option"),
        ("--metadata age", "--metadata is not an option"),
        ("--cache-features perhaps", "--cache-features perhaps: must be bool"),
        ("--epochs many", "--epochs many: must be int"),
        ("--epochs -1", "--epochs -1: must be at least 0"),
        ("--model 'x", "No closing quotation"),
    ],
)
def test_a_candidate_that_can_not_be_is_named(words, named):
    with pytest.raises(InputError, match=named):
        parsed(words)


def test_times():
    assert [seconds_of(text) for text in ("90s", "12m", "1.5h")] == [90, 720, 5400]
    for text in ("12", "m", "-3m", "nanm", "infh", "0s"):
        with pytest.raises(InputError, match="--time"):
            seconds_of(text)


def test_a_plan_that_was_given_is_timed_as_one_of_the_rules():
    made = candidates(known(), NO_WEIGHTS)
    (again,) = timed([parsed(made[0].words())], known())
    assert again.seconds == made[0].seconds > 0
    longer = parsed("--model baseline_cnn --image-size 28 --epochs 80")
    assert timed([longer], known())[0].seconds > again.seconds


def test_rules_say_why(pretrained_weights):
    (network,) = candidates(known(), NO_WEIGHTS)
    assert network.options["balance"] == "class-weight"
    assert "no weights at hand" in network.reason
    assert network.options["image_size"] == 28
    files = backbones(str(pretrained_weights))
    assert [one.name for one in files] == ["mobilenet-0.75", "mobilenet_v2-0.35", "mobilenet-0.25"]
    found = candidates(known(side=300, classes={"a": 32, "b": 32}), Machine(2, 16.0, 0, files[2:]))
    assert [one.name for one in found] == ["mobilenet-0.25-224px", "mobilenet-0.25-160px"]
    assert all(one.is_probe and one.options["balance"] == "none" and one.seconds > 0 for one in found)
    tables = candidates(known(unit="row", side=0), NO_WEIGHTS)
    assert [one.options["model"] for one in tables] == ["logistic", "logistic", "mlp"]
    for one in (*found, *tables, network):
        TrainConfig(**one.options)


def test_weights_that_are_not_known_are_refused(tmp_path):
    (tmp_path / "own.h5").write_bytes(b"none of Keras'")
    for place, named in (
        (tmp_path, "no file that is known"),
        (tmp_path / "not", "no such file"),
        ("imagenet", "on this machine"),
    ):
        with pytest.raises(InputError, match=named):
            backbones(str(place))


def test_a_fingerprint_has_nothing_of_the_test_part(noise):
    found = fingerprint(learnt_from(noise))
    labelled = noise.manifest[noise.manifest["split"] != "test"]
    assert found.rows == len(labelled) == sum(found.classes.values())
    assert (found.side, found.grey) == (32, False)
    other = learnt_from(noise)
    assert set(other.manifest["split"]) == {"train", "val"}
    assert np.isclose(known().imbalance, 3)
