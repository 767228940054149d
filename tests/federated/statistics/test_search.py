"""Exact values from sums of counts, of all float64: the keys are in their order, and few values are all found."""

import numpy as np
import pytest

from federated.statistics.asking import Asking
from federated.statistics.keys import DOUBLE, in_parts, to_keys, to_values
from federated.statistics.search import MOST_ROUNDS_OF_DOUBLE, few_or_ends
from federated.statistics.table_answers import counts_of
from medimg.errors import InputError

EXTREME = [-np.finfo(float).max, -1.5, -5e-324, -0.0, 0.0, 5e-324, 0.1, 1.0, 2.0**60, np.finfo(float).max]


def test_keys_of_float64_are_in_the_order_of_the_values():
    keys = to_keys(np.array(EXTREME), DOUBLE)
    assert (np.diff(keys[:4]) > 0).all()
    assert keys[3] == keys[4]
    assert (np.diff(keys[4:]) > 0).all()
    np.testing.assert_array_equal(to_values(keys, DOUBLE), np.array(EXTREME) + 0.0)


def test_parts_of_an_interval_hold_each_key_once():
    keys = to_keys(np.array(EXTREME), DOUBLE)
    first, *_, last = keys.tolist()
    for low, high, bins in ((-(1 << 63), (1 << 63) - 1, 7), (first, last, 256), (-3, 3, 3), (5, 5, 2)):
        step = (high - low) // bins + 1
        expected = [
            sum(low + i * step <= k < low + (i + 1) * step for k in keys.tolist() if k <= high) for i in range(bins)
        ]
        assert in_parts(keys, low, high, bins).tolist() == expected


def clients(parts, log=None):
    """Each has some values of each column."""

    def total(request, size):
        (log if log is not None else []).append(request)
        return np.sum(
            [
                counts_of(request, lambda names, own=own: ((n, to_keys(np.array(own[n]), DOUBLE)) for n in names))
                for own in parts
            ],
            axis=0,
        )

    return Asking(total)


@pytest.mark.parametrize("columns", [1, 300])
def test_few_values_are_all_found_and_of_many_the_ends_alone(columns):
    draw = np.random.default_rng(0)
    values = {f"many {i}": draw.normal(0, 10.0 ** (i % 40), 30) for i in range(columns)}
    values |= {"few": draw.choice(EXTREME, 30), "one": np.full(30, -1e-9), "edge": np.repeat([1.0, 2.0, 3.0], 10)}
    parts = [{name: own[:7] for name, own in values.items()}, {name: own[7:] for name, own in values.items()}]
    most = {name: 3 if name == "edge" else 9 for name in values}
    log = []
    found = few_or_ends(clients(parts, log), "counts", {name: (30, most[name]) for name in values})
    for name, (levels, low, high) in found.items():
        own = values[name] + 0.0
        assert (low, high) == (own.min(), own.max())
        different, times = np.unique(own, return_counts=True)
        assert levels == (None if len(different) > most[name] else dict(zip(different, times, strict=True)))
    assert len(log) == (8 if columns == 1 else MOST_ROUNDS_OF_DOUBLE)
    # Of many values no more is counted than what lies about their ends.
    asked = [[interval for interval in request["intervals"] if interval[0] == "many 0"] for request in log]
    assert max(map(len, asked[2:])) == 2


def test_other_numbers_of_values_than_were_told_are_no_counts():
    with pytest.raises(InputError, match="another number of values than before"):
        few_or_ends(clients([{"a": [1.0, 2.0]}]), "counts", {"a": (3, 5)})
