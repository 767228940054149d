"""A message that was changed, replayed or signed by another is rejected by the name of its client."""

import json

import numpy as np
import pytest

from federated.secure.client import STAGES
from federated.secure.errors import RefusedError, RejectedError
from federated.secure.keys import Exchange, Identity, identities
from federated.secure.masking import masked_sum
from federated.secure.messages import pack, signed_message, unpack


def flip(message, place, bit=0):
    changed = bytearray(message)
    changed[place] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("stage", STAGES)
def test_a_flipped_bit_anywhere_is_rejected_by_name_and_the_others_go_on(stage, vectors_of, draw):
    vectors = vectors_of(4)
    known = identities(vectors)
    for number in range(5):

        def network(at, client, message):
            hit = at == stage and client == "site-2"
            return flip(message, draw.integers(len(message)), draw.integers(8)) if hit else message

        result = masked_sum(vectors, identities=known, round_number=number, network=network)
        assert list(result.rejected) == ["site-2"]
        assert "signature" in result.rejected["site-2"]
        assert ("site-2" in result.included) == (stage in ("confirm", "reveal"))
        left = sum(vectors[name].astype(np.float64) for name in result.included)
        np.testing.assert_allclose(result.total, left, atol=1e-7)


@pytest.mark.parametrize("stage", STAGES)
def test_a_message_of_an_earlier_round_is_a_replay(stage, vectors_of):
    vectors = vectors_of(3)
    known, recorded = identities(vectors), {}

    def record(at, client, message):
        recorded[at, client] = message
        return message

    def replay(at, client, message):
        return recorded[at, client] if (at, client) == (stage, "site-1") else message

    masked_sum(vectors, identities=known, round_number=1, network=record)
    result = masked_sum(vectors, identities=known, round_number=2, network=replay)
    assert "another round" in result.rejected["site-1"]
    assert list(result.rejected) == ["site-1"]


def test_a_message_sent_twice_counts_once(parties, vectors_of):
    vectors = vectors_of(3)
    play = parties(vectors).play(until="mask")
    play.sent["mask"] = {name: play.act("mask", name) for name in vectors}
    for name, message in play.sent["mask"].items():
        play.server.receive(name, message)
    with pytest.raises(RejectedError, match="'site-1': sent 'mask' twice"):
        play.server.receive("site-1", play.sent["mask"]["site-1"])
    play.inbound = play.server.next_stage()
    total, _ = play.play().server.total()
    np.testing.assert_allclose(total, sum(x.astype(float) for x in vectors.values()), atol=1e-7)


def test_an_earlier_stage_again_and_a_stage_too_soon(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="share")
    with pytest.raises(RejectedError, match="sent 'advertise' where 'share' is due"):
        play.server.receive("site-0", play.sent["advertise"]["site-0"])


def test_a_client_that_was_lost_does_not_come_back(parties, vectors_of):
    play = parties(vectors_of(4)).play(until="mask")
    late = play.act("mask", "site-3")
    play.play(until="reveal", lost=["site-3"])
    with pytest.raises(RejectedError, match="'site-3'"):
        play.server.receive("site-3", late)
    false = play.signed("reveal", "site-3", {"seeds": {}, "keys": {}})
    with pytest.raises(RejectedError, match="without having sent 'confirm'"):
        play.server.receive("site-3", false)


def test_another_key_and_another_name(parties, vectors_of):
    play = parties(vectors_of(3))
    impostor = Identity.generate("site-0")
    fields = {"masking": "00" * 32, "channel": "00" * 32}
    with pytest.raises(RejectedError, match="'site-0': the signature"):
        play.server.receive("site-0", signed_message(impostor, play.terms.id, "advertise", fields))
    posing = Identity("site-1", play.identities["site-0"].private)
    with pytest.raises(RejectedError, match="'site-0': its message is signed as 'site-1'"):
        play.server.receive("site-0", signed_message(posing, play.terms.id, "advertise", fields))
    with pytest.raises(RejectedError, match="'stranger': is not one of"):
        play.server.receive("stranger", b"")


