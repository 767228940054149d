"""`--calibrate`: fitted on validation, kept in the Run, and applied wherever a probability is given."""

import json

import numpy as np
import pandas as pd
import pytest

import medimg
from medimg import atomic
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.report.write import write
from medimg.run import Run
from medimg.serving.config import ExportConfig
from tests.datasets import write_table
from tests.medimg.evaluation.test_evaluate import write_data, write_run

METHODS = ("temperature", "platt", "isotonic")
# The log-odds of `write_data`'s classes are 0.0375 x level - 4.125.
RIGHT = (0.0375 * 255, -4.125)


@pytest.fixture
def sure(tmp_path):
    """A Run whose log-odds are three times what is right."""
    data = write_data(tmp_path / "data", n=1600)
    return write_run(tmp_path / "run", data, [0.0, 3 * RIGHT[0]], [0.0, 3 * RIGHT[1]])


def options(**given):
    return EvaluateConfig(bootstrap=200, **given)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_badly_calibrated_run_is_named_and_mended(method, sure):
    before = evaluate(sure, options())
    assert before["calibration"]["method"] == "none"
    assert before["calibration"]["slope"]["value"] == pytest.approx(1 / 3, rel=0.2)
    assert before["notes"][0].startswith("don't take the probabilities at their word: calibration slope 0.3")
    page = write(sure).read_text()
    assert page.index("Read this first") < page.index("take the probabilities at their word") < page.index("Sections")
    called = pd.read_csv(sure.root / "predictions.csv")

    after = evaluate(sure, options(calibrate=method))
    found = after["calibration"]
    assert found["method"] == method
    assert found["fitted_on"] == {"split": "val", "n": 400}
    assert found["before"]["slope"] == before["calibration"]["slope"]
    assert found["slope"] == found["after"]["slope"]
    assert found["slope"]["low"] < 1 < found["slope"]["high"]
    assert found["ece"]["value"] < before["calibration"]["ece"]["value"] / 1.5
    # The order is kept, and the threshold goes along: the same rows are called.
    if method != "isotonic":
        assert after["metrics"]["auroc"]["value"] == pytest.approx(before["metrics"]["auroc"]["value"], abs=1e-9)
        again = pd.read_csv(sure.root / "predictions.csv")
        assert (again["predicted"] == called["predicted"]).mean() > 0.995
        assert after["threshold"]["value"] != before["threshold"]["value"]


@pytest.mark.slow
def test_the_run_stays_calibrated_until_it_is_undone(sure):
    plain = evaluate(sure, options())
    calibrated = evaluate(sure, options(calibrate="platt"))
    assert evaluate(sure, options()) == calibrated
    elsewhere = evaluate(sure, options(split="val"))
    assert elsewhere["calibration"]["method"] == "platt"
    assert any("fitted on rows that are measured here" in note for note in elsewhere["notes"])
    assert evaluate(sure, options(calibrate="none")) == plain
    assert not (sure.root / "calibration.json").exists()


def test_only_the_runs_own_test_part_changes_its_calibrator(sure, tmp_path):
    for given in ({"split": "val"}, {"data": str(tmp_path / "data")}):
        with pytest.raises(InputError, match=r"^--calibrate temperature: .*leave out --data and --split"):
            evaluate(sure, options(calibrate="temperature", **given))
    manifest = pd.read_csv(tmp_path / "data" / "manifest.csv")
    manifest.loc[manifest["split"] == "val", "split"] = "train"
    manifest.to_csv(tmp_path / "data" / "manifest.csv", index=False)
    with pytest.raises(InputError, match=r"^--calibrate platt: .*no labelled image in part val"):
        evaluate(sure, options(calibrate="platt"))
    assert not (sure.root / "calibration.json").exists()


