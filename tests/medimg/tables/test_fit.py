"""fit(): equal to scikit-learn's own pipeline, from training rows alone, every option."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.tables import fit as fitting
from medimg.tables.fit import complete_rows, fit
from tests.datasets import HEART

NUMBERS = ["age", "trestbps", "chol", "thalach", "oldpeak"]
CATEGORIES = ["sex", "cp", "fbs", "restecg", "exang", "thal"]
ORDINALS = ["slope", "ca"]


def table(columns: dict, features, split=None, classes=("no", "yes"), label=None) -> Dataset:
    """A Dataset in memory; labels take turns, all rows train unless told otherwise."""
    n = len(next(iter(columns.values())))
    roles = {
        "row": [f"r{i}" for i in range(n)],
        "label": label if label is not None else [classes[i % len(classes)] for i in range(n)],
        "patient": [f"p{i}" for i in range(n)],
        "site": "",
        "split": split if split is not None else "train",
    }
    return Dataset(
        root="t",
        name="t",
        task="binary" if len(classes) == 2 else "multiclass",
        classes=tuple(classes),
        manifest=pd.DataFrame({**roles, **columns}),
        features=tuple(features),
    )


def fitted(dataset: Dataset, **options):
    return fit(dataset, dataset.rows("train"), TrainConfig(model="logistic", **options))


@pytest.fixture(scope="module")
def heart(medical_data) -> Dataset:
    """The four hospitals, every third row held out."""
    sites = ("cleveland", "hungarian", "switzerland", "va")
    folder = medical_data / "heart_disease"
    table_of = [
        pd.read_csv(folder / f"processed.{site}.data", header=None, names=HEART, na_values="?").assign(site=site)
        for site in sites
    ]
    values = pd.concat(table_of, ignore_index=True)
    held = np.array(["train", "train", "test"])[np.arange(len(values)) % 3]
    features = [
        *(Feature(name, "continuous") for name in NUMBERS),
        *(Feature(name, "categorical") for name in CATEGORIES),
        *(Feature(name, "ordinal") for name in ORDINALS),
    ]
    columns = {name: values[name] for name in NUMBERS}
    for name in (*CATEGORIES, *ORDINALS):
        columns[name] = [("" if np.isnan(v) else f"{v:g}") for v in values[name]]
    label = np.where(values["num"] > 0, "yes", "no")
    return table(columns, features, held, label=label)


def reference(rows: pd.DataFrame, held: pd.DataFrame, scaler, impute="median") -> pd.DataFrame:
    """The same by scikit-learn's ColumnTransformer, fitted on `rows`, of `held`; numbers as float32 first."""

    def numeric(frame):
        frame = frame.replace("", np.nan).astype(np.float64)
        frame[NUMBERS] = frame[NUMBERS].astype(np.float32).astype(np.float64)
        return frame

    def codes(frame):
        return frame.replace("", np.nan)

    every = [*NUMBERS, *CATEGORIES, *ORDINALS]
    ordinals = make_pipeline(
        FunctionTransformer(codes),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        SimpleImputer(strategy=impute),
        scaler(),
    )
    numbers = make_pipeline(SimpleImputer(strategy=impute), scaler())
    categories = make_pipeline(
        FunctionTransformer(codes),
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    whole = ColumnTransformer(
        [
            ("n", numbers, NUMBERS),
            ("c", categories, CATEGORIES),
            ("o", ordinals, ORDINALS),
            ("m", make_pipeline(FunctionTransformer(codes), MissingIndicator(error_on_new=False)), every),
        ]
    )
    rows, held = rows.copy(), held.copy()
    rows[NUMBERS] = numeric(rows[NUMBERS])
    held[NUMBERS] = numeric(held[NUMBERS])
    whole.fit(rows[every])
    encoder = whole.named_transformers_["c"][-1]
    encoded = [
        f"{name}={category}" for name, found in zip(CATEGORIES, encoder.categories_, strict=True) for category in found
    ]
    lacking = [f"{name} missing" for name in every if rows[name].replace("", np.nan).isna().any()]
    matrix = whole.transform(held[every]).astype(np.float64)
    return pd.DataFrame(matrix, columns=[*NUMBERS, *encoded, *ORDINALS, *lacking])


@pytest.mark.parametrize(
    ("options", "scaler", "impute"),
    [({}, StandardScaler, "median"), ({"scale": "min-max", "impute": "most-frequent"}, MinMaxScaler, "most_frequent")],
)
def test_it_equals_scikit_learn_on_the_heart_data(heart, options, scaler, impute):
    preprocessing = fitted(heart, **options)
    held = heart.rows("test").copy()
    held.iloc[0, held.columns.get_loc("cp")] = "never seen"
    held.iloc[1, held.columns.get_loc("age")] = np.nan
    held.iloc[2, held.columns.get_loc("sex")] = ""
    expected = reference(heart.rows("train"), held, scaler, impute)
    assert set(expected.columns) == set(preprocessing.names)
    ours = preprocessing.transform(held)
    # float32 near 1e1: half a last place is 5e-7.
    np.testing.assert_allclose(ours, expected[list(preprocessing.names)], atol=1e-6)


def test_held_out_rows_change_nothing(heart):
    before = fitted(heart)
    manifest = heart.manifest.copy()
    held = manifest["split"] != "train"
    manifest.loc[held, "age"] = 1e6
    manifest.loc[held, "chol"] = np.nan
    manifest.loc[held, "thal"] = "new"
    manifest.loc[held, "ca"] = "99"
    manifest.loc[held, "label"] = "yes"
    shifted = dataclasses.replace(heart, manifest=manifest)
    for options in ({}, {"select": "anova", "select_count": 8}, {"missing": "drop-columns"}):
        assert fitted(shifted, **options) == fitted(heart, **options)
    assert "thal=new" not in before.names


def test_names_follow_the_table_with_indicators_beside_their_column(small_table):
    names = fitted(small_table).names
    assert names == (
        *("age", "age missing", "noise", "visits"),
        *("pain=atypical", "pain=none", "pain=typical", "pain missing"),
        *("stage", "day"),
    )
    assert "age missing" not in fitted(small_table, missing_indicators=False).names


def test_a_given_order_counts_in_full_and_an_unseen_level_keeps_its_place():
    feature = Feature("stage", "ordinal", ("I", "II", "III", "IV"))
    dataset = table({"stage": ["I", "II", "IV", "I"]}, [feature])
    preprocessing = fitted(dataset, scale="none")
    rows = pd.DataFrame({"stage": ["I", "II", "III", "IV", "V"]})
    assert preprocessing.transform(rows)[:, 0].tolist() == [0, 1, 2, 3, -1]


def test_constant_imputation_gives_a_missing_category_its_own_column():
    columns = {"a": [np.nan, 2.0, 4.0, 6.0], "c": ["", "x", "y", "y"]}
    dataset = table(columns, [Feature("a", "continuous"), Feature("c", "categorical")])
    preprocessing = fitted(dataset, impute="constant", scale="none", missing_indicators=False)
    assert preprocessing.names == ("a", "c=x", "c=y", "c missing")
    expected = [[0, 0, 0, 1], [2, 1, 0, 0], [4, 0, 1, 0], [6, 0, 1, 0]]
    assert preprocessing.transform(dataset.manifest).tolist() == expected
    coded = fitted(dataset, impute="constant", scale="none", encode="ordinal", missing_indicators=False)
    assert coded.transform(dataset.manifest)[:, 1].tolist() == [2, 0, 1, 1]


def test_columns_without_information_are_dropped_and_listed():
    columns = {
        "a": [1.0, 2.0, 3.0, 4.0],
        "empty": [np.nan] * 4,
        "same": [5.0] * 4,
        "one": ["x"] * 4,
        "known": [7.0, np.nan, 7.0, 7.0],
    }
    kinds = ["continuous", "continuous", "integer", "categorical", "continuous"]
    dataset = table(columns, [Feature(n, k) for n, k in zip(columns, kinds, strict=True)])
    preprocessing = fitted(dataset)
    assert preprocessing.names == ("a", "known missing")
    assert preprocessing.inputs == ("a", "known")
    assert preprocessing.dropped == {
        "empty": "missing in every training row",
        "same": "the same in every training row",
        "one": "the same in every training row",
    }


def test_nothing_left_is_refused_with_reasons():
    dataset = table({"same": [5.0] * 4}, [Feature("same", "continuous")])
    with pytest.raises(InputError, match=r"no feature is left .*same: the same in every training"):
        fitted(dataset)


def test_rows_or_columns_with_missing_values_are_dropped_on_demand(heart):
    train = heart.rows("train")
    inputs = [feature.name for feature in heart.inputs]
    known = train[inputs].replace("", np.nan).notna()
    complete = complete_rows(heart, train)
    assert list(complete.index) == list(train.index[known.all(axis=1)])
    dropped = fitted(heart, missing="drop-rows")
    assert dropped == fit(heart, complete, TrainConfig(model="logistic"))
    assert not any("missing" in name for name in dropped.names)
    limited = fitted(heart, missing="drop-columns", missing_limit=0.3)
    few = [name for name in inputs if 1 - known[name].mean() > 0.3]
    assert few
    assert sorted(limited.dropped) == sorted(few)
    assert "(--missing-limit 0.3)" in limited.dropped[few[0]]


def test_no_complete_row_is_refused():
    columns = {"a": [1.0, np.nan], "b": [np.nan, 1.0]}
    dataset = table(columns, [Feature("a", "continuous"), Feature("b", "continuous")])
    with pytest.raises(InputError, match="--missing drop-rows: every training row"):
        fitted(dataset, missing="drop-rows")


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_anova_keeps_what_select_k_best_keeps(classes, monkeypatch):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(60, 50)) + np.outer(np.arange(60) % len(classes), draw.normal(size=50))
    columns = {f"g{i}": values[:, i] for i in range(50)}
    dataset = table(columns, [Feature(name, "continuous") for name in columns], classes=classes)
    monkeypatch.setattr(fitting, "_CELLS", 60 * 7)
    preprocessing = fitted(dataset, select="anova", select_count=12)
    best = SelectKBest(f_classif, k=12).fit(values, dataset.targets(dataset.manifest))
    assert preprocessing.names == tuple(f"g{i}" for i in np.flatnonzero(best.get_support()))
    assert preprocessing.inputs == preprocessing.names
    assert len(preprocessing.dropped) == 38


