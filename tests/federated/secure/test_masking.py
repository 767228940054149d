"""The masked sum against the plain sum of the same integers, with every way to drop out."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from federated.secure.client import STAGES
from federated.secure.errors import RejectedError, TooFewClientsError
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.network import silent_from
from federated.secure.terms import SumTerms, default_threshold
from medimg.errors import InputError

AFTER_THE_VECTOR = ("confirm", "reveal")


def plain(vectors, weights, included, bits=64):
    """The sum of the encoded vectors of `included`, without any masks."""
    length = len(next(iter(vectors.values())))
    terms = SumTerms(0, tuple(vectors), default_threshold(len(vectors)), length, bits=bits)
    code = terms.fixed_point
    total = np.zeros(length + 1, code.dtype)
    for name in included:
        total += code.encode(vectors[name], weights[name])
    return code.decode(total)


def assert_equal_to_plain(result, vectors, weights, included):
    total, weight = plain(vectors, weights, included)
    assert result.included == tuple(included)
    assert np.array_equal(result.total, total)
    assert result.weight == weight == sum(weights[name] for name in included)
    exact = sum(vectors[name].astype(np.float64) * weights[name] for name in included)
    np.testing.assert_allclose(result.total, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 10, 20, pytest.param(50, marks=pytest.mark.slow)])
def test_equals_the_plain_sum_whoever_drops_out_down_to_the_threshold(count, vectors_of, draw):
    vectors = vectors_of(count)
    weights = {name: float(draw.integers(1, 5000)) for name in vectors}
    known = identities(vectors)
    for number, gone in enumerate({0, count - default_threshold(count)}):
        names = draw.choice(list(vectors), gone, replace=False)
        lost = {name: str(draw.choice(STAGES)) for name in names}
        options = {"identities": known, "round_number": number, "network": silent_from(lost)}
        result = masked_sum(vectors, weights, **options)
        staying = [n for n in vectors if lost.get(n) in (None, *AFTER_THE_VECTOR)]
        assert_equal_to_plain(result, vectors, weights, staying)
        assert result.dropped == lost
        assert not result.rejected


@pytest.mark.parametrize("stage", STAGES)
def test_every_subset_of_five_clients(stage, vectors_of):
    vectors = vectors_of(5, length=3)
    weights = dict.fromkeys(vectors, 1.0)
    for gone in range(1, 5):
        for names in combinations(vectors, gone):
            # Each is a training of its own.
            known, network = identities(vectors), silent_from(dict.fromkeys(names, stage))
            if 5 - gone < 3:
                with pytest.raises(TooFewClientsError, match=f"{5 - gone} clients at stage '{stage}'"):
                    masked_sum(vectors, identities=known, network=network)
                continue
            result = masked_sum(vectors, identities=known, network=network)
            left = [n for n in vectors if n not in names or stage in AFTER_THE_VECTOR]
            assert_equal_to_plain(result, vectors, weights, left)


def test_a_higher_threshold_fails_closed_earlier(vectors_of):
    vectors = vectors_of(5)
    network = silent_from({"site-2": "reveal"})
    with pytest.raises(TooFewClientsError, match="the threshold is 5"):
        masked_sum(vectors, identities=identities(vectors), threshold=5, network=network)


@pytest.mark.parametrize("bits", [32, 64])
def test_two_types_and_two_word_sizes(bits, vectors_of):
    vectors = vectors_of(3, dtype=np.float64)
    result = masked_sum(vectors, identities=identities(vectors), bits=bits, max_weight=1.0)
    unit = SumTerms(0, tuple(vectors), 2, 20, max_weight=1.0, bits=bits).fixed_point.unit
    assert np.abs(result.total - sum(vectors.values())).max() <= 3 * unit / 2
    np.testing.assert_allclose(result.mean, sum(vectors.values()) / 3, atol=unit)


def test_repeating_a_round_gives_the_same_bits(vectors_of):
    vectors = vectors_of(4, length=1000)
    one, two = (masked_sum(vectors, identities=identities(vectors)).total for _ in range(2))
    assert np.array_equal(one, two)


def test_a_lost_client_is_a_sum_of_the_others_that_differs(vectors_of):
    # Clients that forget what they have answered: what test_answers.py is about.
    vectors = vectors_of(4)
    whole = masked_sum(vectors, identities=identities(vectors)).total
    lost = silent_from({"site-1": "mask"})
    less = masked_sum(vectors, identities=identities(vectors), network=lost).total
    np.testing.assert_allclose(whole - less, vectors["site-1"], atol=1e-7)


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.array([1.0, np.nan, np.inf]), "its vector has NaN or infinity"),
        (np.zeros(4), r"shape \(4,\), this round's is \(3,\)"),
        (np.zeros((3, 1)), "shape"),
        (np.array([0.0, -1025.0, 0.0]), "goes beyond the public limit of 1024"),
        (np.zeros(3, np.int64), "int64"),
    ],
)
def test_a_vector_that_cannot_be_used_is_rejected_by_name_and_the_round_goes_on(vector, reason):
    vectors = {"good": np.ones(3), "bad": vector, "fine": np.ones(3)}
    result = masked_sum(vectors, identities=identities(vectors))
    assert result.included == ("good", "fine")
    assert list(result.rejected) == ["bad"]
    with pytest.raises(RejectedError, match=reason):
        raise RejectedError("bad", result.rejected["bad"])
    assert np.array_equal(result.total, [2.0, 2.0, 2.0])


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, 2.0**21])
def test_a_weight_out_of_bounds_is_rejected_by_name(weight):
    vectors = {name: np.ones(3) for name in "abc"}
    result = masked_sum(vectors, {"a": 1, "b": weight, "c": 2}, identities=identities(vectors))
    assert list(result.rejected) == ["b"]
    assert result.weight == 3


@pytest.mark.parametrize(
    ("count", "threshold", "reason"), [(1, 1, "2 or more clients"), (4, 2, "more than half"), (4, 5, "from 3 to 4")]
)
def test_terms_that_protect_nobody_are_refused(count, threshold, reason, vectors_of):
    vectors = vectors_of(count)
    with pytest.raises(InputError, match=reason):
        masked_sum(vectors, identities=identities(vectors), threshold=threshold)


def test_bytes_are_counted_both_ways(vectors_of):
    vectors = vectors_of(3, length=10_000)
    result = masked_sum(vectors, identities=identities(vectors), network=silent_from({"site-0": "share"}))
    assert 80_008 < result.bytes_up["site-1"] < 83_000
    assert 0 < result.bytes_down["site-1"] < 5_000
    assert result.bytes_up["site-0"] < 3_000


def test_importing_knows_nothing_of_models():
    code = (
        "import sys, federated.secure.masking, federated.secure.encrypted, federated.secure.exposure;"
        "print({'tensorflow', 'tensorflow_federated', 'tenseal', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
