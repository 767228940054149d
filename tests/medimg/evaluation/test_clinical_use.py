"""Net benefit and NPV by hand, with intervals; floors of pixels find what lies in them and nothing else."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from medimg.data.dataset import Dataset
from medimg.evaluation import floor
from medimg.evaluation.clinical_use import THRESHOLDS, clinical_use, useful, useful_range
from medimg.evaluation.pixel_floors import pixel_floors
from medimg.evaluation.predictions import Predictions


def predictions(n: int = 200, tells: bool = True, task: str = "binary") -> Predictions:
    draw = np.random.default_rng(0)
    truth = draw.random(n) < 0.3
    p = np.clip(draw.normal(0.3, 0.15, n) + (0.35 * truth if tells else 0), 0.01, 0.99)
    if task == "multiclass":
        third = np.stack([1 - p, p * 0.7, p * 0.3], axis=1)
        return Predictions(task, ("a", "b", "c"), truth.astype(int) + (draw.random(n) < 0.1), third)
    return Predictions("binary", ("well", "ill"), truth.astype(int), np.stack([1 - p, p], axis=1), 0.4)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_net_benefit_and_npv_are_those_of_the_definition(task):
    given = predictions(task=task)
    found = clinical_use(given, np.arange(len(given)), resamples=0)
    chosen = ["ill"] if task == "binary" else ["a", "b", "c"]
    assert list(found["decision_curve"]) == chosen
    for name in chosen:
        k = given.classes.index(name)
        truth, curve = given.truth[:, k], found["decision_curve"][name]
        assert curve["threshold"] == THRESHOLDS.tolist()
        assert curve["low"] is None
        for t, model, everybody, gain in zip(THRESHOLDS, curve["model"], curve["all"], curve["gain"], strict=True):
            (_, fp), (_, tp) = confusion_matrix(truth, given.probabilities[:, k] >= t, labels=[False, True])
            assert model == pytest.approx((tp - fp * t / (1 - t)) / len(given))
            assert everybody == pytest.approx(truth.mean() - (1 - truth.mean()) * t / (1 - t))
            assert gain == pytest.approx(model - max(everybody, 0))
        left = ~given.decisions[:, k]
        assert found["npv"][name]["value"] == pytest.approx((~truth)[left].mean())


def test_a_model_that_tells_leads_and_one_that_does_not_never_surely_does():
    patients = np.arange(200) // 2
    good = clinical_use(predictions(), patients, 200)["decision_curve"]["ill"]
    assert useful_range(good)
    assert "better than calling everybody" in useful("ill", good)
    npv = clinical_use(predictions(), patients, 200)["npv"]["ill"]
    assert npv["low"] < npv["value"] <= npv["high"]
    poor = clinical_use(predictions(tells=False), patients, 200)["decision_curve"]["ill"]
    assert sum(high - low for low, high in useful_range(poor)) < 0.1


def test_where_all_who_are_not_called_are_well_the_npv_has_an_exact_bound():
    p = np.array([0.1] * 20 + [0.9] * 20)
    truth = np.array([0] * 20 + [1] * 20)
    given = Predictions("binary", ("well", "ill"), truth, np.stack([1 - p, p], axis=1), 0.5)
    npv = clinical_use(given, np.arange(40), 50)["npv"]["ill"]
    assert (npv["value"], npv["high"]) == (1.0, 1.0)
    # Clopper-Pearson of 20 of 20.
    assert npv["low"] == pytest.approx(0.025 ** (1 / 20))


def cohort(root, where: str, n: int = 160) -> Dataset:
    """Noise of 40 px; the label is told by the whole image's brightness, by a mark in a corner, or by nothing."""
    draw = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(n):
        ill = i % 2
        image = draw.integers(60, 180, (40, 40), np.uint8)
        if where == "whole":
            image = (image.astype(int) + 12 * ill).astype(np.uint8)
        elif where == "corner":
            image[:2, :6] = 255 if ill else 60
        cv2.imwrite(str(root / f"images/{i}.png"), image)
        split = "train" if i % 4 < 2 else "test"
        rows.append((f"images/{i}.png", ("well", "ill")[ill], f"p{i}", "", split))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    return Dataset(root, "marks", "binary", ("well", "ill"), manifest)


def reached(data: Dataset) -> dict:
    rows = data.rows("test", labelled=True).reset_index(drop=True)
    p = np.full((len(rows), 2), 0.5)
    model = Predictions("binary", data.classes, data.targets(rows), p, 0.5)
    return floor.compared(model, pixel_floors(data, "train", data, rows, data.classes), rows["patient"], 100, 0)


@pytest.mark.parametrize(
    ("where", "thumbnails", "borders"), [("whole", True, True), ("corner", True, True), ("nowhere", False, False)]
)
def test_floors_find_what_is_there(tmp_path, where, thumbnails, borders):
    found = reached(cohort(tmp_path, where))
    for name, tells in (("thumbnails", thumbnails), ("borders", borders)):
        auroc = found[name]["auroc"]
        assert (auroc["low"] > 0.6) == tells, (name, auroc)
        assert tells or auroc["low"] < 0.5 < auroc["high"]


def test_a_floor_is_named_where_it_reaches_the_models_own_interval_and_only_there(tmp_path):
    found = reached(cohort(tmp_path, "corner"))
    far = {"metrics": {"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    assert any(
        "border pixels" in text and "above the interval of the model's own" in text
        for text in floor.words({**far, **found})
    )
    assert floor.words(found) == []
    # Below the interval of a better model nothing is said.
    low = {name: {**one, "auroc": {"value": 0.7, "low": 0.6, "high": 0.8}} for name, one in found.items()}
    assert floor.words({"metrics": {"auroc": {"value": 0.95, "low": 0.9, "high": 0.99}}, **low}) == []


def test_each_label_of_several_has_its_own_fit_and_one_that_no_row_has_none(tmp_path):
    data = cohort(tmp_path, "corner")
    labels = data.manifest["label"].replace({"well": "none"})
    several = replace(
        data, task="multilabel", classes=("ill", "never"), negative="none", manifest=data.manifest.assign(label=labels)
    )
    rows = several.rows("test").reset_index(drop=True)
    told, chances = pixel_floors(several, "train", several, rows, ("never", "ill"))["borders"]
    assert told == {"method": "logistic-regression", "fitted_on": "train", "rows": 80}
    assert (chances[:, 0] == 0).all()
    truth = rows["label"] == "ill"
    assert chances[truth, 1].min() > chances[~truth, 1].max()
    assert pixel_floors(data, "val", data, rows, data.classes) == {}