SEVERAL = ("platt", "multilabel", ("a", "b", "c"))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "task", "classes"), [*((m, "binary", ("no", "ill")) for m in METHODS), SEVERAL])
def test_the_saved_model_gives_the_calibrated_probabilities(method, task, classes, tmp_path):
    import tensorflow as tf

    from medimg.serving.export import export

    data = write_data(tmp_path / "data", task, classes, n=400, negative="none" if task == "multilabel" else "")
    slopes, intercepts = {"binary": ([0, 30], [0, -12]), "multilabel": ([25, 20, 9], [-9, -11, -9])}[task]
    run = write_run(tmp_path / "run", data, slopes, intercepts)
    atomic.write_json(run.root / "model.json", {**run.description(), "norm": "batch"})
    evaluate(run, options())
    raw = pd.read_csv(run.root / "predictions.csv")
    evaluate(run, options(calibrate=method))
    served = tf.saved_model.load(str(export(run, tmp_path / "model", ExportConfig(samples=6))))
    table = pd.read_csv(run.root / "predictions.csv")
    files = [(data.root / name).read_bytes() for name in table["image"]]
    answer = served.signatures["serving_default"](image_bytes=tf.constant(files))
    written = table[[f"p_{name}" for name in classes]].to_numpy()
    np.testing.assert_allclose(answer["probabilities"], written, atol=1e-5)
    assert np.abs(raw[[f"p_{name}" for name in classes]].to_numpy() - written).max() > 0.05
    if task == "binary":
        assert [label.decode() for label in answer["label"].numpy()] == table["predicted"].tolist()
    assert method in (tmp_path / "model" / "1" / "model_card.md").read_text()
    # What Python and explanations give is the same.
    rows = data.rows("test", labelled=True)
    np.testing.assert_allclose(medimg.load_run(run.root).predict(data, "test"), written, atol=1e-6)
    from explain.config import ExplainConfig
    from explain.explainer import Explainer

    seen = Explainer(run, ExplainConfig())
    assert seen.calibrator["method"] == method
    assert len(rows) == len(table)


@pytest.mark.slow
def test_a_training_leaves_its_calibrator(tmp_path):
    write_table(tmp_path / "table")
    common = {"model": "logistic", "epochs": 3, "seed": 1}
    plain = medimg.train(tmp_path / "table", tmp_path / "plain", **common)
    run = medimg.train(tmp_path / "table", tmp_path / "run", calibrate="platt", **common)
    assert "calibrator" not in plain.description()
    assert run.description()["calibrator"]["method"] == "platt"
    assert "calibrator" not in run.description(calibrated=False)
    data = medimg.load_dataset(tmp_path / "table")
    assert np.abs(run.predict(data) - plain.predict(data)).max() > 1e-3
    found = medimg.evaluate(run, bootstrap=100)
    assert found["calibration"]["method"] == "platt"
    assert found["calibration"]["before"]["slope"]["value"]
    from explain.methods.table_score import TableModel

    model, rows = TableModel.of(run), data.rows("test", labelled=True)
    table = pd.read_csv(run.root / "predictions.csv")
    np.testing.assert_allclose(model.probabilities(model.raw(rows))[:, 1], table["p_disease"], atol=1e-6)


@pytest.mark.slow
def test_folds_are_calibrated_each_on_its_own(tmp_path):
    from medimg.config import TrainConfig
    from medimg.training.cross_validation import cross_validate

    write_table(tmp_path / "table")
    config = TrainConfig(model="logistic", epochs=2, folds=2, calibrate="temperature")
    found = cross_validate(tmp_path / "table", tmp_path / "cv", config)
    assert found["calibration"]["method"] == "temperature"
    assert found["calibration"]["slope"]["value"] is not None
    for fold in (1, 2):
        assert Run.load(tmp_path / "cv" / f"fold-{fold}").description()["calibrator"]["method"] == "temperature"


@pytest.mark.slow
def test_what_was_measured_of_other_probabilities_goes_first(sure, monkeypatch):
    evaluate(sure, options())
    from medimg.evaluation import gallery

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "write_figures", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(sure, options(calibrate="temperature"))
    # A threshold of the uncalibrated probabilities would decide wrongly beside the calibrator.
    assert json.loads((sure.root / "calibration.json").read_text())["method"] == "temperature"
    assert not (sure.root / "metrics.json").exists()


def test_training_without_validation_rows_is_refused_before_it_begins(tmp_path):
    data = write_table(tmp_path / "table")
    data.manifest["split"] = data.manifest["split"].replace("val", "train")
    data.save()
    with pytest.raises(InputError, match="val"):
        medimg.train(tmp_path / "table", tmp_path / "run", model="logistic", epochs=1, calibrate="platt")
    assert not (tmp_path / "run").exists()
