"""What holds of metrics whatever the predictions: scikit-learn's value, and what may not matter does not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from medimg.evaluation.metrics import METRICS, OneVsRest

# (truth, probability, times the row occurs); few different probabilities, so that many are tied.
ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5000001, 0.9, 1.0]), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def measured(truth, probability, weights):
    found = OneVsRest(truth, probability, probability >= 0.5).measure(weights[None].astype(float))
    return dict(zip(METRICS, found[0], strict=True))


def columns(rows):
    truth, probability, weights = (np.array(column) for column in zip(*rows, strict=True))
    return truth.astype(bool), probability.astype(float), weights


@settings(max_examples=120, deadline=None)
@given(ROWS)
def test_as_scikit_learn_on_repeated_rows(rows):
    truth, probability, weights = columns(rows)
    values = measured(truth, probability, weights)
    truth, probability = np.repeat(truth, weights), np.repeat(probability, weights)
    if not 0 < truth.sum() < len(truth):
        assert np.isnan([values[name] for name in ("auroc", "auprc", "balanced_accuracy", "f1")]).all()
        return
    called = probability >= 0.5
    expected = {
        "auroc": reference.roc_auc_score(truth, probability),
        "auprc": reference.average_precision_score(truth, probability),
        "accuracy": reference.accuracy_score(truth, called),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
        "precision": reference.precision_score(truth, called, zero_division=np.nan),
        "f1": reference.f1_score(truth, called),
        "brier": reference.brier_score_loss(truth, probability),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, atol=1e-12, err_msg=name)
    assert all(np.isnan(value) or -1e-12 <= value <= 1 + 1e-12 for value in values.values())


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    for name, value in measured(*columns(rows)).items():
        np.testing.assert_allclose(measured(*columns(shuffled))[name], value, atol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_classes_exchanged(rows):
    """AUROC of the other class is the same, sensitivity and specificity change places."""
    truth, probability, weights = columns(rows)
    one = OneVsRest(truth, probability, probability >= 0.5).measure(weights[None].astype(float))[0]
    other = OneVsRest(~truth, 1 - probability, probability < 0.5).measure(weights[None].astype(float))[0]
    one, other = dict(zip(METRICS, one, strict=True)), dict(zip(METRICS, other, strict=True))
    pairs = {"auroc": "auroc", "sensitivity": "specificity", "brier": "brier", "accuracy": "accuracy"}
    for name, counterpart in pairs.items():
        np.testing.assert_allclose(one[name], other[counterpart], atol=1e-12, err_msg=name)
