"""Signals and attacks against TF-Privacy and against toys whose answer is known."""

import numpy as np
import pytest
from scipy.stats import norm

from medimg.audit.attacks import _cross_fitted, attack, halves
from medimg.audit.bound import lower_bound
from medimg.audit.lira import Shadows, check, difficulty, memberships, offline_scores, online_scores
from medimg.audit.roc import auc_of
from medimg.audit.signals import Signals, signals
from medimg.errors import InputError
from medimg.evaluation.prediction import probabilities

TRAINED = ("logistic-regression", "k-nearest-neighbours", "mlp", "random-forest")


def toy_signals(confidence) -> Signals:
    """Of two classes, the first being the label."""
    confidence = np.asarray(confidence, np.float64)
    loss, other = np.logaddexp(0.0, -confidence), np.logaddexp(0.0, confidence)
    return Signals(loss, loss, confidence, -np.column_stack([loss, other]))


@pytest.fixture(scope="module")
def logits():
    draw = np.random.default_rng(0)
    return draw.normal(0, 12, (400, 3)).astype(np.float32), draw.integers(0, 3, 400)


def test_softmax_signals_keep_the_precision_of_logits(logits):
    z, targets = logits
    found = signals(probabilities(z, "multiclass"), targets)
    z = z.astype(np.float64)
    chosen = np.arange(3) == targets[:, None]
    true = z[chosen]
    others = np.logaddexp(*z[~chosen].reshape(-1, 2).T)
    assert found.confidence == pytest.approx(true - others, abs=1e-3)
    assert found.loss == pytest.approx(np.logaddexp(0, others - true), rel=1e-3)


