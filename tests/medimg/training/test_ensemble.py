"""Ensembles: the vote is the mean of calibrated probabilities, one model does all that a Run's model does."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from explain.config import ExplainConfig
from explain.explain import explain
from medimg.audit.audit import audit
from medimg.audit.config import AuditConfig
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.prediction import predict, probabilities
from medimg.models.ensemble import fitted_weights
from medimg.pipeline.pixels import at_model_size, load_raw
from medimg.prediction.config import PredictConfig
from medimg.prediction.predict import predict as predict_files
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.ledger import read, segments_of
from medimg.privacy.segments import events_of
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.ensemble import ensemble
from medimg.training.train import train
from medimg.validation.validate import validate
from tests.command import medimg
from tests.datasets import write_dataset, write_table

TINY = {"image_size": 16, "epochs": 1, "batch_size": 8, "model_arg": {"width": "4", "stages": "1"}}


def vote(*runs, **options) -> TrainConfig:
    return TrainConfig(model="ensemble", member=tuple(str(run.root) for run in runs), **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    return Dataset.load(write_dataset(tmp_path_factory.mktemp("data") / "data").root)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> list[Run]:
    """Of 16 grey, 16 and 24 coloured pixels, the second calibrated by isotonic regression."""
    folder = tmp_path_factory.mktemp("members")
    several = [
        {"channels": 1, "calibrate": "platt"},
        {"calibrate": "isotonic", "seed": 1},
        {"image_size": 24, "calibrate": "temperature"},
    ]
    return [train(data.root, folder / str(i), TrainConfig(**{**TINY, **own})) for i, own in enumerate(several)]


@pytest.fixture(scope="module")
def voted(data, runs, tmp_path_factory) -> Run:
    return ensemble(data.root, tmp_path_factory.mktemp("voted") / "run", vote(*runs))


def answers(run: Run, rows: pd.DataFrame) -> np.ndarray:
    return predict(run.model(), run.dataset(), rows, run.description())


def test_weights_minimise_the_log_loss_of_validation():
    draw = np.random.default_rng(0)
    right = np.clip(draw.beta([[5], [2], [1]], [[2], [2], [3]], (3, 200)), 1e-6, 1)

    def loss(free):
        weights = np.exp(free - free.max())
        return -np.log(weights / weights.sum() @ right).mean()

    found = fitted_weights(right)
    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000})
    assert found.sum() == pytest.approx(1.0)
    assert -np.log(found @ right).mean() <= best.fun + 1e-9
    assert (found >= 0).all()
    # One who is right wherever another is, and more, takes all; of two equals each is as good.
    np.testing.assert_allclose(fitted_weights(np.array([[0.9, 0.8], [0.5, 0.4]])), [1, 0], atol=1e-6)


@pytest.mark.slow
def test_members_of_other_sizes_and_channels_answer_as_by_themselves(data, runs, voted):
    rows = data.rows("test")
    assert voted.description()["image_size"] == 24
    # The Dataset's images are of 32 pixels and not said to be prepared at one size: 24 pixels stand for them.
    seen = [load_raw(path, 24, 3) for path in data.paths(rows)]
    mean = 0.0
    for run in runs:
        form = run.description()
        own = np.stack([at_model_size(image, form["image_size"], form["channels"]) for image in seen])
        logits = run.model()(own.astype(np.float32), training=False).numpy()
        mean = mean + probabilities(logits, "binary", form["calibrator"]) / 3
    np.testing.assert_allclose(answers(voted, rows), mean, atol=1e-5)


@pytest.mark.slow
def test_images_prepared_at_one_size_give_every_member_its_own_pixels(data, tmp_path):
    prepared = dataclasses.replace(data, root=tmp_path / "data", preparation={"options": {"image_size": 32}})
    shutil.copytree(data.root / "images", tmp_path / "data/images")
    prepared.save()
    sizes = ({"image_size": 16}, {"image_size": 20, "channels": 1}, {"image_size": 40})
    runs = [train(prepared.root, tmp_path / str(i), TrainConfig(**{**TINY, **s})) for i, s in enumerate(sizes)]
    one = ensemble(prepared.root, tmp_path / "vote", vote(*runs))
    assert one.description()["image_size"] == 32
    rows = data.rows("test")
    np.testing.assert_allclose(answers(one, rows), np.mean([answers(r, rows) for r in runs], axis=0), atol=1e-6)


@pytest.mark.slow
def test_two_equals_are_the_one_and_a_multilabel_vote_is_of_each_label(tmp_path):
    data = write_dataset(tmp_path / "data", task="multilabel", classes=("a", "b", "c"), n=48)
    one = train(data.root, tmp_path / "one", TrainConfig(**TINY))
    two = train(data.root, tmp_path / "two", TrainConfig(**TINY, seed=1))
    rows = data.rows("test")
    twice = ensemble(data.root, tmp_path / "twice", vote(one, one))
    np.testing.assert_allclose(answers(twice, rows), answers(one, rows), atol=1e-6)
    both = ensemble(data.root, tmp_path / "both", vote(one, two))
    np.testing.assert_allclose(answers(both, rows), (answers(one, rows) + answers(two, rows)) / 2, atol=1e-6)


@pytest.mark.slow
def test_an_ensemble_is_an_ordinary_run(data, voted, tmp_path):
    metrics = evaluate(voted, EvaluateConfig(bootstrap=20))
    assert metrics["model"] == "ensemble"
    predict_files(voted, (str(data.root),), tmp_path / "p.csv", PredictConfig())
    table = pd.read_csv(tmp_path / "p.csv")
    np.testing.assert_allclose(table["p_bright"], answers(voted, data.manifest)[:, 1], atol=1e-5)
    result = explain(voted, ExplainConfig(count=2, score_count=2, appearance_count=0, method=("gradcam",)))
    assert set(result["images"]) == {"gradcam", *(f"gradcam-member-{i}" for i in (1, 2, 3))}
    maps = [np.load(result["folder"] / found[0]["heatmap"])["heatmap"] for found in result["images"].values()]
    np.testing.assert_allclose(maps[0], np.mean(maps[1:4], axis=0), atol=1e-5)
    assert "attacks" in audit(voted, AuditConfig(attack=("threshold",), bootstrap=20))
    validate(voted, data.root, _validate_config(), tmp_path / "validation", lambda *_: None)
    folder = export(voted, tmp_path / "served", ExportConfig(samples=3))
    assert (folder / "saved_model.pb").is_file()


def _validate_config():
    from medimg.validation.config import ValidateConfig

    return ValidateConfig(bootstrap=20, split="test")


@pytest.mark.slow
def test_weights_fitted_on_validation_are_those_of_the_members_answers(data, runs, tmp_path):
    run = ensemble(data.root, tmp_path / "run", vote(*runs, vote="log-loss"))
    rows = data.rows("val", labelled=True)
    truth = data.targets(rows)
    right = np.stack([answers(r, rows)[np.arange(len(rows)), truth] for r in runs])
    # 24 pixels stand for 32 here, so the members' answers are not to the last digit those of their own Runs.
    told = [member["weight"] for member in run.description()["members"]]
    assert -np.log(told @ right).mean() <= -np.log(fitted_weights(right) @ right).mean() + 0.01


@pytest.mark.slow
def test_seeds_make_one_directly_and_go_on_where_they_were_killed(data, tmp_path):
    config = TrainConfig(**TINY, seeds=2)
    run = ensemble(data.root, tmp_path / "run", config)
    assert [m["run"].rsplit("/", 1)[-1] for m in run.description()["members"]] == ["member-1", "member-2"]
    rows = data.rows("test")
    alone = [train(data.root, tmp_path / str(s), TrainConfig(**TINY, seed=s)) for s in (0, 1)]
    np.testing.assert_allclose(answers(run, rows), np.mean([answers(r, rows) for r in alone], axis=0), atol=1e-6)
    before = answers(run, rows)
    (run.root / "model.keras").unlink()
    shutil.rmtree(run.root / "member-2")
    first = (run.root / "member-1/model.keras").stat().st_mtime_ns
    again = ensemble(data.root, tmp_path / "run", config, resume=True)
    assert (run.root / "member-1/model.keras").stat().st_mtime_ns == first
    np.testing.assert_array_equal(answers(again, rows), before)


@pytest.mark.slow
def test_members_that_do_not_go_together_are_refused(data, runs, tmp_path):
    manifest = data.manifest.assign(split=data.manifest["split"].replace({"val": "test", "test": "val"}))
    moved = dataclasses.replace(data, root=tmp_path / "moved", manifest=manifest)
    shutil.copytree(data.root / "images", tmp_path / "moved/images")
    moved.save()
    on_moved = train(moved.root, tmp_path / "on-moved", TrainConfig(**TINY))
    for members, folder, words in (
        ((runs[0], on_moved), data.root, "trained on other rows or parts"),
        ((runs[0], runs[1]), moved.root, "trained on other rows or parts"),
        ((runs[0],), data.root, "needs --member RUN twice"),
    ):
        with pytest.raises(InputError, match=words):
            ensemble(folder, tmp_path / "never", vote(*members))
    # Trained on the right parts, from weights that have learnt from what is the test part here.
    swapped = manifest["split"].replace({"train": "test", "val": "train", "test": "val"})
    seen = dataclasses.replace(moved, root=tmp_path / "seen", manifest=manifest.assign(split=swapped))
    shutil.copytree(data.root / "images", tmp_path / "seen/images")
    seen.save()
    start = train(seen.root, tmp_path / "start", TrainConfig(**TINY))
    tainted = train(data.root, tmp_path / "tainted", TrainConfig(**TINY, weights=str(start.root)))
    with pytest.raises(InputError, match=r"start.* learnt from \d+ of the \d+ patients of part"):
        ensemble(data.root, tmp_path / "never", vote(runs[0], tainted))
    with pytest.raises(InputError, match="--epochs: not with --model ensemble"):
        ensemble(data.root, tmp_path / "never", vote(runs[0], runs[1], epochs=3))
    voted = ensemble(data.root, tmp_path / "voted", vote(runs[0], runs[1]))
    with pytest.raises(InputError, match="is an ensemble itself"):
        ensemble(data.root, tmp_path / "never", vote(voted, runs[0]))
    with pytest.raises(InputError, match="audit its members"):
        audit(voted, AuditConfig(attack=("lira",), shadow_models=8))
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_private_members_are_counted_together(data, runs, tmp_path):
    private = TrainConfig(**TINY, norm="group", dp_epsilon=4.0, dp_delta=1e-3)
    one, two = (
        train(data.root, tmp_path / str(s), dataclasses.replace(private, seed=s, dp_seed=s + 1)) for s in (0, 1)
    )
    with pytest.raises(InputError, match="protect nobody"):
        ensemble(data.root, tmp_path / "never", vote(one, runs[0]))
    run = ensemble(data.root, tmp_path / "run", vote(one, two))
    spent = [segments_of(read(r.root)) for r in (one, two)]
    total = epsilon_of(events_of((*spent[0], *spent[1]), "patient"), 1e-3)
    assert read(run.root)["epsilon"]["pld"] == pytest.approx(total["pld"])
    assert total["pld"] > read(one.root)["epsilon"]["pld"]
    assert run.environment()["data_fingerprint"] is None
    again = ensemble(data.root, run.root, TrainConfig.from_dict(run.config["options"]), resume=True)
    assert again.description()["members"]
    # As of any private Run, nothing is told of those whom it protects.
    with pytest.raises(InputError, match="the Run protects"):
        evaluate(run, EvaluateConfig(split="train"))


@pytest.mark.slow
def test_members_of_hardly_any_noise_promise_nothing_together(tmp_path):
    """They are private Runs all the same, of which nothing is told, and the ensemble is one that goes on."""
    data = write_table(tmp_path / "table")
    silent = TrainConfig(model="logistic", epochs=2, dp_noise_multiplier=1e-6, dp_delta=1e-3)
    runs = [train(data.root, tmp_path / str(s), dataclasses.replace(silent, seed=s)) for s in (0, 1)]
    run = ensemble(data.root, tmp_path / "run", vote(*runs))
    assert read(run.root)["epsilon"]["pld"] == "infinite"
    for command in (["evaluate", run.root, "--bootstrap", "20"], ["export", run.root, "--out", tmp_path / "served"]):
        shown = medimg(*command)
        assert shown.exit_code == 0, shown.output
    assert "(epsilon, delta) = (infinite, 0.001)" in shown.output
    again = ensemble(data.root, run.root, TrainConfig.from_dict(run.config["options"]), resume=True)
    assert again.description()["members"]


@pytest.mark.slow
def test_tables_vote_too(tmp_path):
    data = write_table(tmp_path / "table")
    runs = [train(data.root, tmp_path / model, TrainConfig(model=model, epochs=3)) for model in ("logistic", "mlp")]
    run = ensemble(data.root, tmp_path / "run", vote(*runs))
    rows = data.rows("test")
    np.testing.assert_allclose(answers(run, rows), np.mean([answers(r, rows) for r in runs], axis=0), atol=1e-6)
    assert (export(run, tmp_path / "served", ExportConfig(samples=3)) / "saved_model.pb").is_file()
    others = train(data.root, tmp_path / "others", TrainConfig(model="logistic", epochs=1, scale="none"))
    with pytest.raises(InputError, match="another columns"):
        ensemble(data.root, tmp_path / "never", vote(runs[0], others))
    assert json.loads((run.root / "model.json").read_text())["name"] == "ensemble"
