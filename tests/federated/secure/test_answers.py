"""A client answers no round in two ways, so that no difference of two sums is one client's vector."""

import fcntl
import json
import threading
from itertools import product

import numpy as np
import pytest

from federated.secure.answers import AnswerRecord
from federated.secure.client import MaskingClient
from federated.secure.errors import RefusedError, TooFewClientsError
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.messages import pack
from federated.secure.network import silent_from
from federated.secure.terms import SumTerms
from medimg.errors import InputError

LOST = [(), ("site-0",), ("site-1",), ("site-2",), ("site-3",)]


def asked_twice(vectors, first, second, known, sessions=("", "")):
    """What a coordinator obtains that asks for one round's sum without the lost, then without others."""
    totals = []
    for lost, session in zip((first, second), sessions, strict=True):
        network = silent_from(dict.fromkeys(lost, "mask"))
        options = {"round_number": 7, "session": session, "network": network}
        try:
            totals.append(masked_sum(vectors, identities=known, **options).total)
        except TooFewClientsError:
            totals.append(None)
    return totals


def unmasked(vectors, totals):
    """Clients whose vector is the difference of two sums."""
    if any(total is None for total in totals):
        return []
    difference = totals[0] - totals[1]
    return [
        name
        for name, vector in vectors.items()
        if min(np.abs(difference - vector).max(), np.abs(difference + vector).max()) < 1e-6
    ]


@pytest.mark.slow
@pytest.mark.parametrize("sessions", [("", ""), ("a", "a")], ids=["resumed", "one session"])
def test_no_two_sums_of_a_round_unmask_a_client(vectors_of, sessions):
    vectors = vectors_of(4)
    attacks = [pair for pair in product(LOST, LOST) if pair[0] != pair[1]]
    forgetful, remembering = [], []
    for first, second in attacks:
        known = identities(vectors)
        remembering.append(unmasked(vectors, asked_twice(vectors, first, second, known, sessions)))
        totals = [asked_twice(vectors, one, one, identities(vectors))[0] for one in (first, second)]
        forgetful.append(unmasked(vectors, totals))
    # Without memory each of the eight pairs of all with all but one gives a vector away.
    assert sum(map(bool, forgetful)) == 8
    assert not any(remembering)


def test_a_repeated_round_of_the_same_clients_gives_the_same_sum_under_fresh_masks(vectors_of):
    vectors, sent = vectors_of(4), []
    known = identities(vectors)

    def record(stage, client, message):
        if stage == "mask":
            sent.append(message)
        return None if (stage, client) == ("mask", "site-2") else message

    options = {"identities": known, "round_number": 1, "network": record}
    one, two = (masked_sum(vectors, **options) for _ in range(2))
    assert np.array_equal(one.total, two.total)
    assert one.included == two.included
    assert len(set(sent)) == 8


def test_the_same_terms_are_answered_once_whoever_asks(parties, vectors_of):
    play = parties(vectors_of(3)).play()
    # A client that was started anew, with what it remembers.
    for name in play.vectors:
        with pytest.raises(RefusedError, match=f"'{name}' refuses: round 1 was answered in this"):
            play.client(name).advertise()


def test_a_round_is_not_repeated_with_other_clients(vectors_of):
    vectors = vectors_of(4)
    known = identities(vectors)
    masked_sum(vectors, identities=known, round_number=3)
    three = {name: vectors[name] for name in list(vectors)[:3]}
    with pytest.raises(TooFewClientsError, match="asked of other clients before"):
        masked_sum(three, identities=known, round_number=3)
    assert masked_sum(three, identities=known, round_number=4).included == tuple(three)


def test_a_round_is_not_repeated_on_other_terms(vectors_of):
    """A limit that halves each time would end at a client's largest value; other steps give other sums."""
    vectors = vectors_of(3)
    known = identities(vectors)
    masked_sum(vectors, identities=known, round_number=3)
    for more in ({"limit": 1.0}, {"max_weight": 2.0}, {"bits": 32, "max_weight": 2.0}, {"threshold": 3}):
        with pytest.raises(TooFewClientsError, match="on other terms before"):
            masked_sum(vectors, identities=known, round_number=3, **more)
    masked_sum(vectors, identities=known, round_number=3)


