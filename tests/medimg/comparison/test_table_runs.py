"""Table Runs beside scikit-learn baselines that are fitted where the Run was trained."""

import dataclasses

import numpy as np
import pytest

from medimg import atomic
from medimg.comparison.compare import compare
from medimg.comparison.config import CompareConfig
from medimg.config import TrainConfig
from medimg.data.folds import in_fold
from medimg.errors import InputError
from medimg.run import Run, environment
from medimg.tables.fit import fit
from medimg.tables.sklearn_models import fit_baseline
from tests.datasets import write_table
from tests.medimg.comparison.conftest import write_run

pytestmark = pytest.mark.slow

FOLDS = 3


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "data", n=240)


def describe(root, dataset, rows):
    preprocessing = fit(dataset, rows, TrainConfig())
    described = {"task": dataset.task, "classes": list(dataset.classes), "preprocessing": preprocessing.to_dict()}
    atomic.write_json(root / "model.json", described)
    atomic.write_json(root / "environment.json", environment(dataset, 0))


def forest(dataset, seed):
    """What the baseline must say of the test rows."""
    rows = dataset.rows("train", labelled=True)
    predict = fit_baseline("random-forest", dataset, rows, fit(dataset, rows, TrainConfig()), seed)
    return predict(dataset.rows("test", labelled=True))[:, 1].astype(np.float32)


def guess(dataset, rows, **more):
    """A Run that guesses from age."""
    age = rows["age"].fillna(60).to_numpy()
    return {
        "truth": dataset.targets(rows),
        "score": np.round(1 / (1 + np.exp(-(age - 60) / 10)), 6),
        "classes": dataset.classes,
        "data": dataset.root,
        "unit": "row",
        "names": rows["row"].tolist(),
        "patients": rows["patient"].tolist(),
        **more,
    }


def one_split(tmp_path, dataset):
    run = write_run(tmp_path / "run", **guess(dataset, dataset.rows("test", labelled=True)))
    describe(run.root, dataset, dataset.rows("train", labelled=True))
    return run


def test_one_run_is_compared_with_the_baselines_of_its_training_rows(tmp_path, table):
    run = one_split(tmp_path, table)
    config = CompareConfig(bootstrap=100, baseline=("random-forest",), seed=5)
    result = compare([run], tmp_path / "out", config)
    assert [model["name"] for model in result["models"]] == ["run", "random-forest", "majority class"]
    truth = table.targets(table.rows("test", labelled=True))
    probability = forest(table, seed=5).astype(str).astype(float)
    found = result["models"][1]["metrics"]
    assert found["brier"]["value"] == pytest.approx(((probability - truth) ** 2).mean())
    assert found["accuracy"]["value"] == pytest.approx(((probability >= 0.5) == truth).mean())
    assert any("independent" in note for note in result["notes"])
    assert "Against scikit-learn: the Run is not shown to be better" in result["verdict"][-1]


def test_a_run_that_knows_the_answer_beats_the_baselines(tmp_path, table):
    rows = table.rows("test", labelled=True)
    score = 0.05 + 0.9 * table.targets(rows)
    run = write_run(tmp_path / "oracle", **guess(table, rows, score=score))
    describe(run.root, table, table.rows("train", labelled=True))
    result = compare([run], tmp_path / "out", CompareConfig(bootstrap=300, metric="brier"))
    assert result["verdict"][-1].startswith("Better than every baseline")
    assert len(result["pairs"]) == 2


def test_a_folder_may_be_called_like_a_baseline(tmp_path, table):
    run = one_split(tmp_path, table)
    run.root.rename(tmp_path / "random-forest")
    config = CompareConfig(bootstrap=20, baseline=("random-forest",))
    result = compare([Run.load(tmp_path / "random-forest")], tmp_path / "out", config)
    names = [model["name"] for model in result["models"]]
    assert names[:2] == ["random-forest", "random-forest (baseline)"]


def test_a_cross_validated_run_has_its_baselines_refitted_in_every_fold(tmp_path, table):
    parts = {k: in_fold(table, FOLDS, k, 0) for k in range(1, FOLDS + 1)}
    fold = np.zeros(len(table.manifest), int)
    expected = np.zeros(len(table.manifest))
    for k, part in parts.items():
        tested = (part.manifest["split"] == "test").to_numpy()
        fold[tested] = k
        expected[tested] = forest(part, seed=0).astype(str).astype(float)
    run = write_run(tmp_path / "cv", **guess(table, table.manifest, folds=fold))
    describe(run.root, table, table.manifest)
    for k, part in parts.items():
        options = {**run.config["options"], "fold": k}
        root = run.root / f"fold-{k}"
        Run.create(root, table.root, "train", options)
        describe(root, part, part.rows("train", labelled=True))
    config = CompareConfig(bootstrap=50, baseline=("random-forest",), metric="brier")
    result = compare([run], tmp_path / "out", config)
    squared = (expected - table.targets(table.manifest)) ** 2
    found = result["models"][1]
    assert found["metrics"]["brier"]["value"] == pytest.approx(squared.mean())
    each = [squared[fold == k].mean() for k in parts]
    assert found["folds"]["values"] == pytest.approx(each)
    sizes = [(p.manifest["split"] == "test").sum() / (p.manifest["split"] == "train").sum() for p in parts.values()]
    assert result["folds"]["test_to_train"] == pytest.approx(np.mean(sizes))


def test_data_that_changed_since_the_training_are_refused(tmp_path, table):
    run = one_split(tmp_path, table)
    table.manifest.loc[0, "age"] = 99.0
    table.save()
    with pytest.raises(InputError, match=r"has changed since the training.*--baseline none"):
        compare([run], tmp_path / "out", CompareConfig(bootstrap=20))


def test_data_that_were_moved_are_found_where_they_are_now(tmp_path, table):
    run = one_split(tmp_path, table)
    config = CompareConfig(bootstrap=20, baseline=("logistic-regression",))
    before = compare([run], tmp_path / "out", config)
    table.root.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="as --data, or --baseline none"):
        compare([run], tmp_path / "other", config)
    moved = dataclasses.replace(config, data=str(tmp_path / "elsewhere"))
    assert compare([run], tmp_path / "other", moved)["models"] == before["models"]
    with pytest.raises(InputError, match="is not the Dataset"):
        compare(
            [run], tmp_path / "third", dataclasses.replace(moved, data=str(write_table(tmp_path / "b", seed=1).root))
        )
