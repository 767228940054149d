"""Explanations of tables: SHAP values against closed forms, partial dependence against its definition."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from explain.config import ExplainConfig
from explain.explain import explain
from explain.methods.partial_dependence import dependence, value_text
from explain.methods.table_score import TableModel
from explain.methods.table_shap import attribute, linear_weights
from explain.table import _file_names as file_names
from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.models.saving import save_model
from medimg.run import Run
from medimg.tables.fit import fit
from tests.datasets import write_table

pytestmark = pytest.mark.final_figures


@pytest.fixture(scope="module")
def small_table(tmp_path_factory) -> Dataset:
    return write_table(tmp_path_factory.mktemp("small") / "data")


def network(columns: int, classes: int, hidden: int = 0, seed: int = 0) -> tf.keras.Model:
    """Random weights: logistic, or with a hidden layer whose features interact."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((columns,))
    x = layers.Dense(hidden, "tanh")(inputs) if hidden else inputs
    x = layers.Dropout(0.2)(x)
    model = tf.keras.Model(inputs, layers.Dense(classes)(x))
    draw = np.random.default_rng(seed)
    model.set_weights([draw.normal(0, 1, w.shape) for w in model.get_weights()])
    return model


def model_of(dataset: Dataset, classes: int = 2, hidden: int = 0) -> TableModel:
    rows = dataset.rows("train", labelled=True)
    preprocessing = fit(dataset, rows, TrainConfig())
    task = "binary" if classes == 2 else "multiclass"
    names = dataset.classes if classes == 2 else ("a", "b", "c")
    return TableModel(network(len(preprocessing.names), classes, hidden), preprocessing, task, names)


def write_run(root, dataset: Dataset, model: TableModel) -> Run:
    run = Run.create(root, dataset.root, "train", {})
    description = {
        "name": "mlp",
        "task": model.task,
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_dict(),
    }
    atomic.write_json(run.root / "model.json", description)
    save_model(model.model, run.root / "model.keras")
    return run


