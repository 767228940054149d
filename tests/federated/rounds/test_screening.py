"""What the server lets in, and that it says whose and why."""

from dataclasses import fields, replace

import numpy as np
import pytest

from federated.rounds.screening import RejectedUpdateError, Update, digest_arrays, screened, validate

SHAPES = [(3, 2), (), (4,)]


def update(client="north", examples=40, seed=0):
    draw = np.random.default_rng(seed)
    arrays = tuple(np.array(draw.normal(size=shape), np.float32) for shape in SHAPES)
    return Update(client, arrays, examples)


def reason(given):
    with pytest.raises(RejectedUpdateError, match="client 'north'") as caught:
        validate(given, SHAPES)
    assert caught.value.client == "north"
    return caught.value.reason


def test_an_honest_update_passes():
    validate(update(), SHAPES)


def test_memory_layout_does_not_change_the_digest():
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert digest_arrays([a]) == digest_arrays([np.asfortranarray(a)])
    assert digest_arrays([a]) != digest_arrays([a.T])
    assert digest_arrays([a[:1], a[1:]]) != digest_arrays([a[:2], a[2:]])


def test_wrong_forms_are_rejected():
    honest = update()
    short = replace(honest, arrays=honest.arrays[:2])
    assert "2 arrays, the model has 3" in reason(short)
    turned = replace(honest, arrays=(honest.arrays[0].T, *honest.arrays[1:]))
    assert "array 0 has shape (2, 3), the model's is (3, 2)" in reason(turned)
    wide = replace(honest, arrays=tuple(a.astype(np.float64) for a in honest.arrays))
    assert "float64, not float32" in reason(wide)
    assert "dtype list" in reason(replace(honest, arrays=([0.0], *honest.arrays[1:])))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_rejected(bad):
    honest = update()
    arrays = tuple(a.copy() for a in honest.arrays)
    arrays[2][1] = bad
    assert "array 2 holds NaN or infinity in 1 of 4" in reason(replace(honest, arrays=arrays))


@pytest.mark.parametrize("examples", [0, -3, True, 2.5, "9"])
def test_examples_must_be_counted(examples):
    assert "examples" in reason(replace(update(), examples=examples))


def test_a_round_goes_on_without_the_rejected():
    north, south = update("north"), update("south", seed=1)
    misshapen = replace(update("west"), arrays=update("west").arrays[:2])
    accepted, rejected = screened([misshapen, north, south], SHAPES)
    assert [one.client for one in accepted] == ["north", "south"]
    assert list(rejected) == ["west"]
    assert "2 arrays" in rejected["west"]


def test_a_digest_shows_any_flipped_bit():
    array = np.arange(3, dtype=np.float32)
    known = digest_arrays([array])
    for bit in range(32 * array.size):
        raw = bytearray(array.tobytes())
        raw[bit // 8] ^= 1 << bit % 8
        assert digest_arrays([np.frombuffer(bytes(raw), np.float32)]) != known


def test_nothing_is_checked_by_a_key_that_the_same_process_made():
    """A value that changed within form and range passes: only keys of sites of their own could tell."""
    honest = update()
    changed = (honest.arrays[0] + 1, *honest.arrays[1:])
    accepted, rejected = screened([replace(honest, arrays=changed)], SHAPES)
    assert len(accepted) == 1
    assert not rejected
    assert [f.name for f in fields(Update)] == ["client", "arrays", "examples"]


def test_vector_is_all_values_in_order():
    arrays = (np.array([[1, 2], [3, 4]], np.float32), np.array(5, np.float32))
    assert Update("a", arrays, 1).vector().tolist() == [1, 2, 3, 4, 5]
