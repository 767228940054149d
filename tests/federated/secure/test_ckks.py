import json

import numpy as np
import pytest
import tenseal

from federated.secure import handing
from federated.secure.ckks_client import CkksClient
from federated.secure.ckks_keys import BESIDE, GRID, SLOTS, CkksKeys, grid_of
from federated.secure.ckks_server import CkksServer
from federated.secure.encrypted import ckks_sum
from federated.secure.errors import ForgedSumError, RefusedError, RejectedError, TooFewClientsError
from federated.secure.exposure import KINDS, who_could_see
from federated.secure.keys import identities, roster
from federated.secure.messages import pack, signed_message, unpack, verified_message
from federated.secure.network import silent_from
from federated.secure.tags import PRIMES
from federated.secure.terms import SumTerms
from medimg.errors import InputError


@pytest.fixture(scope="module")
def keys():
    return CkksKeys.generate(50, 1024.0, 1.0)


@pytest.fixture(scope="module")
def wide_keys():
    return CkksKeys.generate(50, 1024.0, 2.0**20)


def rounded(values, grid=GRID):
    return np.rint(np.asarray(values, np.float64) / grid) * grid


@pytest.mark.parametrize(("count", "length"), [(2, 10), (4, 2 * SLOTS), (5, SLOTS - 2), (50, 30)])
def test_sum_is_exactly_that_of_the_rounded_vectors(count, length, keys, vectors_of):
    vectors = vectors_of(count, length)
    result = ckks_sum(vectors, identities=identities(vectors), keys=keys)
    assert np.array_equal(result.total, sum(rounded(vector) for vector in vectors.values()))
    exact = sum(vector.astype(np.float64) for vector in vectors.values())
    assert np.abs(result.total - exact).max() <= count * GRID / 2 < 1e-4
    assert result.weight == count
    assert len(result.included) == count


def test_weighted_by_examples(wide_keys, vectors_of, draw):
    vectors = vectors_of(5, 5000)
    weights = {name: float(draw.integers(1, 50_000)) for name in vectors}
    options = {"identities": identities(vectors), "keys": wide_keys, "max_weight": 2.0**20}
    result = ckks_sum(vectors, weights, **options)
    exact = sum(vectors[name].astype(np.float64) * weights[name] for name in vectors)
    grid = grid_of(SumTerms(0, tuple(vectors), 3, 5000, max_weight=2.0**20))
    assert grid <= 2.0**-11
    assert np.abs(result.total - exact).max() <= 5 * grid / 2
    # Of the mean it is less than without weights.
    assert np.abs(result.total - exact).max() / result.weight <= GRID / 2
    assert result.weight == sum(weights.values())
    again = ckks_sum(vectors, weights, **options)
    assert np.array_equal(again.total, result.total)


def test_values_at_the_bounds_do_not_wrap_around(wide_keys, keys):
    # As large as the sum of 50 may be, from 5 clients.
    vectors = {f"site-{i}": np.array([10240.0, -10240.0]) for i in range(5)}
    for weight, chosen in ((1.0, keys), (2.0**20, wide_keys)):
        weights = dict.fromkeys(vectors, weight)
        options = {"identities": identities(vectors), "keys": chosen, "limit": 10240.0, "max_weight": weight}
        total = ckks_sum(vectors, weights, **options).total
        assert np.abs(total / weight - [51200, -51200]).max() < 1e-4
    with pytest.raises(InputError, match="make keys for these bounds"):
        ckks_sum(vectors, **{**options, "keys": keys})


def test_dropouts_and_the_threshold(keys, vectors_of):
    vectors = vectors_of(5)
    known = identities(vectors)
    lost = {"site-1": "encrypt", "site-0": "decrypt"}
    result = ckks_sum(vectors, identities=known, keys=keys, network=silent_from(lost))
    left = [name for name in vectors if name != "site-1"]
    assert result.included == tuple(left)
    assert result.dropped == lost
    assert np.array_equal(result.total, sum(rounded(vectors[name]) for name in left))
    gone = silent_from(dict.fromkeys(["site-0", "site-1", "site-2"], "encrypt"))
    with pytest.raises(TooFewClientsError, match="2 clients at stage 'encrypt'"):
        ckks_sum(vectors, identities=known, keys=keys, round_number=1, network=gone)
    mute = silent_from(dict.fromkeys(vectors, "decrypt"))
    with pytest.raises(TooFewClientsError, match="no client is left to decrypt"):
        ckks_sum(vectors, identities=known, keys=keys, round_number=2, network=mute)


