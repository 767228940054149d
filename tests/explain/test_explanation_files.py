"""What explain() leaves on disk when it runs again, and what it counts instead of dropping."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from explain.config import ExplainConfig
from explain.explain import explain
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.models.build import build
from medimg.models.saving import save_model
from medimg.run import Run

CLASSES = ("mass", "effusion")


@pytest.fixture
def untrained(tmp_path) -> Run:
    """A Run of an untrained multilabel model on six images with boxes, some of a class it does not know."""
    draw, rows = np.random.default_rng(0), []
    (tmp_path / "data").mkdir()
    for i, finding in enumerate(["mass", "mass|effusion", "fracture", "mass|fracture", "", ""]):
        cv2.imwrite(str(tmp_path / f"data/{i}.png"), draw.integers(0, 256, (20, 40), np.uint8))
        count = len(finding.split("|")) if finding else 0
        box = {key: "|".join([value] * count) for key, value in zip("xy", "24", strict=True)}
        size = {key: "|".join(["9"] * count) for key in ("width", "height")}
        row = {"image": f"{i}.png", "label": "mass", "patient": f"p{i}", "split": "test"}
        rows.append({**row, **box, **size, "finding": finding})
    Dataset(tmp_path / "data", "boxes", "multilabel", CLASSES, pd.DataFrame(rows)).save()
    run = Run.create(tmp_path / "run", tmp_path / "data", "train", {})
    description = {"name": "baseline_cnn", "task": "multilabel", "classes": list(CLASSES)}
    atomic.write_json(run.root / "model.json", {**description, "image_size": 16, "channels": 1})
    model = build("baseline_cnn", 16, 1, 2, model_arg={"width": "4", "stages": "2"})
    save_model(model, run.root / "model.keras")
    return run


def test_findings_of_unknown_classes_are_counted(untrained):
    judged = explain(untrained, ExplainConfig(count=2))["scores"]["gradcam"]
    assert judged["n"]["findings"] + judged["n"]["findings_smaller_than_a_cell"] == 4
    assert judged["left_out"] == {"fracture": 2}
    stored = json.loads((untrained.root / "explanations/test/scores.json").read_text())
    assert stored["gradcam"] == judged


@pytest.mark.slow
def test_a_shorter_list_replaces_a_longer_one_and_methods_add_up(untrained):
    explain(untrained, ExplainConfig())
    explain(untrained, ExplainConfig(method=("smoothgrad",)))
    dataset = untrained.dataset()
    replace(dataset, manifest=dataset.manifest.head(4)).save()
    explain(untrained, ExplainConfig())
    folder = untrained.root / "explanations" / "test"
    index = json.loads((folder / "explanations.json").read_text())
    assert sorted(index) == ["gradcam", "smoothgrad"]
    listed = {entry[key] for entry in index["gradcam"] for key in ("overlay", "heatmap")}
    found = {f"gradcam/{file.name}" for file in (folder / "gradcam").iterdir()}
    assert found == listed | {"gradcam/contact_sheet.png"}
    assert len(listed) == 2 * 4


@pytest.mark.slow
def test_the_predicted_class_is_that_of_the_evaluation(phantom_run, tmp_path):
    run = Run.load(shutil.copytree(phantom_run.root, tmp_path / "run"))
    config = ExplainConfig(count=6, score_count=0, mistakes=0)
    for value, predicted in ((0.0, "opacity"), (1.1, "normal")):
        atomic.write_json(run.root / "metrics.json", {"threshold": {"value": value}})
        entries = explain(run, config)["images"]["gradcam"]
        assert {entry["predicted"] for entry in entries} == {predicted}
