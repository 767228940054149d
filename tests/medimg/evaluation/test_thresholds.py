"""Thresholds against a search over all of them."""

import numpy as np
import pytest

from medimg.errors import InputError
from medimg.evaluation.thresholds import choose, parse_rule, threshold_for_sensitivity, youden_threshold


def rates(truth, p, threshold):
    called = p >= threshold
    return called[truth].mean(), (~called[~truth]).mean()


def samples():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        truth = draw.random(50) < 0.4
        truth[:2] = True, False
        yield truth, np.round(np.clip(draw.normal(0.4 + 0.2 * truth, 0.2), 0, 1), 2)


def test_youden_is_the_best_of_all_thresholds():
    for truth, p in samples():
        best = max(sum(rates(truth, p, t)) for t in np.linspace(0, 1, 2001))
        assert sum(rates(truth, p, youden_threshold(truth, p))) == pytest.approx(best)


def test_youden_lies_in_the_middle_of_the_gap():
    truth = np.array([False, False, True, True])
    assert youden_threshold(truth, np.array([0.1, 0.2, 0.8, 0.9])) == pytest.approx(0.5)


def test_youden_of_equal_scores_is_the_score():
    assert youden_threshold(np.array([True, False]), np.array([0.4, 0.4])) == 0.4


@pytest.mark.parametrize("wanted", [0.05, 0.5, 0.9, 0.95, 1.0])
def test_sensitivity_is_reached_by_no_higher_threshold(wanted):
    for truth, p in samples():
        value = threshold_for_sensitivity(truth, p, wanted)
        assert rates(truth, p, value)[0] >= wanted - 1e-12
        assert rates(truth, p, np.nextafter(value, 2))[0] < wanted


def test_a_sensitivity_that_is_a_whole_number_of_positives_needs_no_more():
    p = np.arange(20) / 20
    assert threshold_for_sensitivity(np.ones(20, bool), p, 0.95) == p[1]


@pytest.mark.parametrize("text", ["0.5", "0", "1", "youden", " Youden ", "sensitivity=0.9"])
def test_rules_that_are_understood(text):
    parse_rule(text)


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "-0.1", "nan", "sensitivity", "sensitivity=0", "sensitivity=2", "=0.5"]
)
def test_other_rules_are_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"--threshold .*: give youden, sensitivity=S"):
        parse_rule(text)


def test_nothing_to_choose_on_falls_back_and_says_so():
    rule = parse_rule("youden")
    absent = choose(rule, None, None)
    assert (absent.value, absent.chosen_on) == (0.5, None)
    assert "no validation part" in absent.note
    one_class = choose(rule, np.ones(3, bool), np.array([0.1, 0.2, 0.3]))
    assert (one_class.value, one_class.chosen_on) == (0.5, None)
    assert "one class only" in one_class.note
    fixed = choose(parse_rule("0.7"), np.array([True, False]), np.array([0.1, 0.2]))
    assert (fixed.value, fixed.chosen_on) == (0.7, None)
