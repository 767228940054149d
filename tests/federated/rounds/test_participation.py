"""Participation: a function of seed, round and client, with the frequencies that the options name."""

import numpy as np
import pytest

from federated.rounds.participation import attendance, dropouts, participants, stragglers
from medimg.errors import InputError

NAMES = [f"client-{i:02d}" for i in range(20)]


def test_the_same_round_finds_the_same_clients_and_others_find_others():
    options = {"fraction": 0.5, "dropout": 0.3, "straggling": 0.4}
    first = [attendance(NAMES, number, 7, **options) for number in range(30)]
    # In another order, as after a resume.
    again = [attendance(NAMES, number, 7, **options) for number in reversed(range(30))][::-1]
    assert first == again
    assert len({a.selected for a in first}) > 25
    assert attendance(NAMES, 3, 8, **options) != first[3]


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 20), (0.5, 10), (0.12, 2), (0.125, 3), (0.001, 1)])
def test_the_fraction_is_rounded_and_never_nobody(fraction, count):
    chosen = participants(NAMES, fraction, round=1, seed=0)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen == [name for name in NAMES if name in chosen]


def test_every_client_is_asked_equally_often():
    asked = [name for number in range(4000) for name in participants(NAMES, 0.25, number, 3)]
    share = np.array([asked.count(name) for name in NAMES]) / 4000
    # Five standard errors of a frequency of 1/4 in 4,000 rounds.
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_dropouts_and_stragglers_come_at_their_rate_and_independently():
    lost = np.array([[n in dropouts(NAMES, 0.3, r, 1) for n in NAMES] for r in range(1000)])
    slow = np.array([[w < 1 for w in stragglers(NAMES, 0.3, 0.5, r, 1).values()] for r in range(1000)])
    error = 5 * np.sqrt(0.3 * 0.7 / lost.size)
    assert abs(lost.mean() - 0.3) < error
    assert abs(slow.mean() - 0.3) < error
    # Same seeds, rounds and clients: the streams still don't follow each other.
    assert abs((lost & slow).mean() - 0.09) < error
    assert abs((lost[:, 0] & lost[:, 1]).mean() - 0.09) < 5 * np.sqrt(0.09 * 0.91 / 1000)


def test_what_happens_to_a_client_does_not_depend_on_the_others():
    for number in range(20):
        whole = dropouts(NAMES, 0.5, number, 0)
        assert dropouts(NAMES[5:9], 0.5, number, 0) == [n for n in NAMES[5:9] if n in whole]


def test_who_arrives_is_who_was_asked_and_not_lost():
    seen = attendance(NAMES, 2, 0, fraction=0.8, dropout=0.4, straggling=1.0, pace=0.25)
    assert seen.dropped
    assert set(seen.arriving) | set(seen.dropped) == set(seen.selected)
    assert not set(seen.arriving) & set(seen.dropped)
    assert seen.work == dict.fromkeys(seen.selected, 0.25)
    plain = attendance(NAMES, 2, 0)
    assert plain.arriving == tuple(NAMES)
    assert set(plain.work.values()) == {1.0}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fraction": 0.0}, "--client-fraction"),
        ({"fraction": 1.5}, "--client-fraction"),
        ({"dropout": 1.0}, "--client-dropout"),
        ({"straggling": -0.1}, "--stragglers"),
        ({"pace": 0.0}, "--straggler-pace"),
        ({"fraction": float("nan")}, "--client-fraction"),
    ],
)
def test_values_out_of_range_are_refused_by_name(options, named):
    with pytest.raises(InputError, match=named):
        attendance(NAMES, 0, 0, **options)
