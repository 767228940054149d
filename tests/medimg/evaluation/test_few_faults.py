"""Scores whose faults are of very few patients: their intervals cover as often as they say, and none is a point."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from medimg.evaluation.clinical_use import clinical_use, useful_range
from medimg.evaluation.exact import bounded, clopper_pearson
from medimg.evaluation.few_faults import effective_patients, is_of_few, misranked
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.mover import difference_of, mean_of
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.subgroups import Grouping, summarise_subgroups
from medimg.evaluation.summary import summarise


def binary(scores, truth) -> Predictions:
    p = np.asarray(scores, float)
    return Predictions("binary", ("no", "yes"), np.asarray(truth, int), np.column_stack([1 - p, p]), 0.5)


def missed(positives: int, faults: int, negatives: int = 30) -> Predictions:
    """Of the positives the first are missed; the negatives are right, but their scores lie between."""
    scores = np.r_[np.full(faults, 0.2), np.full(positives - faults, 0.9), np.full(negatives, 0.1)]
    return binary(scores, np.repeat([1, 0], [positives, negatives]))


def test_effective_patients_are_those_that_share_alike():
    assert effective_patients(np.array([1.0, 0, 1, 1, 0]), [0, 1, 2, 3, 4]) == 3
    # Two rows of one patient are one patient.
    assert effective_patients(np.array([1.0, 1, 0]), ["a", "a", "b"]) == 1
    assert effective_patients(np.array([1.0, 1, 0]), [10**15, 10**15, -3]) == 1
    assert effective_patients(np.array([3.0, 1.0]), [0, 1]) == pytest.approx(16 / 10)
    assert effective_patients(np.zeros(4), range(4)) == 0


def test_what_is_misranked_adds_up_to_the_area():
    draw = np.random.default_rng(0)
    truth = draw.random(40) < 0.4
    scores = np.round(draw.random(40) + truth * 0.3, 1)
    of_positives, right, of_negatives, _ = misranked(scores, truth)
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
    assert right[truth] == pytest.approx(wins.mean(axis=1))
    assert of_positives.sum() / truth.sum() == pytest.approx(1 - wins.mean())
    assert of_negatives[~truth] == pytest.approx(1 - wins.mean(axis=0))


def test_a_perfect_sensitivity_of_two_is_no_certainty_of_balanced_accuracy():
    """Resamples know of the specificity's faults alone."""
    truth = np.repeat([1, 0], [2, 40])
    scores = np.r_[[0.9] * 2, [0.8] * 6, [0.1] * 34]
    found = summarise(binary(scores, truth), range(42), 300)
    sensitivity, balanced = (found["metrics"][name] for name in ("sensitivity", "balanced_accuracy"))
    assert balanced["low"] == pytest.approx(0.925 - (1 - sensitivity["low"]) / 2, abs=0.02)
    assert balanced["interval"] == "widened"
    (note,) = [note for note in found["notes"] if note.startswith("interval wider")]
    assert "(balanced_accuracy, precision, f1)" in note
    # Both classes' are made of the same two.
    assert found["per_class"]["no"]["balanced_accuracy"]["low"] == pytest.approx(balanced["low"])


@pytest.mark.parametrize("name", ["sensitivity", "auroc", "accuracy"])
def test_a_fault_makes_no_score_surer(name):
    for n in (3, 8, 40):
        lows = [summarise(missed(n, k), range(n + 30), 300)["metrics"][name]["low"] for k in range(3)]
        assert lows == sorted(lows, reverse=True), n


def test_of_any_true_sensitivity_about_95_of_100_intervals_cover_it():
    """All samples of 20 patients, by their chances."""
    n = 20
    ends = np.array([
        [summarise(missed(n, k), range(n + 30), 1000)["metrics"]["sensitivity"][end] for end in ("low", "high")]
        for k in range(n + 1)
    ])  # fmt: skip
    for share in np.linspace(0.02, 0.98, 97):
        covers = (ends[:, 0] <= share) & (share <= ends[:, 1])
        # Of k missed.
        assert binom.pmf(np.arange(n + 1), n, 1 - share)[covers].sum() > 0.915, share
    # All that is right is of few, as well.
    assert ends[n - 1] == pytest.approx(clopper_pearson(1 / n, n), abs=0.05)