def test_multilabel_loss_is_the_sum_over_classes():
    z = np.array([[2.0, -1.0], [40.0, -40.0]], np.float32)
    found = signals(probabilities(z, "multilabel"), np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert found.loss[0] == pytest.approx(np.logaddexp(0, -2) + np.logaddexp(0, 1), rel=1e-5)
    # A float32 sigmoid saturates at 1: the loss is at least what it still tells.
    assert found.loss[1] == pytest.approx(25 * np.log(2), rel=1e-3)
    assert np.isfinite(found.confidence).all()


def test_untrained_attacks_equal_the_library(logits):
    from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import (
        data_structures,
        membership_inference_attack,
    )

    z, targets = logits
    # Small logits: the library subtracts probabilities from 1, which loses those near it.
    z, member = z / 6, np.arange(400) < 150
    given = data_structures.AttackInputData(
        logits_train=z[member], logits_test=z[~member], labels_train=targets[member], labels_test=targets[~member]
    )
    types = data_structures.AttackType
    found = membership_inference_attack.run_attacks(
        given, attack_types=[types.THRESHOLD_ATTACK, types.THRESHOLD_ENTROPY_ATTACK]
    )
    ours = signals(probabilities(z, "multiclass"), targets)
    assert ours.loss[member] == pytest.approx(given.get_loss_train(), rel=1e-4)
    assert ours.entropy[member] == pytest.approx(given.get_entropy_train(), rel=1e-3, abs=1e-6)
    for name, theirs in zip(("threshold", "entropy"), found.single_attack_results, strict=True):
        scores = attack(name, ours, member, np.arange(400), halves(member, np.arange(400), 0), 0)
        assert auc_of(scores.values, member) == pytest.approx(theirs.get_auc(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_trained_attack_finds_a_leak_and_nothing_where_there_is_none(name):
    draw = np.random.default_rng(1)
    member, patients = np.arange(800) < 500, np.arange(800)
    first = halves(member, patients, 0)
    for shift, low, high in ((1.5, 0.75, 0.92), (0.0, 0.43, 0.57)):
        found = attack(name, toy_signals(draw.normal(shift * member, 1)), member, patients, first, 0)
        # The best possible AUC is norm.cdf(1.5 / sqrt 2) = 0.856.
        assert low < auc_of(found.values, member) < high


@pytest.mark.parametrize("name", ["k-nearest-neighbours", "random-forest"])
def test_images_of_a_patient_do_not_help_to_recognise_it(name):
    # Every patient has a mark of its own in all images, and marks tell nothing of membership.
    draw = np.random.default_rng(2)
    patients = np.repeat(np.arange(120), 6)
    member = patients < 60
    marks = draw.normal(0, 5, 120)[patients] + draw.normal(0, 0.01, 720)
    found = attack(name, toy_signals(marks), member, patients, halves(member, patients, 0), 0)
    assert 0.3 < auc_of(found.values, member) < 0.7


def test_first_half_for_the_bound_owes_nothing_to_the_second():
    draw = np.random.default_rng(3)
    member, patients = np.arange(400) < 200, np.arange(400)
    first = halves(member, patients, 0)
    confidence = draw.normal(member, 1.0)
    changed = np.where(first, confidence, -7 * confidence)
    one, other = (
        attack("logistic-regression", toy_signals(c), member, patients, first, 0) for c in (confidence, changed)
    )
    assert not np.allclose(one.values[first], other.values[first])
    assert (one.for_bound[first] == other.for_bound[first]).all()


@pytest.mark.slow
def test_attack_is_repeatable_and_leaves_the_global_generator_alone():
    member, patients = np.arange(96) < 48, np.arange(96)
    shown = toy_signals(np.random.default_rng(0).normal(size=96))
    first = halves(member, patients, 0)
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    runs = [_cross_fitted("mlp", shown.features(), member, first, 1) for _ in range(2)]
    assert np.random.random() == expected
    assert (runs[0] == runs[1]).all()


def test_halves_keep_patients_whole():
    patients = np.repeat(np.arange(50), 3)
    member = patients < 20
    first = halves(member, patients, 0)
    assert all(len(set(first[patients == p])) == 1 for p in range(50))
    assert len(set(patients[first & member])) == 10
    assert len(set(patients[first & ~member])) == 15


def test_too_few_patients_for_a_trained_attack():
    member, patients = np.arange(40) < 10, np.arange(40)
    with pytest.raises(InputError, match="mlp: the members are 10 patients"):
        attack("mlp", toy_signals(np.zeros(40)), member, patients, member, 0)


def gaussian_shadows(models=32, n=600, gap=2.0, seed=0):
    """Confidence is each row's own difficulty, plus `gap` when seen, plus unit noise: LiRA's model holds exactly."""
    draw = np.random.default_rng(seed)
    hardness = draw.normal(0, 6, n)
    inside = memberships(np.arange(n), models, seed)
    answers = hardness + gap * inside + draw.normal(size=(models, n))
    member = np.arange(n) < n // 2
    target = hardness + gap * member + draw.normal(size=n)
    return target, member, Shadows(answers, inside)


def test_lira_reaches_the_best_auc_where_the_loss_can_not():
    target, member, shadows = gaussian_shadows()
    best = norm.cdf(2 / np.sqrt(2))
    # The medians of 16 models add noise of variance pi / 32 to what is compared.
    assert auc_of(online_scores(target, shadows), member) == pytest.approx(best, abs=0.04)
    assert auc_of(offline_scores(target, shadows), member) == pytest.approx(best, abs=0.04)
    assert auc_of(target, member) < 0.65
    assert auc_of(difficulty(shadows), member) == pytest.approx(0.5, abs=0.06)


def test_lira_score_is_the_likelihood_ratio():
    draw = np.random.default_rng(0)
    inside = np.zeros((128, 2), bool)
    inside[::2] = True
    answers = draw.normal(np.where(inside, 3.0, 1.0), np.where(inside, 0.5, 1.5))
    target = np.array([2.0, 0.5])
    found = online_scores(target, Shadows(answers, inside))
    for i in range(2):
        seen, unseen = answers[inside[:, i], i], answers[~inside[:, i], i]
        expected = norm.logpdf(target[i], np.median(seen), seen.std()) - norm.logpdf(
            target[i], np.median(unseen), unseen.std()
        )
        assert found[i] == pytest.approx(expected)


def test_lira_without_a_leak_bounds_nothing():
    target, member, shadows = gaussian_shadows(gap=0.0)
    scores = online_scores(target, shadows)
    assert auc_of(scores, member) == pytest.approx(0.5, abs=0.06)
    patients = np.arange(len(member))
    found, _ = lower_bound(scores, member, patients, halves(member, patients, 0), 1e-5)
    assert found["value"] < 0.1


def test_each_patient_is_in_half_of_the_shadow_models():
    patients = np.repeat(np.arange(41), 2)
    inside = memberships(patients, 10, 0)
    assert (inside.sum(axis=0) == 5).all()
    assert (inside[:, ::2] == inside[:, 1::2]).all()
    assert set(inside.sum(axis=1)) == {40, 42}


@pytest.mark.parametrize("models", [0, 6, 9])
def test_too_few_shadow_models(models):
    with pytest.raises(InputError, match="--shadow-models"):
        check(models)
