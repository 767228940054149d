import numpy as np
import pytest

from federated.engine.state import State


def test_comes_back_as_it_was(tmp_path):
    state = State(
        round=3,
        weights=[np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(2.5) * np.ones(1, np.float32)],
        server=[np.asarray(7), np.zeros((0,), np.float32)],
        shared=[],
        aggregator=[np.asarray(True)],
        clients={"Spital Süd": [np.ones(2, np.float32)], "a/b": [np.zeros(1, np.float32)]},
    )
    state.save(tmp_path / "state.npz")
    loaded = State.load(tmp_path / "state.npz")
    assert loaded.round == 3
    assert loaded.clients.keys() == state.clients.keys()
    for name in ("weights", "server", "shared", "aggregator"):
        for one, other in zip(getattr(state, name), getattr(loaded, name), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert np.array_equal(loaded.clients["Spital Süd"][0], [1, 1])


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    State(1, [np.ones(1000, np.float32)], [], [], []).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"state\.npz: not a whole state"):
        State.load(path)
    with pytest.raises(ValueError, match="not a whole state"):
        State.load(tmp_path / "absent.npz")