@pytest.fixture
def round_of_three(keys, vectors_of):
    vectors = vectors_of(3)
    known = identities(vectors)
    terms = SumTerms(1, tuple(vectors), 2, 20, max_weight=1.0)
    server = CkksServer(terms, roster(known), keys.public)
    clients = {name: CkksClient(known[name], roster(known), terms.to_bytes(), keys) for name in vectors}
    return server, clients, vectors, known


def confirmed(server, clients, names=None):
    """All messages up to the request to decrypt, the named clients' confirmed list signed by all of them."""
    listed = server.listed() if names is None else json.dumps(names).encode()
    signed = {name: clients[name].confirm(listed) for name in json.loads(listed)}
    return pack([json.dumps(list(signed)).encode(), pack(signed.values())])


def request(server, clients, ciphertexts, names=None):
    """A server's that asks for what it likes, once the list is confirmed."""
    return pack([*unpack(confirmed(server, clients, names)), pack(c.serialize() for c in ciphertexts)])


def test_the_server_can_not_decrypt(round_of_three, keys):
    server, clients, vectors, _ = round_of_three
    assert not server.context.is_private()
    assert not server.context.has_secret_key()
    server.receive("site-0", clients["site-0"].encrypt(vectors["site-0"]))
    with pytest.raises(ValueError, match="hold a secret_key"):
        server._sum[0].decrypt()
    with pytest.raises(InputError, match="clients' CKKS key"):
        CkksServer(server.terms, {}, keys.secret)
    for junk in (b"", b"junk", keys.public[:-100]):
        with pytest.raises(InputError, match="can't be read"):
            CkksServer(server.terms, {}, junk)


def test_a_client_decrypts_no_single_vector_and_only_once(round_of_three):
    server, clients, vectors, _ = round_of_three
    for name in ("site-0", "site-1"):
        server.receive(name, clients[name].encrypt(vectors[name]))
    with pytest.raises(TooFewClientsError):
        clients["site-1"].decrypt(pack([b"[]", b"", pack(vector.serialize() for vector in server._sum)]))
    with pytest.raises(RefusedError, match="second decryption"):
        clients["site-1"].decrypt(request(server, clients, server._sum))


def test_a_client_decrypts_no_other_sum_than_the_list_it_confirmed(round_of_three):
    server, clients, vectors, _ = round_of_three
    for name, vector in vectors.items():
        server.receive(name, clients[name].encrypt(vector))
    with pytest.raises(TooFewClientsError):
        clients["site-0"].confirm(b'["site-1"]')
    for names in (b'["site-1", "site-1"]', b'["site-1", "stranger"]'):
        with pytest.raises(RefusedError, match="repeats or invents"):
            clients["site-0"].confirm(names)
    asked = request(server, clients, server._sum, ["site-0", "site-1"])
    for name in ("site-0", "site-1"):
        with pytest.raises(ForgedSumError, match="the sum counts 3 clients"):
            clients[name].decrypt(asked)
    raw = clients["site-2"].confirm(b'["site-1", "site-2"]')
    with pytest.raises(RejectedError, match="'site-2': confirmed another list"):
        server.confirmed("site-2", raw)


def test_no_second_sum_of_a_round_over_other_clients(keys, vectors_of):
    """Whoever is asked to decrypt it: the difference of the two would be the lost client's vector."""
    vectors = vectors_of(4)
    for first in ({}, {"site-0": "decrypt"}):
        known = identities(vectors)
        options = {"identities": known, "keys": keys, "round_number": 2}
        whole = ckks_sum(vectors, **options, network=silent_from(first)).total
        again = ckks_sum(vectors, **options, network=silent_from(first)).total
        assert np.array_equal(whole, again)
        with pytest.raises(TooFewClientsError, match="another list of clients in the sum"):
            ckks_sum(vectors, **options, network=silent_from({"site-3": "encrypt"}))
        ckks_sum(vectors, **options, session="one")
        with pytest.raises(TooFewClientsError, match="answered in this session"):
            ckks_sum(vectors, **options, session="one")


def test_noise_that_rounding_can_not_remove_gives_no_sum(round_of_three, keys):
    server, clients, vectors, _ = round_of_three
    for name in ("site-0", "site-1"):
        server.receive(name, clients[name].encrypt(vectors[name]))
    context = tenseal.context_from(keys.public)
    noisy = tenseal.ckks_vector(context, [GRID / 2] * 20 + [2.0, 2.0] + [0.0] * (BESIDE - 2))
    with pytest.raises(ForgedSumError, match="noise is too large"):
        clients["site-0"].decrypt(request(server, clients, [noisy]))