@pytest.mark.parametrize(("positives", "negatives"), [(3, 30), (5, 55)])
def test_the_area_of_few_positives_is_covered(positives, negatives):
    """By the bootstrap alone it is in four of five samples."""
    draw, apart = np.random.default_rng(5), 2.0
    truth, true, covered = np.repeat([1, 0], [positives, negatives]), norm.cdf(apart / np.sqrt(2)), 0
    for sample in range(200):
        chances = norm.cdf(draw.normal(truth * apart, 1) - apart / 2)
        predictions, patients = binary(chances, truth), np.arange(len(truth))
        one = predictions.one_vs_rest[1]
        drawn = percentile_interval(cluster_bootstrap(lambda w, one=one: one.ranked(w)[0], patients, 100, sample))
        auroc = bounded(drawn, one.ranked(np.ones((1, len(truth))))[0][0], predictions, patients, "auroc")
        covered += auroc["low"] <= true <= auroc["high"]
    assert covered > 186


def test_of_a_few_dozen_patients_a_95_interval_has_the_truth_in_85_to_95_of_100_samples():
    """As docs/data.md says of the Brier score and AUPRC."""
    draw, columns = np.random.default_rng(3), [METRICS.index(name) for name in ("brier", "auprc")]

    def sample(n: int) -> Predictions:
        truth = draw.random(n) < 0.4
        return binary(norm.cdf(draw.normal(truth * 1.5, 1) - 0.75), truth)

    truth = sample(100_000).measure(np.ones((1, 100_000)))[0, 0, columns]
    covered, samples = np.zeros(2), 300
    for number in range(samples):
        drawn = cluster_bootstrap(sample(36).measure, np.arange(36), 200, number)[:, 0, columns]
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        covered += (low <= truth) & (truth <= high)
    assert (covered > 0.85 * samples).all()
    assert (covered < 0.97 * samples).all()


def test_many_who_share_the_faults_keep_the_bootstraps_interval():
    draw = np.random.default_rng(1)
    truth = draw.random(300) < 0.4
    predictions = binary(np.clip(truth * 0.25 + draw.random(300) * 0.75, 0, 1), truth)
    found = summarise(predictions, range(300), 200)["metrics"]
    assert not any("interval" in its for name, its in found.items() if name != "ece")
    one = predictions.one_vs_rest[1]
    assert not is_of_few("sensitivity", one, range(300))
    # The same rows of two patients are of few.
    assert is_of_few("sensitivity", one, np.arange(300) % 2)


def test_a_mirrored_score_has_the_mirrored_interval():
    truth = np.repeat([1, 0], [6, 30])
    scores = np.r_[[0.2], [0.9] * 5, [0.3] * 2, [0.1] * 28]
    straight, mirrored = (summarise(binary(p, truth), range(36), 300)["metrics"] for p in (scores, 1 - scores))
    for name in ("auroc", "accuracy", "sensitivity", "specificity", "balanced_accuracy"):
        ends = straight[name]["low"], straight[name]["high"]
        assert ends == pytest.approx((1 - mirrored[name]["high"], 1 - mirrored[name]["low"])), name


def test_a_rare_class_widens_the_mean_over_classes():
    targets = np.repeat([0, 1, 2], [40, 40, 2])
    p = np.eye(3)[targets] * 0.7 + 0.1
    p[[0, 1, 2, 45, 46, 47]] = p[[0, 1, 2, 45, 46, 47]][:, [1, 0, 2]]
    found = summarise(Predictions("multiclass", ("a", "b", "c"), targets, p), range(82), 300)["metrics"]
    # A third of what the rare one leaves open.
    rare = 1 - clopper_pearson(1.0, 2)[0]
    assert found["balanced_accuracy"]["low"] == pytest.approx(found["balanced_accuracy"]["value"] - rare / 3, abs=0.02)
    assert "interval" not in found["accuracy"]


