"""Colour whitening: exact sums however the pixels are divided, identity covariance, the same inside a saved model."""

import json

import numpy as np
import pytest
import tensorflow as tf

from medimg.data.imaging import write_png
from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.preprocessing import ColourWhitening, Preprocessing, usual_input
from medimg.models.registry import FAMILIES
from medimg.models.saving import load_model, save_model
from medimg.pipeline.pixels import load_image
from medimg.pipeline.whitening import EIGENVALUE_FLOOR, PixelSums, Whitening, image_sums, pixel_sums, whitening


def coloured(n: int = 12, size: int = 16, seed: int = 0) -> np.ndarray:
    """Images whose channels go together, uint8 (n, size, size, 3)."""
    draw = np.random.default_rng(seed)
    mixing = np.array([[40.0, 30.0, 25.0], [5.0, -8.0, 2.0], [1.0, 2.0, -6.0]])
    pixels = draw.normal(size=(n, size, size, 3)) @ mixing + (150, 110, 100)
    return pixels.clip(0, 255).round().astype(np.uint8)


def covariance(pixels: np.ndarray) -> np.ndarray:
    return np.cov(np.asarray(pixels, np.float64).reshape(-1, pixels.shape[-1]).T, bias=True)


def test_sums_over_parts_are_those_of_the_whole_to_the_last_bit():
    images = coloured(31)
    whole = pixel_sums([images])
    parts = [pixel_sums(np.split(images[a:b], 2)) for a, b in ((0, 2), (2, 20))]
    parts.append(pixel_sums([images[20:]]))
    merged = sum(parts, PixelSums.none(3))
    assert merged.count == whole.count
    np.testing.assert_array_equal(merged.sums, whole.sums)
    np.testing.assert_array_equal(merged.products, whole.products)
    np.testing.assert_allclose(whole.covariance, covariance(images), rtol=1e-12)
    np.testing.assert_allclose(whole.mean, images.reshape(-1, 3).mean(axis=0), rtol=1e-14)
    assert whitening(merged) == whitening(whole)


def test_whitened_pixels_have_identity_covariance():
    images = coloured()
    white = whitening(pixel_sums([images])).apply(images)
    np.testing.assert_allclose(covariance(white), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(white.reshape(-1, 3).mean(axis=0), 0, atol=1e-10)


def test_it_whitens_photographs_of_skin(medical_data):
    folder = medical_data / "isic_9class_180" / "Train"
    files = sorted(folder.rglob("*.jpg"))[::150][:12]
    sums = image_sums(files, 64, 3)
    pixels = np.stack([load_image(file, 64, 3) for file in files])
    np.testing.assert_allclose(sums.covariance, covariance(pixels), rtol=1e-10)
    found = whitening(sums)
    # Brightness first, and counted upwards.
    assert min(found.matrix[0]) > 0
    np.testing.assert_allclose(covariance(found.apply(pixels)), np.eye(3), atol=1e-8)


def test_components_come_in_the_order_of_their_variance_with_one_sign():
    found = whitening(pixel_sums([coloured()]))
    matrix = np.array(found.matrix)
    # Rows are components over their deviations.
    deviations = 1 / np.linalg.norm(matrix, axis=1)
    assert (np.diff(deviations) < 0).all()
    for row in matrix:
        weighty = np.abs(row) >= 0.1 * np.abs(row).max()
        assert row[weighty][0] > 0
    # Another sample of the same colours must not turn a component round.
    other = np.array(whitening(pixel_sums([coloured(seed=7)])).matrix)
    np.testing.assert_allclose(other, matrix, rtol=0.15, atol=0.02)


def test_grey_images_stored_as_rgb_stay_finite_and_without_colour():
    grey = np.repeat(coloured()[..., :1], 3, axis=-1)
    found = whitening(pixel_sums([grey]))
    white = found.apply(grey)
    np.testing.assert_allclose(covariance(white), np.diag([1.0, 0, 0]), atol=1e-9)
    noisy = grey // 2 + np.random.default_rng(0).integers(0, 2, grey.shape).astype(np.uint8)
    spread = np.sqrt(np.diag(covariance(whitening(pixel_sums([noisy])).apply(noisy))))
    assert spread[0] == pytest.approx(1, abs=1e-6)
    # A coin's standard deviation is half a grey level: as small after whitening as before it.
    np.testing.assert_allclose(spread[1:], 0.5 / np.sqrt(EIGENVALUE_FLOOR), rtol=0.05)
    one = whitening(pixel_sums([grey[..., :1]]))
    assert one.matrix[0][0] == pytest.approx(1 / grey[..., 0].std())


def test_sixteen_bits_count_as_fractions():
    images = coloured()
    deep = pixel_sums([images.astype(np.uint16) * 257])
    np.testing.assert_allclose(deep.covariance, pixel_sums([images]).covariance, rtol=1e-6)


def test_sums_of_files_are_of_what_the_model_gets(tmp_path):
    images = coloured(40, 20)
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for path, image in zip(paths, images, strict=True):
        write_png(path, image)
    sums = image_sums(paths, 8, 3)
    pixels = np.stack([load_image(path, 8, 3) for path in paths])
    assert sums.count == 40 * 64
    np.testing.assert_allclose(sums.covariance, covariance(pixels), rtol=1e-12)
    assert image_sums([], 8, 3).count == 0
    with pytest.raises(InputError, match="--normalize pca: there are no training images"):
        whitening(image_sums([], 8, 3))


@pytest.mark.slow
def test_a_model_whitens_inside_and_comes_back_from_disk(tmp_path):
    images = coloured(6)
    found = whitening(pixel_sums([images]))
    assert Whitening.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    arguments = {"width": "4", "stages": "2"}
    model = build("baseline_cnn", 16, 3, 2, norm="group", model_arg=arguments, normalize=found)
    x = images.astype(np.float32)
    first = tf.keras.Model(model.input, model.get_layer("preprocessing").output)
    np.testing.assert_allclose(first(x), found.apply(x), atol=2e-5)
    expected = model(x, training=False).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x, training=False), expected)
    assert again.get_layer("preprocessing").get_config()["mean"] == list(found.mean)
    model.export(str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["caffe", "torch", "symmetric", "none"])
