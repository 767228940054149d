from fractions import Fraction

import numpy as np
import pytest

from federated.secure.fixed_point import FixedPoint
from medimg.errors import InputError


@pytest.mark.parametrize(("bits", "addends"), [(32, 2), (32, 50), (64, 2), (64, 50), (64, 999)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sum_at_both_bounds_does_not_wrap_around(bits, addends, sign):
    code = FixedPoint(limit=8.0, max_weight=100.0, addends=addends, bits=bits)
    encoded = code.encode(np.full(3, sign * 8.0), 100.0)
    total = sum([encoded] * addends, np.zeros(4, code.dtype))
    values, weight = code.decode(total)
    assert np.array_equal(values, np.full(3, sign * 800.0 * addends))
    assert weight == 100.0 * addends
    # One bit finer would not fit.
    assert Fraction(800) * addends / Fraction(code.unit) * 2 > 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bits", [32, 64])
def test_the_error_of_a_sum_is_at_most_half_a_unit_for_each_client(bits, draw):
    code = FixedPoint(limit=4.0, max_weight=64.0, addends=10, bits=bits)
    vectors = draw.uniform(-4, 4, (10, 5000)).astype(np.float32)
    weights = draw.integers(1, 65, 10)
    total = np.zeros(5001, code.dtype)
    for vector, weight in zip(vectors, weights, strict=True):
        total += code.encode(vector, float(weight))
    exact = (vectors.astype(np.float64) * weights[:, None]).sum(0)
    values, weight = code.decode(total)
    error = np.abs(values - exact).max()
    assert error <= 10 * code.unit / 2 + 1e-12
    # The bound is not idle: rounding does show with 32 bits.
    assert bits == 64 or error > code.unit / 2
    assert weight == weights.sum()


def test_encoding_equals_rounding_by_hand(draw):
    code = FixedPoint(limit=1024.0, max_weight=2.0**20, addends=5)
    # More than one block of the encoder.
    vector, weight = draw.normal(size=70_001), 37.0
    steps = [round(Fraction(float(weight * x)) / Fraction(code.unit)) % 2**64 for x in vector]
    assert code.encode(vector, weight)[:-1].tolist() == steps


@pytest.mark.parametrize("change", [{"bits": 16}, {"limit": 0.0}, {"bits": 32, "max_weight": 1e6}])
def test_bounds_that_do_not_fit_are_refused(change):
    with pytest.raises(InputError):
        FixedPoint(**({"limit": 1024.0, "max_weight": 1.0, "addends": 4, "bits": 64} | change))


def test_a_sum_that_only_rounding_takes_over_the_edge_does_not_wrap_around():
    limit = 1 - 2.0**-31
    code = FixedPoint(limit=limit, max_weight=1.0, addends=2, bits=32)
    encoded = code.encode(np.array([limit, -limit]))
    values, _ = code.decode(encoded + encoded)
    np.testing.assert_allclose(values, [2, -2], atol=2 * code.unit)
