"""The no-pixel floor: what metadata alone tell, on the same rows and the same resamples."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.floor import ahead, compared, floor, words
from medimg.evaluation.predictions import Predictions
from medimg.tables.metadata import as_table, names_of


def cohort(tells: bool, task: str = "binary", n: int = 400) -> Dataset:
    draw = np.random.default_rng(0)
    ill = draw.random(n) < 0.5
    age = draw.normal(60, 8, n) + (12 * ill if tells else 0)
    label = np.where(ill, "ill", "well")
    if task == "multilabel":
        label = np.where(ill, np.where(draw.random(n) < 0.5, "ill|other", "ill"), "none")
    manifest = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(n)],
            "label": label,
            "patient": [f"p{i // 2}" for i in range(n)],
            "site": np.where(draw.random(n) < 0.5, "a", "b"),
            "split": np.where(np.arange(n) // 2 % 2, "train", "test"),
            # What is drawn round a finding tells the label, and is no metadata.
            "x": np.where(ill, "3", ""),
            "width": np.where(ill, "9", ""),
            "age": np.where(draw.random(n) < 0.1, np.nan, age),
            "sex": draw.choice(["F", "M", ""], n),
            "study": [f"s{i}" for i in range(n)],
            "modality": "CR",
        }
    )
    classes = ("ill", "other") if task == "multilabel" else ("well", "ill")
    negative = "none" if task == "multilabel" else ""
    return Dataset("data", "cohort", task, classes, manifest, negative=negative)


def answered(data: Dataset, score: np.ndarray | None = None) -> tuple[pd.DataFrame, Predictions]:
    rows = data.rows("test", labelled=True).reset_index(drop=True)
    draw = np.random.default_rng(1)
    targets = data.targets(rows)
    p = draw.random((len(rows), len(data.classes))) if score is None else score
    threshold = np.full(2, 0.5) if data.task == "multilabel" else 0.5
    return rows, Predictions(data.task, data.classes, targets, p, threshold)


def measured(data: Dataset, rows: pd.DataFrame, model: Predictions, resamples: int) -> dict:
    found = floor(data, "train", data, rows, model.classes)
    return compared(model, {"floor": found}, rows["patient"], resamples, 0)["floor"]


def test_columns_are_those_that_vary_and_tell_neither_label_nor_patient():
    data = cohort(True)
    assert names_of(data.manifest) == ["age", "sex", "site"]
    assert [f.type for f in as_table(data, ["age", "sex"]).features] == ["continuous", "categorical"]
    for name in ("height", "x", "label", "patient"):
        with pytest.raises(InputError, match=rf"--metadata {name}: no column .* it has age, sex, site"):
            as_table(data, [name])


def test_the_floor_finds_what_metadata_tell_and_no_more():
    rows, random = answered(cohort(True))
    found = measured(cohort(True), rows, random, 100)
    assert found["columns"] == ["age", "sex", "site"]
    assert 0.65 < found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
    assert found["gain"]["high"] < 0
    assert "age, sex, site alone" in words({"floor": found})[0]
    rows, _ = answered(cohort(False))
    nothing = measured(cohort(False), rows, random, 100)
    assert nothing["auroc"]["low"] < 0.5 < nothing["auroc"]["high"]
    # It is fitted on train alone: with test labels changed, the same probabilities are ranked otherwise.
    changed = cohort(True)
    test = changed.manifest["split"] == "test"
    swapped = changed.manifest["label"].mask(test, changed.manifest["label"].map({"ill": "well", "well": "ill"}))
    changed = dataclasses.replace(changed, manifest=changed.manifest.assign(label=swapped))
    rows, other = answered(changed)
    assert measured(changed, rows, other, 0)["auroc"]["value"] == pytest.approx(1 - found["auroc"]["value"])


def test_gain_is_of_the_same_resamples():
    rows, model = answered(cohort(True))
    same = ahead(model, model, rows["patient"], 50, 0)
    # No resample tells them apart: as of a model that is the metadata's, below.
    assert same["gain"]["value"] == 0.0
    assert same["gain"]["low"] == -same["gain"]["high"]
    assert same["auroc"]["value"] == pytest.approx(roc_auc_score(rows["label"] == "ill", model.probabilities[:, 1]))


def test_each_label_has_a_floor_of_its_own():
    data = cohort(True, "multilabel")
    rows, model = answered(data)
    found = measured(data, rows, model, 0)
    assert found["auroc"]["value"] > 0.6
    assert floor(cohort(True), "val", cohort(True), answered(cohort(True))[0], ("well", "ill")) is None


def test_a_model_that_says_what_the_metadata_say_is_not_certainly_no_better():
    data = cohort(True)
    rows = data.rows("test", labelled=True)
    truth = data.targets(rows)
    _, model = answered(data, np.stack([1.0 - truth, 1.0 * truth], axis=1))
    found = ahead(model, model, rows["patient"], 50, 0)
    counted = min(rows.loc[truth == kind, "patient"].nunique() for kind in (0, 1))
    reach = 1 - 0.025 ** (1 / counted)
    assert found["gain"] == pytest.approx({"value": 0.0, "low": -reach, "high": reach})
    assert found["auroc"]["low"] < 1 == found["auroc"]["high"]
