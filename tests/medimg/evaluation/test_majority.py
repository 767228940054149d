"""The commonest answer, against what a constant answer must score."""

import numpy as np
import pytest

from medimg.evaluation.majority import majority
from medimg.evaluation.metrics import METRICS


def measured(answer) -> dict:
    return dict(zip(METRICS, answer.measure(np.ones((1, len(answer))))[0, 0], strict=True))


@pytest.mark.parametrize("known", [[0, 0, 1], [1, 1, 1, 0]])
def test_binary(known):
    targets = np.array([0, 1, 1, 1])
    answer = majority("binary", ("a", "b"), targets, np.array(known))
    share = np.mean(known)
    np.testing.assert_allclose(answer.probabilities, np.tile([1 - share, share], (4, 1)))
    found = measured(answer)
    assert found["accuracy"] == (0.75 if share > 0.5 else 0.25)
    assert found["auroc"] == found["balanced_accuracy"] == 0.5
    assert found["brier"] == pytest.approx(np.mean((share - targets) ** 2))


def test_of_two_that_are_equally_common_the_positive_one_is_called():
    answer = majority("binary", ("a", "b"), np.array([0, 1, 1]), np.array([0, 1]))
    assert answer.decisions.tolist() == [[False, True]] * 3


def test_multiclass_and_multilabel():
    answer = majority("multiclass", ("a", "b", "c"), np.array([2, 2, 0]), np.array([0, 2, 2, 1, 2]))
    np.testing.assert_allclose(answer.probabilities[0], [0.2, 0.2, 0.6])
    assert answer.decisions.argmax(axis=1).tolist() == [2, 2, 2]
    known = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    answer = majority("multilabel", ("a", "b"), known, known)
    assert answer.decisions.tolist() == [[True, False]] * 3
    # Of the same rows it is the accuracy that metrics.json names beside every model's.
    assert measured(answer)["accuracy"] == pytest.approx(answer.majority_accuracy())
