"""Bounds of epsilon against closed forms and against mechanisms whose epsilon is known."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from medimg.audit.attacks import halves
from medimg.audit.bound import choose, count, epsilon_of_counts, lower_bound, per_patient
from medimg.audit.claim import Claim
from medimg.audit.one_run import audit_guesses, epsilon_lower_bound, p_value

REPEATS = 200


def randomized_response(draw, n: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Membership and the answer of a mechanism that tells it truly with e^epsilon odds; ties broken by noise."""
    member = np.arange(n) < n // 2
    truth = draw.random(n) < 1 / (1 + math.exp(-epsilon))
    return member, np.where(truth, member, ~member) + draw.normal(0, 1e-6, n)


def test_epsilon_of_counts_by_hand():
    # 50 of 50 found and none of 50 accused: bounds 0.025^(1/50) and 1 less that.
    bound = 0.025 ** (1 / 50)
    found = epsilon_of_counts(50, 50, 0, 50, 0.01, 0.05)
    assert found == pytest.approx(math.log((bound - 0.01) / (1 - bound)))
    assert epsilon_of_counts(0, 50, 0, 50, 0.01, 0.05) == -math.inf


def test_both_directions_are_searched():
    draw = np.random.default_rng(0)
    member = np.arange(1000) < 500
    # Half of the members score high, nobody else: calls of members are the rare event...
    scores = np.where(member & (draw.random(1000) < 0.5), 2.0, 0.0) + draw.random(1000)
    assert choose(scores, member, 0.0, 0.05).calls_members
    # ...and turned round, calls of non-members are.
    assert not choose(-scores, ~member, 0.0, 0.05).calls_members


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.0])
def test_bound_holds_for_randomized_response(epsilon):
    draw = np.random.default_rng(11)
    bounds = []
    for _ in range(REPEATS):
        member, scores = randomized_response(draw, 400, epsilon)
        half = np.zeros(400, bool)
        half[draw.permutation(200)[:100]] = True
        half[200 + draw.permutation(200)[:100]] = True
        found, _ = lower_bound(scores, member, np.arange(400), half, 0.0)
        bounds.append(found["value"])
    too_high = np.mean(np.array(bounds) > epsilon + 1e-9)
    # 5% are allowed; of 200 repeats, more than 18 would happen once in 200.
    assert too_high <= 0.09
    if epsilon:
        assert np.median(bounds) > 0.4 * epsilon


@pytest.mark.slow
def test_choosing_and_counting_on_the_same_patients_would_be_too_high():
    draw = np.random.default_rng(2)
    honest, greedy = [], []
    for _ in range(REPEATS):
        member, scores = np.arange(400) < 200, draw.normal(size=400)
        half = np.arange(400) % 2 == 0
        honest.append(lower_bound(scores, member, np.arange(400), half, 0.0)[0]["value"])
        rule = choose(scores, member, 0.0, 0.05)
        greedy.append(count(rule, scores, member, 0.0, 0.05)["value"])
    assert np.mean(np.array(honest) > 0) <= 0.09
    assert np.mean(np.array(greedy) > 0) > np.mean(np.array(honest) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["smooth", "tied", "several rows"])
@pytest.mark.parametrize("members", [20, 60])
def test_of_a_model_that_knows_nobody_no_more_than_one_bound_in_twenty_is_above_zero(kind, members):
    """Members and non-members exchangeable, epsilon 0: the whole way from two attacks' rows to the bound stated."""
    draw = np.random.default_rng([5, members])
    count, stated = 2 * members, []
    for seed in range(400):
        rows = draw.integers(1, 6, count) if kind == "several rows" else np.ones(count, int)
        patients = np.repeat(np.arange(count), rows)
        # Membership is dealt by lot, whatever the patients are like.
        member = np.isin(patients, draw.permutation(count)[:members])
        own = draw.normal(size=count)[patients]
        attacks = [own + draw.normal(size=len(patients)), -own]
        if kind == "tied":
            attacks = [np.round(scores) for scores in attacks]
        first_half = halves(member, patients, seed)
        bounds = [lower_bound(scores, member, patients, first_half, 1e-5) for scores in attacks]
        # As `measured` chooses: by the first half's promise.
        stated.append(max(bounds, key=lambda bound: bound[1])[0]["value"])
    # 5% are allowed; of 400, more than 31 would happen once in 200.
    assert np.mean(np.array(stated) > 0) <= 31 / 400


def test_patients_are_counted_not_rows():
    patients = np.array(["a", "a", "b", "c"])
    scores, member, names = per_patient(np.array([1.0, 3.0, 5.0, 7.0]), np.array([True, True, False, False]), patients)
    assert scores.tolist() == [2.0, 5.0, 7.0]
    assert member.tolist() == [True, False, False]
    assert names.tolist() == ["a", "b", "c"]