@pytest.mark.parametrize("words", [0, 5, 20, 22])
def test_a_masked_vector_of_the_wrong_length_leaves_the_sum_alone(words, parties, vectors_of):
    play = parties(vectors_of(3)).play(until="mask")
    body = np.ones(words, "<u8")
    raw = play.signed("mask", "site-0", {}, body)
    with pytest.raises(RejectedError, match=f"'site-0': its masked vector has {words} words"):
        play.server.receive("site-0", raw)
    assert not play.server._sum.any()
    assert play.server.included == ()


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        ("advertise", {}),
        ("advertise", {"masking": 3, "channel": None}),
        ("advertise", {"masking": "00", "channel": "00"}),
        ("share", {"to": {}, "prints": {}, "seed": ""}),
        ("share", {"to": [], "prints": None}),
        ("confirm", {}),
        ("confirm", {"survivors": ["site-0", "site-1"]}),
        ("reveal", {"seeds": {}, "keys": {}}),
        ("reveal", {"seeds": {"site-0": 1, "site-1": 1, "site-2": 1}, "keys": {}}),
    ],
)
def test_malformed_contents_are_rejected_by_name(stage, fields, parties, vectors_of):
    play = parties(vectors_of(3)).play(until=stage)
    with pytest.raises(RejectedError, match="'site-0'"):
        play.server.receive("site-0", play.signed(stage, "site-0", fields))


def test_a_false_share_is_rejected_by_the_name_of_who_revealed_it(parties, vectors_of):
    play = parties(vectors_of(5)).play(until="reveal")
    for name in play.vectors:
        raw = play.act("reveal", name)
        if name == "site-1":
            fields = play.verified("reveal", name, raw).fields
            fields["seeds"]["site-3"] = flip(bytes.fromhex(fields["seeds"]["site-3"]), 65).hex()
            raw = play.signed("reveal", name, fields)
            with pytest.raises(RejectedError, match="'site-1': revealed a false share of 'site-3'"):
                play.server.receive(name, raw)
        else:
            play.server.receive(name, raw)
    play.server.next_stage()
    total, _ = play.server.total()
    exact = sum(vector.astype(np.float64) for vector in play.vectors.values())
    np.testing.assert_allclose(total, exact, atol=1e-7)


def test_a_client_that_shares_another_secret_than_it_uses_is_named_and_there_is_no_sum(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="mask")
    # Its vector is then masked by a seed that nobody has shares of.
    play.clients["site-2"]._seed = bytes(32)
    message = play.server._messages["share"]["site-2"]
    message.fields["seed"] = "00" * 32
    play.play()
    with pytest.raises(RejectedError, match="'site-2': its shares do not restore"):
        play.server.total()
    assert len(play.server._sum) == 0


def test_a_share_changed_on_its_way_is_noticed_by_its_holder(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="mask")
    relay = json.loads(play.inbound["site-0"])
    relay["site-1"] = flip(bytes.fromhex(relay["site-1"]), 3).hex()
    with pytest.raises(RejectedError, match="'site-1': its share for 'site-0' does not open"):
        play.clients["site-0"].mask(json.dumps(relay).encode(), play.vectors["site-0"])


def test_shares_handed_to_the_wrong_client_do_not_open(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="mask")
    with pytest.raises((RejectedError, RefusedError)):
        play.clients["site-0"].mask(play.inbound["site-1"], play.vectors["site-0"])


def test_keys_that_the_server_made_up_are_noticed(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="share")
    own = Identity.generate("site-1")
    fields = {"masking": "11" * 32, "channel": "11" * 32}
    messages = unpack(play.inbound["site-0"])
    messages[1] = signed_message(own, play.terms.id, "advertise", fields)
    with pytest.raises(RejectedError, match="'site-1': the signature"):
        play.clients["site-0"].share(pack(messages))
    cut = play.inbound["site-2"][:-5]
    with pytest.raises(RefusedError, match="can't be read"):
        play.clients["site-2"].share(cut)


def test_a_key_that_makes_the_secret_known_to_all_is_rejected(parties, vectors_of):
    play = parties(vectors_of(3))
    for which in ("masking", "channel"):
        keys = {one: Exchange.generate(play.entropy).public.hex() for one in ("masking", "channel")}
        low = play.signed("advertise", "site-2", keys | {which: "00" * 32})
        with pytest.raises(RejectedError, match="'site-2': its message 'advertise'"):
            play.server.receive("site-2", low)
    # A server that lets it through is noticed by the clients.
    play.play(until="share")
    messages = unpack(play.inbound["site-0"])
    with pytest.raises(RejectedError, match="'site-2': advertised a key"):
        play.clients["site-0"].share(pack([*messages[:2], low]))


def test_a_masked_vector_under_another_tag_key_is_rejected(parties, vectors_of):
    play = parties(vectors_of(3)).play(until="mask")
    raw = signed_message(play.identities["site-0"], play.terms.id, "mask", {}, np.ones(21, "<u8"), bytes(32))
    with pytest.raises(RejectedError, match=r"'site-0': the signature .* does not match its body"):
        play.server.receive("site-0", raw)
    untagged = signed_message(play.identities["site-0"], play.terms.id, "mask", {}, np.ones(21, "<u8"))
    with pytest.raises(RejectedError, match="'site-0': the signature"):
        play.server.receive("site-0", untagged)
