"""The phantom: what it draws is what it says, and nothing but the opacities tells the label."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.phantom.cohort import cohort, draw, exposures, marked
from medimg.phantom.config import PhantomConfig
from medimg.phantom.opacity import Opacity
from medimg.sources.phantom import SOURCE

SMALL = PhantomConfig(patients=200, phantom_size=64)


@pytest.fixture(scope="module")
def drawn():
    return [draw(SMALL, person.number, 0) for person in cohort(SMALL)]


@pytest.fixture(scope="module")
def opaque(drawn):
    return [phantom for phantom in drawn if phantom.label == "opacity"]


def auroc(phantoms, value):
    labels = [phantom.label == "opacity" for phantom in phantoms]
    return roc_auc_score(labels, [value(phantom) for phantom in phantoms])


@pytest.mark.slow
def test_an_image_is_the_same_whenever_and_wherever_it_is_drawn(drawn):
    order = [7, 3, 100, 3]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda patient: draw(SMALL, patient, 0), order))
    for patient, phantom in zip(order, again, strict=True):
        np.testing.assert_array_equal(phantom.image, drawn[patient].image)
        np.testing.assert_array_equal(phantom.mask, drawn[patient].mask)


def test_seed_patient_and_view_each_change_the_image(drawn):
    image = drawn[0].image
    assert not np.array_equal(image, draw(SMALL, 0, 1).image)
    assert not np.array_equal(image, drawn[1].image)
    assert not np.array_equal(image, draw(replace(SMALL, seed=1), 0, 0).image)


def test_views_share_the_patients_anatomy(drawn):
    """Two views of a patient are more alike than views of two patients."""

    def likeness(a, b):
        return np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1]

    own = [likeness(drawn[i], draw(SMALL, i, 1)) for i in range(40)]
    others = [likeness(drawn[i], draw(SMALL, i + 40, 1)) for i in range(40)]
    assert np.mean(own) > np.mean(others) + 0.01


def test_size_changes_the_sampling_and_not_the_scene(opaque):
    number = int(opaque[0].patient[1:])
    large = draw(replace(SMALL, phantom_size=192), number, 0)
    assert len(large.boxes) == len(opaque[0].boxes)
    np.testing.assert_allclose(np.array(large.boxes) / 3, opaque[0].boxes, atol=1.5)


def test_profile_of_a_round_opacity_follows_its_formula():
    opacity = Opacity((0.2, -0.1), 0.15, 1.0, 0.7, np.zeros((2, 3)), 0.3)
    for distance in (0.0, 0.05, 0.15, 0.3):
        value = opacity.profile(np.array(0.2 + distance * 0.6), np.array(-0.1 + distance * 0.8))
        assert value == pytest.approx(2.0 ** -((distance / 0.15) ** 4))


def test_half_peak_region_of_an_irregular_opacity_by_brute_force():
    waves = np.array([[0.1, 0.05, 0.02], [1.0, 2.0, 3.0]])
    opacity = Opacity((0.0, 0.1), 0.3, 0.8, 0.5, waves, 0.3)
    for x in np.linspace(-0.4, 0.4, 21):
        for y in np.linspace(-0.3, 0.5, 21):
            along = x * math.cos(0.5) + (y - 0.1) * math.sin(0.5)
            across = ((y - 0.1) * math.cos(0.5) - x * math.sin(0.5)) / 0.8
            angle = math.atan2(across, along)
            wobble = 0.1 * math.cos(2 * angle + 1) + 0.05 * math.cos(3 * angle + 2) + 0.02 * math.cos(4 * angle + 3)
            inside = math.hypot(along, across) < 0.3 * (1 + wobble) / 1.17
            assert (opacity.profile(np.array(x), np.array(y)) > 0.5) == inside


def test_mask_is_where_the_film_is_brightened_by_more_than_half():
    """Draw the same patients with and without contrast: the difference of the films is what was added."""
    plain = replace(SMALL, phantom_size=128, site_shift=0.0, opacity_contrast=0.0)
    checked = 0
    for person in cohort(plain):
        if person.findings != 1 or checked == 12:
            continue
        with_it = draw(replace(plain, opacity_contrast=0.3), person.number, 0)
        without = draw(plain, person.number, 0)
        lit, unlit = with_it.image.astype(float), without.image.astype(float)
        background = (with_it.mask == 0) & (unlit > 20) & (lit < 250)
        # Automatic exposure dims the rest of the film by a factor, which the pixels far from the finding show.
        added = lit - unlit * np.median(lit[background] / unlit[background])
        peak = np.percentile(added[with_it.mask > 0], 90)
        bright = added > peak / 2
        overlap = (bright & (with_it.mask > 0)).sum() / (bright | (with_it.mask > 0)).sum()
        assert overlap > 0.85, person
        checked += 1
    assert checked == 12


def test_boxes_are_tight_and_numbered_like_the_mask(opaque):
    for phantom in opaque:
        assert sorted(np.unique(phantom.mask)) == list(range(len(phantom.boxes) + 1))
        for number, (x, y, width, height) in enumerate(phantom.boxes, start=1):
            region = phantom.mask == number
            inside = region[y : y + height, x : x + width]
            assert inside.sum() == region.sum()
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()


@pytest.mark.parametrize("size", [28, 64, 96])
@pytest.mark.parametrize("opacity_size", [0.125, 0.3])
def test_every_opacity_is_inside_the_lungs_at_any_size(size, opacity_size):
    config = replace(SMALL, phantom_size=size, opacity_size=opacity_size, prevalence=1.0, patients=40)
    for patient in range(config.patients):
        phantom = draw(config, patient, 0)
        assert 1 <= len(phantom.boxes) <= 3
        assert all(width >= 1 and height >= 1 for _, _, width, height in phantom.boxes)
        assert phantom.lungs[phantom.mask > 0].all()


def test_normal_patients_have_no_finding(drawn):
    for phantom in drawn:
        if phantom.label == "normal":
            assert phantom.boxes == []
            assert not phantom.mask.any()


@pytest.mark.parametrize("prevalence", [0.0, 0.1, 0.5, 0.333, 1.0])
def test_prevalence_is_exact_to_one_patient(prevalence):
    people = cohort(replace(SMALL, prevalence=prevalence))
    assert sum(person.label == "opacity" for person in people) == round(200 * prevalence)


def test_sites_have_equal_shares_of_each_label():
    people = cohort(replace(SMALL, patients=203, prevalence=0.3))
    for label in ("normal", "opacity"):
        counts = np.bincount([p.site for p in people if p.label == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_sites_spread_gain_and_contrast_and_no_shift_means_none():
    gains, contrasts = zip(*exposures(replace(SMALL, site_shift=0.2)), strict=True)
    np.testing.assert_allclose(sorted(gains), [0.8, 0.9, 1.0, 1.1, 1.2])
    np.testing.assert_allclose(sorted(contrasts), [0.8, 0.9, 1.0, 1.1, 1.2])
    assert exposures(replace(SMALL, site_shift=0.0)) == ((1.0, 1.0),) * 5
    assert exposures(replace(SMALL, sites=1)) == ((1.0, 1.0),)


def test_the_gain_of_a_site_shows_in_its_images(drawn):
    config = replace(SMALL, site_shift=0.3)
    images = [draw(config, i, 0) for i in range(60)]
    correlation, _ = stats.spearmanr([p.gain for p in images], [p.image.mean() for p in images])
    assert correlation > 0.7


@pytest.mark.slow
def test_neither_brightness_nor_contrast_nor_person_nor_site_tells_the_label():
    config = replace(SMALL, patients=600, phantom_size=50)
    drawn = [draw(config, patient, 0) for patient in range(config.patients)]
    # 300 against 300: the standard error of a chance AUROC is 0.024.
    for value in (
        lambda p: p.image.mean(),
        lambda p: p.image.std(),
        lambda p: int(p.patient[1:]),
        lambda p: p.age,
        lambda p: p.sex == "F",
        lambda p: int(p.site[4:]),
        lambda p: p.gain,
        lambda p: p.contrast,
        lambda p: p.marker,
    ):
        assert abs(auroc(drawn, value) - 0.5) < 0.075


def test_mean_of_the_images_looks_like_a_chest(drawn):
    mean = np.mean([phantom.image for phantom in drawn], axis=0) / 255
    assert 0.3 < mean.mean() < 0.5
    spine, right_lung, left_lung = mean[28:36, 30:34], mean[20:36, 16:22], mean[20:36, 42:48]
    assert spine.mean() > 0.2 + max(right_lung.mean(), left_lung.mean())
    # Air beside the trunk is black and the abdomen is not.
    assert mean[48:, 0].mean() < 0.15
    assert mean[56:, 20:44].mean() > 0.35


def test_films_use_the_range_without_burning_out(drawn):
    for phantom in drawn:
        assert phantom.image.std() > 20
        assert (phantom.image == 255).mean() < 0.1


def test_marker_follows_the_label_as_often_as_the_shortcut_says():
    config = replace(SMALL, patients=2000, shortcut=0.6)
    people = cohort(config)
    for label, share in (("opacity", 0.8), ("normal", 0.2)):
        marks = [marked(config, p.number, 0) for p in people if p.label == label]
        assert stats.binomtest(sum(marks), len(marks), share).pvalue > 0.001


def test_marker_is_absent_without_and_certain_with_a_full_shortcut():
    people = cohort(SMALL)
    assert not any(marked(SMALL, p.number, 0) for p in people)
    full = replace(SMALL, shortcut=1.0)
    assert all(marked(full, p.number, 0) == (p.label == "opacity") for p in people)


def test_marker_is_a_bright_corner_and_changes_nothing_else(opaque):
    number = int(opaque[0].patient[1:])
    with_it = draw(replace(SMALL, shortcut=1.0), number, 0)
    changed = with_it.image != opaque[0].image
    assert with_it.marker == 1
    assert opaque[0].marker == 0
    assert changed.any()
    assert not changed[12:].any()
    assert not changed[:, 12:].any()
    assert with_it.image[changed].max() > 200


def test_patients_have_one_to_n_images():
    counts = np.bincount([p.images for p in cohort(replace(SMALL, images_per_patient=3))], minlength=4)
    assert counts[0] == 0
    assert (counts[1:] > 40).all()


def test_source_lists_what_draw_gives():
    config = replace(SMALL, patients=30, images_per_patient=3, shortcut=0.5)
    scan = SOURCE.scan(None, PrepareConfig(), phantom=config)
    assert scan.task == "binary"
    assert scan.classes == ("normal", "opacity")
    assert len(scan.records) == sum(person.images for person in cohort(config))
    for row in scan.records.itertuples():
        phantom = draw(config, int(row.patient[1:]), row.view - 1)
        np.testing.assert_array_equal(scan.read(row.image), phantom.image)
        assert (row.label, row.site, row.marker) == (phantom.label, phantom.site, phantom.marker)
        assert (row.age, row.sex, row.findings) == (phantom.age, phantom.sex, len(phantom.boxes))
        if phantom.label == "normal":
            assert row.mask == row.x == row.finding == ""
            continue
        np.testing.assert_array_equal(scan.read_mask(row.mask), phantom.mask)
        sides = [map(int, text.split("|")) for text in (row.x, row.y, row.width, row.height)]
        assert list(zip(*sides, strict=True)) == phantom.boxes
        assert row.finding.split("|") == ["opacity"] * len(phantom.boxes)


def test_source_takes_no_path(tmp_path):
    with pytest.raises(InputError, match="leave PATH out"):
        SOURCE.scan(tmp_path, PrepareConfig())


def test_an_opacity_smaller_than_pixels_is_refused():
    with pytest.raises(InputError, match=r"--opacity-size 0\.02.*--phantom-size 64"):
        draw(replace(SMALL, opacity_size=0.02), 0, 0)


@pytest.mark.slow
def test_a_small_cnn_learns_it_and_a_linear_model_of_thumbnails_does_not():
    """The task asks for shape: the linear model sees brightness in places only."""
    config = PhantomConfig(patients=350, phantom_size=64, opacity_size=0.07, opacity_contrast=0.4)
    views = [(p, view) for p in cohort(config) for view in range(p.images)]
    images = np.stack([draw(config, p.number, view).image for p, view in views])
    labels = np.array([p.label == "opacity" for p, _ in views])
    test = np.array([p.number % 10 < 3 for p, _ in views])
    thumbnails = images.reshape(len(images), 16, 4, 16, 4).mean(axis=(2, 4)).reshape(-1, 256)
    linear = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=5, max_iter=2000))
    linear.fit(thumbnails[~test], labels[~test])
    linear_auroc = roc_auc_score(labels[test], linear.decision_function(thumbnails[test]))
    logits = cnn_logits(images[~test], labels[~test], images[test])
    assert roc_auc_score(labels[test], logits) > max(0.97, linear_auroc + 0.04)


def cnn_logits(images, labels, unseen):
    """Train four convolutions for 15 epochs: float (N,)."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    layers = [tf.keras.layers.Rescaling(1 / 127.5, -1, input_shape=(64, 64, 1))]
    for width in (16, 32, 64, 64):
        layers += [
            tf.keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            tf.keras.layers.BatchNormalization(momentum=0.9),
            tf.keras.layers.ReLU(),
            tf.keras.layers.MaxPool2D(),
        ]
    layers += [tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(1)]
    model = tf.keras.Sequential(layers)
    model.compile("adam", tf.keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(images[..., None], labels, batch_size=32, epochs=15, verbose=0)
    return model.predict(unseen[..., None], verbose=0)[:, 0]
