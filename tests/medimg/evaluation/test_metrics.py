"""Every metric of every resample against scikit-learn on rows repeated that often, ties included."""

import time

import numpy as np
import pytest
from sklearn import metrics as reference

from medimg.evaluation.calibration import bin_index, reliability
from medimg.evaluation.intervals import cluster_weights
from medimg.evaluation.metrics import METRICS, OneVsRest
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.summary import summarise


def some_predictions(task, n_classes, n=120, seed=0):
    """Informative probabilities, rounded so that many are tied."""
    draw = np.random.default_rng(seed)
    classes = tuple(f"class {i}" for i in range(n_classes))
    if task == "multilabel":
        targets = (draw.random((n, n_classes)) < 0.3).astype(np.float32)
        p = np.round(np.clip(0.25 * targets + 0.8 * draw.random((n, n_classes)), 0, 1), 1)
        return Predictions(task, classes, targets, p, np.linspace(0.3, 0.6, n_classes))
    targets = draw.integers(0, n_classes, n)
    logits = draw.normal(size=(n, n_classes))
    logits[np.arange(n), targets] += 1
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if task == "binary":
        p[:, 1] = np.round(p[:, 1], 1)
        p[:, 0] = np.round(1 - p[:, 1], 1)
    return Predictions(task, classes, targets, p, 0.4 if task == "binary" else None)


def by_hand(truth, p, called):
    """The metrics of one class in METRICS' order, by scikit-learn and by loops."""
    error = 0.0
    for low in range(15):
        inside = [i for i in range(len(p)) if min(int(p[i] * 15), 14) == low]
        if inside:
            error += abs(np.mean(truth[inside]) - np.mean(p[inside])) * len(inside) / len(p)
    return [
        reference.roc_auc_score(truth, p),
        reference.average_precision_score(truth, p),
        reference.accuracy_score(truth, called),
        reference.balanced_accuracy_score(truth, called),
        reference.precision_score(truth, called, zero_division=np.nan),
        reference.recall_score(truth, called),
        reference.recall_score(~truth, ~called),
        reference.f1_score(truth, called),
        reference.brier_score_loss(truth, p),
        error,
    ]


