"""Messages: what is signed is opened again, whatever it holds; what was changed, or is too much or amiss, is not."""

import json
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from federated.flower import envelope
from federated.flower.envelope import VERSION, Envelope, WireError, opened, peeked, signed
from federated.secure.keys import identities

KNOWN = identities(["site", "coordinator"])
SITE, COORDINATOR = KNOWN["site"], KNOWN["coordinator"]
MESSAGE = Envelope("train", "site", "coordinator", "0f" * 16, 3, {"round": 1}, {"w": [np.arange(3, dtype="float32")]})
FINITE = {"allow_nan": False, "allow_infinity": False}
ARRAYS = st.sampled_from(["float32", "float64", "int32", "int64", "uint8"]).flatmap(
    lambda kind: hnp.arrays(
        kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), elements=FINITE if "f" in kind else None
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(**FINITE) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(raw, public=SITE.public, sender="site", to="coordinator"):
    return opened(raw, sender, public, to)


def forged(change=None, body=None, head=None, pad=b""):
    """MESSAGE with another header or body, signed by the site itself: a site that lies."""
    content = signed(MESSAGE, SITE)[: -envelope._SIGNATURE_BYTES]
    (size,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + size])
    if change:
        change(header)
    text = json.dumps(header).encode() if head is None else head
    content = struct.pack("<I", len(text)) + text + (content[4 + size :] if body is None else body) + pad
    return content + SITE.sign(envelope._CONTEXT + content)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=6), VALUES, max_size=3),
    st.dictionaries(st.text(max_size=6), st.lists(ARRAYS, max_size=3), max_size=3),
    st.integers(0, 2**40),
)
def test_what_is_sealed_is_opened_again(fields, arrays, number):
    message = Envelope("any", "site", "coordinator", "a1" * 16, number, fields, arrays)
    found = read(signed(message, SITE))
    assert replace(found, arrays={}) == replace(message, arrays={})
    assert found.arrays.keys() == arrays.keys()
    for name, given_ in arrays.items():
        for one, other in zip(found.arrays[name], given_, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert np.array_equal(one, other)


def test_arrays_of_any_order_and_endianness_travel():
    given_ = [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(8, dtype=">i4")[::2]]
    found = read(signed(replace(MESSAGE, arrays={"a": given_}), SITE)).arrays["a"]
    assert all(map(np.array_equal, found, given_))


def test_every_flipped_byte_is_refused():
    raw = signed(MESSAGE, SITE)
    assert read(raw).number == 3
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(WireError, match="signature"):
            read(bytes(changed))


@pytest.mark.parametrize("size", [0, 1, 4, 63, 64, 67, 68, 100])
def test_pieces_of_a_message_are_refused(size):
    for raw in (signed(MESSAGE, SITE)[:size], b"\0" * size):
        with pytest.raises(WireError, match="signature"):
            read(raw)


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"public": COORDINATOR.public}, "signature"),
        ({"sender": "other"}, "signed as 'site' for 'coordinator'"),
        ({"to": "other"}, "not for 'other'"),
    ],
)
def test_other_keys_and_names_are_refused(given_, told):
    with pytest.raises(WireError, match=told):
        read(signed(MESSAGE, SITE), **given_)


def test_a_signature_of_something_else_is_none_of_a_message():
    """The same key signs the stages of secure sums."""
    content = signed(MESSAGE, SITE)[: -envelope._SIGNATURE_BYTES]
    with pytest.raises(WireError, match="signature"):
        read(content + SITE.sign(content))


def put(**changes):
    return lambda header: header.update(changes)


