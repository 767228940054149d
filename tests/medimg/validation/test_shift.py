"""Comparisons of two groups of patients against scipy and chance."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from medimg.validation.shift import compare, settle


def test_a_patient_counts_once():
    draw = np.random.default_rng(0)
    own, here = draw.normal(0, 1, 60), draw.normal(1, 1, 50)
    once = compare("image", "mean", own, here, np.arange(60), np.arange(50))
    four = compare("image", "mean", np.repeat(own, 4), here, np.repeat(np.arange(60), 4), np.arange(50))
    assert once == four
    assert once["p"] == pytest.approx(ks_2samp(own, here).pvalue)
    spread = np.sqrt((own.var(ddof=1) + here.var(ddof=1)) / 2)
    assert once["effect"] == pytest.approx((here.mean() - own.mean()) / spread)


def test_categories_missing_values_and_no_overlap():
    own, here = np.array(["F"] * 30 + ["M"] * 30 + [""] * 20), np.array(["F"] * 5 + ["M"] * 45)
    found = compare("metadata", "sex", own, here, np.arange(80), np.arange(50))
    assert found["own"] == {"F": 0.5, "M": 0.5}
    assert found["missing"] == {"own": 0.25, "here": 0.0}
    assert found["p"] < 0.001
    apart = compare("image", "width", np.full(40, 96.0), np.full(40, 64.0), np.arange(40), np.arange(40))
    assert apart["effect"] is None
    assert settle([apart])[0]["shifted"]
    assert compare("metadata", "x", pd.Series([np.nan] * 4), here[:4], np.arange(4), np.arange(4)) is None


def test_like_groups_seldom_differ():
    false = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        found = [compare("image", str(k), *draw.normal(size=(2, 40)), np.arange(40), np.arange(40)) for k in range(8)]
        false += any(one["shifted"] for one in settle(found))
    # Holm: 5% of families at most.
    assert false <= 12
