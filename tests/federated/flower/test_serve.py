"""Sites look at a link that is free often, and at one that others keep busy seldom."""

import pytest

from federated.flower.serve import pause_after

SERVICE = 0.006  # seconds of the link's for a look


@pytest.mark.parametrize(
    ("took", "expected"), [(SERVICE, 0.03), (3 * SERVICE, 0.09), (6 * SERVICE, 0.36), (50 * SERVICE, 2.0)]
)
def test_the_busier_the_link_the_longer_the_pause(took, expected):
    assert pause_after(took, SERVICE) == pytest.approx(expected)


@pytest.mark.parametrize("sites", [3, 10, 50])
def test_looks_leave_the_link_time_for_messages(sites):
    """By mean value analysis (Schweitzer 1979) of sites that look, wait in one queue, and pause."""
    waiting = 0.0
    for _ in range(2000):
        took = SERVICE * (1 + waiting * (sites - 1) / sites)
        rate = sites / (took + max(0.05, pause_after(took, SERVICE)))
        waiting += 0.05 * (rate * took - waiting)
    assert rate * SERVICE < 0.85
