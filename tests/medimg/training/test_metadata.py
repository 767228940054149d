"""`--metadata`: columns of the manifest beside pixels, from training to the served model."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from explain.config import ExplainConfig
from explain.explain import explain
from medimg.audit.audit import audit
from medimg.audit.config import AuditConfig
from medimg.config import PIXELS_ALONE, TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.floor import floor
from medimg.evaluation.prediction import predict, predict_rows
from medimg.prediction.config import PredictConfig
from medimg.prediction.predict import predict as predict_files
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.any_model import train_any
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from medimg.validation.config import ValidateConfig
from medimg.validation.validate import validate
from tests.datasets import write_dataset
from tests.medimg.serving.stand_in import answers, run_check, served

TINY = {"image_size": 16, "epochs": 2, "batch_size": 8, "model_arg": {"width": "4", "stages": "1"}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    """Age tells the label as the red channel does; sex and ward tell nothing, ward is always the same."""
    data = write_dataset(tmp_path_factory.mktemp("data") / "data", n=64)
    draw = np.random.default_rng(0)
    bright = (data.manifest["label"] == "bright").to_numpy()
    columns = {
        "age": np.where(draw.random(64) < 0.1, np.nan, np.round(draw.normal(50, 5, 64) + 12 * bright, 1)),
        "sex": draw.choice(["F", "M", ""], 64),
        "ward": "one",
    }
    dataclasses.replace(data, manifest=data.manifest.assign(**columns)).save()
    return Dataset.load(data.root)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Run:
    return train_any(
        data.root,
        tmp_path_factory.mktemp("run") / "run",
        TrainConfig(**TINY, metadata="age, sex,ward", impute="constant"),
    )


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("exported") / "served", ExportConfig(samples=4))


def test_answers_come_from_both(data, run):
    rows = data.rows("test")
    model, description = run.model(), run.description()
    assert [one["name"] for one in description["metadata"]["raw"]] == ["age", "sex"]
    assert "ward" in description["metadata"]["dropped"]
    own = predict(model, data, rows, description)
    moved = rows.assign(age=rows["age"].to_numpy()[::-1])
    assert np.abs(predict_rows(model, moved, description, data.root) - own).max() > 1e-4
    other = rows.assign(image=rows["image"].to_numpy()[::-1])
    assert np.abs(predict_rows(model, other, description, data.root) - own).max() > 1e-4
    # The constant column is of no account.
    np.testing.assert_array_equal(predict_rows(model, rows.assign(ward="two"), description, data.root), own)
    with pytest.raises(InputError, match="lacks 'age'"):
        predict_rows(model, rows.drop(columns="age"), description, data.root)


def told_alone(notes):
    """What pixels and what metadata alone reach; beside it stands what thumbnails and borders alone do."""
    return [n for n in notes if "alone" in n and "thumbnails" not in n and "border pixels" not in n.lower()]


def test_the_gain_over_each_alone_is_told(run):
    metrics = evaluate(run, EvaluateConfig(bootstrap=20))
    assert metrics["floor"]["columns"] == ["age", "sex"]
    alone = evaluate(Run.load(run.root / PIXELS_ALONE), EvaluateConfig(bootstrap=20))
    assert metrics["pixels_alone"]["auroc"]["value"] == pytest.approx(alone["metrics"]["auroc"]["value"])
    ahead = metrics["metrics"]["auroc"]["value"] - alone["metrics"]["auroc"]["value"]
    assert metrics["pixels_alone"]["gain"]["value"] == pytest.approx(ahead)
    assert len(told_alone(metrics["notes"])) == 2


def test_folds_tell_of_pixels_and_of_metadata_alone(data, tmp_path):
    """On the pooled rows: each fold's twin and floor answer for its own test rows."""
    config = TrainConfig(**{**TINY, "epochs": 1}, metadata="age,sex", folds=2)
    metrics = cross_validate(data.root, tmp_path / "cv", config)
    twins = [Run.load(tmp_path / f"cv/fold-{n}" / PIXELS_ALONE) for n in (1, 2)]
    parts = [twin.dataset() for twin in twins]
    tested = [part.rows("test", labelled=True) for part in parts]
    truth = (pd.concat(tested)["label"] == "bright").to_numpy()
    pixels = [
        predict(t.model(), p, rows, t.description())[:, 1] for t, p, rows in zip(twins, parts, tested, strict=True)
    ]
    columns = [
        floor(p, "train", p, rows, data.classes, names=("age", "sex"))[1][:, 1]
        for p, rows in zip(parts, tested, strict=True)
    ]
    for name, scores in (("pixels_alone", pixels), ("floor", columns)):
        found = metrics[name]
        assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, np.concatenate(scores)))
        assert found["gain"]["value"] == pytest.approx(metrics["metrics"]["auroc"]["value"] - found["auroc"]["value"])
        assert found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]
    assert metrics["floor"]["columns"] == ["age", "sex"]
    assert len(told_alone(metrics["notes"])) == 2
    (tmp_path / "cv/fold-2" / PIXELS_ALONE / "model.keras").unlink()
    again = cross_validate(data.root, tmp_path / "cv", config, resume=True)
    assert again["pixels_alone"] == metrics["pixels_alone"]


