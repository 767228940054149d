"""Associations against libraries, closed forms and planted columns."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as formula
from scipy import stats
from sklearn.metrics import roc_auc_score

from medimg.data.schema import Feature
from medimg.tables.association import (
    clustered,
    column_aurocs,
    correlation_ratio,
    cramers_v,
    pairwise,
    spearman,
    with_label,
)


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_spearman_with_ties_is_scipy_s(draw):
    first, second = draw.integers(0, 9, (2, 80))
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-12)
    assert np.isnan(spearman(first, np.ones(80)))


def test_the_correlation_ratio_is_the_root_of_adjusted_r_squared(draw):
    groups = draw.integers(0, 4, 60)
    values = 2.0 * (groups % 2) + draw.normal(0, 1, 60)
    frame = pd.DataFrame({"y": values, "g": groups})
    expected = np.sqrt(formula.ols("y ~ C(g)", frame).fit().rsquared_adj)
    assert correlation_ratio(groups, values) == pytest.approx(expected, abs=1e-9)
    assert correlation_ratio(groups, groups * 2.0) == pytest.approx(1.0)
    # Groups of chance: uncorrected, 30 groups of 60 rows would make it 0.7.
    chance = [correlation_ratio(draw.integers(0, 30, 60), draw.normal(0, 1, 60)) for _ in range(40)]
    assert np.mean(chance) < 0.25
    assert np.isnan(correlation_ratio(np.zeros(60, int), values))


def test_cramers_v_is_bergsma_s_correction_of_chi_squared(draw):
    first = draw.integers(0, 3, 90)
    second = np.where(draw.random(90) < 0.5, first, draw.integers(0, 4, 90))
    table = pd.crosstab(first, second).to_numpy()
    n, (r, c) = table.sum(), table.shape
    phi = stats.chi2_contingency(table, correction=False)[0] / n
    phi = max(0, phi - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    assert cramers_v(first, second) == pytest.approx(np.sqrt(phi / least), abs=1e-12)
    assert cramers_v(first, first + 7) == pytest.approx(1.0)
    assert np.isnan(cramers_v(first, np.zeros(90, int)))


def test_pairwise_takes_the_measure_of_each_pair_on_rows_that_know_both(draw):
    n = 50
    frame = pd.DataFrame({"a": draw.normal(0, 1, n), "c": draw.choice(["x", "y"], n)})
    frame["b"] = frame["a"] ** 3
    frame["d"] = np.where(frame["c"] == "x", "u", "v")
    frame.loc[:5, "b"] = np.nan
    frame.loc[3:9, "c"] = ""
    frame["empty"] = np.nan
    features = [
        Feature("a", "continuous"),
        Feature("b", "continuous"),
        Feature("c", "categorical"),
        Feature("d", "categorical"),
        Feature("empty", "continuous"),
    ]
    found = pairwise(frame, features)
    np.testing.assert_array_equal(found, found.T)
    assert found[0, 1] == pytest.approx(1.0)
    assert found[2, 3] == pytest.approx(1.0)
    known = frame["c"] != ""
    groups = (frame["c"][known] == "y").to_numpy(int)
    # Numbers are read as float32, as a served model gets them.
    expected = correlation_ratio(groups, frame["a"][known].to_numpy())
    assert found[0, 2] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found[4]).all()


def test_alike_columns_become_neighbours():
    blocks = np.kron(np.eye(2), np.full((3, 3), 0.9))
    np.fill_diagonal(blocks, 1.0)
    mixed = np.array([0, 3, 1, 4, 2, 5])
    order = mixed[clustered(blocks[mixed][:, mixed])]
    assert {frozenset(order[:3]), frozenset(order[3:])} == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    assert sorted(clustered(np.full((4, 4), np.nan))) == [0, 1, 2, 3]


def test_aurocs_of_many_columns_are_sklearn_s_on_known_rows(draw):
    labels = draw.integers(0, 2, 120)
    matrix = np.round(draw.normal(0, 1, (120, 7)) + 0.5 * labels[:, None] * np.arange(-3, 4), 1)
    matrix[draw.random(matrix.shape) < 0.2] = np.nan
    matrix[10:, 6] = np.nan
    found = column_aurocs(matrix, labels)
    for i in range(6):
        known = ~np.isnan(matrix[:, i])
        auroc = roc_auc_score(labels[known], matrix[known, i])
        assert found[i] == pytest.approx(max(auroc, 1 - auroc), abs=1e-12)
    assert np.isnan(found[6])


def test_several_classes_are_judged_in_pairs():
    labels = np.repeat([0, 1, 2], 20)
    # No threshold finds the class in the middle, yet each pair is told apart.
    values = np.array([5.0, 1.0, 9.0])[labels] + np.arange(60) % 3
    assert column_aurocs(values[:, None], labels)[0] == 1.0


def test_what_tells_the_label_and_what_does_not(draw):
    n = 400
    labels = draw.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "code": np.where(labels == 1, "positive", draw.choice(["negative", "none"], n)),
            "name": [f"n{i}" for i in range(n)],
            "some": draw.choice(["u", "v"], n),
            "death": np.where(labels == 1, draw.normal(0, 1, n), np.nan),
        }
    )
    features = [
        Feature("code", "categorical"),
        Feature("name", "categorical"),
        Feature("some", "categorical"),
        Feature("death", "continuous"),
    ]
    found = with_label(frame, features, labels)
    assert found.loc["code", "auroc"] == pytest.approx(1.0)
    # Each row its own category: a rate of its own row would rank perfectly, one of other rows says nothing.
    assert found.loc["name", "auroc"] == pytest.approx(0.5, abs=0.1)
    assert found.loc["some", "auroc"] == pytest.approx(0.5, abs=0.1)
    assert np.isnan(found.loc["death", "auroc"])
    assert found.loc["death", "missing_auroc"] == 1.0
