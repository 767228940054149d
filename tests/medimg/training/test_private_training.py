"""Private training end to end: the step it takes, the ledger it leaves, what it refuses."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.ledger import read, segments_of
from medimg.run import Run
from medimg.tables.preprocessing import Preprocessing
from medimg.training.train import train
from tests.datasets import write_dataset, write_table
from tests.killing import Killed, killed_after


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("private") / "data", n=200)


def weights(run: Run) -> list[np.ndarray]:
    return run.model().get_weights()


def test_without_noise_and_clip_it_is_gradient_descent(table, tmp_path):
    """Every patient drawn, no clipping, noise that rounds away: one step down the summed loss per patient."""
    rows = table.rows("train")
    patients = rows["patient"].nunique()
    config = TrainConfig(
        model="logistic",
        optimizer="sgd",
        learning_rate=0.5,
        epochs=1,
        batch_size=patients,
        dp_noise_multiplier=1e-9,
        dp_clip=1000.0,
        dp_delta=1e-3,
    )
    run = train(table.root, tmp_path / "run", config)
    x = Preprocessing.from_dict(run.description()["preprocessing"]).transform(rows)
    y = table.targets(rows)
    # Logits start at zero: the gradient of the cross-entropy is x (p - y) with p = 1/2.
    residual = 0.5 - np.eye(2)[y]
    expected = -0.5 * x.T @ residual / patients
    kernel, bias = weights(run)
    assert np.abs(kernel - expected).max() < 1e-4
    assert np.abs(bias + 0.5 * residual.sum(axis=0) / patients).max() < 1e-4
    # That noise buys no privacy, and the ledger says so.
    assert read(run.root)["epsilon"]["pld"] in ("infinite",) or read(run.root)["epsilon"]["pld"] > 1e6


def test_a_patient_moves_the_weights_by_no_more_than_the_clip(table, tmp_path):
    """Without noise, leaving a patient out changes one SGD step by at most rate x clip / patients per step."""
    patients = table.rows("train")["patient"].nunique()
    config = {
        "model": "logistic",
        "optimizer": "sgd",
        "learning_rate": 1.0,
        "epochs": 1,
        "dp_noise_multiplier": 1e-9,
        "dp_clip": 0.01,
        "dp_delta": 1e-3,
    }
    run = train(table.root, tmp_path / "run", TrainConfig(**config, batch_size=patients))
    length = np.sqrt(sum((w**2).sum() for w in weights(run)))
    assert length <= 0.01 * (1 + 1e-4)
    # All are clipped here, so the bound is what the patients' directions leave of it.
    assert length > 0.001


@pytest.mark.slow
def test_the_ledger_is_what_was_done(table, tmp_path):
    config = TrainConfig(model="logistic", epochs=4, batch_size=20, dp_epsilon=3.0, dp_delta=1e-3)
    run = train(table.root, tmp_path / "run", config)
    content = read(run.root)
    units = table.rows("train")["patient"].nunique()
    steps = 4 * -(-units // 20)
    assert (content["steps"], content["unit"]) == (steps, "patient")
    assert content["status"] == "complete"
    assert 2.9 < content["epsilon"]["pld"] <= 3.0
    events = [segment.event() for segment in segments_of(content)]
    assert content["epsilon"]["pld"] == pytest.approx(epsilon_of(events, 1e-3)["pld"])
    assert content["epsilon"]["pld_without_amplification"] > content["epsilon"]["pld"]
    # Nothing was chosen by the validation part, so nothing of it need be said.
    assert not any("validation" in sentence for sentence in content["assumptions"])
    with_stopping = dataclasses.replace(config, patience=2)
    stopped = train(table.root, tmp_path / "stopped", with_stopping)
    assert any("validation" in sentence for sentence in read(stopped.root)["assumptions"])
    lines = (table.root / "privacy_ledger.jsonl").read_text().splitlines()
    assert any(json.loads(line)["run"] == content["run"] for line in lines)


@pytest.mark.slow
def test_the_stream_of_steps_is_traced_once_for_all_epochs(table, tmp_path, monkeypatch):
    made, from_generator = [], tf.data.Dataset.from_generator

    def counted(*given, **named):
        made.append(from_generator(*given, **named))
        return made[-1]

    monkeypatch.setattr(tf.data.Dataset, "from_generator", counted)
    config = TrainConfig(model="logistic", epochs=3, batch_size=30, dp_noise_multiplier=1.0, dp_delta=1e-3)
    run = train(table.root, tmp_path / "run", config)
    assert len(run.history()) == 3
    assert read(run.root)["steps"] == 6
    assert len(made) == 1


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_training_counted_once(table, tmp_path):
    config = TrainConfig(model="mlp", epochs=5, batch_size=16, dp_epsilon=5.0, dp_delta=1e-3, dp_seed=3)
    whole = train(table.root, tmp_path / "whole", config)

    with pytest.raises(Killed):
        train(table.root, tmp_path / "killed", config, listener=killed_after(2))
    resumed = train(table.root, tmp_path / "killed", config, resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert read(resumed.root)["epsilon"] == read(whole.root)["epsilon"]
    assert read(resumed.root)["steps"] == read(whole.root)["steps"]


@pytest.mark.slow
def test_noise_is_secret_unless_it_is_fixed(table, tmp_path):
    config = TrainConfig(model="logistic", epochs=1, batch_size=20, dp_epsilon=1.0, dp_delta=1e-3)
    a = train(table.root, tmp_path / "a", config)
    b = train(table.root, tmp_path / "b", config)
    assert not np.array_equal(weights(a)[0], weights(b)[0])
    assert not (a.root / "checkpoints").exists()


@pytest.mark.slow
def test_a_given_noise_stops_before_the_budget_is_passed(table, tmp_path):
    config = TrainConfig(
        model="logistic", epochs=300, patience=0, batch_size=40, dp_epsilon=4.0, dp_delta=1e-3, dp_noise_multiplier=2.0
    )
    run = train(table.root, tmp_path / "run", config)
    spent = read(run.root)["epsilon"]["pld"]
    assert 3.5 < spent <= 4.0
    assert 0 < len(run.history()) < 300


@pytest.mark.slow
def test_images_of_a_patient_count_together(phantom_data, tmp_path):
    config = TrainConfig(
        image_size=32,
        model_arg={"width": "4", "stages": "2"},
        norm="group",
        epochs=1,
        batch_size=16,
        dp_epsilon=8.0,
        dp_delta=1e-3,
        augment="light",
    )
    run = train(phantom_data.root, tmp_path / "run", config)
    rows = phantom_data.rows("train")
    patients = rows["patient"].nunique()
    assert patients < len(rows)
    # A pass takes patients, not images.
    assert read(run.root)["steps"] == -(-patients // 16)


@pytest.mark.slow
def test_only_the_head_of_a_frozen_backbone_pays(tmp_path):
    images = write_dataset(tmp_path / "data", n=48, size=32)
    config = TrainConfig(
        model="mobilenet",
        model_arg={"alpha": "0.25"},
        image_size=32,
        freeze="backbone",
        epochs=2,
        batch_size=8,
        dp_epsilon=8.0,
        dp_delta=1e-3,
    )
    run = train(images.root, tmp_path / "run", config)
    assert read(run.root)["epsilon"]["pld"] <= 8.0


@pytest.mark.slow
def test_a_second_phase_counts_its_own_steps(tmp_path):
    """The head stops early, so the second phase does not begin where it was planned."""
    images = write_dataset(tmp_path / "data", n=48, size=32)
    config = TrainConfig(
        model="mobilenet",
        model_arg={"alpha": "0.25"},
        image_size=32,
        freeze="backbone",
        epochs=6,
        fine_tune_epochs=2,
        fine_tune_blocks=1,
        patience=1,
        learning_rate=3.0,
        fine_tune_learning_rate=1e-4,
        batch_size=8,
        dp_epsilon=8.0,
        dp_delta=1e-3,
        dp_seed=1,
    )
    run = train(images.root, tmp_path / "run", config)
    history = run.history()
    per_epoch = -(-images.rows("train")["patient"].nunique() // 8)
    done = {event["phase"]: sum(last - first for first, last in event["ranges"]) for event in read(run.root)["events"]}
    taken = history["phase"].value_counts()
    assert taken["head"] < 6
    assert done == {phase: taken[phase] * per_epoch for phase in ("head", "fine-tune")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dp_delta": 0.4}, "--dp-delta"),
        ({"balance": "weighted-sampling"}, "--balance weighted-sampling"),
        ({"batch_size": 5000}, "--batch-size 5000"),
        ({"model_arg": {"l2": "0.1"}}, "adamw"),
        ({"dp_noise_multiplier": 0.01}, "not enough for"),
        ({"select": "anova"}, "--select anova"),
        ({"select": "variance"}, "--select variance"),
        ({"missing": "drop-rows"}, "--missing drop-rows"),
        ({"missing": "drop-columns"}, "--missing drop-columns"),
        ({"impute": "most-frequent"}, "--impute most-frequent"),
        ({"tensorboard": True}, "--tensorboard"),
        ({"bound": {"age": "9:3"}}, "--bound age=9:3: a bound is two numbers"),
        ({"bound": {"pain": "0:1"}}, "--bound pain=0:1: a categorical column"),
        ({"bound": {"height": "0:1"}}, "--bound height=0:1: the table has no such column"),
        ({"categories": {"age": "a,b"}}, "--categories age=a,b: a continuous column"),
    ],
)
def test_what_can_not_be_private_is_refused(table, tmp_path, options, words):
    given = {"model": "logistic", "dp_epsilon": 1.0, "dp_delta": 1e-3, "batch_size": 20, **options}
    with pytest.raises(InputError, match=words):
        train(table.root, tmp_path / "run", TrainConfig(**given))


@pytest.mark.slow
def test_a_table_of_which_nothing_is_known_is_refused_until_it_is_stated(table, tmp_path):
    features = tuple(Feature(f.name, f.type, f.order) for f in table.features)
    bare = dataclasses.replace(table, root=tmp_path / "bare", features=features)
    bare.root.mkdir()
    bare.save()
    config = TrainConfig(model="logistic", epochs=1, batch_size=20, dp_epsilon=1.0, dp_delta=1e-3)
    words = "--bound COLUMN=LOW:HIGH for 'age', 'noise', 'visits', 'day' and --categories COLUMN=a,b for 'pain'"
    with pytest.raises(InputError, match=words):
        train(bare.root, tmp_path / "run", config)
    bound = {"age": "0:120", "noise": "-5:5", "visits": "0:10", "day": "2019-01-01:2021-12-31"}
    stated = dataclasses.replace(config, bound=bound, categories={"pain": "none,typical,atypical"})
    by_options = train(bare.root, tmp_path / "run", stated).description()
    by_dataset = train(table.root, tmp_path / "other", config).description()
    assert by_options["preprocessing"] == by_dataset["preprocessing"]
    # Numbers that are taken as they are need no range.
    raw = dataclasses.replace(config, scale="none", categories={"pain": "none,typical,atypical"})
    columns = train(bare.root, tmp_path / "raw", raw).description()["preprocessing"]["columns"]
    assert all(c.get("offset", 0.0) == 0.0 and c.get("scale", 1.0) == 1.0 for c in columns)
    # Where nothing is private the rows tell, and the options would do nothing.
    with pytest.raises(InputError, match="--bound: is for --dp-epsilon"):
        train(bare.root, tmp_path / "open", TrainConfig(model="logistic", bound=bound))


def test_batch_norm_is_refused_with_the_remedy(noise, tmp_path):
    config = TrainConfig(
        image_size=32, model_arg={"width": "4", "stages": "2"}, batch_size=8, dp_epsilon=1.0, dp_delta=1e-3
    )
    config = config.with_given_names([*config.names_given(), "norm"])
    with pytest.raises(InputError, match="--norm group"):
        train(noise.root, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
