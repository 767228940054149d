"""The way in from Python: its examples as they stand, and what it must not do."""

import dataclasses
import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import medimg
from medimg import api
from medimg.api import datasets, evaluation, runs, training
from medimg.errors import InputError
from medimg.evaluation.predictions import as_written
from tests.datasets import write_dataset, write_table

ROOT = Path(__file__).parents[3]
MODULES = (datasets, runs, training, evaluation)
# Without the modules' names: an example imports what it uses.
FOUND = [test for module in MODULES for test in doctest.DocTestFinder().find(module, "api", globs={}) if test.examples]
EXAMPLES = {test.name: test for test in FOUND}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with a Dataset `data` and a Run `run`."""
    folder = tmp_path_factory.mktemp("api")
    data = write_table(folder / "data")
    medimg.train(data, folder / "run", model="logistic", epochs=30)
    return folder


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api-images")
    data = write_dataset(folder / "data", n=24, size=16)
    return medimg.train(data, folder / "run", image_size=16, model_arg={"width": "4", "stages": "1"}, epochs=1)


def run_examples(test: doctest.DocTest) -> None:
    runner = doctest.DebugRunner()
    runner.run(test, clear_globs=False)
    assert runner.tries == len(test.examples) > 0


def test_every_public_name_has_an_example():
    assert set(EXAMPLES) == {
        "api.Run",
        "api.Run.predict",
        "api.load_dataset",
        "api.train",
        "api.load_run",
        "api.evaluate",
    }
    assert len(FOUND) == len(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_docstrings(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run_examples(EXAMPLES[name])


@pytest.mark.slow
def test_the_examples_of_the_document(folder, monkeypatch):
    monkeypatch.chdir(folder)
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").replace("```python", "").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "api.md", "docs/api.md", 0)
    assert len(test.examples) > 12
    run_examples(test)


@pytest.mark.slow
def test_import_is_light():
    code = "import sys, medimg; print({'tensorflow', 'keras', 'numpy', 'pandas', 'torch'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    code = "import sys, medimg; medimg.load_dataset; medimg.Run; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_face_offers_what_it_names():
    assert set(medimg.__all__) - {"__version__"} == set(api.__all__)
    assert all(getattr(medimg, name) is getattr(api, name) for name in api.__all__)
    assert set(medimg.__all__) <= set(dir(medimg))
    with pytest.raises(AttributeError, match="has no attribute 'predict'"):
        medimg.predict  # noqa: B018


def test_probabilities_are_those_that_evaluate_writes(folder):
    run = medimg.load_run(folder / "run")
    medimg.evaluate(run, bootstrap=0)
    written = pd.read_csv(folder / "run" / "predictions.csv")
    columns = [name for name in written if name.startswith("p_")]
    assert len(columns) == 2
    np.testing.assert_array_equal(as_written(run.predict(run.dataset(), split="test")), written[columns].to_numpy())


def test_images_by_dataset_and_by_path(image_run, monkeypatch):
    data = image_run.dataset()
    of_dataset = image_run.predict(data, split="val")
    rows = data.rows("val")
    assert of_dataset.shape == (len(rows), 2)
    np.testing.assert_allclose(of_dataset.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(image_run.predict(rows, root=data.root), of_dataset)
    monkeypatch.chdir(data.root)
    np.testing.assert_array_equal(image_run.predict(rows[["image"]]), of_dataset)
    whole = image_run.predict(data)
    np.testing.assert_allclose(whole[(data.manifest["split"] == "val").to_numpy()], of_dataset, rtol=1e-5)
    assert image_run.predict(rows.iloc[:0]).shape == (0, 2)


def test_other_data_than_the_model_needs_are_refused(folder, image_run):
    table_run = medimg.load_run(folder / "run")
    with pytest.raises(InputError, match="this model needs images"):
        image_run.predict(table_run.dataset())
    with pytest.raises(InputError, match="this model needs a table"):
        table_run.predict(image_run.dataset())
    with pytest.raises(InputError, match="no column 'image'"):
        image_run.predict(table_run.dataset().rows("test"))
    with pytest.raises(InputError, match="age"):
        table_run.predict(table_run.dataset().rows("test").drop(columns="age"))
    with pytest.raises(InputError, match=r"images/\d+\.png"):
        image_run.predict(image_run.dataset().rows("test"), root=folder)
    with pytest.raises(InputError, match="split: rows are in no split"):
        table_run.predict(table_run.dataset().rows(), split="test")


def test_options_are_checked_as_on_the_command_line(folder):
    for options, words in (
        ({"epoch": 3}, "option 'epoch' is not known"),
        ({"dp_clip": 2.0}, "--dp-clip: is for --dp-epsilon"),
        ({"bound": {"age": "0:120"}}, "--bound: is for --dp-epsilon"),
        ({"folds": 3}, "folds: train"),
        ({"model": "resnet50"}, "a table takes logistic or mlp"),
    ):
        with pytest.raises(InputError, match=words):
            medimg.train(folder / "data", folder / "never", **options)
    assert not (folder / "never").exists()


def test_a_dataset_that_was_changed_in_memory_is_not_read_anew_silently(folder):
    data = medimg.load_dataset(folder / "data")
    changed = dataclasses.replace(data, manifest=data.manifest.iloc[10:])
    for call in (lambda: medimg.train(changed, folder / "never"), lambda: medimg.evaluate(folder / "run", changed)):
        with pytest.raises(InputError, match="differs from the Dataset in memory"):
            call()


def test_another_dataset_is_evaluated_beside_the_run(folder):
    other = write_table(folder / "other", seed=3)
    found = medimg.evaluate(folder / "run", other, split="all", bootstrap=0)
    assert found["n"] == len(other.manifest)
    assert found["data"] == str(other.root.resolve())


@pytest.mark.slow
def test_patients_that_a_run_protects_are_not_predicted(folder):
    data = medimg.load_dataset(folder / "data")
    run = medimg.train(data, folder / "private", model="logistic", epochs=1, dp_epsilon=5.0, batch_size=16)
    assert len(run.predict(data, split="test")) == 32
    for split in ("train", None):
        with pytest.raises(InputError, match="protects the patients"):
            run.predict(data, split=split)
