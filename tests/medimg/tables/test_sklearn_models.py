"""Baselines against scikit-learn used by hand, on training rows alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.tables.fit import fit
from medimg.tables.sklearn_models import BASELINES, MOST_CATEGORIES, TREES, fit_baseline, wanted


def parts(dataset):
    rows = dataset.rows("train", labelled=True)
    return rows, dataset.rows("test", labelled=True), fit(dataset, rows, TrainConfig())


def by_hand(rows):
    """The small table as a gradient boosting takes it."""
    pain = rows["pain"].map({"": np.nan, "atypical": 0, "none": 1, "typical": 2})
    stage = rows["stage"].map({"I": 0, "II": 1, "III": 2})
    day = (pd.to_datetime(rows["day"]) - pd.Timestamp(0)).dt.days
    numbers = rows[["age", "noise", "visits"]].astype(np.float32)
    return np.column_stack([numbers, pain, stage, day]).astype(float)


def test_gradient_boosting_takes_missing_values_and_categories_as_they_are(small_table):
    rows, tested, preprocessing = parts(small_table)
    nominal = [False, False, False, True, False, False]
    model = HistGradientBoostingClassifier(categorical_features=nominal, random_state=0)
    model.fit(by_hand(rows), small_table.targets(rows))
    predict = fit_baseline("gradient-boosting", small_table, rows, preprocessing, 0)
    assert predict(tested) == pytest.approx(model.predict_proba(by_hand(tested)), abs=1e-12)


def test_random_forest_takes_the_preprocessed_columns(small_table):
    rows, tested, preprocessing = parts(small_table)
    model = RandomForestClassifier(TREES, max_samples=len(rows), random_state=3)
    model.fit(preprocessing.transform(rows), small_table.targets(rows))
    predict = fit_baseline("random-forest", small_table, rows, preprocessing, 3)
    expected = model.predict_proba(preprocessing.transform(tested))
    assert predict(tested) == pytest.approx(expected, abs=1e-12)
    other = fit_baseline("random-forest", small_table, rows, preprocessing, 4)
    assert (other(tested) != predict(tested)).any()


def test_logistic_regression_prepares_its_columns_itself(small_table):
    rows, tested, preprocessing = parts(small_table)

    def encoded(frame):
        values = pd.DataFrame(by_hand(frame))[[0, 1, 2, 4, 5]]
        values["no age"] = values[0].isna()
        values[0] = values[0].fillna(np.nanmedian(by_hand(rows)[:, 0]))
        pains = {f"pain {p}": frame["pain"].to_numpy() == p for p in ("atypical", "none", "typical")}
        return values.astype(float), pd.DataFrame(pains | {"no pain": frame["pain"].to_numpy() == ""})

    centre, spread = encoded(rows)[0].mean(), encoded(rows)[0].std(ddof=0)

    def matrix(frame):
        values, pains = encoded(frame)
        return np.column_stack([(values - centre) / spread, pains])

    model = LogisticRegression(max_iter=1000).fit(matrix(rows), small_table.targets(rows))
    predict = fit_baseline("logistic-regression", small_table, rows, preprocessing)
    assert predict(tested) == pytest.approx(model.predict_proba(matrix(tested)), abs=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_not_in_training_is_not_learnt(small_table, name):
    rows, tested, preprocessing = parts(small_table)
    expected = fit_baseline(name, small_table, rows, preprocessing)(tested)
    manifest = small_table.manifest.copy()
    elsewhere = manifest["split"] != "train"
    manifest.loc[elsewhere, "age"] = 1e9
    manifest.loc[elsewhere, "pain"] = "sudden"
    manifest.loc[elsewhere, "label"] = "healthy"
    changed = replace(small_table, manifest=manifest)
    again = fit_baseline(name, changed, changed.rows("train", labelled=True), preprocessing)
    assert (again(tested) == expected).all()


@pytest.mark.parametrize("name", BASELINES)
def test_an_unseen_category_and_a_row_of_nothing_get_probabilities(small_table, name):
    rows, tested, preprocessing = parts(small_table)
    odd = tested.iloc[:2].copy()
    odd["pain"] = "sudden"
    odd["stage"] = "IV"
    odd.loc[odd.index[1], ["age", "noise", "visits"]] = np.nan
    odd.loc[odd.index[1], ["pain", "stage", "day"]] = ""
    given = fit_baseline(name, small_table, rows, preprocessing)(odd)
    assert np.isfinite(given).all()
    assert given.sum(axis=1) == pytest.approx(1)
    unknown = odd.assign(pain="")
    if name == "gradient-boosting":
        same = fit_baseline(name, small_table, rows, preprocessing)
        assert (same(odd.assign(stage="")) == same(unknown.assign(stage=""))).all()


def odd_table(tmp_path, classes=("a", "b", "c"), n=600):
    """Three classes, a column of 311 codes, and one that training never knows."""
    draw = np.random.default_rng(0)
    code = np.arange(n) % 311
    dose = draw.normal(0, 1, n)
    label = np.array(classes)[np.digitize(dose, [-0.5, 0.5])]
    split = np.where(np.arange(n) % 4, "train", "test")
    manifest = pd.DataFrame(
        {
            "row": np.arange(n).astype(str),
            "label": label,
            "patient": np.arange(n).astype(str),
            "site": "",
            "split": split,
            "dose": dose,
            "code": [f"c{c}" for c in code],
            "late": np.where(split == "train", np.nan, dose),
        }
    )
    features = (Feature("dose", "continuous"), Feature("code", "categorical"), Feature("late", "continuous"))
    return Dataset(tmp_path, "odd", "multiclass", classes, manifest, features=features)


@pytest.mark.parametrize("name", BASELINES)
def test_many_categories_several_classes_and_a_column_without_values(tmp_path, name):
    dataset = odd_table(tmp_path)
    rows, tested, preprocessing = parts(dataset)
    assert rows["code"].nunique() > MOST_CATEGORIES
    given = fit_baseline(name, dataset, rows, preprocessing)(tested)
    targets = dataset.targets(tested)
    assert given.shape == (len(tested), 3)
    assert roc_auc_score(targets, given, multi_class="ovr") > 0.8


def test_a_class_that_training_lacks_has_no_probability(tmp_path):
    dataset = odd_table(tmp_path)
    rows, tested, preprocessing = parts(dataset)
    without = rows[rows["label"] != "b"]
    given = fit_baseline("gradient-boosting", dataset, without, preprocessing)(tested)
    assert (given[:, 1] == 0).all()
    assert given.sum(axis=1) == pytest.approx(1)
    with pytest.raises(InputError, match="one class only"):
        fit_baseline("random-forest", dataset, rows[rows["label"] == "a"], preprocessing)


def test_multilabel_tables_are_refused(small_table):
    rows, _, preprocessing = parts(small_table)
    several = replace(small_table, task="multilabel")
    with pytest.raises(InputError, match="--baseline none"):
        fit_baseline("random-forest", several, rows, preprocessing)


def test_names():
    assert wanted(("none",)) == ()
    assert wanted(("random-forest", "random-forest")) == ("random-forest",)
    with pytest.raises(InputError, match="--baseline svm"):
        wanted(("svm",))