@pytest.mark.parametrize(("task", "n_classes"), [("binary", 2), ("multiclass", 4), ("multilabel", 3)])
def test_each_resample_equals_sklearn_on_repeated_rows(task, n_classes):
    predictions = some_predictions(task, n_classes)
    weights = np.concatenate(list(cluster_weights(np.arange(120) // 3, 12, seed=0)))
    measured = predictions.measure(weights)
    for sample, weight in zip(measured, weights, strict=True):
        rows = np.repeat(np.arange(120), weight.astype(int))
        truth, called = predictions.truth[rows], predictions.decisions[rows]
        p = predictions.probabilities[rows]
        expected = np.array([by_hand(truth[:, i], p[:, i], called[:, i]) for i in range(n_classes)])
        assert sample[1:] == pytest.approx(expected, abs=1e-12)
        headline = expected[1] if task == "binary" else expected.mean(axis=0)
        if task == "multiclass":
            pair = truth.argmax(axis=1), called.argmax(axis=1)
            headline[METRICS.index("accuracy")] = reference.accuracy_score(*pair)
            balanced = reference.balanced_accuracy_score(*pair)
            headline[METRICS.index("balanced_accuracy")] = balanced
            macro = reference.roc_auc_score(pair[0], p, multi_class="ovr")
            assert headline[0] == pytest.approx(macro, abs=1e-12)
        assert sample[0] == pytest.approx(headline, abs=1e-12)


def test_auroc_counts_pairs_with_ties_as_half():
    draw = np.random.default_rng(1)
    truth, p = draw.random(60) < 0.4, np.round(draw.random(60), 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in p[truth] for b in p[~truth]]
    auroc = OneVsRest(truth, p, p > 0.5).measure(np.ones((1, 60)))[0, 0]
    assert auroc == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize(("task", "n_classes"), [("binary", 2), ("multiclass", 4)])
def test_confusion_matrix_has_labels_in_rows(task, n_classes):
    predictions = some_predictions(task, n_classes)
    called = predictions.decisions.argmax(axis=1)
    expected = reference.confusion_matrix(predictions.targets, called)
    assert (predictions.confusion_matrix() == expected).all()


def test_multilabel_has_one_confusion_matrix_per_class():
    predictions = some_predictions("multilabel", 3)
    expected = reference.multilabel_confusion_matrix(predictions.truth, predictions.decisions)
    assert (predictions.confusion_matrix() == expected).all()


def test_one_class_only_is_null_with_a_note_and_never_zero():
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    predictions = Predictions("binary", ("no", "yes"), np.zeros(3, int), p, 0.5)
    summary = summarise(predictions, ["a", "b", "c"], 50)
    found = summary["metrics"]
    undefined = ("auroc", "auprc", "balanced_accuracy", "precision", "sensitivity", "f1")
    for name in undefined:
        assert found[name] == {"value": None, "low": None, "high": None}
    assert found["specificity"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert any("undefined for yes: no row has the class" in note for note in summary["notes"])


def test_a_class_without_rows_is_left_out_of_the_mean_and_named():
    predictions = some_predictions("multilabel", 3)
    targets = predictions.targets.copy()
    targets[:, 2] = 0
    without = Predictions("multilabel", predictions.classes, targets, predictions.probabilities, 0.5)
    summary = summarise(without, np.arange(120), 50)
    each = [summary["per_class"][name]["auroc"]["value"] for name in predictions.classes]
    assert each[2] is None
    assert summary["metrics"]["auroc"]["value"] == pytest.approx((each[0] + each[1]) / 2)
    # Specificity is defined for all three.
    three = [summary["per_class"][name]["specificity"]["value"] for name in predictions.classes]
    assert summary["metrics"]["specificity"]["value"] == pytest.approx(np.mean(three))
    assert any("class 2" in note and "left out of the mean" in note for note in summary["notes"])


def test_resamples_without_a_rare_class_are_counted():
    truth = np.zeros(40, int)
    truth[0] = 1
    p = np.linspace(0, 1, 40)[:, None] * [-1, 1] + [1, 0]
    summary = summarise(Predictions("binary", ("no", "yes"), truth, p, 0.5), np.arange(40), 2000)
    # P(a patient is in no resample) = (1 - 1/40)^40.
    left_out = summary["metrics"]["auroc"]["left_out_resamples"]
    assert left_out / 2000 == pytest.approx((1 - 1 / 40) ** 40, abs=0.04)
    assert "left_out_resamples" not in summary["metrics"]["accuracy"]
    assert any("left out because a metric is undefined" in note for note in summary["notes"])


def test_one_patient_has_no_interval():
    predictions = some_predictions("binary", 2)
    summary = summarise(predictions, ["same"] * 120, 100)
    assert summary["metrics"]["auroc"]["low"] is None
    assert "no intervals: all rows are of one patient" in summary["notes"]


def test_majority_accuracy():
    p = np.full((4, 2), 0.5)
    binary = Predictions("binary", ("a", "b"), np.array([0, 1, 1, 1]), p, 0.5)
    assert binary.majority_accuracy() == 0.75
    labels = np.array([[0, 1], [0, 1], [0, 0], [1, 1]], np.float32)
    assert Predictions("multilabel", ("a", "b"), labels, p, 0.5).majority_accuracy() == 0.75


def test_calibration_bins_are_half_open_and_the_last_one_closed():
    assert bin_index(np.array([0.0, 1 / 15 - 1e-9, 1 / 15, 0.999, 1.0])).tolist() == [0, 0, 1, 14, 14]


def test_calibrated_probabilities_have_no_error_and_certain_wrong_ones_all_of_it():
    truth = np.array([True] * 30 + [False] * 70)
    table = reliability(truth, np.full(100, 0.3))
    assert table.error == pytest.approx(0)
    assert (table.count.tolist(), table.hits.tolist()) == ([100], [30])
    assert reliability(truth, 1.0 - truth).error == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "n_classes"), [("binary", 2), ("multiclass", 9), ("multilabel", 14)])
def test_a_thousand_resamples_of_five_thousand_predictions_take_under_ten_seconds(task, n_classes):
    predictions = some_predictions(task, n_classes, n=5000)
    start = time.perf_counter()
    summarise(predictions, np.arange(5000) // 2, 1000)
    assert time.perf_counter() - start < 10