@pytest.mark.slow
def test_no_order_of_requests_gets_both_secrets_of_a_client(parties, vectors_of):
    """Every list of the sum, asked of every client with the honest confirmations, and then every other one."""
    names = [f"site-{i}" for i in range(4)]
    lists = [
        [name for name, has in zip(names, flags, strict=True) if has] for flags in product((True, False), repeat=4)
    ]
    got = 0
    for first, second in product(lists, lists):
        play = parties(vectors_of(4)).play(until="mask").play(until="confirm", lost=["site-3"])
        client = play.clients["site-0"]
        shown = {"seeds": set(), "keys": set()}
        for survivors in (first, second):
            try:
                raw = client.confirm(json.dumps(survivors).encode())
                others = [
                    play.signed("confirm", name, {"survivors": survivors}) for name in survivors if name != "site-0"
                ]
            except InputError:
                continue
            asked = {
                "survivors": survivors,
                "dropped": [name for name in names if name not in survivors],
                "confirmed": ["site-0", *(name for name in survivors if name != "site-0")],
            }
            request = pack([json.dumps(asked).encode(), raw, *others])
            for _ in range(2):
                try:
                    fields = play.verified("reveal", "site-0", client.reveal(request)).fields
                except InputError:
                    continue
                got += 1
                for kind, revealed in fields.items():
                    shown[kind] |= set(revealed)
        assert not shown["seeds"] & shown["keys"]
    # Lists of three or four with site-0 in them are answered: the test is not about nothing.
    assert got > 0


def test_what_was_answered_outlasts_the_client(tmp_path, vectors_of):
    vectors = vectors_of(3)
    options = {"round_number": 5, "session": "s"}
    masked_sum(vectors, identities=identities(vectors, tmp_path), **options)
    restarted = identities(vectors, tmp_path)
    with pytest.raises(TooFewClientsError, match="round 5 was answered in this session"):
        masked_sum(vectors, identities=restarted, **options)
    lost = silent_from({"site-1": "mask"})
    with pytest.raises(TooFewClientsError, match="another list of clients in the sum"):
        masked_sum(vectors, identities=restarted, round_number=5, network=lost)


def test_two_processes_of_one_client_answer_a_round_once(tmp_path):
    terms = SumTerms(1, ("a", "b"), 2, 3)
    first, second = (AnswerRecord("a", tmp_path / "0.jsonl") for _ in range(2))
    first.begin(terms)
    with pytest.raises(RefusedError, match="answered in this session"):
        second.begin(terms)
    with (tmp_path / "0.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = threading.Thread(target=second.settle, args=(terms, ["a", "b"]))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()
    with pytest.raises(RefusedError, match="another list of clients"):
        first.settle(terms, ["a"])
    assert len((tmp_path / "0.jsonl").read_bytes().splitlines()) == 2


def test_a_torn_line_was_never_answered_and_a_damaged_file_answers_nothing(tmp_path):
    path = tmp_path / "0.jsonl"
    terms = SumTerms(1, ("a", "b"), 2, 3)
    AnswerRecord("a", path).begin(terms)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"round": 2, "se')
    with pytest.raises(RefusedError, match="answered in this session"):
        AnswerRecord("a", path).begin(terms)
    assert path.read_bytes() == whole
    path.write_bytes(b"{}\n")
    with pytest.raises(RefusedError, match=r"0\.jsonl is damaged; .* --overwrite"):
        AnswerRecord("a", path)


def test_an_identity_without_a_record_has_one_of_its_own(parties, vectors_of):
    play = parties(vectors_of(3))
    opening = play.terms.to_bytes()
    MaskingClient(play.identities["site-0"], play.roster, opening).advertise()
    with pytest.raises(RefusedError):
        MaskingClient(play.identities["site-0"], play.roster, opening).advertise()
    MaskingClient(play.identities["site-1"], play.roster, opening).advertise()
