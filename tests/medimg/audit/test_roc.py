"""ROC measures against scikit-learn and by hand; the intervals' coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from medimg.audit.roc import Level, Ranking, advantage_held_out, auc_interval, auc_of, measure, tpr_at, within


@pytest.fixture
def tied():
    draw = np.random.default_rng(3)
    member = draw.random(300) < 0.4
    scores = np.round(draw.normal(member * 0.8, 1.0), 1)
    return scores, member


def test_measures_equal_scikit_learn_with_ties(tied):
    scores, member = tied
    found = measure(scores, member, np.arange(300), 20, 0)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
    assert found["advantage"]["value"] == pytest.approx((tpr - fpr).max(), abs=1e-12)
    for rate in (0.001, 0.01):
        expected = tpr[fpr <= rate].max()
        assert found[f"tpr_at_fpr_{rate:g}"]["value"] == pytest.approx(expected, abs=1e-12)


def test_weighted_rates_equal_repeated_rows(tied):
    scores, member = tied
    weights = np.random.default_rng(0).integers(0, 3, len(scores))
    repeated = np.repeat(np.arange(len(scores)), weights)
    fpr, tpr = Ranking(scores).rates((weights * member)[None], (weights * ~member)[None])
    area = ((tpr[:, 1:] + tpr[:, :-1]) * np.diff(fpr)).sum() / 2
    assert area == pytest.approx(roc_auc_score(member[repeated], scores[repeated]), abs=1e-12)


def test_tpr_is_counted_below_the_fpr_not_interpolated():
    # Two non-members on top: no threshold has an FPR of at most 1%, so nothing is found there.
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    member = np.array([False, False, True, True, False])
    fpr, tpr = Ranking(scores).rates(1.0 * member[None], 1.0 * ~member[None])
    assert tpr_at(fpr, tpr, 0.01)[0] == 0.0
    assert tpr_at(fpr, tpr, 2 / 3)[0] == 1.0


def test_level_that_patients_do_not_resolve_starts_at_nothing():
    few, many = Level.of(0.001, 100), Level.of(0.01, 20_000)
    assert not few.resolved
    assert few.low < 0
    assert few.high == pytest.approx(1 / 100)
    assert many.resolved
    draw = np.random.default_rng(0)
    member = np.arange(200) < 100
    found = measure(draw.normal(3.0 * member, 1.0), member, np.arange(200), 100, 0)
    unresolved = found["tpr_at_fpr_0.001"]
    assert not unresolved["resolved"]
    assert unresolved["low"] == 0.0
    assert unresolved["value"] <= unresolved["high"]


@pytest.mark.slow
@pytest.mark.parametrize("patients", [120, 1500])
def test_interval_of_tpr_at_low_fpr_covers_the_truth(patients):
    truth = norm.sf(norm.isf(0.01) - 1.0)
    member = np.arange(2 * patients) < patients
    covered = 0
    for seed in range(40):
        scores = np.random.default_rng(seed).normal(1.0 * member, 1.0)
        found = measure(scores, member, np.arange(2 * patients), 200, seed)["tpr_at_fpr_0.01"]
        covered += found["low"] <= truth <= found["high"]
    # 95% of 40 is 38; 33 or fewer would happen once in 300 with an honest interval.
    assert covered >= 34


def test_patients_with_copies_get_wider_intervals_than_rows():
    draw = np.random.default_rng(1)
    member = np.arange(80) < 40
    scores = draw.normal(0.5 * member, 1.0)
    copies = 10
    many = (np.repeat(scores, copies), np.repeat(member, copies))
    by_patient = auc_interval(*many, np.repeat(np.arange(80), copies), 400, 0)
    by_row = auc_interval(*many, np.arange(80 * copies), 400, 0)
    assert by_patient["value"] == pytest.approx(auc_of(scores, member))
    wide, narrow = (one["high"] - one["low"] for one in (by_patient, by_row))
    # Ten copies carry no more than one: the interval is about sqrt(10) times that of free rows.
    assert 2.4 < wide / narrow < 4.2


def test_chance_is_what_random_membership_gives():
    draw = np.random.default_rng(5)
    member = np.arange(400) < 200
    found = measure(draw.normal(size=400), member, np.arange(400), 500, 0)
    # The largest gap of two samples of 200 exceeds 1.36 sqrt(2 / 200) once in 20 by one side's 1.22.
    assert found["advantage"]["chance"] == pytest.approx(1.22 * np.sqrt(2 / 200), rel=0.15)
    assert found["auc"]["chance"] == pytest.approx(0.5 + 1.645 * np.sqrt(401 / (12 * 200**2)), abs=0.01)


def test_one_patient_has_no_auc():
    member = np.array([True, False, False])
    found = auc_interval(np.arange(3.0), member, np.array(["a", "b", "b"]), 10, 0)
    assert found == {"value": None, "low": None, "high": None}


def test_within_is_the_share_of_pairs_of_one_stratum():
    draw = np.random.default_rng(6)
    n = 90
    strata, member = draw.integers(0, 3, n), draw.random(n) < 0.4
    scores = np.round(draw.normal(2.0 * strata + 0.3 * member), 1)
    pairs = [
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i in range(n)
        for j in range(n)
        if member[i] and not member[j] and strata[i] == strata[j]
    ]
    found = within(scores, member, strata, np.arange(n), 200, 0)
    assert found["value"] == pytest.approx(np.mean(pairs))
    assert found["low"] < found["value"] < found["high"]


def test_a_mix_of_classes_does_not_pass_for_membership():
    draw = np.random.default_rng(7)
    member = np.arange(1000) < 500
    ill = draw.random(1000) < np.where(member, 0.8, 0.3)
    # A model that is sure of one class and has learnt nobody by heart.
    scores = draw.normal(3.0 * ill)
    assert auc_of(scores, member) > 0.65
    found = within(scores, member, ill, np.arange(1000), 200, 0)
    assert found["low"] < 0.5 < found["high"]
    nobody = within(scores, member, member, np.arange(1000), 200, 0)
    assert nobody == {"value": None, "low": None, "high": None}


def test_advantage_held_out_has_no_luck_in_it():
    draw = np.random.default_rng(8)
    best, honest = [], []
    for _ in range(60):
        member, scores = np.arange(80) < 40, draw.normal(size=80)
        half = np.arange(80) % 2 == 0
        best.append(measure(scores, member, np.arange(80), 2, 0)["advantage"]["value"])
        found = advantage_held_out(scores, member, np.arange(80), half, 2, 0)
        honest.append(found["value"])
    assert np.mean(best) > 0.1
    # Each has a deviation of 0.16 or less.
    assert abs(np.mean(honest)) < 0.07
    scores = np.where(member, 1.0, 0.0)
    assert advantage_held_out(scores, member, np.arange(80), half, 2, 0)["value"] == 1.0


def test_an_attack_on_few_patients_is_certain_of_nothing():
    member = np.arange(30) < 12
    patients = np.arange(30) // 2
    exact = {n: binomtest(n, n).proportion_ci(method="exact").low for n in (4, 6, 9)}
    perfect = measure(np.where(member, 1.0, 0.0), member, patients, 50, 0)
    for name in ("auc", "advantage"):
        assert (perfect[name]["low"], perfect[name]["high"]) == (pytest.approx(exact[6]), 1.0)
    assert auc_interval(np.where(member, 1.0, 0.0), member, patients, 50, 0)["low"] == pytest.approx(exact[6])
    assert within(np.where(member, 1.0, 0.0), member, np.zeros(30), patients, 50, 0)["low"] == pytest.approx(exact[6])
    # Of those held out: 3 patients who are members, 4 who are not.
    held = advantage_held_out(np.where(member, 1.0, 0.0), member, patients, patients % 2 == 0, 50, 0)
    others = 1 - 0.025 ** (1 / min(len(set(patients[(patients % 2 == 1) & kind])) for kind in (member, ~member)))
    assert (held["low"], held["high"]) == (pytest.approx(1 - 2 * others), 1.0)
    # Nobody is found: a leak that concerns few may be there.
    many = np.arange(4000)
    nobody = measure(np.where(many < 40, 0.0, 1.0), many < 40, many, 20, 0)["tpr_at_fpr_0.01"]
    assert nobody["resolved"]
    assert (nobody["low"], nobody["high"]) == (0.0, pytest.approx(binomtest(0, 40).proportion_ci(method="exact").high))
    # Scores that are all the same rank nobody, of whomever.
    assert auc_interval(np.zeros(30), member, patients, 50, 0) == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_an_attack_on_few_members_is_no_surer_for_a_fault():
    """Three members above all others; then one of them below one of these."""
    member, patients = np.repeat([True, False], [3, 40]), np.arange(43)
    perfect = np.r_[[0.9, 0.8, 0.7], np.linspace(0.1, 0.6, 40)]
    faulty = np.r_[[0.9, 0.8, 0.595], np.linspace(0.1, 0.6, 40)]
    for found in (auc_interval, lambda *of: measure(*of)["auc"], lambda s, m, p, *of: within(s, m, 0 * p, p, *of)):
        one, other = (found(scores, member, patients, 200, 0) for scores in (perfect, faulty))
        assert other["value"] == pytest.approx(1 - 1 / 120)
        assert other["low"] <= one["low"] == pytest.approx(binomtest(3, 3).proportion_ci(method="exact").low)
    # The same said of everybody ranks nobody, whoever they are.
    assert auc_interval(np.zeros(43), member, patients, 50, 0) == {"value": 0.5, "low": 0.5, "high": 0.5}
