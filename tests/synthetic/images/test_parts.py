"""Networks, losses, augmentation, spectral limit, class shares and perturbation, against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.privacy.class_counts import COUNT_NOISE
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.units import Units
from synthetic.images.augmentation import augment
from synthetic.images.classes import class_mix, private_class_mix
from synthetic.images.losses import fake_losses, generator_losses, real_losses, squared_slopes
from synthetic.images.networks import NETWORKS, build, halvings, scores
from synthetic.images.perturbation import perturb
from synthetic.images.spectral import SpectralLimit
from tests.synthetic.images.conftest import make_set


@pytest.fixture(scope="module")
def gan():
    return build(16, 3, 2, 8, 4, seed=1)


@pytest.mark.parametrize(("size", "times"), [(28, 2), (32, 2), (48, 3), (64, 3), (96, 4), (128, 4), (16, 1)])
def test_sizes_are_halved_down_to_four_to_eight(size, times):
    assert halvings(size) == times
    assert 4 <= size / 2**times <= 8


@pytest.mark.parametrize("size", [100, 30, 7, 8])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match="--image-size"):
        halvings(size)


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (64, 3), (96, 1)])
def test_networks_fit_the_size(size, channels):
    gan = build(size, channels, 3, 4, 5, seed=0)
    pixels = gan.generator(tf.zeros([2, 5 + 3]))
    assert pixels.shape == (2, size, size, channels)
    assert 0 <= pixels.numpy().min() <= pixels.numpy().max() <= 255
    assert gan.discriminator(pixels).shape == (2, 4)


def test_first_weights_depend_on_the_seed_alone(gan):
    same, other = build(16, 3, 2, 8, 4, seed=1), build(16, 3, 2, 8, 4, seed=2)
    for name in NETWORKS:
        ours, theirs = gan.weights()[name], same.weights()[name]
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert not np.array_equal(ours[0], other.weights()[name][0])
    other.set_weights(gan.weights())
    assert np.array_equal(other.average.get_weights()[0], gan.generator.get_weights()[0])


def test_an_image_is_judged_without_its_neighbours(gan):
    pixels = tf.random.stateless_uniform([5, 16, 16, 3], [0, 1], 0, 255)
    together, alone = gan.discriminator(pixels), gan.discriminator(pixels[2:3])
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)


def test_the_class_chooses_its_part_of_the_score():
    outputs = tf.constant([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0], [3.0, 30.0, 300.0]])
    condition = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert scores(outputs, condition).numpy().tolist() == [11.0, 202.0, 333.0]


def test_losses_are_the_cross_entropies():
    logits = np.array([-2.0, 0.0, 3.0], np.float32)
    chance = 1 / (1 + np.exp(-logits))
    smoothed = -(0.9 * np.log(chance) + 0.1 * np.log(1 - chance))
    np.testing.assert_allclose(real_losses(tf.constant(logits), 0.1), smoothed, rtol=1e-5)
    np.testing.assert_allclose(fake_losses(logits), -np.log(1 - chance), rtol=1e-5)
    np.testing.assert_allclose(generator_losses(logits), -np.log(chance), rtol=1e-5)


def test_the_penalty_is_half_the_squared_slope_between_minus_one_and_one():
    # A discriminator that adds up pixels scaled to -1..1 has slope 1 at each of them.
    gradients = tf.fill([2, 4, 4, 1], 1 / 127.5)
    np.testing.assert_allclose(squared_slopes(gradients), [8.0, 8.0], rtol=1e-6)


def test_images_are_shifted_whole():
    pixels = np.random.default_rng(0).uniform(1, 2, (20, 16, 16, 1)).astype(np.float32)
    moved = augment(tf.constant(pixels), tf.constant([3, 4])).numpy()
    seen = set()
    for image, result in zip(pixels, moved, strict=True):
        padded = np.pad(image, [(2, 2), (2, 2), (0, 0)])
        found = [(i, j) for i in range(5) for j in range(5) if np.array_equal(padded[i : i + 16, j : j + 16], result)]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 5


def test_augmentation_keeps_the_gradient_and_repeats():
    pixels = tf.fill([2, 16, 16, 1], 100.0) + tf.random.stateless_normal([2, 16, 16, 1], [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        changed = augment(pixels, tf.constant([1, 2]))
    assert np.abs(tape.gradient(changed, pixels)).sum() > 0
    assert np.array_equal(changed, augment(pixels, tf.constant([1, 2])))
    assert not np.array_equal(changed, augment(pixels, tf.constant([1, 3])))


def test_the_spectral_limit_holds(gan):
    model = tf.keras.models.clone_model(gan.discriminator)
    limit = SpectralLimit(model)
    for kernel in limit.kernels:
        kernel.assign(5.0 * kernel)
    for _ in range(60):
        limit.apply()
    for kernel in limit.kernels:
        largest = np.linalg.svd(kernel.numpy().reshape(-1, kernel.shape[-1]))[1][0]
        assert largest == pytest.approx(1.0, rel=0.02)


def test_noise_is_relative_to_each_layer(gan):
    model = tf.keras.models.clone_model(gan.generator)
    before = model.get_weights()
    entry = perturb(model, 0.2, Secret.fixed(3, {}))
    kernels = [i for i, w in enumerate(before) if w.size > 500]
    assert kernels
    for i in kernels:
        change = np.linalg.norm(model.get_weights()[i] - before[i]) / np.linalg.norm(before[i])
        assert change == pytest.approx(0.2, rel=0.15)
        assert entry["layers"][i]["noise_norm"] == pytest.approx(change * np.linalg.norm(before[i]), rel=1e-4)
    assert entry["guarantee"] == "no formal guarantee"


def test_counts_are_nearest_to_the_shares(two_classes):
    mix = class_mix(two_classes, two_classes.rows("train"))
    assert mix.labels == ("bright", "dark")
    assert mix.shares.tolist() == [16 / 48, 32 / 48]
    assert mix.counts(10).tolist() == [3, 7]
    assert mix.counts(1).tolist() == [0, 1]
    assert mix.conditions.tolist() == [[0, 1], [1, 0]]


def test_a_patient_weighs_at_most_one_in_the_private_counts(tmp_path):
    labels = ["bright"] * 40 + ["dark"] * 40
    dataset = make_set(tmp_path, labels, ["one"] * 40 + [f"p{i}" for i in range(40)], "train")
    rows = dataset.rows("train")
    units = Units.of(rows["patient"])
    bright = []
    for seed in range(400):
        mix = private_class_mix(dataset, rows, units, Secret.fixed(seed, {}))
        assert mix.shares.sum() == pytest.approx(1.0)
        bright.append(mix.shares[1])
    # The noise alone, cut at 0, over 40 dark patients: the 40 images of one patient don't make it a half.
    random = np.random.default_rng(1)
    noisy = np.maximum(random.normal([40.0, 1.0], COUNT_NOISE, (20000, 2)), 0)
    expected = np.mean(noisy[:, 1] / np.maximum(noisy.sum(axis=1), 1e-9))
    assert np.mean(bright) == pytest.approx(expected, abs=0.04)


def test_images_differ_in_brightness_from_the_start():
    # Plain group normalisation gives every image one brightness: a deviation of 1.3 instead of 27.
    gan = build(28, 1, 2, 32, 64, seed=0)
    noise = tf.random.stateless_normal([64, 64], [1, 2])
    inputs = tf.concat([noise, tf.tile([[1.0, 0.0]], [64, 1])], axis=1)
    means = tf.reduce_mean(gan.generator(inputs), axis=[1, 2, 3])
    assert np.std(means) > 5