def test_files_are_predicted_with_their_columns(data, run, tmp_path):
    own = predict(run.model(), data, data.manifest, run.description())[:, 1]
    predict_files(run, (str(data.root),), tmp_path / "of-data.csv", PredictConfig())
    np.testing.assert_allclose(pd.read_csv(tmp_path / "of-data.csv")["p_bright"], own, atol=1e-5)
    table = data.manifest[["image", "age", "sex"]].head(3).assign(age=["", "61.5", "old"])
    table.to_csv(data.root / "some.csv", index=False)
    result = predict_files(run, (str(data.root / "some.csv"),), tmp_path / "some.csv", PredictConfig())
    asked = data.manifest.head(2).assign(age=[np.nan, 61.5])
    some = pd.read_csv(tmp_path / "some.csv")
    np.testing.assert_allclose(
        some["p_bright"][:2], predict_rows(run.model(), asked, run.description(), data.root)[:, 1], atol=1e-5
    )
    assert "'old' is not a number" in result.broken[0][1]
    table.drop(columns="age").to_csv(data.root / "some.csv", index=False)
    with pytest.raises(InputError, match=r"some.csv.*lacks 'age'"):
        predict_files(run, (str(data.root / "some.csv"),), tmp_path / "never.csv", PredictConfig())
    with pytest.raises(InputError, match="age, sex beside pixels: give a CSV"):
        predict_files(run, (str(data.root / "images"),), tmp_path / "never.csv", PredictConfig())


def test_it_is_explained_audited_validated_and_served(data, run, exported, tmp_path):
    result = explain(run, ExplainConfig(count=2, score_count=4, method=("gradcam", "shap"), samples=20))
    shown = result["images"]["gradcam"][0]
    assert set(shown["columns"]) == {"age", "sex"}
    # As if it were not known: the log-odds that the column's value adds.
    row = data.manifest[data.manifest["image"] == "images/" + shown["file"].rsplit("/", 1)[-1]]
    both = pd.concat([row, row.assign(age=np.nan)])
    p = predict_rows(run.model(), both, run.description(), data.root)[:, 1].astype(float)
    odds = np.log(p / (1 - p))
    assert shown["columns"]["age"] == pytest.approx(odds[0] - odds[1], abs=1e-4)
    with pytest.raises(InputError, match="--image"):
        explain(run, ExplainConfig(image=(str(data.root / "images/0000.png"),)))
    assert "attacks" in audit(run, AuditConfig(attack=("threshold",), bootstrap=20))
    validate(run, data.root, ValidateConfig(bootstrap=20, split="test"), tmp_path / "validation", lambda *_: None)
    assert (exported / "saved_model.pb").is_file()
    assert "age" in (exported / "model_card.md").read_text()


def test_a_client_sends_columns_beside_the_image(data, run, exported):
    place = exported.parent
    rows = data.rows("test").head(4).assign(age=[61.5, np.nan, 40.0, 44.0], sex=["F", "M", "", "X"])
    rows.to_csv(data.root / "ask.csv", index=False)
    expected = predict_rows(run.model(), rows, run.description(), data.root)
    with served(place, "served") as (rest, grpc):
        done = run_check(place, "--rest", rest, "--grpc", grpc, data.root / "ask.csv")
        ask = partial(run_check, place, "--rest", rest)
        assert done.returncode == 0, done.stdout + done.stderr
        for way in ("REST", "gRPC"):
            names, told = zip(*answers(done, way), strict=True)
            assert list(names) == rows["image"].tolist()
            assert {one["error"] for one in told} == {""}
            np.testing.assert_allclose([one["probabilities"] for one in told], expected, atol=1e-5)
        for change, words in (
            ({"age": ["old"] * 4}, "ask.csv: row 1: 'age' is no number"),
            ({"image": ["../x.png"] * 4}, "ask.csv: row 1: ../x.png lies outside the CSV's folder"),
        ):
            rows.assign(**change).to_csv(data.root / "ask.csv", index=False)
            done = ask(data.root / "ask.csv")
            assert done.returncode == 1
            assert words in done.stdout
        rows.drop(columns="sex").to_csv(data.root / "ask.csv", index=False)
        assert "ask.csv: row 1 lacks 'sex'" in ask(data.root / "ask.csv").stdout
        assert "the model takes columns: give a CSV with age, sex, image" in ask(data.paths(rows)[0]).stdout


def test_what_does_not_go_with_columns_is_refused(data, tmp_path):
    told = dataclasses.replace(data, manifest=data.manifest.assign(shade=data.manifest["label"] + "-ish"))
    for options, words in (
        ({"metadata": "height"}, "--metadata height: no column"),
        ({"metadata": "age,age"}, "--metadata age: is named twice"),
        ({"metadata": "shade"}, "--metadata shade: tells the label of every training row"),
        ({"metadata": "age", "dp_epsilon": 1.0}, "--metadata age: not with --dp-epsilon"),
        ({"metadata": "age", "missing": "drop-rows"}, "--metadata age: not with --missing drop-rows"),
        ({"metadata": "ward"}, "no feature is left"),
    ):
        with pytest.raises(InputError, match=words):
            train(told, tmp_path / "never", TrainConfig(**TINY, **options))
    assert not (tmp_path / "never").exists()
