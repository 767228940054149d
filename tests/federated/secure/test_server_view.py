"""What the server holds, and what a client refuses to give it."""

import json

import numpy as np
import pytest
from scipy import stats

from federated.secure.errors import RefusedError, TooFewClientsError
from federated.secure.messages import pack, unpack
from federated.secure.terms import SumTerms
from medimg.errors import InputError

LENGTH = 20_000


@pytest.fixture
def masked(parties):
    """Four clients whose vectors are far from random, after all masked vectors came in."""
    vectors = {f"site-{i}": np.full(LENGTH, i / 10, np.float32) for i in range(4)}
    return parties(vectors).play(until="confirm")


def words(play, name):
    return np.frombuffer(play.verified("mask", name, play.sent["mask"][name]).body, "<u8")


def uniform(values, bins=256):
    """p of the chi-square test that bytes (or bits of them) are equally frequent."""
    return stats.chisquare(np.bincount(values, minlength=bins)).pvalue


def test_one_masked_vector_is_indistinguishable_from_uniform(masked):
    for name in masked.vectors:
        vector = words(masked, name)
        by_place = vector.view(np.uint8).reshape(-1, 8)
        # Nine tests a client at 1e-4 with fixed seeds: a true mask passes, an unmasked byte has p = 0.
        assert uniform(by_place.ravel()) > 1e-4
        assert min(uniform(by_place[:, place]) for place in range(8)) > 1e-4
        ones = np.unpackbits(by_place, axis=1).mean(0)
        assert np.abs(ones - 0.5).max() < 4.5 * 0.5 / LENGTH**0.5
        # Neighbours tell nothing of each other either.
        joint = by_place[:-1, 7] // 16 * 16 + by_place[1:, 7] // 16
        assert uniform(joint) > 1e-4


def test_the_same_test_recognises_an_unmasked_vector(masked):
    encoded = masked.terms.fixed_point.encode(masked.vectors["site-1"])
    assert uniform(encoded.view(np.uint8)) < 1e-100


def test_differences_and_sums_of_some_clients_are_uniform_too(masked):
    vectors = [words(masked, name) for name in masked.vectors]
    for mix in (vectors[0] - vectors[1], vectors[0] + vectors[1], sum(vectors[:3]), sum(vectors)):
        assert uniform(mix.view(np.uint8)) > 1e-4


def test_the_server_holds_one_running_sum_which_is_masked_until_the_end(masked):
    arrays, found = [], [vars(masked.server)]
    while found:
        content = found.pop()
        if isinstance(content, dict):
            found += content.values()
        elif isinstance(content, list | tuple):
            found += content
        elif isinstance(content, np.ndarray):
            arrays.append(content)
        elif isinstance(content, bytes | memoryview):
            assert len(content) < LENGTH
        elif hasattr(content, "__dict__"):
            found.append(vars(content))
    assert len(arrays) == 1
    assert np.array_equal(arrays[0], sum(words(masked, name) for name in masked.vectors))
    assert uniform(arrays[0].view(np.uint8)) > 1e-4
    with pytest.raises(InputError, match="no sum before"):
        masked.server.total()
    total, weight = masked.play().server.total()
    np.testing.assert_allclose(total, np.full(LENGTH, 0.6), atol=1e-7)
    assert weight == 4


def test_below_the_threshold_the_running_sum_is_destroyed(masked):
    server = masked.server
    with pytest.raises(TooFewClientsError):
        server.next_stage()
    assert len(server._sum) == 0
    with pytest.raises(InputError):
        server.total()


@pytest.fixture
def asking(parties, vectors_of):
    """Four clients of which one is lost with its vector; the unmasking is about to be asked for."""
    play = parties(vectors_of(4)).play(until="mask").play(until="reveal", lost=["site-3"])
    return play, unpack(play.inbound["site-0"])


def ask(play, parts, **changes):
    request = json.loads(parts[0]) | changes
    return play.clients["site-0"].reveal(pack([json.dumps(request).encode(), *parts[1:]]))


