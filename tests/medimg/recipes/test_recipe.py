"""A recipe to the end: candidates, choice, threshold; what it reads of the test part (nothing), and a plan re-run."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import yaml

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.recipes.recipe import by_recipe, is_for
from medimg.report.write import write
from medimg.run import Run
from tests.command import medimg

BACKBONE = "--model baseline_cnn --model-arg width=4 --model-arg stages=2 --image-size 16"
PROBE = f"{BACKBONE} --freeze backbone --head-start logistic --epochs 0 --augment acquisition --views 3"
NETWORK = f"{BACKBONE} --epochs 2"
CONFIG = TrainConfig(recipe="auto", time="5m", candidate=(PROBE, NETWORK))


@pytest.fixture(scope="module")
def made(noise, tmp_path_factory):
    notes = []
    from medimg.listener import Listener

    out = tmp_path_factory.mktemp("recipe") / "run"
    return by_recipe(noise.root, out, CONFIG, listener=Listener(note=notes.append)), notes


@pytest.fixture(scope="module")
def whole(noise, tmp_path_factory):
    """(a candidate) -> its recipe's Run, each made once."""
    known = {}

    def of(words):
        if words not in known:
            out = tmp_path_factory.mktemp("whole") / "run"
            known[words] = by_recipe(noise.root, out, alone(words))
        return known[words]

    return of


def alone(words):
    return TrainConfig(recipe="auto", time="10m", candidate=(words,))


def weights(run):
    return [np.asarray(one) for one in run.model().get_weights()]


@pytest.mark.slow
def test_it_is_an_ordinary_run_with_its_own_threshold(made):
    run, notes = made
    found = json.loads((run.root / "recipe.json").read_text())
    assert [one["name"] for one in found["tried"]][:2] == ["baseline_cnn-4-2-16px", "baseline_cnn-4-2-16px-2"]
    assert found["chosen"]
    assert any("data: 36 labelled images" in note for note in notes)
    metrics = evaluate(run, EvaluateConfig(bootstrap=20))
    threshold = json.loads((run.root / "threshold.json").read_text())
    assert metrics["threshold"]["rule"] == "recipe"
    assert metrics["threshold"]["value"] == threshold["value"]
    assert metrics["calibration"]["method"] == "platt"
    page = write(run).read_text("utf-8")
    assert "Chosen with the model, before any evaluation, on training and validation rows" in page
    assert "calibration was fitted on training and validation rows" in page
    # Another that is asked for is another.
    assert evaluate(run, EvaluateConfig(bootstrap=20, threshold="0.5"))["threshold"]["value"] == 0.5


@pytest.mark.slow
def test_nothing_depends_on_the_test_part(noise, made, tmp_path):
    shutil.copytree(noise.root, tmp_path / "data")
    other = Dataset.load(tmp_path / "data")
    tested = other.manifest["split"] == "test"
    names = list(other.classes)
    flipped = other.manifest["label"].map({names[0]: names[1], names[1]: names[0]})
    manifest = other.manifest.assign(label=np.where(tested, flipped, other.manifest["label"]))
    dataclasses.replace(other, manifest=manifest).save()
    for number, image in enumerate(other.manifest.loc[tested, "image"]):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(other.root / image), pixels)
    run = by_recipe(other.root, tmp_path / "run", CONFIG)
    first, _ = made
    for one, same in zip(weights(run), weights(first), strict=True):
        np.testing.assert_array_equal(one, same)
    for name in ("threshold.json", "calibration.json", "plan.yaml"):
        assert (run.root / name).read_text() == (first.root / name).read_text()