def drop(name):
    return lambda header: header.pop(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put(protocol=VERSION + 1), f"speaks protocol {VERSION + 1}, this medimg {VERSION}"),
        (put(protocol="x" * 999), "speaks protocol x+"),
        *[(drop(name), "header can't be read") for name in ("protocol", "kind", "to", "session", "fields", "arrays")],
        (put(kind=5), "fields of other types"),
        (put(session="00"), "fields of other types"),
        (put(session=5), "fields of other types"),
        (put(number=-1), "fields of other types"),
        (put(number=True), "fields of other types"),
        (put(number=1.5), "fields of other types"),
        (put(fields=[]), "fields of other types"),
        (put(arrays=[]), "described in another form"),
        (put(arrays={"w": 3}), "described in another form"),
        (put(arrays={"w": [["float32", None]]}), "described in another form"),
        (put(arrays={"w": [["float32", [3], 1]]}), "described in another form"),
        (put(arrays={"w": [["object", [3]]]}), "is of type object"),
        (put(arrays={"w": [["complex64", [1]]]}), "is of type complex64"),
        (put(arrays={"w": [["<f4", [3]]]}), "is of type <f4"),
        (put(arrays={"w": [["float32", [1] * 9]]}), "is of type float32"),
        (put(arrays={"w": [["float32", [-3]]]}), "has a shape of"),
        (put(arrays={"w": [["float32", [-1, -3]]]}), "has a shape of"),
        (put(arrays={"w": [["float32", [3.0]]]}), "has a shape of"),
        (put(arrays={"w": [["float32", [True, 3]]]}), "has a shape of"),
        (put(arrays={"w": [["float32", [2**62]]]}), "has a shape of"),
        (put(arrays={"w": [["float32", [2**20, 2**20]]]}), "longer than the message"),
        (put(arrays={"w": [["float32", [2**30] * 8]]}), "longer than the message"),
        (put(arrays={"w": [["float32", [4]]]}), "longer than the message"),
        (put(arrays={"w": [["float32", [2]]]}), "4 bytes belong to no array"),
        (put(arrays={}), "12 bytes belong to no array"),
    ],
)
def test_a_signed_lie_is_refused_by_name(change, told):
    with pytest.raises(WireError, match=f"message from site: .*{told}") as refused:
        read(forged(change))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_is_no_number_is_refused(bad, kind):
    raw = signed(replace(MESSAGE, arrays={"w": [np.array([1, bad], kind)]}), SITE)
    with pytest.raises(WireError, match="array 'w' holds NaN or infinity"):
        read(raw)


def test_a_header_holds_no_number_that_is_none():
    for bad in (float("nan"), float("inf")):
        with pytest.raises(WireError, match="its header holds NaN or infinity"):
            read(forged(put(fields={"deep": [{"part": bad}]})))
        with pytest.raises(WireError, match="its header holds NaN or infinity"):
            signed(replace(MESSAGE, fields={"part": bad}), SITE)
    # Which JSON has no word for, and Python reads as infinity.
    content = signed(replace(MESSAGE, fields={"part": 1e300}), SITE)[: -envelope._SIGNATURE_BYTES]
    content = content.replace(b"1e+300", b"1e+999")
    with pytest.raises(WireError, match="its header holds NaN or infinity"):
        read(content + SITE.sign(envelope._CONTEXT + content))


def test_bytes_behind_the_end_are_refused():
    with pytest.raises(WireError, match="3 bytes belong to no array"):
        read(forged(pad=b"abc"))


@pytest.mark.parametrize("head", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff", pickle.dumps({"protocol": 1})])
def test_a_header_that_is_no_mapping_is_refused(head):
    with pytest.raises(WireError, match="header can't be read"):
        read(forged(head=head))
    assert peeked(forged(head=head)) is None


def test_a_header_longer_than_the_message_is_refused():
    content = struct.pack("<I", 2**31) + b"{}"
    with pytest.raises(WireError, match="header can't be read"):
        read(content + SITE.sign(envelope._CONTEXT + content))


def test_too_much_is_neither_sealed_nor_opened(monkeypatch):
    raw = signed(MESSAGE, SITE)
    monkeypatch.setattr(envelope, "LARGEST", len(raw) - envelope._SIGNATURE_BYTES - 1)
    with pytest.raises(WireError, match=r"at most .* are taken"):
        read(raw)
    with pytest.raises(WireError, match=r"at most .* travel"):
        signed(MESSAGE, SITE)


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["a"]), np.array([1j]), np.array([True])])
def test_other_types_are_not_sealed(array):
    with pytest.raises(WireError, match="does not travel"):
        signed(replace(MESSAGE, arrays={"w": [array]}), SITE)


class Bomb:
    """Says so when it is unpickled."""

    went_off = False

    def __reduce__(self):
        return setattr, (Bomb, "went_off", True)


def test_nothing_is_unpickled():
    bomb = pickle.dumps(Bomb())
    for raw in (
        forged(head=bomb),
        forged(body=bomb),
        forged(put(arrays={"w": [["object", [len(bomb)]]]}), body=bomb),
        signed(replace(MESSAGE, arrays={"w": [np.frombuffer(bomb, np.uint8)]}), SITE),
    ):
        peeked(raw)
        try:
            found = read(raw)
        except WireError:
            continue
        assert found.arrays["w"][0].tobytes() == bomb
    assert not Bomb.went_off
    # The trap itself works.
    pickle.loads(bomb)
    assert Bomb.went_off


def test_the_session_of_any_bytes_is_peeked_without_an_error():
    assert peeked(signed(MESSAGE, SITE)) == MESSAGE.session
    for raw in (None, b"", b"abc", b"\xff" * 80, forged(put(session=[1]))):
        assert peeked(raw) is None


def test_an_answer_has_the_roles_changed():
    answer = MESSAGE.answer({"ok": 1})
    assert (answer.sender, answer.to, answer.session, answer.number) == ("coordinator", "site", MESSAGE.session, 3)
    assert answer.fields == {"ok": 1}
