"""Training on tables: the same Run, the same loop, nothing learnt from validation or test."""

import json

import numpy as np
import pandas as pd
import pytest

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.prediction import predict
from medimg.report.write import write
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.command import medimg
from tests.datasets import write_dataset, write_table
from tests.killing import Killed, killed_after

FAST = {"epochs": 6, "batch_size": 16}


@pytest.fixture(scope="module")
def logistic_run(small_table, tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("logistic") / "run"
    run = train(small_table.root, out, TrainConfig(model="logistic"))
    evaluate(run, EvaluateConfig(bootstrap=50))
    return run


def test_a_table_is_for_logistic_where_no_model_is_named(small_table, tmp_path):
    result = medimg("train", small_table.root, "--out", tmp_path / "run", "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert "--model logistic: the data are a table" in result.output
    assert Run.load(tmp_path / "run").description()["name"] == "logistic"
    named = medimg("train", small_table.root, "--out", tmp_path / "no", "--epochs", "1", "--model", "baseline_cnn")
    assert (named.exit_code, "needs images; a table takes logistic or mlp" in named.output) == (2, True)


@pytest.mark.slow
def test_a_run_of_a_table_has_what_every_run_has(logistic_run, small_table):
    metrics = json.loads((logistic_run.root / "metrics.json").read_text())
    assert metrics["metrics"]["auroc"]["value"] > 0.75
    assert set(metrics["sites"]) == {"s0", "s1", "s2"}
    assert sum(site["n"] for site in metrics["sites"].values()) == metrics["n"]
    table = pd.read_csv(logistic_run.root / "predictions.csv")
    expected = ["row", "patient", "site", "label", "predicted", "p_healthy", "p_disease"]
    assert list(table) == expected
    assert table["row"].tolist() == small_table.rows("test")["row"].tolist()
    assert write(logistic_run) == logistic_run.root / "report.html"
    assert Run.load(logistic_run.root).config["options"]["epochs"] == 200
    assert "mrn" not in logistic_run.description()["preprocessing"]["raw"]


@pytest.mark.slow
def test_logistic_is_the_penalised_logistic_regression(small_table, tmp_path):
    """Trained long enough, it is scikit-learn's optimum of the same penalised likelihood."""
    from sklearn.linear_model import LogisticRegression

    from medimg.tables.preprocessing import Preprocessing

    options = TrainConfig(
        model="logistic",
        model_arg={"l2": "0.01"},
        epochs=100,
        learning_rate=0.05,
        patience=0,
        plateau_patience=100,
        batch_size=96,
    )
    run = train(small_table.root, tmp_path / "run", options)
    rows = small_table.rows("train")
    matrix = Preprocessing.from_dict(run.description()["preprocessing"]).transform(rows)
    # The best epoch is kept, so compare with the last weights: a monotone validation loss is no given.
    weights, bias = run.model().get_layer("logits").get_weights()
    # Two logits of opposite sign, penalised l2 * 2 * (w / 2)^2 = 1 / (2 C n) * w^2.
    reference = LogisticRegression(C=1 / (0.01 * len(rows)), max_iter=10_000, tol=1e-8)
    reference.fit(matrix, small_table.targets(rows))
    ours = matrix @ (weights[:, 1] - weights[:, 0]) + bias[1] - bias[0]
    theirs = reference.decision_function(matrix)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_validation_and_test_rows_teach_nothing(small_table, tmp_path):
    """An outlier, a category and a hole planted outside train change no number of the preprocessing."""
    table = write_table(tmp_path / "data")
    outside = table.manifest["split"] != "train"
    table.manifest.loc[outside, "age"] = 1e6
    table.manifest.loc[outside, "pain"] = "planted"
    table.manifest.loc[outside, "noise"] = np.nan
    table.save()
    config = TrainConfig(model="logistic", select="anova", select_count=5, **FAST)
    planted = train(table.root, tmp_path / "planted", config)
    clean = train(small_table.root, tmp_path / "clean", config)
    assert planted.description()["preprocessing"] == clean.description()["preprocessing"]
    described = json.dumps(planted.description())
    assert "planted" not in described
    # What differs is the validation loss alone, which chooses the epoch.
    first = [run.history()["loss"].iloc[0] for run in (planted, clean)]
    assert first[0] == pytest.approx(first[1], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("balance", ["class-weight", "weighted-sampling"])
def test_models_train_with_every_balance(small_table, tmp_path, model, balance):
    run = train(small_table.root, tmp_path / "run", TrainConfig(model=model, balance=balance, **FAST))
    rows = small_table.rows("test")
    chances = predict(run.model(), small_table, rows, run.description())
    assert chances.shape == (len(rows), 2)
    assert np.allclose(chances.sum(axis=1), 1)


def test_rows_with_missing_values_can_be_left_out(small_table, tmp_path):
    config = TrainConfig(model="logistic", missing="drop-rows", **FAST)
    run = train(small_table.root, tmp_path / "run", config)
    names = run.description()["preprocessing"]["columns"]
    assert not any("missing" in str(column) for column in names)
    # Rows with missing values are still classified.
    assert len(predict(run.model(), small_table, small_table.rows("test"), run.description()))


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_weights(small_table, tmp_path):
    config = TrainConfig(model="mlp", dropout=0.5, **FAST)
    whole = train(small_table.root, tmp_path / "whole", config)

    with pytest.raises(Killed):
        train(small_table.root, tmp_path / "killed", config, listener=killed_after(3))
    resumed = train(small_table.root, tmp_path / "killed", config, resume=True)
    for a, b in zip(whole.model().get_weights(), resumed.model().get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_cross_validation_pools_what_no_model_had_seen(small_table, tmp_path):
    told = []
    config = TrainConfig(model="logistic", folds=3, **FAST)
    result = cross_validate(small_table.root, tmp_path / "cv", config, on_fold=lambda fold, metrics: told.append(fold))
    assert told == [1, 2, 3]
    table = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    assert table["row"].tolist() == small_table.manifest["row"].tolist()
    for fold in (1, 2, 3):
        run = Run.load(tmp_path / "cv" / f"fold-{fold}")
        rows = run.dataset().rows("test")
        assert set(rows["patient"]).isdisjoint(run.dataset().rows("train")["patient"])
        own = table[table["fold"] == fold]
        assert own["row"].tolist() == rows["row"].tolist()
        expected = predict(run.model(), small_table, rows, run.description())[:, 1]
        assert np.abs(own["p_disease"] - expected).max() < 1e-6
    from sklearn.metrics import roc_auc_score

    pooled = roc_auc_score(table["label"] == "disease", table["p_disease"])
    assert result["metrics"]["auroc"]["value"] == pytest.approx(pooled)
    each = result["folds"]["auroc"]["values"]
    assert result["folds"]["auroc"]["mean"] == pytest.approx(np.mean(each))
    with pytest.raises(InputError, match="is a cross-validation, whose folds are Runs"):
        evaluate(Run.load(tmp_path / "cv"), EvaluateConfig())
    # Resumed, finished folds are taken as they are; a lost pool is made again.
    (tmp_path / "cv" / "metrics.json").unlink()
    again = cross_validate(small_table.root, tmp_path / "cv", config, resume=True)
    assert again["metrics"] == result["metrics"]


@pytest.mark.slow
def test_cross_validation_of_images(tmp_path):
    images = write_dataset(tmp_path / "data", n=24, size=16)
    config = TrainConfig(image_size=16, model_arg={"width": "4", "stages": "2"}, epochs=1, folds=2)
    result = cross_validate(images.root, tmp_path / "cv", config)
    assert result["n"] == 24
    assert "image" in pd.read_csv(tmp_path / "cv" / "predictions.csv")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "resnet50"}, "needs images"),
        ({"model": "logistic", "augment": "light"}, "--augment: is for images"),
        ({"model": "logistic", "freeze": "backbone"}, "--freeze"),
        ({"model": "logistic", "weights": "imagenet"}, "--weights"),
        ({"model": "mlp", "model_arg": {"depth": "3"}}, "it has width, layers, l2"),
        ({"model": "mlp", "model_arg": {"width": "0"}}, "at least 1"),
        ({"model": "mlp", "model_arg": {"width": "many"}}, "must be int"),
        ({"model": "logistic", "folds": 90}, "use fewer folds"),
    ],
)
def test_options_that_do_not_fit_are_refused(small_table, tmp_path, options, words):
    call = cross_validate if options.get("folds") else train
    with pytest.raises(InputError, match=words):
        call(small_table.root, tmp_path / "run", TrainConfig(**options))
    assert not (tmp_path / "run").exists()


