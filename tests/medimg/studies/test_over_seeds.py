"""Means over seeds and their differences, in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medimg.studies.over_seeds import mean_interval, summary


def test_mean_interval_is_students_t():
    values = [0.8, 0.9, 0.85]
    mean, low, high = mean_interval([*values, math.nan])
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (mean, low, high) == pytest.approx((np.mean(values), *expected))
    assert mean_interval([0.5])[0] == 0.5
    assert math.isnan(mean_interval([0.5])[1])
    assert all(map(math.isnan, mean_interval([math.nan])))
    assert mean_interval([0.3, 0.1 + 0.2, 0.3])[0] == pytest.approx(0.3)
    assert all(map(math.isnan, mean_interval([0.3, 0.1 + 0.2, 0.3])[1:]))


def test_summary_compares_seed_by_seed():
    rows = [
        {"model": "a", "seed": 0, "auroc": 0.9},
        {"model": "a", "seed": 1, "auroc": 0.7},
        {"model": "pooled", "seed": 1, "auroc": 0.8},
        {"model": "pooled", "seed": 0, "auroc": 1.0},
    ]
    table = summary(pd.DataFrame(rows), ["model"], ["auroc"], "pooled").set_index("model")
    assert table.loc["a", "auroc"] == pytest.approx(0.8)
    # The means over seeds vary by 0.1; the difference is the same for both, and two that agree are no certainty.
    assert table.loc["a", "auroc_less_pooled"] == pytest.approx(-0.1)
    assert math.isnan(table.loc["a", "auroc_less_pooled_low"])
    assert table.loc["pooled", "auroc_less_pooled"] == 0


def test_summary_compares_within_the_group():
    rows = [
        {"partition": "iid", "trained": "federated", "seed": 0, "auroc": 0.9},
        {"partition": "iid", "trained": "pooled", "seed": 0, "auroc": 0.8},
        {"partition": "shards", "trained": "federated", "seed": 0, "auroc": 0.5},
        {"partition": "shards", "trained": "pooled", "seed": 0, "auroc": 0.7},
    ]
    table = summary(pd.DataFrame(rows), ["partition", "trained"], ["auroc"], "pooled")
    assert table["auroc_less_pooled"].tolist() == pytest.approx([0.1, 0, -0.2, 0])
