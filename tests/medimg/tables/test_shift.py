"""Standardised differences against their definitions."""

import numpy as np
import pandas as pd
import pytest

from medimg.data.schema import Feature
from medimg.tables.shift import category_difference, mean_difference, site_shift


def test_numbers_are_means_over_the_pooled_deviation():
    draw = np.random.default_rng(0)
    here, rest = draw.normal(3, 2, (40, 2)), draw.normal(1, 4, (90, 2))
    here[:7, 1] = np.nan
    for i, found in enumerate(mean_difference(here, rest)):
        x, y = here[:, i][~np.isnan(here[:, i])], rest[:, i]
        expected = (x.mean() - y.mean()) / np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
        assert found == pytest.approx(expected, abs=1e-12)


def test_degenerate_numbers():
    same, other = np.full((5, 1), 2.0), np.full((5, 1), 3.0)
    assert mean_difference(same, same)[0] == 0.0
    assert mean_difference(same, other)[0] == -np.inf
    assert np.isnan(mean_difference(same, np.full((5, 1), np.nan))[0])


def test_two_categories_have_the_closed_form():
    p, q = 30 / 50, 20 / 80
    expected = abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    found = category_difference(np.array([20, 30]), np.array([60, 20]))
    assert found == pytest.approx(expected, abs=1e-12)


def test_several_categories_are_the_mahalanobis_distance_whatever_the_reference():
    here, rest = np.array([10, 25, 15, 0]), np.array([40, 20, 30, 10])
    p, q = here / here.sum(), rest / rest.sum()
    spread = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    difference = (p - q)[1:]
    expected = np.sqrt(difference @ np.linalg.inv(spread[1:, 1:]) @ difference)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        assert category_difference(here[order], rest[order]) == pytest.approx(expected, abs=1e-9)
    # A category that nobody has changes nothing.
    padded = [np.append(0, counts) for counts in (here, rest)]
    assert category_difference(*padded) == pytest.approx(expected, abs=1e-9)


def test_categories_without_overlap_are_infinitely_far():
    assert category_difference(np.array([9, 0, 0]), np.array([0, 5, 5])) == np.inf
    assert category_difference(np.array([9, 0]), np.array([5, 0])) == 0.0
    assert np.isnan(category_difference(np.array([1, 0]), np.array([5, 5])))


def test_each_site_is_held_against_all_others():
    frame = pd.DataFrame(
        {
            "site": ["a"] * 4 + ["b"] * 4 + ["c"] * 4,
            "age": [1.0, 2, 3, 4, 5, 6, 7, 8, np.nan, np.nan, np.nan, np.nan],
            "sex": ["f", "m"] * 6,
            "grade": ["low", "high"] * 6,
        }
    )
    features = [
        Feature("age", "continuous"),
        Feature("sex", "categorical"),
        Feature("grade", "ordinal", ("low", "high")),
    ]
    found = site_shift(frame, features, ["a", "b", "c"])
    assert found.loc["age", "a"] == pytest.approx(-4 / np.sqrt(5 / 3))
    assert found.loc["age", "b"] == pytest.approx(4 / np.sqrt(5 / 3))
    assert np.isnan(found.loc["age", "c"])
    assert found.loc["sex"].tolist() == [0.0, 0.0, 0.0]
    assert found.loc["grade"].tolist() == [0.0, 0.0, 0.0]