def test_a_table_model_refuses_images_and_the_other_way_round(logistic_run, small_table, noise, tmp_path):
    with pytest.raises(InputError, match="needs a table"):
        train(noise.root, tmp_path / "run", TrainConfig(model="logistic"))
    with pytest.raises(InputError, match="holds images"):
        predict(logistic_run.model(), noise, noise.rows("test"), logistic_run.description())


def test_types_can_be_changed_in_dataset_yaml(tmp_path):
    table = write_table(tmp_path / "data", stated=False)
    path = table.root / "dataset.yaml"
    path.write_text(path.read_text().replace("visits: integer", "visits: categorical"))
    changed = Dataset.load(table.root)
    assert changed.manifest["visits"].iloc[0] in [str(i) for i in range(9)]
    assert changed.fingerprint() != table.fingerprint()
    run = train(changed.root, tmp_path / "run", TrainConfig(model="logistic", **FAST))
    assert "visits=3" in json.dumps(run.description())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("age: continuous", "age: complex", "type 'complex'"),
        ("age: continuous", "height: continuous", "column 'height' is missing"),
        ("pain: categorical", "pain: continuous", "is not a number"),
        ("- I\n", "- I\n    - 2\n", "ordinal"),
    ],
)
def test_a_broken_description_is_refused(tmp_path, old, new, words):
    table = write_table(tmp_path / "data", stated=False)
    path = table.root / "dataset.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if words == "ordinal":
        # An order with a category that no row has is no fault.
        assert Dataset.load(table.root).features[4].order[1] == "2"
        return
    with pytest.raises(InputError, match=words):
        Dataset.load(table.root)
