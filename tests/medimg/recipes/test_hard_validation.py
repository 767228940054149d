"""Scores of views, and regressions that have seen neither a patient nor a kind of view."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from medimg.pipeline.pixels import PixelCache
from medimg.recipes.hard_validation import KINDS, Truth, score, seen_otherwise
from medimg.recipes.probes import out_of_fold
from medimg.training.head_start import logistic_head


def logits_of(chance):
    return np.log(np.stack([1 - chance, chance], axis=1))


def test_the_worst_kind_counts():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 80)
    views = [
        logits_of(np.clip(0.5 + spread * (labels - 0.5) + draw.normal(0, 0.1, 80), 0.01, 0.99))
        for spread in (0.6, 0.3, 0.1, 0.4)
    ]
    found = score(views, Truth("binary", labels, 2))
    aurocs = [roc_auc_score(labels, view[:, 1]) for view in views]
    assert found.auroc == pytest.approx(min(aurocs))
    assert found.kind == KINDS[2]
    assert found.plain == pytest.approx(aurocs[0])
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    losses = [log_loss(labels, np.exp(view), sample_weight=weights) for view in views]
    assert found.loss == pytest.approx(np.mean(losses))
    assert score([views[0]] * 4, Truth("binary", labels, 2)).beats(found)
    assert not found.beats(found)


def test_several_labels_and_classes_count_alike():
    draw = np.random.default_rng(1)
    several = draw.integers(0, 2, (60, 3)).astype(np.float32)
    several[:, 2] = 0
    views = [several * 2 - 1 + draw.normal(0, 1, (60, 3))]
    expected = np.mean([roc_auc_score(several[:, k], views[0][:, k]) for k in (0, 1)])
    assert score(views, Truth("multilabel", several, 3)).auroc == pytest.approx(expected)
    labels = draw.integers(0, 3, 60)
    logits = np.eye(3)[labels] + draw.normal(0, 1, (60, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, chances, multi_class="ovr")
    assert score([logits], Truth("multiclass", labels, 3)).auroc == pytest.approx(expected)


def test_a_view_is_judged_by_who_has_seen_neither_patient_nor_kind():
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 2, 40)
    views = [(draw.normal(size=(40, 4)) + labels[:, None]).astype(np.float32) for _ in KINDS]
    patients = np.array([f"p{i // 2}" for i in range(40)])
    truth = Truth("binary", labels, 2)
    found = out_of_fold(views, truth, None, patients, 1.0, seed=0)
    # Of what a kind is told, its own training views are no part: changed, nothing changes.
    other = [view.copy() for view in views]
    other[2] = draw.normal(size=(40, 4)).astype(np.float32)
    again = out_of_fold(other, truth, None, patients, 1.0, seed=0)
    row = int(np.flatnonzero(np.abs(found[1] - again[1]).max(axis=1) > 1e-4)[0])
    assert row >= 0
    kept = other.copy()
    kept[2] = np.where(np.arange(40)[:, None] == 5, views[2], other[2])
    once = out_of_fold(kept, truth, None, patients, 1.0, seed=0)
    plain = [views[0], views[1], views[3]]
    assert np.allclose(once[2][np.arange(40) != 5], again[2][np.arange(40) != 5])
    # Brute force of one fold: the patients that are judged together with the first.
    from sklearn.model_selection import StratifiedGroupKFold

    train, tested = next(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(patients, labels, patients))
    kernel, bias = logistic_head([view[train] for view in plain], labels[train], 2, 1.0)
    np.testing.assert_allclose(found[2][tested], views[2][tested] @ kernel + bias, atol=1e-5)
    assert not set(patients[train]) & set(patients[tested])


@pytest.mark.parametrize("targets", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1]])
def test_a_handful_of_rows_is_judged_by_folds_too(targets):
    """Fewer of each class than folds, or a class that one fold alone has: nobody else has seen it."""
    views = [np.random.default_rng(kind).normal(size=(6, 4)).astype(np.float32) for kind in range(4)]
    truth = Truth("multiclass", np.array(targets), 3)
    patients = np.array([f"p{n}" for n in range(6)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = out_of_fold(views, truth, None, patients, 1.0, seed=0)
    assert np.isfinite(found).all()
    assert (np.std(found, axis=(0, 1)) > 0).all()


def test_views_are_of_each_kind_and_the_same_every_time():
    import tensorflow as tf

    draw = np.random.default_rng(3)
    cache = PixelCache.of(draw.integers(60, 200, (5, 32, 32, 1), dtype=np.uint8))
    plain, framing, exposure, sharpness = seen_otherwise(tf.identity, cache, 0, 2)
    np.testing.assert_array_equal(plain, cache.take(np.arange(5)))
    again = seen_otherwise(tf.identity, cache, 0, 3)
    np.testing.assert_array_equal(again[2], exposure)
    # Exposure is a linear map of grey levels; sharpness takes from what neighbours differ by; framing moves pixels.
    inside = (exposure > 0) & (exposure < 255)
    for one, before, where in zip(exposure, plain, inside, strict=True):
        assert np.corrcoef(one[where], before[where])[0, 1] == pytest.approx(1, abs=1e-4)
    assert not np.allclose(framing, plain, atol=20)
    steps = lambda images: np.abs(np.diff(images, axis=1)).mean(axis=(1, 2, 3))  # noqa: E731
    assert (steps(sharpness) < steps(plain)).any()


def test_rows_of_one_class_have_no_auroc_and_the_loss_decides():
    near, far = (score([logits_of(np.full(4, chance))], Truth("binary", np.ones(4, int), 2)) for chance in (0.9, 0.6))
    assert "undefined on 4 rows" in near.words()
    assert near.beats(far)
    assert not far.beats(near)
    both = score([logits_of(np.array([0.1, 0.9]))], Truth("binary", np.array([0, 1]), 2))
    assert both.words().startswith("AUROC 1.000 on 2 rows")