def test_an_ece_has_no_interval():
    """The bootstrap's is above that of right probabilities, always."""
    draw = np.random.default_rng(2)
    chances = draw.random(60)
    summary = summarise(binary(chances, draw.random(60) < chances), range(60), 200)
    assert summary["metrics"]["ece"]["value"] > 0
    assert (summary["metrics"]["ece"]["low"], summary["metrics"]["ece"]["interval"]) == (None, "none")
    assert [note for note in summary["notes"] if note.startswith("no interval (ece): chance gaps")]


def test_predictive_values_know_of_few_faults():
    # Of four positives none is missed; of 60 negatives six are called.
    truth = np.repeat([1, 0], [4, 60])
    scores = np.r_[[0.9] * 4, [0.8] * 6, [0.1] * 54]
    there = summarise(binary(scores, truth), range(64), 300, prevalence=0.1)["at_prevalence"]
    least = clopper_pearson(1.0, 4, 0.025)[0]
    assert there["npv"]["low"] < 0.9 * 0.9 / (0.9 * 0.9 + 0.1 * (1 - least))
    assert there["ppv"]["low"] <= 0.1 * least / (0.1 * least + 0.9 * 0.2)
    # One fault among eight who were not called.
    truth, scores = np.repeat([1, 0], [5, 7]), np.r_[[0.9] * 4, 0.1, [0.1] * 7]
    npv = clinical_use(binary(scores, truth), range(12), 300)["npv"]["yes"]
    assert npv["low"] == pytest.approx(clopper_pearson(7 / 8, 8)[0])


def test_a_perfect_model_of_six_patients_is_not_surely_of_use():
    """Resamples differ in their prevalence alone; a sensitivity of 0.3 is as likely as not to be perfect in three."""
    truth = np.tile([0, 1], 3)
    scores = np.where(truth, 0.9, 0.1)
    few = clinical_use(binary(scores, truth), range(6), 300)["decision_curve"]["yes"]
    assert min(few["gain"]) >= 0
    assert useful_range(few) == []
    many = clinical_use(binary(np.tile(scores, 40), np.tile(truth, 40)), range(240), 300)["decision_curve"]["yes"]
    assert (0.15, 0.85) in [(max(a, 0.15), min(b, 0.85)) for a, b in useful_range(many)]
    assert few["low"] < many["low"]


def test_the_gap_of_a_group_of_few_is_as_unsure_as_the_group():
    truth = np.tile([0, 1], 60)
    draw = np.random.default_rng(3)
    scores = np.where(truth, 0.9, 0.1)
    scores[60:] = np.clip(truth[60:] * 0.3 + draw.random(60) * 0.7, 0, 1)
    # Ten rows of each class of the first group are of three patients.
    rows = pd.DataFrame({"patient": [*np.repeat(range(3), 20), *range(3, 63)], "sex": np.repeat(["F", "M"], 60)})
    gap = summarise_subgroups(binary(scores, truth), rows, [Grouping("sex")], 300)["sex"]["gap"]["sensitivity"]
    first = clopper_pearson(1.0, 3)[0]
    assert gap["value"] > 0
    assert gap["low"] < first - 1 + gap["value"] + 0.01


def test_means_and_differences_of_different_patients_are_movers():
    one, other = {"value": 0.8, "low": 0.6, "high": 0.9}, {"value": 0.5, "low": 0.2, "high": 0.9}
    gap = difference_of(one, other)
    assert (gap.low, gap.high) == (pytest.approx(0.3 - np.hypot(0.2, 0.4)), pytest.approx(0.3 + np.hypot(0.1, 0.3)))
    mean = mean_of([one, other])
    assert (mean.low, mean.high) == (
        pytest.approx(0.65 - np.hypot(0.2, 0.3) / 2),
        pytest.approx(0.65 + np.hypot(0.1, 0.4) / 2),
    )
    nothing = {"value": 0.5, "low": None, "high": None}
    assert mean_of([one, nothing])[:2] == difference_of(one, nothing)[:2] == (None, None)