@pytest.mark.slow
def test_a_plan_is_run_again_and_a_killed_recipe_goes_on(noise, made, tmp_path):
    first, _ = made
    plan = yaml.safe_load((first.root / "plan.yaml").read_text())
    plan["candidate"] = plan["candidate"][:1]
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    result = medimg("train", noise.root, "--out", tmp_path / "run", "--config", tmp_path / "plan.yaml")
    assert result.exit_code == 0, result.output
    run = Run.load(tmp_path / "run")
    assert run.config["options"]["head_start"] == "logistic"
    assert run.config["options"]["recipe"] == "auto"
    before = weights(run)
    # As if it had been killed once its candidate had been trained.
    (run.root / "model.keras").unlink()
    run.settle(TrainConfig(recipe="auto", time="10m", candidate=tuple(plan["candidate"])).to_dict())
    result = medimg("train", noise.root, "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 0, result.output
    for one, same in zip(weights(run), before, strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.slow
@pytest.mark.parametrize("words", [PROBE, NETWORK], ids=["one", "vote"])
def test_killed_as_it_ends_it_has_not_ended(words, noise, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "settle", _settled_and_killed)
        with pytest.raises(KeyboardInterrupt):
            by_recipe(noise.root, out, alone(words))
    assert not (out / "model.keras").exists()
    plan = (out / "plan.yaml").read_text()
    again = medimg("train", noise.root, "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    for one, same in zip(weights(Run.load(out)), weights(whole(words)), strict=True):
        np.testing.assert_array_equal(one, same)
    for name in ("threshold.json", "calibration.json"):
        assert (out / name).read_text() == (whole(words).root / name).read_text()
    assert (out / "plan.yaml").read_text() == plan


def _settled_and_killed(run, options):
    run.config["options"] = options
    (run.root / "config.yaml").write_text(yaml.safe_dump(run.config))
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_given_plan_keeps_its_time(noise, tmp_path):
    run = by_recipe(noise.root, tmp_path / "run", dataclasses.replace(CONFIG, time="1s"))
    found = json.loads((run.root / "recipe.json").read_text())
    assert len(found["tried"]) == 1
    assert [one["left"] for one in found["left_out"]] == [0]


@pytest.mark.slow
def test_a_network_votes_with_its_seeds(whole):
    run = whole(NETWORK)
    name = "baseline_cnn-4-2-16px"
    seeds = [f"{name}-seed-{number}" for number in (2, 3, 4, 5)]
    assert json.loads((run.root / "recipe.json").read_text())["chosen"] == [name, *seeds]
    assert [one["name"] for one in run.description()["members"]] == ["baseline_cnn"] * 5


@pytest.mark.slow
def test_tables_compete_by_folds(small_table, tmp_path):
    words = ("--model logistic --epochs 5", "--model mlp --model-arg width=4 --epochs 3")
    run = by_recipe(small_table.root, tmp_path / "run", TrainConfig(recipe="auto", candidate=words))
    found = json.loads((run.root / "recipe.json").read_text())
    assert {one["name"] for one in found["tried"]} == {"logistic", "mlp-4"}
    assert "by 5 folds" in json.loads((run.root / "threshold.json").read_text())["chosen_on"]
    assert evaluate(run, EvaluateConfig(bootstrap=20))["threshold"]["rule"] == "recipe"


def test_when_a_recipe_decides(tmp_path):
    assert is_for(TrainConfig())
    assert is_for(TrainConfig(seed=3, time="3m", weights=str(tmp_path)))
    for options in (
        {"model": "mobilenet"},
        {"epochs": 3},
        {"augment": "light"},
        {"recipe": "none"},
        {"weights": "x.h5"},
    ):
        assert not is_for(TrainConfig(**options))
    assert is_for(TrainConfig(recipe="auto", epochs=3))


def test_what_a_recipe_decides_is_not_given(noise, tmp_path):
    with pytest.raises(InputError, match="--epochs: a recipe decides it"):
        by_recipe(noise.root, tmp_path / "run", TrainConfig(recipe="auto", epochs=3))
    result = medimg("train", noise.root, "--out", tmp_path / "run", "--model", "baseline_cnn", "--time", "3m")
    assert "--time: is for --recipe auto" in result.stderr
    result = medimg("train", noise.root, "--out", tmp_path / "run", "--time", "soon")
    assert result.exit_code == 2
    assert "--time soon: give a time" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--model modell", "--model modell: not known"),
        ("--model logistic", "needs a table"),
        (f"{BACKBONE} --augment wild", "--augment wild"),
        (f"{BACKBONE} --model-arg depth=3", "depth"),
        (f"{BACKBONE} --views 3", "--views: is for --augment"),
        ("--model baseline_cnn --image-size 4", "4"),
        (f"{BACKBONE} --weights nowhere.h5", "--weights nowhere.h5"),
    ],
)
def test_a_candidate_that_can_not_be_is_named_before_anything_is_trained(words, named, noise, tmp_path):
    with pytest.raises(InputError, match=named):
        by_recipe(noise.root, tmp_path / "run", TrainConfig(recipe="auto", candidate=(NETWORK, words)))
    assert not (tmp_path / "run").exists()
