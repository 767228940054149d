"""Arrays of a stranger's file: as they were written, and never more than the file holds."""

import io
import json
import zipfile

import numpy as np
import pytest

from federated.engine.state import State
from medimg.errors import InputError
from medimg.untrusted.arrays import read_arrays

GIGABYTES = 1 << 34


def member(shape: tuple, kind: str = "<f4", content: bytes = b"") -> bytes:
    """A member of an npz whose header claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def written(path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_arrays_come_back(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "c": np.array(""), "none": np.zeros((0, 4))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "own.npz", **arrays)
        found = read_arrays(tmp_path / "own.npz")
        assert set(found) == set(arrays)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())
        assert list(read_arrays(tmp_path / "own.npz", ["a"])) == ["a"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.npy": member((GIGABYTES,))}, "claims"),
        ({"a.npy": member((1, GIGABYTES), "|V1", b"\0")}, "claims"),
        ({"a.npy": member((GIGABYTES,), "<U0")}, "claims"),
        ({"a.npy": member((1,), "|O", b"cos\nsystem\n.")}, "claims"),
        ({"a.txt": b"words"}, "no array"),
        ({"a.npy": b"words"}, "magic"),
    ],
)
def test_what_claims_more_than_it_holds_is_refused(members, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_arrays(written(tmp_path / "own.npz", members))


def test_packed_gigabytes_are_not_unpacked(tmp_path):
    path = written(
        tmp_path / "own.npz", {"a.npy": member((300 << 18,), content=bytes(300 << 20))}, zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match="claims 314,572,928 bytes"):
        read_arrays(path)


def test_a_state_that_claims_gigabytes_is_refused_by_name(tmp_path):
    meta = np.frombuffer(json.dumps({"round": 1, "clients": ["a"], "lengths": {}}).encode(), np.uint8)
    np.savez(tmp_path / "state.npz", meta=meta)
    with pytest.raises(InputError, match=r"state\.npz: not a whole state"):
        State.load(tmp_path / "state.npz")
    meta = member((1,), "|u1", b"0")
    written(tmp_path / "state.npz", {"meta.npy": meta, "weights-0.npy": member((GIGABYTES,))})
    with pytest.raises(InputError, match=r"state\.npz: not a whole state.*claims \(17179869184,\)"):
        State.load(tmp_path / "state.npz")