def test_a_backbone_gets_the_spread_that_it_is_used_to(mode):
    images = coloured()
    found = whitening(pixel_sums([images]))
    x = images.astype(np.float32)
    fed = ColourWhitening(found.mean, found.matrix, 3, mode)(x).numpy()
    mean, deviation = usual_input(mode)
    np.testing.assert_allclose(covariance(fed), np.diag(deviation**2), atol=1e-3 * deviation[0] ** 2)
    np.testing.assert_allclose(fed.mean(axis=(0, 1, 2)), mean, atol=1e-3 * deviation[0])
    # Two grey levels of ImageNet's moments, put through the usual preprocessing, have those moments too.
    torch_mean, torch_deviation = (np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375]))
    two = np.stack([torch_mean - torch_deviation, torch_mean + torch_deviation])[:, None, None]
    usual = Preprocessing(mode, 3)(two.astype(np.float32)).numpy()[:, 0, 0]
    usual = usual[:, ::-1] if mode == "caffe" else usual
    np.testing.assert_allclose(usual.mean(axis=0), mean, atol=1e-4)
    np.testing.assert_allclose(usual.std(axis=0), deviation, rtol=1e-5)


def test_efficientnet_does_not_scale_whitened_colours_again():
    images = coloured()
    found = whitening(pixel_sums([images]))
    mode = FAMILIES["efficientnet_b0"].mode
    fed = ColourWhitening(found.mean, found.matrix, 3, mode)(images.astype(np.float32)).numpy()
    # What its own first layers do, as tests of the models hold them to.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose((fed / 255 - mean) / std, found.apply(images), atol=1e-4)


def test_grey_is_repeated_for_a_colour_backbone():
    grey = coloured()[..., :1]
    found = whitening(pixel_sums([grey]))
    fed = ColourWhitening(found.mean, found.matrix, 3, "torch")(grey.astype(np.float32)).numpy()
    np.testing.assert_array_equal(fed[..., 0], fed[..., 2])
    np.testing.assert_allclose(fed[..., :1], found.apply(grey), atol=1e-5)


def test_a_whitening_of_other_channels_is_refused():
    grey = whitening(pixel_sums([coloured()[..., :1]]))
    with pytest.raises(InputError, match=r"of 1 channels, the images have 3; use the same --channels"):
        build("baseline_cnn", 16, 3, 2, normalize=grey)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121", "baseline_cnn"])
def test_standardised_colours_stand_where_imagenets_did(name):
    images = coloured(6)
    found = whitening(pixel_sums([images]), "standard")
    assert Whitening.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    model = build(name, 32, 3, 2, normalize=found)
    x = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)[:, :32, :32].astype(np.float32)
    fed = tf.keras.Model(model.input, model.get_layer("preprocessing").output)(x)
    pixels = images.reshape(-1, 3).astype(np.float64)
    standard = (x - pixels.mean(axis=0)) / pixels.std(axis=0)
    mean, deviation = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    own = name == "baseline_cnn"
    wanted = (
        standard if own else Preprocessing(FAMILIES[name].mode, 3)((standard * deviation + mean).astype(np.float32))
    )
    np.testing.assert_allclose(fed, wanted, atol=2e-3 if FAMILIES[name].mode == "caffe" else 1e-4)


@pytest.mark.slow
def test_grey_models_see_brightness_alone():
    from medimg.pipeline.whitening import grayscale

    model = build("densenet121", 32, 3, 2, normalize=grayscale(3))
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    grey = np.repeat(x @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=-1)
    fed = tf.keras.Model(model.input, model.get_layer("preprocessing").output)
    np.testing.assert_allclose(fed(x), Preprocessing("torch", 3)(grey), atol=1e-4)
    np.testing.assert_allclose(fed(x), fed(grey), atol=1e-4)