def alone(sent, public, length, keys):
    """One client's vector and nothing of the others, though it counts three."""
    (one, *_) = sent.values()
    return one + tenseal.ckks_vector(public, [0.0] * length + [0.0, 2.0] + [0.0] * (BESIDE - 2))


def threefold(sent, public, length, keys):
    (one, *_) = sent.values()
    return one + one + one


def others_blanked(sent, public, length, keys):
    """All counts and tags, and of the vectors the first client's: as if the others' were multiplied by 0 there.

    Under this chain that would pass the scale; what it would come to is made here by the secret key.
    """
    (one, *others) = sent.values()
    context = tenseal.context_from(keys.secret)
    for other in others:
        values = tenseal.ckks_vector_from(context, other.serialize()).decrypt()
        one = one + tenseal.ckks_vector(public, [0.0] * length + values[length:])
    return one


def moved(sent, public, length, keys):
    """The sum, and something that the server has added."""
    one, two, three = sent.values()
    return one + two + three + tenseal.ckks_vector(public, [1.0] + [0.0] * (length + BESIDE - 1))


def junk(sent, public, length, keys):
    return tenseal.ckks_vector(public, [0.0] * 3)


@pytest.mark.parametrize("forgery", [alone, threefold, others_blanked, moved, junk])
def test_a_server_that_deviates_has_nothing_else_decrypted(forgery, keys, vectors_of):
    """Against all that a list and a count do not show; with the honest sum the same request is answered."""
    vectors = vectors_of(3, 20)
    known = identities(vectors)
    for forged in (True, False):
        terms = SumTerms(int(forged), tuple(vectors), 2, 20, max_weight=1.0)
        server = CkksServer(terms, roster(known), keys.public)
        clients = {name: CkksClient(known[name], roster(known), terms.to_bytes(), keys) for name in vectors}
        sent = {}
        for name, vector in vectors.items():
            raw = clients[name].encrypt(vector)
            server.receive(name, raw)
            body = verified_message(raw, name, known[name].public, terms.id, "encrypt").body
            (sent[name],) = server._vectors(name, body)
        ciphertexts = [forgery(sent, server.context, 20, keys)] if forged else server._sum
        asked = request(server, clients, ciphertexts)
        if forged:
            with pytest.raises(ForgedSumError):
                clients["site-2"].decrypt(asked)
        else:
            server.answered("site-2", clients["site-2"].decrypt(asked))
            assert np.array_equal(server.total()[0], sum(rounded(vector) for vector in vectors.values()))


def times(cipher, factor):
    """A ciphertext added to itself so often."""
    total, power = None, cipher
    while factor:
        if factor & 1:
            total = power if total is None else total + power
        factor, power = factor >> 1, power + power
    return total


@pytest.mark.parametrize("limit", [2.0**10, 2.0**25])
def test_a_multiple_of_a_tags_prime_does_not_pass(limit, vectors_of):
    """The sum, and in the ciphertexts without tags a client's vector so often as one tag does not see."""
    length = SLOTS + 10
    vectors = {name: vector / 16 for name, vector in vectors_of(3, length).items()}
    known = identities(vectors)
    keys = CkksKeys.generate(3, limit, 1.0)
    for number, prime in enumerate([*PRIMES, 0]):
        terms = SumTerms(number, tuple(vectors), 2, length, limit=limit, max_weight=1.0)
        server = CkksServer(terms, roster(known), keys.public)
        clients = {name: CkksClient(known[name], roster(known), terms.to_bytes(), keys) for name in vectors}
        raw = {name: client.encrypt(vectors[name]) for name, client in clients.items()}
        for name in vectors:
            server.receive(name, raw[name])
        body = verified_message(raw["site-0"], "site-0", known["site-0"].public, terms.id, "encrypt").body
        first, rest = server._sum
        if prime:
            first = first + times(server._vectors("site-0", body)[0], int(prime))
        asked = request(server, clients, [first, rest])
        if prime:
            with pytest.raises(ForgedSumError):
                clients["site-2"].decrypt(asked)
        else:
            assert clients["site-2"].decrypt(asked)


def test_two_lists_have_no_two_sums(round_of_three):
    """A server that shows clients different lists lacks a majority's word for one of them."""
    server, clients, vectors, _ = round_of_three
    for name, vector in vectors.items():
        server.receive(name, clients[name].encrypt(vector))
    whole, part = server.listed(), b'["site-0", "site-1"]'
    signed = {name: clients[name].confirm(part if name == "site-1" else whole) for name in vectors}
    for name, others in (("site-1", ["site-1", "site-0"]), ("site-1", ["site-1"]), ("site-0", ["site-0", "site-1"])):
        clients[name]._decrypted = False
        names, bundle = json.dumps(others).encode(), pack(signed[other] for other in others)
        with pytest.raises((RefusedError, TooFewClientsError), match=r"another list|threshold"):
            clients[name].decrypt(pack([names, bundle, pack(vector.serialize() for vector in server._sum)]))


