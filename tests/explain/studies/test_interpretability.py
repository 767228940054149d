"""The study interpretability: a cell a method and control of each model, scored on the same images, ranked."""

import json

import numpy as np
import pytest

import cli  # noqa: F401 - names the steps of the other rooms
from explain.config import InterpretabilityConfig
from explain.studies.interpretability import with_methods
from medimg.config import TrainConfig
from medimg.studies.declared import Cell, load
from medimg.studies.running import Runner
from medimg.studies.steps import Shared
from tests.command import medimg
from tests.datasets import write_dataset

pytestmark = pytest.mark.final_figures
SMALL = ("--model-arg", "width=4", "--model-arg", "stages=2", "--image-size", 32, "--epochs", 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("maps") / "images", 40)


def test_models_start_from_weights_where_they_can(images):
    config = InterpretabilityConfig(method=("gradcam", "occlusion"))
    given = TrainConfig(epochs=3).with_given_names(["epochs"])
    cells = with_methods(load("interpretability"), images, config, given).cells
    assert [cell.name for cell in cells if cell.group == "mobilenet"] == [
        "gradcam",
        "occlusion",
        "(random)",
        "(centre)",
        "(edges)",
    ]
    options = {cell.group: dict(cell.steps)["train"] for cell in cells}
    assert "weights" not in options["baseline_cnn"]
    assert (options["mobilenet"]["weights"], options["mobilenet"]["freeze"]) == ("imagenet", "backbone")
    assert {(one["epochs"], one["image_size"]) for one in options.values()} == {(3, 96)}
    given = TrainConfig(weights="none").with_given_names(["weights"])
    cells = with_methods(load("interpretability"), images, config, given).cells
    assert not any("freeze" in dict(cell.steps)["train"] for cell in cells)
    given = TrainConfig(image_size=64).with_given_names(["image_size"])
    cells = with_methods(load("interpretability"), images, config, given).cells
    assert {dict(cell.steps)["train"]["image_size"] for cell in cells} == {64}


@pytest.mark.slow
def test_methods_are_scored_on_one_training_and_ranked(images, tmp_path):
    words = ("study", "interpretability", images.root, "--out", tmp_path, "--model", "baseline_cnn", *SMALL)
    words += ("--method", "gradcam", "--method", "hirescam", "--score-count", 4, "--samples", 10)
    result = medimg(*words)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "study.json").read_text())
    rows = {row["cell"]: row["metrics"] for row in content["rows"]}
    assert list(rows) == ["gradcam", "hirescam", "(random)", "(centre)", "(edges)"]
    assert len(list(tmp_path.glob("work/train-*"))) == 1
    # The controls are those of the first method's explanation.
    assert len(list(tmp_path.glob("work/explain-*"))) == 2
    less = ("deletion", "randomisation")
    # A score that one of them lacks would give a place among few to the others.
    titles = [title for title in content["rows"][0]["metrics"] if all(title in its for its in rows.values())]
    for cell, its in rows.items():
        ranks = []
        for title in (title for title in titles if title != "mean rank"):
            values = [other[title]["value"] for other in rows.values()]
            better = [(v < its[title]["value"]) == (title in less) for v in values if v != its[title]["value"]]
            ranks.append(1 + sum(better) + (values.count(its[title]["value"]) - 1) / 2)
        assert its["mean rank"]["value"] == pytest.approx(np.mean(ranks)), cell
    assert all(its["insertion"]["low"] is not None for its in rows.values())
    assert "(random)" in (tmp_path / "study.html").read_text()


def test_what_methods_take_is_timed(images, tmp_path):
    """Of the Run itself: integrated gradients ask the model sixteen times at least where Grad-CAM asks it once."""
    model = {"model": "baseline_cnn", "model_arg": {"width": "8", "stages": "2"}, "image_size": 48, "epochs": 1}
    methods = InterpretabilityConfig(model=("baseline_cnn",), method=("gradcam", "integrated-gradients"))
    study = with_methods(load("interpretability"), images, methods, TrainConfig().with_given_names([]))
    assert [cell.follows for cell in study.cells] == [False, True, False, False, False]
    step, options = study.foretold
    with Shared() as shared:
        runner = Runner([images.root], tmp_path, 20, shared)
        done = runner.run(Cell("", "a", (("train", model), (step, options))), 0)
    told = done.results[step]["seconds"]
    assert list(told) == ["gradcam", "integrated-gradients"]
    assert told["integrated-gradients"] > 1.3 * told["gradcam"] > 0
