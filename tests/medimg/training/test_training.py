"""Training: phases, frozen features, resume after kill -9, stopping, refusals."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.listener import Listener
from medimg.run import Run
from medimg.training.losses import mean_loss
from medimg.training.progress import Progress
from medimg.training.train import train
from tests.datasets import write_dataset
from tests.forks import forked

SMALL = {"image_size": 32, "epochs": 3, "batch_size": 8, "model_arg": {"width": "4", "stages": "2"}}
FROZEN = {**SMALL, "freeze": "backbone", "dropout": 0.5}
TRANSFER = {
    "model": "mobilenet",
    "model_arg": {"alpha": "0.25"},
    "image_size": 32,
    "batch_size": 8,
    "freeze": "backbone",
    "epochs": 2,
    "dropout": 0.5,
}


def weights(run: Run) -> list[np.ndarray]:
    return run.model().get_weights()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_a_run_remembers_all(noise, tmp_path):
    rows = []
    config = TrainConfig(**SMALL)
    run = train(noise.root, tmp_path / "run", config, listener=Listener(epoch=rows.append))
    assert Run.load(run.root).config["options"] == config.resolved("image").to_dict()
    assert run.description()["classes"] == ["dark", "bright"]
    assert run.environment()["data_fingerprint"] == noise.fingerprint()
    history = run.history()
    assert history["epoch"].tolist() == [1, 2, 3] == [row["epoch"] for row in rows]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert not (run.root / "cache").exists()
    # More epochs may be asked for.
    assert [path.name for path in (run.root / "checkpoints").glob("last-*")] == ["last-000030"]
    again = train(noise.root, tmp_path / "again", config)
    assert same(weights(run), weights(again))
    other = train(noise.root, tmp_path / "other", TrainConfig(**{**SMALL, "seed": 1}))
    assert not same(weights(run), weights(other))


@pytest.mark.slow
def test_the_model_of_the_best_epoch_is_kept(noise, tmp_path):
    config = TrainConfig(**{**SMALL, "epochs": 8, "learning_rate": 0.05, "patience": 0})
    run = train(noise.root, tmp_path / "run", config)
    history = run.history()
    rows = noise.rows("val")
    from medimg.pipeline.pixels import load_image

    x = np.stack([load_image(p, 32, 3) for p in noise.paths(rows)])
    loss = mean_loss(run.model()(x, training=False).numpy(), noise.targets(rows), "binary")
    assert loss == pytest.approx(history["val_loss"].min(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("balance", ["none", "class-weight", "weighted-sampling"])
def test_every_task_trains_with_every_balance(task, balance, tmp_path):
    dataset = write_dataset(tmp_path / "data", 36, 16, task, ("a", "b", "c"))
    config = TrainConfig(**{**SMALL, "image_size": 16, "epochs": 1, "balance": balance, "augment": "light"})
    run = train(dataset.root, tmp_path / "run", config)
    assert run.model().output_shape == (None, 3)
    assert np.isfinite(run.history()["val_loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "standard"])
def test_cached_features_give_the_plain_paths_result(noise, pretrained_weights, augment, tmp_path):
    file = next(pretrained_weights.glob("mobilenet_2_5*"))
    views = {} if augment == "none" else {"views": 2}
    common = {**TRANSFER, "weights": str(file), "augment": augment, **views}
    cached = train(noise.root, tmp_path / "cached", TrainConfig(**common))
    plain = train(noise.root, tmp_path / "plain", TrainConfig(**common, cache_features=False))
    for a, b in zip(weights(cached), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    start = train(noise.root, tmp_path / "start", TrainConfig(**{**common, "epochs": 0}))
    assert not same(weights(start)[-2:], weights(cached)[-2:])
    assert same(weights(start)[:-2], weights(cached)[:-2])


def train_until_killed(data: Path, out: Path, options: dict, resume: bool, epochs: int) -> None:
    """In a process of its own, which ends in the midst of the epoch after so many."""

    def kill(what: str, done: int, total: int) -> None:
        if what == f"epoch {epochs + 1}" and done == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    train(data, out, TrainConfig.from_dict(options), resume=resume, listener=Listener(step=kill))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kills"),
    [
        ({**SMALL, "epochs": 4, "dropout": 0.5, "augment": "light", "patience": 0}, [2]),
        ({**FROZEN, "epochs": 2, "fine_tune_epochs": 2, "augment": "light", "views": 2, "patience": 0}, [1, 3]),
    ],
    ids=["plain", "two phases"],
)
def test_kill_and_resume_give_the_uninterrupted_weights_bit_for_bit(noise, options, kills, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = TrainConfig.from_dict(options)
    train(noise.root, whole, config)
    # Only what is killed needs a process of its own; across processes the weights are the same too.
    for number, epochs in enumerate(kills):
        process = forked(train_until_killed, noise.root, broken, options, number > 0, epochs)
        process.join(240)
        assert process.exitcode == -signal.SIGKILL
        (last,) = (broken / "checkpoints").glob("last-*")
        assert int(last.name.removeprefix("last-")) // 10 == epochs
    train(noise.root, broken, config, resume=True)
    assert same(weights(Run.load(whole)), weights(Run.load(broken)))
    columns = ["epoch", "phase", "loss", "val_loss", "val_auroc", "learning_rate"]
    pd.testing.assert_frame_equal(Run.load(whole).history()[columns], Run.load(broken).history()[columns])


def test_plateau_and_early_stopping_follow_keras_definitions():
    progress = Progress()
    progress.start_phase(0, 1.0)
    losses = [1.0, 0.9, 0.95, 0.96, 0.97, 0.5]
    better = []
    for loss in losses:
        better.append(progress.end_epoch(loss, 100, 3, 2, 0.1))
        if progress.finished:
            break
    assert better == [True, True, False, False, False]
    # Two epochs without a better loss: the rate falls once; three: training stops.
    assert progress.learning_rate == pytest.approx(0.1)
    assert progress.best_epoch == 2
    assert not Progress().end_epoch(float("nan"), 10, 0, 0, 0.1)


def test_losses_against_keras():
    from medimg.training.losses import WeightedBinaryCrossentropy, loss_for

    draw = np.random.default_rng(0)
    logits = draw.normal(0, 3, (20, 4)).astype(np.float32)
    y, many = draw.integers(0, 4, 20), draw.integers(0, 2, (20, 4)).astype(np.float32)
    assert mean_loss(logits, y, "multiclass") == pytest.approx(float(loss_for("multiclass")(y, logits)), rel=1e-5)
    expected = float(loss_for("multilabel")(many, logits))
    assert mean_loss(logits, many, "multilabel") == pytest.approx(expected, rel=1e-5)
    assert float(WeightedBinaryCrossentropy(np.ones(4))(many, logits)) == pytest.approx(expected, rel=1e-5)
    doubled = float(WeightedBinaryCrossentropy(np.full(4, 2.0))(many, logits))
    p = 1 / (1 + np.exp(-logits.astype(float)))
    assert doubled == pytest.approx(-np.mean(2 * many * np.log(p) + (1 - many) * np.log(1 - p)), rel=1e-4)


def test_what_cannot_be_trained_is_refused_and_leaves_nothing(noise, tmp_path):
    cases = [
        ({"model": "resnet51"}, "--model resnet51"),
        ({"freeze": "half"}, "--freeze half"),
        ({"freeze": "99"}, "--freeze 99"),
        ({"image_size": 3}, "--image-size 3"),
        ({"weights": "absent.h5"}, "--weights absent.h5"),
    ]
    for options, words in cases:
        with pytest.raises(InputError, match=words):
            train(noise.root, tmp_path / "run", TrainConfig(**{**SMALL, **options}))
        assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="--batch-size 0: must be at least 1"):
        TrainConfig(batch_size=0)
    with pytest.raises(InputError, match="--balance much: choose one of"):
        TrainConfig(balance="much")


@pytest.mark.slow
def test_a_loss_that_explodes_says_so(noise, tmp_path):
    config = TrainConfig(**{**SMALL, "optimizer": "sgd", "learning_rate": 1e30, "norm": "group"})
    with pytest.raises(InputError, match=r"--learning-rate 1e\+30: the loss became"):
        train(noise.root, tmp_path / "run", config)


@pytest.mark.slow
def test_a_run_is_not_overwritten_unasked(noise, tmp_path):
    config = TrainConfig(**{**SMALL, "epochs": 0})
    train(noise.root, tmp_path / "run", config)
    with pytest.raises(InputError, match="already holds files"):
        train(noise.root, tmp_path / "run", config)
    train(noise.root, tmp_path / "run", config, overwrite=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a Run"):
        train(noise.root, precious, config, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_resume_refuses_changed_data(tmp_path):
    dataset = write_dataset(tmp_path / "data")
    config = TrainConfig(**{**SMALL, "epochs": 1})
    train(dataset.root, tmp_path / "run", config)
    manifest = dataset.manifest.copy()
    manifest.loc[0, "label"] = "bright"
    Dataset(dataset.root, "noise", "binary", dataset.classes, manifest).save()
    with pytest.raises(InputError, match="has changed since"):
        train(dataset.root, tmp_path / "run", config, resume=True)


def test_one_class_or_an_empty_part_is_refused(tmp_path):
    dataset = write_dataset(tmp_path / "data")
    one = dataset.manifest[dataset.manifest["label"] == "dark"]
    Dataset(dataset.root, "noise", "binary", dataset.classes, one).save()
    with pytest.raises(InputError, match="one class only"):
        train(dataset.root, tmp_path / "run", TrainConfig(**SMALL))
    no_val = dataset.manifest[dataset.manifest["split"] != "val"]
    Dataset(dataset.root, "noise", "binary", dataset.classes, no_val).save()
    with pytest.raises(InputError, match="no labelled image in split 'val'"):
        train(dataset.root, tmp_path / "run", TrainConfig(**SMALL))
