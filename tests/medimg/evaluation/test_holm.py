"""Holm's correction against statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from medimg.evaluation.holm import holm


def test_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, 0.06, 0.06]
    assert holm([None]) == [None]
    assert holm([]) == []
    assert holm([0.8, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_statsmodels(seed):
    draw = np.random.default_rng(seed)
    p_values = draw.choice(draw.beta(0.3, 2, 12), 20)
    np.testing.assert_allclose(holm(list(p_values)), multipletests(p_values, method="holm")[1], rtol=1e-12)
