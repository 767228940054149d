"""The pixel cache, the order of batches, augmentation and class balance."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.pipeline.augmentation import STRENGTHS, Augmentation, Strength
from medimg.pipeline.balance import class_weights, epoch_order, image_weights, positive_weights
from medimg.pipeline.batches import batches, training_batches
from medimg.pipeline.pixels import PixelCache, as_pixels, image_form, load_image


@pytest.fixture
def files(tmp_path):
    draw = np.random.default_rng(3)
    paths = []
    for i in range(10):
        path = tmp_path / f"{i}.png"
        cv2.imwrite(str(path), draw.integers(0, 255, (20, 20), np.uint8))
        paths.append(path)
    return paths


def test_cache_in_memory_and_on_disk_hold_the_same_pixels(files, tmp_path):
    memory = PixelCache.build(files, 16, 1, 1.0, tmp_path / "cache", "train")
    disk = PixelCache.build(files, 16, 1, 0.0, tmp_path / "cache", "train")
    chosen = np.array([7, 0, 7, 3])
    np.testing.assert_array_equal(memory.take(chosen), disk.take(chosen))
    np.testing.assert_array_equal(as_pixels(memory.take(chosen[:1]))[0], load_image(files[7], 16, 1))
    disk.close()
    assert not (tmp_path / "cache").exists()


def test_sixteen_bit_images_keep_their_depth(tmp_path):
    ramp = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp)
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((20, 20), 7, np.uint8))
    paths = [tmp_path / "flat.png", tmp_path / "deep.png"]
    form = image_form(paths)
    assert (form.channels, form.bits) == (1, 16)
    cache = PixelCache.in_memory(paths, 20, 1)
    pixels = as_pixels(cache.take(np.array([0, 1])))
    np.testing.assert_allclose(pixels[0], 7.0)
    np.testing.assert_allclose(pixels[1, :, :, 0], ramp / 257.0, rtol=1e-6)
    assert len(np.unique(pixels[1])) == 400


def test_a_missing_image_is_named(files, tmp_path):
    files[4].unlink()
    with pytest.raises(InputError, match=r"4\.png"):
        PixelCache.build(files, 16, 1, 1.0, tmp_path, "x")


def test_batches_come_in_order_and_whole(files):
    cache = PixelCache.in_memory(files, 8, 3)
    streamed = np.concatenate([b.numpy() for b in batches(cache, 4)])
    np.testing.assert_array_equal(streamed, as_pixels(cache.take(np.arange(10))))


def test_training_batches_follow_the_order_of_each_epoch(files):
    cache = PixelCache.in_memory(files, 8, 1)
    order = epoch_order(10, seed=5)
    seen = [y.numpy() for _, y in training_batches(cache, np.arange(10), order, 4, (2, 4))]
    assert [len(y) for y in seen] == [4, 4, 2, 4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(seen[:3]), order(2))
    np.testing.assert_array_equal(np.concatenate(seen[3:]), order(3))
    assert not np.array_equal(order(2), order(3))
    assert sorted(order(2)) == list(range(10))


def test_augmentation_depends_on_image_and_view_alone(files):
    cache = PixelCache.in_memory(files, 16, 1)
    augmentation = Augmentation.seeded(STRENGTHS["standard"], 10, seed=1, views=2)

    def shown(order, batch, epochs):
        out = {}
        stream = training_batches(cache, np.arange(10), order, batch, epochs, augmentation=augmentation)
        for x, y in stream:
            out.update(zip(y.numpy().tolist(), x.numpy(), strict=True))
        return out

    first = shown(lambda _: np.arange(10), 4, (0, 1))
    again = shown(epoch_order(10, 9), 3, (2, 3))
    other = shown(lambda _: np.arange(10), 4, (1, 2))
    for i in range(10):
        np.testing.assert_array_equal(first[i], again[i])
        assert np.abs(first[i] - other[i]).max() > 1
        assert first[i].min() >= 0
        assert first[i].max() <= 255


def test_augmentation_of_no_strength_changes_nothing():
    still = Augmentation.seeded(Strength(False, 0.0, 0.0, 0.0, 0.0), 4, 0)
    x = np.random.default_rng(0).uniform(0, 255, (4, 9, 9, 3)).astype(np.float32)
    out = still.apply(tf.constant(x), tf.constant(0, tf.int64), tf.range(4, dtype=tf.int64))
    np.testing.assert_allclose(out, x, atol=1e-2)


def test_flip_is_a_mirror_and_rotation_turns_about_the_centre():
    from medimg.pipeline.augmentation import _geometry

    x = np.random.default_rng(0).uniform(0, 255, (1, 9, 9, 1)).astype(np.float32)
    flipped = _geometry(tf.constant(x), tf.constant([1.0]), tf.constant([0.0]), tf.constant([1.0]))
    np.testing.assert_allclose(flipped, x[:, :, ::-1], atol=1e-3)
    turned = _geometry(
        tf.constant(x), tf.constant([0.0]), tf.constant([np.pi / 2], tf.float32), tf.constant([1.0])
    ).numpy()
    quarter = [np.rot90(x, k, axes=(1, 2)) for k in (1, 3)]
    assert min(np.abs(turned - q).max() for q in quarter) < 1e-1


def test_noise_has_the_stated_deviation():
    noisy = Augmentation.seeded(Strength(False, 0.0, 0.0, 0.0, 5.0), 64, 0)
    x = np.full((64, 32, 32, 1), 128.0, np.float32)
    out = noisy.apply(tf.constant(x), tf.constant(3, tf.int64), tf.range(64, dtype=tf.int64)).numpy()
    stated = noisy.parameters(3)[:, 4]
    measured = (out - x).std(axis=(1, 2, 3))
    assert np.all(np.abs(measured - stated) < 0.1 * stated + 0.05)


def test_class_weights_against_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    y = np.random.default_rng(0).choice(3, 200, p=[0.7, 0.2, 0.1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(class_weights(y, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(class_weights(y, 4)[:3], expected, rtol=1e-6)
    assert class_weights(y, 4)[3] == 0


def test_weighted_order_draws_classes_equally_often():
    y = np.array([0] * 900 + [1] * 100)
    drawn = np.concatenate([y[epoch_order(1000, 0, image_weights(y, 2))(e)] for e in range(20)])
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(0.25 / len(drawn))
    multilabel = np.zeros((100, 2))
    multilabel[:10, 0] = 1
    multilabel[:50, 1] = 1
    weights = image_weights(multilabel, 2)
    # Three groups: rarest label 0, label 1 alone, none; each gets a third of the draws.
    np.testing.assert_allclose([weights[:10].sum(), weights[10:50].sum(), weights[50:].sum()], 1 / 3)
    np.testing.assert_allclose(positive_weights(multilabel), [9.0, 1.0])