def test_p_value_by_enumeration():
    # Theorem 5.2 of Steinke et al. spelt out.
    examples, guesses, right, epsilon, delta = 40, 20, 15, 0.7, 1e-3
    q = 1 / (1 + math.exp(-epsilon))
    tail = sum(binom.pmf(v, guesses, q) for v in range(right, guesses + 1))
    alpha = max(sum(binom.pmf(v, guesses, q) for v in range(right - i, right)) / i for i in range(1, right + 1))
    expected = tail + alpha * delta * 2 * examples
    assert p_value(examples, guesses, right, epsilon, delta) == pytest.approx(expected)


def test_all_guesses_right_in_closed_form():
    # q^r = alpha, epsilon = ln(q / (1 - q)).
    q = 0.05 ** (1 / 100)
    found = epsilon_lower_bound(100, 100, 100, 0.0, 0.05)
    assert found == pytest.approx(math.log(q / (1 - q)), abs=1e-5)


def test_delta_lowers_the_bound_and_half_right_shows_nothing():
    assert epsilon_lower_bound(200, 100, 90, 1e-3, 0.05) < epsilon_lower_bound(200, 100, 90, 0, 0.05)
    assert epsilon_lower_bound(200, 100, 50, 0.0, 0.05) == 0.0
    root = brentq(lambda e: p_value(200, 100, 90, e, 1e-4) - 0.05, 0, 10)
    assert epsilon_lower_bound(200, 100, 90, 1e-4, 0.05) == pytest.approx(root, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_one_run_bound_holds_for_randomized_response(epsilon):
    draw = np.random.default_rng(4)
    bounds = []
    for _ in range(REPEATS):
        inside = draw.random(300) < 0.5
        told = np.where(draw.random(300) < 1 / (1 + math.exp(-epsilon)), inside, ~inside)
        found = audit_guesses(told + draw.normal(0, 1e-6, 300), inside, 0.0, 0.05)
        bounds.append(found["value"])
    assert np.mean(np.array(bounds) > epsilon) <= 0.09
    if epsilon:
        assert np.median(bounds) > 0.5 * epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 1e-2), (4.0, 1e-5), (800.0, 0.1)])
def test_what_a_claim_allows(epsilon, delta):
    claim = Claim(epsilon, delta, "patient")
    fpr = np.linspace(0, 1, 200_001)
    tpr = claim.most_tpr(fpr)
    # Both inequalities of the definition, in a form that does not overflow.
    assert (np.exp(-epsilon) * (tpr - delta) <= fpr + 1e-12).all()
    assert (np.exp(-epsilon) * (1 - fpr - delta) <= 1 - tpr + 1e-12).all()
    assert claim.most_advantage == pytest.approx((tpr - fpr).max(), abs=1e-5)
    assert claim.most_auc == pytest.approx(np.trapz(tpr, fpr), abs=1e-5)


def test_no_privacy_allows_everything_and_perfect_privacy_chance():
    nothing = Claim(math.inf, 1e-5, "patient")
    assert (nothing.most_auc, nothing.most_advantage, float(nothing.most_tpr(0.0))) == (1, 1, 1)
    perfect = Claim(0.0, 0.0, "patient")
    assert (perfect.most_auc, perfect.most_advantage) == (0.5, 0.0)


def test_the_threshold_lies_between_scores_and_calls_the_same():
    draw = np.random.default_rng(0)
    for _ in range(50):
        member = draw.random(40) < 0.5
        scores = np.round(draw.normal(size=40) + member, 1)
        rule = choose(scores, member, 1e-5, 0.05)
        own = scores[scores >= rule.threshold].min()
        below = scores[scores < rule.threshold]
        if len(below):
            assert rule.threshold == pytest.approx((own + below.max()) / 2)
            assert rule.threshold not in scores
        told = count(rule, scores, member, 1e-5, 0.05)["value"]
        assert told == pytest.approx(max(0.0, rule.promise))


@pytest.mark.parametrize("low", [-np.inf, np.nextafter(1.0, 0.0)])
def test_where_there_is_no_middle_the_score_stays(low):
    member = np.arange(40) < 20
    scores = np.where(member, 1.0, low)
    rule = choose(scores, member, 1e-5, 0.05)
    assert rule.threshold == 1.0
    assert count(rule, scores, member, 1e-5, 0.05)["wrong"] == 0


def test_members_far_from_all_others_are_all_called():
    """At the lowest member's own score, one member in as many elsewhere would be missed."""
    member = np.arange(80) % 2 == 0
    found = []
    for seed in range(40):
        scores = np.random.default_rng(seed).normal(size=80) + 30 * member
        told, _ = lower_bound(scores, member, np.arange(80), np.arange(80) < 40, 1e-5)
        found.append(told["right"])
    assert found == [20] * 40
