"""Exact bounds of perfect scores against scipy, closed forms and simulation; predictive values against Bayes."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from medimg.evaluation.exact import PatientCounts, _of_one, clopper_pearson, clopper_pearson_of_counts
from medimg.evaluation.intervals import cluster_bootstrap
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.summary import summarise, summarise_sites

PROPORTIONS = ("accuracy", "sensitivity", "specificity", "precision")


def exact(hits: int, n: int, level: float = 0.95):
    found = binomtest(hits, n).proportion_ci(confidence_level=level, method="exact")
    return pytest.approx((found.low, found.high), abs=1e-12)


def binary(scores, truth, threshold: float = 0.5) -> Predictions:
    p = np.asarray(scores, float)
    return Predictions("binary", ("no", "yes"), np.asarray(truth, int), np.column_stack([1 - p, p]), threshold)


def ends(measured: dict) -> tuple[float, float]:
    return measured["low"], measured["high"]


def test_clopper_pearson_is_scipys():
    for n in (1, 2, 7, 40):
        for hits in range(n + 1):
            assert clopper_pearson(hits / n, n) == exact(hits, n)
    assert clopper_pearson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (7, 31), (1, 1000)])
def test_bounds_of_counts_are_statsmodels(hits, n):
    low, high = clopper_pearson_of_counts(hits, n, 0.05)
    assert (low, high) == pytest.approx(proportion_confint(hits, n, 0.05, "beta"), abs=1e-12)


def test_bounds_of_counts_in_closed_form():
    low, high = clopper_pearson_of_counts(np.array([0, 30]), 30, 0.1)
    assert low == pytest.approx([0.0, 0.05 ** (1 / 30)])
    assert high == pytest.approx([1 - 0.05 ** (1 / 30), 1.0])


def test_a_perfect_score_has_the_exact_interval_of_its_patients():
    # 6 patients with two positive rows each, 15 with one negative row.
    truth = np.repeat([1, 0], [12, 15])
    patients = [*np.repeat(np.arange(6), 2), *range(6, 21)]
    summary = summarise(binary(np.where(truth, 0.9, 0.2), truth), patients, 200)
    found = summary["metrics"]
    for name, n in (("accuracy", 21), ("sensitivity", 6), ("specificity", 15), ("precision", 6), ("auroc", 6)):
        assert ends(found[name]) == exact(n, n)
        assert found[name]["interval"] == "exact"
    half = {n: binomtest(n, n).proportion_ci(0.975, "exact").low for n in (6, 15)}
    assert ends(found["balanced_accuracy"]) == pytest.approx(((half[6] + half[15]) / 2, 1))
    assert ends(found["f1"]) == pytest.approx((half[6], 1))
    assert 0 < found["auprc"]["low"] < found["auroc"]["low"]
    assert "interval" not in found["brier"]
    assert found["brier"]["low"] < found["brier"]["high"] or found["brier"]["low"] == pytest.approx(0.01)
    (note,) = [note for note in summary["notes"] if note.startswith("exact interval")]
    assert "auroc, auprc, accuracy, balanced_accuracy, precision, sensitivity, specificity, f1" in note
    assert ends(summary["per_class"]["no"]["sensitivity"]) == exact(15, 15)


def test_a_score_of_nought_has_one_too():
    truth = np.repeat([1, 0], [8, 5])
    summary = summarise(binary(np.where(truth, 0.0, 1.0), truth), np.arange(13), 100)
    found = summary["metrics"]
    for name, n in (("accuracy", 13), ("sensitivity", 8), ("specificity", 5), ("precision", 5), ("auroc", 5)):
        assert ends(found[name]) == exact(0, n)
    assert found["f1"]["low"] == 0 < found["f1"]["high"] < 1
    # The worst Brier score.
    assert ends(found["brier"]) == exact(13, 13)
    certain = summarise(binary(truth, truth), np.arange(13), 100)["metrics"]
    assert ends(certain["brier"]) == ends(certain["ece"]) == exact(0, 13)


def test_patients_with_rows_of_both_kinds_are_in_one_pair():
    truth = np.tile([0, 1], 9)
    found = summarise(binary(np.where(truth, 0.8, 0.1), truth), np.repeat(np.arange(9), 2), 100)["metrics"]
    assert ends(found["auroc"]) == exact(4, 4)
    assert ends(found["sensitivity"]) == exact(9, 9)


def test_an_interval_with_width_stays_and_a_flat_one_in_between_is_no_interval():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 60)
    scores = np.clip(truth * 0.4 + draw.random(60) * 0.6, 0, 1)
    summary = summarise(binary(scores, truth), np.arange(60), 200)
    boot = cluster_bootstrap(binary(scores, truth).measure, np.arange(60), 200)[:, 0]
    column = METRICS.index("auroc")
    assert summary["metrics"]["auroc"]["low"] == pytest.approx(np.quantile(boot[:, column], 0.025))
    constant = summarise(binary(np.full(60, 0.3), truth), np.arange(60), 200)
    # Of whomever: the same of everybody ranks nobody.
    assert constant["metrics"]["auroc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    # Half of each patient's rows are right: a proportion's bound needs no whole number of successes.
    halves = binary(np.tile([0.9, 0.1], 20), np.ones(40))
    found = summarise(halves, np.repeat(np.arange(20), 2), 100)["metrics"]
    assert ends(found["sensitivity"]) == exact(10, 20)


def test_a_patient_a_class_is_no_certainty():
    # Every resample that has all three classes is the sample itself.
    right = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])
    predictions = Predictions("multiclass", ("a", "b", "c"), np.arange(3), right)
    found = summarise(predictions, np.arange(3), 200)
    assert found["metrics"]["auroc"]["value"] not in (0, 1)
    assert found["metrics"]["auroc"]["interval"] == "none"
    assert any(note.startswith("no interval (auroc") for note in found["notes"])
    for name, measured in found["metrics"].items():
        assert measured["low"] is None or measured["low"] < measured["high"], name
    sensitivities = [binomtest(hits, 1).proportion_ci(1 - 0.05 / 3, method="exact") for hits in (1, 0, 0)]
    mean = np.mean([(share.low, share.high) for share in sensitivities], axis=0)
    assert ends(found["metrics"]["balanced_accuracy"]) == pytest.approx(tuple(mean))


def test_means_over_classes_hold_for_all_classes_together():
    targets = np.arange(30) % 3
    p = np.eye(3)[targets] * 0.7 + 0.1
    found = summarise(Predictions("multiclass", ("a", "b", "c"), targets, p), np.arange(30), 50)["metrics"]
    assert ends(found["accuracy"]) == exact(30, 30)
    for name, n in (("auroc", 10), ("sensitivity", 10), ("balanced_accuracy", 10), ("specificity", 20)):
        assert ends(found[name]) == exact(n, n, 1 - 0.05 / 3)


def test_sites_have_them():
    import pandas as pd

    truth = np.tile([0, 1], 12)
    rows = pd.DataFrame({"site": np.repeat(["A", "B"], 12), "patient": np.arange(24)})
    sites = summarise_sites(binary(np.where(truth, 0.8, 0.1), truth), rows, 50)
    assert ends(sites["A"]["auroc"]) == exact(6, 6)


@pytest.mark.parametrize("apart", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("positives", "negatives"), [(4, 4), (6, 20)])
def test_of_perfect_samples_few_come_from_worse_classifiers_than_the_bound(apart, positives, negatives):
    """Two normal distributions: wherever the true value lies under the bound, at most 2.5% of samples are perfect."""
    draw = np.random.default_rng(0)
    lowest = draw.normal(apart, 1, (20_000, positives)).min(axis=1)
    perfect = (lowest > draw.normal(0, 1, (20_000, negatives)).max(axis=1)).mean()
    truth = np.repeat([1, 0], [positives, negatives])
    found = summarise(binary(np.where(truth, 0.9, 0.1), truth), np.arange(len(truth)), 20)["metrics"]
    share = positives / len(truth)

    def precision(recall):
        alarms = norm.sf(norm.isf(recall) + apart)
        return share * recall / (share * recall + (1 - share) * alarms)

    true = {"auroc": norm.cdf(apart / np.sqrt(2)), "auprc": quad(precision, 0, 1)[0]}
    for name, value in true.items():
        if value < found[name]["low"]:
            assert perfect <= 0.025 + 0.005
    assert 0 < found["auprc"]["low"] < 1


def test_the_bound_of_precision_recall_is_not_the_end_of_the_scale():
    few, many = (PatientCounts(2 * n, n, n, n, 0.5) for n in (5, 200))
    assert 0.3 < _of_one("auprc", 1.0, few, 0.05)[0] < 0.9 < _of_one("auprc", 1.0, many, 0.05)[0] < 1


# --- predictive values


def test_predictive_values_are_bayes_with_the_bootstraps_interval():
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 2, 90)
    predictions = binary(np.clip(truth * 0.3 + draw.random(90) * 0.7, 0, 1), truth)
    patients = np.arange(90) // 2
    found = summarise(predictions, patients, 300, 5, prevalence=0.02)["at_prevalence"]
    called = predictions.decisions[:, 1]
    sensitivity, specificity = called[truth == 1].mean(), 1 - called[truth == 0].mean()
    assert found["prevalence"] == 0.02
    ppv = 0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    npv = 0.98 * specificity / (0.98 * specificity + 0.02 * (1 - sensitivity))
    assert (found["ppv"]["value"], found["npv"]["value"]) == pytest.approx((ppv, npv))
    boot = cluster_bootstrap(predictions.measure, patients, 300, 5)[:, 0]
    s, t = boot[:, METRICS.index("sensitivity")], boot[:, METRICS.index("specificity")]
    assert ends(found["ppv"]) == pytest.approx(np.quantile(0.02 * s / (0.02 * s + 0.98 * (1 - t)), [0.025, 0.975]))
    # At the sample's own prevalence PPV is the precision.
    same = summarise(predictions, patients, 0, prevalence=float(truth.mean()))
    assert same["at_prevalence"]["ppv"]["value"] == pytest.approx(same["metrics"]["precision"]["value"])
    assert "at_prevalence" not in summarise(predictions, patients, 0)


def test_predictive_values_of_a_perfect_specificity_are_no_certainty():
    truth = np.repeat([1, 0], [20, 30])
    scores = np.where(truth, 0.9, 0.1)
    scores[:4] = 0.2
    found = summarise(binary(scores, truth), np.arange(50), 200, prevalence=0.01)["at_prevalence"]
    assert (found["ppv"]["value"], found["ppv"]["high"]) == (1.0, 1.0)
    low = [binomtest(hits, n).proportion_ci(0.975, "exact").low for hits, n in ((16, 20), (30, 30))]
    assert found["ppv"]["low"] == pytest.approx(0.01 * low[0] / (0.01 * low[0] + 0.99 * (1 - low[1])))
    assert found["npv"]["low"] < found["npv"]["value"] < found["npv"]["high"]