def test_a_client_reveals_one_secret_of_each(asking):
    play, parts = asking
    raw = ask(play, parts)
    fields = play.verified("reveal", "site-0", raw).fields
    assert set(fields["seeds"]) == {"site-0", "site-1", "site-2"}
    assert set(fields["keys"]) == {"site-3"}


def test_a_client_refuses_to_reveal_both_secrets(asking):
    with pytest.raises(RefusedError, match="both secrets of site-1"):
        ask(*asking, dropped=["site-3", "site-1"])


def test_a_client_refuses_a_list_it_did_not_confirm(asking):
    with pytest.raises(RefusedError, match="another list"):
        ask(*asking, survivors=["site-0", "site-2"], dropped=["site-1", "site-3"])


def test_a_client_reveals_once(asking):
    play, parts = asking
    ask(play, parts)
    with pytest.raises(RefusedError, match="out of order or again"):
        ask(play, parts)


def test_a_client_reveals_nothing_without_enough_confirmations(asking):
    play, parts = asking
    with pytest.raises(TooFewClientsError):
        ask(play, parts[:3], confirmed=["site-0", "site-1"])


def test_a_client_refuses_where_another_was_shown_another_list(asking):
    play, parts = asking
    other = {"survivors": ["site-0", "site-1", "site-3"]}
    parts[2] = play.signed("confirm", "site-1", other)
    with pytest.raises(RefusedError, match="'site-1' was shown another list"):
        ask(play, parts)


def test_one_confirmation_counts_once(asking):
    play, parts = asking
    with pytest.raises(TooFewClientsError):
        ask(play, [parts[0], *parts[1:2] * 3], confirmed=["site-0"] * 3)


def test_a_client_confirms_no_list_without_itself_or_below_the_threshold(parties, vectors_of):
    play = parties(vectors_of(4)).play(until="confirm")
    with pytest.raises(RefusedError, match="did not arrive"):
        play.clients["site-0"].confirm(b'["site-1", "site-2", "site-3"]')
    with pytest.raises(TooFewClientsError):
        play.clients["site-1"].confirm(b'["site-1", "site-2"]')
    with pytest.raises(RefusedError, match="repeats names"):
        play.clients["site-2"].confirm(b'["site-2", "site-2", "site-1"]')


def test_a_client_takes_no_terms_that_unmask_a_minority(parties, vectors_of):
    play = parties(vectors_of(4))
    terms = json.loads(play.terms.to_bytes()) | {"threshold": 1}
    play.terms = type("Weak", (), {"to_bytes": lambda self: json.dumps(terms).encode()})()
    with pytest.raises(InputError, match="more than half"):
        play.client("site-0")


def test_masks_of_the_same_vector_differ_between_rounds(parties):
    vectors = {name: np.ones(1000, np.float32) for name in "abc"}
    one, two = (words(parties(vectors, seed).play(until="confirm"), "a") for seed in (1, 2))
    assert (one == two).mean() < 0.01


def test_terms_have_an_id_of_their_own_each_time():
    make = {"round": 1, "clients": ("a", "b", "c"), "threshold": 2, "length": 3}
    assert SumTerms(**make).id != SumTerms(**make).id
    fixed = SumTerms(**make, nonce="00" * 16)
    assert SumTerms.from_bytes(fixed.to_bytes()).id == fixed.id
    assert SumTerms(**make | {"threshold": 3}, nonce="00" * 16).id != fixed.id


def test_a_client_masks_nothing_with_fewer_partners_than_the_threshold(parties, vectors_of):
    play = parties(vectors_of(5)).play(until="mask")
    few = dict(list(json.loads(play.inbound["site-0"]).items())[:1])
    with pytest.raises(TooFewClientsError, match="2 clients at stage 'mask'"):
        play.clients["site-0"].mask(json.dumps(few).encode(), play.vectors["site-0"])