def test_a_key_is_handed_to_whom_the_roster_has_and_to_nobody_else(vectors_of):
    known = identities(["a", "b", "stranger"])
    listed = {name: known[name].public for name in ("a", "b")}
    about, secret = "ab" * 32, b"the key" * 9
    asking = handing.Receiver(known["b"], listed, about)
    handed = handing.hand(known["a"], listed, about, asking.advertise(), secret)
    assert secret not in handed
    assert asking.receive(handed) == secret
    with pytest.raises(RejectedError, match=r"signature|does not open"):
        asking.receive(handed[:-70] + bytes([handed[-70] ^ 1]) + handed[-69:])
    with pytest.raises(RejectedError, match="does not open"):
        handing.Receiver(known["b"], listed, about).receive(handed)
    with pytest.raises(RejectedError, match="another round"):
        handing.hand(known["a"], listed, "cd" * 32, asking.advertise(), secret)
    with pytest.raises(RefusedError, match="no client that it knows"):
        handing.hand(known["a"], listed, about, handing.Receiver(known["stranger"], listed, about).advertise(), secret)


def test_false_messages_are_rejected_by_name(round_of_three, keys, draw):
    server, clients, vectors, known = round_of_three
    raw = clients["site-0"].encrypt(vectors["site-0"])
    changed = bytearray(raw)
    changed[int(draw.integers(len(raw)))] ^= 4
    with pytest.raises(RejectedError, match="'site-0': the signature"):
        server.receive("site-0", bytes(changed))
    server.receive("site-0", raw)
    with pytest.raises(RejectedError, match="'site-0': sent 'encrypt' twice"):
        server.receive("site-0", raw)
    other = SumTerms(2, server.terms.clients, 2, 20, max_weight=1.0)
    old = CkksClient(known["site-1"], roster(known), other.to_bytes(), keys).encrypt(vectors["site-1"])
    with pytest.raises(RejectedError, match=r"'site-1': .* another round"):
        server.receive("site-1", old)
    short = SumTerms(1, server.terms.clients, 2, 5, max_weight=1.0, nonce=server.terms.nonce)
    part = CkksClient(known["site-1"], roster(known), short.to_bytes(), keys).encrypt(np.zeros(5))
    body = verified_message(part, "site-1", known["site-1"].public, short.id, "encrypt").body
    with pytest.raises(RejectedError, match="'site-1': its ciphertexts hold 11 values"):
        server.receive("site-1", signed_message(known["site-1"], server.terms.id, "encrypt", {}, body))
    for junk in (b"junk", pack([b"junk"]), pack([b""])):
        with pytest.raises(RejectedError, match="'site-1': its ciphertexts"):
            server.receive("site-1", signed_message(known["site-1"], server.terms.id, "encrypt", {}, junk))
    assert server.included == ("site-0",)
    assert len(unpack(pack([b"a", b""]))) == 2


def test_a_nan_is_rejected_by_name_and_the_round_goes_on(keys):
    vectors = {"a": np.ones(3), "b": np.array([1, np.nan, 0]), "c": np.ones(3)}
    result = ckks_sum(vectors, identities=identities(vectors), keys=keys)
    assert result.included == ("a", "c")
    assert "NaN" in result.rejected["b"]


def test_bytes_and_bounds(keys, wide_keys, vectors_of):
    vectors = vectors_of(2, 3 * SLOTS - BESIDE)
    known = identities(vectors)
    sizes = {
        name: ckks_sum(vectors, identities=known, keys=key).bytes_up["site-1"] / (4 * 3 * SLOTS)
        for name, key in (("narrow", keys), ("wide", wide_keys))
    }
    assert 7.5 < sizes["narrow"] < 8.5
    assert 13.5 < sizes["wide"] < 15
    with pytest.raises(InputError, match=r"passes 2\^40"):
        CkksKeys.generate(50, 2.0**20, 2.0**20)


def test_sentences_for_each_kind():
    told = {kind: who_could_see(kind) for kind in KINDS}
    assert set(told) == {"none", "masking", "ckks"}
    assert all("simulated" in " ".join(sentences) for sentences in told.values())
    assert any("secret key" in one for one in told["ckks"])
    with pytest.raises(InputError, match="choose from none, masking, ckks"):
        who_could_see("magic")
