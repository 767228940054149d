"""What the server lets in, and that it says whose and why."""

from dataclasses import replace

import numpy as np
import pytest

from federated.update import (
    Limits,
    RejectedUpdateError,
    Update,
    digest_arrays,
    nonces,
    screened,
    sealed,
    validate,
)

SHAPES = [(3, 2), (), (4,)]


def update(client="north", round=7, nonce="n1", examples=40, seed=0):
    draw = np.random.default_rng(seed)
    arrays = tuple(np.array(draw.normal(size=shape), np.float32) for shape in SHAPES)
    return sealed(Update(client, round, nonce, arrays, examples))


def flipped(given, index, bit):
    """One bit of one array turned over, the seal as it was."""
    raw = bytearray(given.arrays[index].tobytes())
    raw[bit // 8] ^= 1 << bit % 8
    changed = np.frombuffer(bytes(raw), np.float32).reshape(given.arrays[index].shape)
    arrays = (*given.arrays[:index], changed, *given.arrays[index + 1 :])
    return replace(given, arrays=arrays)


def reason(given, **options):
    with pytest.raises(RejectedUpdateError, match="client 'north'") as caught:
        validate(given, SHAPES, 7, options.pop("seen", set()), **options)
    assert caught.value.client == "north"
    return caught.value.reason


def test_an_honest_update_passes():
    validate(update(), SHAPES, 7, {"other"}, nonce="n1", limits=Limits(norm=100, examples=40))


def test_any_flipped_bit_is_rejected():
    honest = update()
    for index, shape in enumerate(SHAPES):
        for bit in range(32 * int(np.prod(shape))):
            assert "does not fit" in reason(flipped(honest, index, bit))


def test_every_field_is_under_the_seal():
    honest = update()
    for change in ({"examples": 41}, {"seal": honest.seal[:-1] + "x"}):
        assert "does not fit" in reason(replace(honest, **change))
    assert replace(honest, client="south").digest() != honest.digest()
    assert replace(honest, nonce="n2").digest() != honest.digest()
    assert replace(honest, round=8).digest() != honest.digest()
    reshaped = replace(honest, arrays=(honest.arrays[0].T.copy(), *honest.arrays[1:]))
    assert reshaped.digest() != honest.digest()
    assert "not sealed" in reason(replace(honest, seal=""))


def test_memory_layout_does_not_change_the_digest():
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert digest_arrays([a]) == digest_arrays([np.asfortranarray(a)])
    assert digest_arrays([a]) != digest_arrays([a.T])
    assert digest_arrays([a[:1], a[1:]]) != digest_arrays([a[:2], a[2:]])


def test_a_forger_without_the_key_fails():
    key = b"k" * 32
    honest = sealed(update(), key)
    validate(honest, SHAPES, 7, set(), key=key)
    assert "forged" in reason(sealed(replace(honest, examples=4000)), key=key)
    assert "forged" in reason(sealed(honest, b"j" * 32), key=key)


def test_replays_are_rejected():
    assert "round 6" in reason(update(round=6))
    assert "replayed" in reason(update(), seen={"n1"})
    # Relabelled for this round and sealed anew, but with the nonce of an earlier one.
    assert "not the one given" in reason(update(nonce="old"), nonce="n1")


def test_wrong_forms_are_rejected():
    honest = update()
    short = replace(honest, arrays=honest.arrays[:2])
    assert "2 arrays, the model has 3" in reason(sealed(short))
    turned = replace(honest, arrays=(honest.arrays[0].T, *honest.arrays[1:]))
    assert "array 0 has shape (2, 3), the model's is (3, 2)" in reason(sealed(turned))
    wide = replace(honest, arrays=tuple(a.astype(np.float64) for a in honest.arrays))
    assert "float64, not float32" in reason(sealed(wide))
    assert "dtype list" in reason(replace(honest, arrays=([0.0], *honest.arrays[1:])))
    validate(sealed(wide), SHAPES, 7, set(), dtype=np.float64)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_rejected(bad):
    honest = update()
    arrays = tuple(a.copy() for a in honest.arrays)
    arrays[2][1] = bad
    assert "array 2 holds NaN or infinity in 1 of 4" in reason(
        sealed(replace(honest, arrays=arrays))
    )


@pytest.mark.parametrize("examples", [0, -3, True, 2.5, "9"])
def test_examples_must_be_counted(examples):
    assert "examples" in reason(replace(update(), examples=examples))


def test_limits():
    honest = update()
    norm = float(np.linalg.norm(honest.vector().astype(np.float64)))
    validate(honest, SHAPES, 7, set(), limits=Limits(norm=norm * 1.0001))
    assert "above the bound" in reason(honest, limits=Limits(norm=norm * 0.9999))
    assert "more than 39" in reason(honest, limits=Limits(examples=39))


def test_a_round_goes_on_without_the_rejected():
    issued = nonces(["north", "south", "west"])
    assert len(set(issued.values())) == 3
    north, south = (update(name, nonce=issued[name]) for name in ("north", "south"))
    stranger = update("east", nonce="made up")
    broken = flipped(update("west", nonce=issued["west"]), 0, 5)
    received = [broken, north, stranger, south, north]
    accepted, rejected = screened(received, SHAPES, 7, issued)
    assert [one.client for one in accepted] == ["north", "south"]
    assert set(rejected) == {"east", "west", "north"}
    assert "replayed" in rejected["north"]
    assert "no part in round 7" in rejected["east"]


def test_rejected_first_then_honest_is_accepted():
    issued = nonces(["north"])
    honest = update(nonce=issued["north"])
    accepted, rejected = screened([flipped(honest, 0, 1), honest], SHAPES, 7, issued)
    assert accepted == [honest]
    assert "changed on the way" in rejected["north"]


def test_keys_are_the_clients_own():
    issued = nonces(["north", "south"])
    keys = {"north": b"1" * 32, "south": b"2" * 32}
    right = sealed(update("north", nonce=issued["north"]), keys["north"])
    wrong = sealed(update("south", nonce=issued["south"]), keys["north"])
    accepted, rejected = screened([right, wrong], SHAPES, 7, issued, keys)
    assert accepted == [right]
    assert "forged" in rejected["south"]


def test_vector_is_all_values_in_order():
    arrays = (np.array([[1, 2], [3, 4]], np.float32), np.array(5, np.float32))
    assert Update("a", 1, "n", arrays, 1).vector().tolist() == [1, 2, 3, 4, 5]