def raw_parts(model: TableModel, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Background and rows to explain, some with missing values."""
    return model.raw(dataset.rows("train")[:20]), model.raw(dataset.rows("test")[:6])


def shapley(model: TableModel, background: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The definition: over all coalitions, swapping raw values, then preprocessing, then the model."""
    players = range(len(row))

    def worth(coalition) -> np.ndarray:
        mixed = background.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return model.scores(mixed).mean(axis=0)

    values = np.zeros((len(row), len(model.explained)))
    for i in players:
        others = [j for j in players if j != i]
        for size in range(len(row)):
            weight = 1 / (len(row) * math.comb(len(row) - 1, size))
            for held in itertools.combinations(others, size):
                values[i] += weight * (worth((*held, i)) - worth(held))
    return values


@pytest.mark.slow
def test_a_logistic_model_has_the_closed_form(small_table):
    model = model_of(small_table)
    background, rows = raw_parts(model, small_table)
    found = attribute(model, background, rows, 200, 0)
    assert found.method == "linear"
    weights = model.model.layers[-1].kernel.numpy()
    weights = weights[:, 1] - weights[:, 0]
    names, features = model.preprocessing.names, list(model.features)
    known = ~np.isnan(rows[:, features.index("noise")])
    column = names.index("noise")
    encode = model.preprocessing.encode
    x, mean = encode(rows)[:, column], encode(background)[:, column].mean()
    np.testing.assert_allclose(
        found.values[known, features.index("noise"), 0], (weights[column] * (x - mean))[known], atol=1e-5
    )
    np.testing.assert_allclose(found.remainder, 0, atol=1e-4)
    sampled = attribute(model, background, rows, 200, 0, method="permutation")
    np.testing.assert_allclose(sampled.values, found.values, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_values_of_interacting_features_are_shapley_s(small_table, classes):
    model = model_of(small_table, classes, hidden=8)
    background, rows = raw_parts(model, small_table)
    assert np.isnan(rows).any()
    assert linear_weights(model.model) is None
    expected = np.stack([shapley(model, background, row) for row in rows[:2]])
    exact = attribute(model, background, rows[:2], 200, 0)
    assert exact.method == "exact"
    assert exact.values.shape == (2, 6, 1 if classes == 2 else 3)
    np.testing.assert_allclose(exact.values, expected, atol=1e-4)
    np.testing.assert_allclose(exact.remainder, 0, atol=1e-4)
    sampled = attribute(model, background, rows, 2000, 0, method="permutation")
    np.testing.assert_allclose(sampled.remainder, 0, atol=1e-4)
    np.testing.assert_allclose(sampled.values[:2], expected, atol=0.1 * np.abs(expected).max())


def test_orders_are_drawn_by_the_seed_and_leave_the_global_generator_alone(small_table):
    model = model_of(small_table, hidden=8)
    background, rows = raw_parts(model, small_table)
    np.random.seed(5)
    expected = np.random.random(3)
    np.random.seed(5)
    values = [attribute(model, background, rows, 40, 1, method="permutation").values for _ in "ab"]
    np.testing.assert_array_equal(*values)
    np.testing.assert_array_equal(np.random.random(3), expected)


def test_a_row_like_all_of_the_background_has_nothing_to_explain(small_table):
    model = model_of(small_table, hidden=8)
    rows = raw_parts(model, small_table)[1]
    found = attribute(model, rows[:1], rows[:2], 40, 0)
    assert (found.values[0] == 0).all()
    assert (found.values[1] != 0).any()
    assert (attribute(model, rows[:1], rows[:1], 40, 0, method="permutation").values == 0).all()


def test_expected_gradients_of_a_wide_table_nearly_add_up(small_table):
    model = model_of(small_table, hidden=8)
    background, rows = raw_parts(model, small_table)
    found = attribute(model, background, rows, 200, 0, method="gradient")
    exact = attribute(model, background, rows, 200, 0, method="exact")
    assert found.values.shape == exact.values.shape
    gap = np.abs(found.remainder).mean()
    assert 0 < gap < 0.15 * np.abs(found.scores - found.base).mean() + 0.2
    assert np.corrcoef(found.values.ravel(), exact.values.ravel())[0, 1] > 0.9


def test_partial_dependence_is_the_mean_answer_to_a_changed_table(small_table):
    model = model_of(small_table, hidden=8)
    rows = small_table.rows("train")
    patients = model.raw(rows)
    for name, value, text in (("pain", "typical", "typical"), ("age", np.nan, "missing")):
        index = model.features.index(name)
        found = dependence(model, patients, index)
        texts = [value_text(found.feature, v) for v in found.grid]
        asked = model.preprocessing.transform(rows.assign(**{name: value}))
        logits = model.model(asked).numpy()
        expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        place = texts.index(text)
        np.testing.assert_allclose(found.probabilities[:, place, 0], expected, atol=1e-6)
        table = found.table(["disease"])
        assert list(table["value"]) == texts
        assert table["probability"][place] == pytest.approx(expected.mean(), abs=1e-6)
        assert table["low"][place] == pytest.approx(np.percentile(expected, 10), abs=1e-5)
    age = dependence(model, patients, model.features.index("age"))
    known = rows["age"].dropna().to_numpy(np.float32)
    assert len(age.grid) == 25
    assert np.isin(age.grid[:-1].astype(np.float32), known).all()


def test_values_are_written_as_they_are_known(small_table):
    model = model_of(small_table)
    frame = small_table.manifest.head(1).assign(age=63.5, pain="", stage="II", day="2020-03-01T06:30:00")
    texts = dict(zip(model.features, map(value_text, model.preprocessing.raw, model.raw(frame)[0]), strict=True))
    assert texts["age"] == "63.5"
    assert texts["pain"] == "missing"
    assert texts["stage"] == "II"
    assert texts["day"] == "2020-03-01T06:30:00"
    assert value_text(model.preprocessing.raw[model.features.index("day")], 18322.0) == "2020-03-01"


@pytest.fixture(scope="module")
def table_run(tmp_path_factory) -> tuple[Run, TableModel]:
    root = tmp_path_factory.mktemp("explained")
    dataset = write_table(root / "data")
    model = model_of(dataset, hidden=8)
    return write_run(root / "run", dataset, model), model


@pytest.mark.slow
def test_a_run_is_explained_in_files(table_run):
    run, model = table_run
    result = explain(run, ExplainConfig(count=3))
    folder = run.root / "explanations" / "test"
    entries = result["rows"]["shap"]
    assert json.loads((folder / "explanations.json").read_text())["shap"] == entries
    assert {e["label"] for e in entries} == {"disease", "healthy"}
    values = pd.read_csv(folder / "shap" / "shap_values.csv")
    assert list(values) == ["row", *model.features, "base", "score"]
    dataset = run.dataset()
    assert set(values["row"]) == set(dataset.rows("test")["row"])
    parts = values[list(model.features)].sum(axis=1) + values["base"]
    np.testing.assert_allclose(parts, values["score"], atol=1e-4)
    rows = dataset.manifest.set_index("row").loc[values["row"]]
    logits = model.model(model.preprocessing.transform(rows)).numpy()
    np.testing.assert_allclose(values["score"], logits[:, 1] - logits[:, 0], atol=1e-4)
    chance = 1 / (1 + np.exp(-entries[0]["score"]))
    chance = chance if entries[0]["predicted"] == "disease" else 1 - chance
    assert entries[0]["probability"] == pytest.approx(chance, abs=1e-5)
    pictures = {path.name for path in (folder / "shap").glob("*.png")}
    waterfalls = {e["picture"].removeprefix("shap/") for e in entries}
    assert pictures == {"beeswarm.png", "bar.png", "partial_dependence.png"} | waterfalls
    for name in pictures:
        with Image.open(folder / "shap" / name) as image:
            assert min(image.size) > 200
    summary = json.loads((folder / "shap" / "summary.json").read_text())
    assert summary["explained"] == ["log-odds of disease"]
    assert summary["largest_remainder"] < 1e-4
    along = pd.read_csv(folder / "shap" / "partial_dependence.csv")
    assert set(along["feature"]) == set(model.features)
    assert along["probability"].between(0, 1).all()
    other = explain(run, ExplainConfig(count=1, split="val"))["folder"]
    assert len(list((other / "shap").glob("0*.png"))) == 1
    assert len(list((folder / "shap").glob("0*.png"))) == 3


def test_options_of_images_and_an_empty_part_are_refused(table_run, tmp_path):
    run, model = table_run
    with pytest.raises(InputError, match=r"--image: is for images"):
        explain(run, ExplainConfig(image=("a.png",)))
    with pytest.raises(InputError, match="--method gradcam: is for images"):
        explain(run, ExplainConfig(method=("shap", "gradcam")))
    dataset = write_table(tmp_path / "data", n=40)
    dataset.manifest["split"] = "train"
    dataset.save()
    with pytest.raises(InputError, match=r"--split test: .*data has no row there"):
        explain(write_run(tmp_path / "run", dataset, model), ExplainConfig())


def test_several_classes_have_a_swarm_each_and_awkward_names_stand(tmp_path):
    dataset = write_table(tmp_path / "data")
    table = dataset.manifest.rename(columns={"noise": "base", "visits": "class"})
    table["label"] = np.array(["a", "b", "c"])[np.arange(len(table)) % 3]
    features = tuple(
        type(f)({"noise": "base", "visits": "class"}.get(f.name, f.name), f.type, f.order) for f in dataset.features
    )
    dataset = Dataset(dataset.root, "three", "multiclass", ("a", "b", "c"), table, features=features)
    dataset.save()
    model = model_of(dataset, classes=3)
    explain(write_run(tmp_path / "run", dataset, model), ExplainConfig(count=2))
    folder = tmp_path / "run" / "explanations" / "test" / "shap"
    assert {f"beeswarm-{c}.png" for c in "abc"} <= {path.name for path in folder.glob("*.png")}
    values = pd.read_csv(folder / "shap_values.csv")
    assert values.columns.is_unique
    assert set(values["(class)"]) == set("abc")
    parts = values[list(model.features)].sum(axis=1) + values["(base)"]
    np.testing.assert_allclose(parts, values["score"], atol=1e-4)


def test_classes_whose_file_names_are_alike_have_a_file_each():
    assert file_names(("a b", "ü")) == ["a_b", "ü"]
    for alike in (("a b", "a:b", "c"), ("stage I", "stage i", "c"), ("x" * 90 + "1", "x" * 90 + "2", "c")):
        assert len({name.casefold() for name in file_names(alike)}) == 3


@pytest.mark.slow
def test_a_wide_network_is_explained_by_gradients(tmp_path):
    n, wide = 60, 300
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(0, 1, (n, wide)), columns=[f"g{i}" for i in range(wide)])
    roles = {
        "row": [f"r{i}" for i in range(n)],
        "label": draw.choice(["healthy", "disease"], n),
        "patient": [f"p{i}" for i in range(n)],
        "site": "",
        "split": np.repeat(["train", "test"], [40, 20]),
    }
    table = pd.concat([pd.DataFrame(roles), table], axis=1)
    features = tuple(Feature(f"g{i}", "continuous") for i in range(wide))
    dataset = Dataset(tmp_path / "data", "wide", "binary", ("healthy", "disease"), table, features=features)
    dataset.save()
    model = model_of(dataset, hidden=8)
    explain(write_run(tmp_path / "run", dataset, model), ExplainConfig(count=2))
    summary = json.loads((tmp_path / "run" / "explanations" / "test" / "shap" / "summary.json").read_text())
    assert summary["method"] == "gradient"
    assert summary["rows"] == 20
