"""`train --adapt`: statistics of the other source, covariances by hand, nothing of its labels or its test part."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.learners.coral import distance
from medimg.pipeline.pixels import load_image
from medimg.training.adaptation import other_source
from medimg.training.train import train
from medimg.validation.validate import adapted_note
from tests.datasets import write_dataset, write_table

SMALL = {"image_size": 16, "epochs": 1, "batch_size": 8, "model_arg": {"width": "4", "stages": "1"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("own") / "data", 32, 16)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("other") / "data", 24, 16, seed=5)


@pytest.fixture(scope="module")
def adapted(data, other, tmp_path_factory):
    return train(data.root, tmp_path_factory.mktemp("adapted") / "run", TrainConfig(**SMALL, adapt=str(other.root)))


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    return train(data.root, tmp_path_factory.mktemp("plain") / "run", TrainConfig(**SMALL)).model()


@pytest.mark.slow
def test_statistics_become_those_of_the_other_source(adapted, plain, other):
    run, model = adapted, adapted.model()
    rows = other.rows("train")
    pixels = np.stack([load_image(path, 16, 3) for path in other.paths(rows)])
    norms = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert norms
    for layer in norms:
        given = (
            tf.keras.Model(model.input, layer.input)(pixels, training=False).numpy().reshape(-1, layer.input.shape[-1])
        )
        np.testing.assert_allclose(layer.moving_mean, given.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, given.var(axis=0), rtol=1e-3, atol=1e-6)
    for a, b in zip(model.trainable_weights, plain.trainable_weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.environment()["adapted_to"]["images"] == len(rows)


def test_the_distance_by_hand():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(20, 3)), draw.normal(size=(15, 3)) * [1, 2, 3]
    gap = np.cov(first, rowvar=False) - np.cov(second, rowvar=False)
    expected = (gap**2).sum() / (4 * 9)
    tensors = (tf.constant(x, tf.float32) for x in (first, second))
    assert float(distance(*tensors)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adabn", "coral"])
def test_neither_labels_nor_the_test_part_of_the_other_source_are_read(method, data, other, plain, tmp_path):
    weight = {"adapt_weight": 50.0} if method == "coral" else {}
    config = TrainConfig(**SMALL, adapt=str(other.root), adapt_method=method, **weight)
    found = train(data.root, tmp_path / "run", config).model().get_weights()
    manifest = other.manifest
    train_part = manifest["split"] == "train"
    swapped = manifest["label"].map({"dark": "bright", "bright": "dark"})
    changed = replace(other, manifest=manifest[train_part].assign(label=swapped[train_part]).reset_index(drop=True))
    changed.save()
    again = train(data.root, tmp_path / "again", config).model().get_weights()
    other.save()
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(found, plain.get_weights(), strict=True))


def test_what_can_not_be_adapted_to_is_refused(data, other, tmp_path):
    table = write_table(tmp_path / "table")
    for options, message in [
        ({"adapt": str(data.root)}, "is the Dataset that is trained on"),
        ({"adapt": str(table.root)}, "is for images"),
        ({"adapt": str(other.root), "norm": "group"}, "--norm group keeps no statistics"),
        ({"adapt": str(other.root), "freeze": "backbone", "adapt_method": "coral"}, "give --fine-tune-epochs"),
        ({"adapt": str(other.root), "dp_epsilon": 3.0}, "not with --dp-epsilon"),
        ({"adapt": str(other.root), "paradigm": "simclr"}, "not with --paradigm simclr"),
        ({"adapt": str(tmp_path / "absent")}, "absent"),
    ]:
        with pytest.raises(InputError, match=message):
            train(data.root, tmp_path / "run", TrainConfig(**{**SMALL, **options}))
        assert not (tmp_path / "run").exists()


def test_images_that_judge_are_not_learnt_from_by_another_name(data, tmp_path):
    """The same pixels in another Dataset's train, of a patient called otherwise; those of train may well be there."""
    again = write_dataset(tmp_path / "again", 8, 16, seed=6)
    picture = cv2.imread(str(data.paths(data.rows("train"))[0]))
    cv2.imwrite(str(again.paths(again.rows("train"))[0]), picture)
    config = TrainConfig(**SMALL, adapt=str(again.root))
    assert other_source(data, config).root == again.root
    cv2.imwrite(str(again.paths(again.rows("train"))[1]), cv2.imread(str(data.paths(data.rows("test"))[0])))
    with pytest.raises(InputError, match=r"1 of the images in its split 'train' are in val or test .*0001\.png"):
        other_source(data, config)


@pytest.mark.slow
def test_validate_says_which_images_were_adapted_to(adapted, data, other):
    assert "adapted to the 12 images" in adapted_note(adapted, other, "all")[0]
    assert adapted_note(adapted, other, "test") == adapted_note(adapted, data, "all") == []
