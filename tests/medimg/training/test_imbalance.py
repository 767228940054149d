"""Remedies for class imbalance: losses by closed form, SMOTE within training and between neighbours, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.pipeline.oversampling import smote
from medimg.training.losses import BalancedSoftmax, FocalCrossentropy, balanced_loss, loss_for
from medimg.training.train import train
from tests.datasets import write_dataset, write_table

SMALL = {"image_size": 16, "epochs": 1, "batch_size": 8, "model_arg": {"width": "4", "stages": "1"}}
DRAW = np.random.default_rng(0)
LOGITS = DRAW.normal(0, 3, (20, 4)).astype(np.float32)
ONE, MANY = DRAW.integers(0, 4, 20), DRAW.integers(0, 2, (20, 4)).astype(np.float32)


def rare(root, n: int = 40):
    """One of five training images is bright."""
    dataset = write_dataset(root, n, 16)
    manifest = dataset.manifest
    training = manifest["split"].eq("train") & manifest["label"].eq("bright")
    few = training & (training.cumsum() > 3)
    dataset = replace(dataset, manifest=manifest[~few].reset_index(drop=True))
    dataset.save()
    return dataset


def test_focal_loss_is_keras_own():
    single = tf.keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
    assert float(FocalCrossentropy()(ONE, LOGITS)) == pytest.approx(float(single(np.eye(4)[ONE], LOGITS)), rel=1e-4)
    several = tf.keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    ours = FocalCrossentropy(multilabel=True)
    assert float(ours(MANY, LOGITS)) == pytest.approx(float(several(MANY, LOGITS)), rel=1e-4)
    plain = float(loss_for("multiclass")(ONE, LOGITS))
    assert float(FocalCrossentropy(gamma=0.0)(ONE, LOGITS)) == pytest.approx(plain, rel=1e-5)


@pytest.mark.slow
def test_balanced_softmax_by_hand():
    shares = np.array([0.7, 0.2, 0.1, 0.0])
    weighted = np.exp(LOGITS.astype(float)) * np.array([0.7, 0.2, 0.1, 1.0])
    expected = -np.log(weighted[np.arange(20), ONE] / weighted.sum(axis=1)).mean()
    assert float(BalancedSoftmax(shares)(ONE, LOGITS)) == pytest.approx(expected, rel=1e-5)
    # Trained on nine to one without a feature, its logits are those of equal classes.
    targets = np.repeat([0, 1], [90, 10])
    bias = tf.Variable([0.0, 0.0])
    loss = balanced_loss("balanced-softmax", targets, 2)
    for _ in range(400):
        with tf.GradientTape() as tape:
            value = loss(targets, tf.tile(bias[None], [100, 1]))
        bias.assign_sub(2.0 * tape.gradient(value, bias))
    assert abs(float(bias[1] - bias[0])) < 1e-3


def test_losses_are_saved_and_read():
    for loss in (FocalCrossentropy(1.5, True), BalancedSoftmax([0.5, 0.5])):
        again = type(loss).from_config(loss.get_config())
        assert again.get_config() == loss.get_config()


def test_made_examples_lie_between_neighbours_of_their_class():
    draw = np.random.default_rng(1)
    rows = np.concatenate([draw.normal(0, 1, (40, 3)), draw.normal(9, 1, (8, 3))]).astype(np.float32)
    targets = np.repeat([0, 1], [40, 8])
    made, classes = smote(rows, targets, seed=0)
    assert classes.tolist() == [1] * 32
    own = rows[40:].astype(float)
    pairs = [(a, b - a) for a in own for b in own if (a != b).any()]
    for row in made:
        distances = []
        for start, along in pairs:
            t = np.clip((row - start) @ along / (along @ along), 0, 1)
            distances.append(np.linalg.norm(row - start - t * along))
        assert min(distances) < 1e-5
    assert np.array_equal(smote(rows, targets, seed=0)[0], made)
    assert not np.array_equal(smote(rows, targets, seed=1)[0], made)
    with pytest.raises(InputError, match="a class has one training example"):
        smote(rows[:41], targets[:41], seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_made_images_join_training_alone(frozen, tmp_path):
    data = rare(tmp_path / "data")
    options = {**SMALL, "balance": "smote", **({"freeze": "backbone"} if frozen else {})}
    run = train(data.root, tmp_path / "run", TrainConfig(**options, augment="light", views=1))
    plain = train(
        data.root, tmp_path / "plain", TrainConfig(**{**options, "balance": "none"}, augment="light", views=1)
    )
    weights = [r.model().get_weights() for r in (run, plain)]
    assert not np.array_equal(weights[0][-1], weights[1][-1])
    # Validation is as it was: without an epoch both say the same of it.
    start = [
        train(data.root, tmp_path / f"start-{b}", TrainConfig(**{**options, "balance": b, "epochs": 0}))
        for b in ("smote", "none")
    ]
    for a, b in zip(start[0].model().get_weights(), start[1].model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_smote_takes_no_more_memory_than_it_may(tmp_path):
    data = rare(tmp_path / "data")
    with pytest.raises(InputError, match=r"--balance smote: takes 0.0 GB for pixels, above --cache-budget 1e-05"):
        train(data.root, tmp_path / "run", TrainConfig(**SMALL, balance="smote", cache_budget=1e-5))


@pytest.mark.parametrize("balance", ["smote", "focal", "balanced-softmax"])
def test_a_table_with_every_remedy(balance, tmp_path):
    table = write_table(tmp_path / "data", 200)
    run = train(table.root, tmp_path / "run", TrainConfig(model="logistic", epochs=20, balance=balance))
    assert run.history()["val_auroc"].max() > 0.8


@pytest.mark.slow
def test_rare_cases_are_found_more_often(tmp_path):
    """What the remedies are for: at the model's own threshold the rare class's sensitivity rises."""
    table = write_table(tmp_path / "data", 1200)
    manifest = table.manifest
    ill = manifest["split"].eq("train") & manifest["label"].eq("disease")
    table = replace(table, manifest=manifest[~ill | (ill.cumsum() % 10 == 0)].reset_index(drop=True))
    table.save()
    from medimg.evaluation.prediction import predict

    def sensitivity(balance: str) -> float:
        config = TrainConfig(model="logistic", epochs=60, balance=balance, learning_rate=0.02)
        run = train(table.root, tmp_path / balance, config)
        rows = table.rows("test")
        chances = predict(run.model(), table, rows, run.description())
        is_ill = rows["label"].eq("disease").to_numpy()
        return float((chances[is_ill].argmax(axis=1) == table.classes.index("disease")).mean())

    plain = sensitivity("none")
    assert plain < 0.6
    for balance in ("smote", "balanced-softmax", "class-weight"):
        assert sensitivity(balance) > plain + 0.15


def test_several_labels_an_image(tmp_path):
    for balance in ("smote", "balanced-softmax"):
        with pytest.raises(InputError, match=f"--balance {balance}: is for one label"):
            balanced_loss(balance, MANY, 4)
    assert isinstance(balanced_loss("focal", MANY, 4), FocalCrossentropy)
