"""Newcombe's interval: by its equation on a grid, and how often it has the true area."""

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from medimg.evaluation.auroc_interval import auroc_interval


@pytest.mark.parametrize("area", [0.0, 0.2, 0.5, 0.914, 0.99, 1.0])
@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (3, 30), (8, 8), (200, 5)])
def test_it_holds_the_areas_that_are_not_contradicted(area, positives, negatives):
    t = np.linspace(1e-6, 1 - 1e-6, 200_001)
    # Hanley and McNeil's, with Newcombe's mean of both numbers in the place of each.
    both = (positives + negatives) / 2 - 1
    one, other = t / (2 - t), 2 * t**2 / (1 + t)
    variance = (t * (1 - t) + both * (one - t**2) + both * (other - t**2)) / (positives * negatives)
    held = t[np.abs(area - t) <= norm.ppf(0.975) * np.sqrt(variance)]
    low, high = auroc_interval(area, positives, negatives)
    assert low == pytest.approx(held.min() if area > 0 else 0, abs=2e-5)
    assert high == pytest.approx(held.max() if area < 1 else 1, abs=2e-5)
    mirrored = auroc_interval(1 - area, negatives, positives)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


def test_without_anybody_of_a_kind_nothing_is_known():
    assert auroc_interval(0.7, 0, 5) == (0.0, 1.0)


@pytest.mark.parametrize(("positives", "negatives"), [(2, 40), (8, 8), (10, 50)])
@pytest.mark.parametrize("true", [0.75, 0.97])
def test_about_95_of_100_samples_have_the_true_area_in_it(positives, negatives, true):
    draw, covered = np.random.default_rng(4), 0
    for _ in range(400):
        scores = draw.standard_normal(positives + negatives)
        scores[:positives] += norm.ppf(true) * np.sqrt(2)
        ranks = rankdata(scores)[:positives].sum()
        low, high = auroc_interval((ranks / positives - (positives + 1) / 2) / negatives, positives, negatives)
        covered += low <= true <= high
    assert covered > 0.92 * 400