def test_variance_is_of_the_values_before_scaling():
    draw = np.random.default_rng(0)
    spread = [3.0, 0.1, 20.0, 1.0, 5.0]
    columns = {f"g{i}": draw.normal(1000, s, 200) for i, s in enumerate(spread)}
    dataset = table(columns, [Feature(name, "continuous") for name in columns])
    for scale in ("standard", "min-max", "none"):
        kept = fitted(dataset, select="variance", select_count=3, scale=scale).names
        assert kept == ("g0", "g2", "g4")


def test_selecting_more_than_there_is_keeps_all(small_table):
    assert fitted(small_table, select="anova", select_count=500).names == fitted(small_table).names


def test_a_column_of_free_text_is_refused_by_one_hot():
    dataset = table({"note": [f"t{i}" for i in range(1001)]}, [Feature("note", "categorical")])
    with pytest.raises(InputError, match="'note' has 1001 categories"):
        fitted(dataset)
    assert fitted(dataset, encode="ordinal").names == ("note",)


def test_encoded_names_are_unique():
    columns = {"a": [1.0, np.nan, 2.0], "a missing": [1.0, 2.0, 3.0]}
    dataset = table(columns, [Feature(name, "continuous") for name in columns])
    assert fitted(dataset).names == ("a", "a missing", "a missing (2)")


def test_a_wide_table_is_fitted_and_transformed_as_one_matrix():
    draw = np.random.default_rng(0)
    values = draw.lognormal(size=(100, 20_000))
    values[draw.random(values.shape) < 0.01] = np.nan
    names = [f"g{i}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names)
    dataset = table({"x": [0.0] * 100}, [Feature(name, "continuous") for name in names])
    manifest = pd.concat([dataset.manifest, frame], axis=1)
    dataset = dataclasses.replace(dataset, manifest=manifest)
    matrix = fitted(dataset, missing_indicators=False).transform(manifest)
    inner = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    expected = inner.fit_transform(values.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(matrix, expected, atol=2e-6)
