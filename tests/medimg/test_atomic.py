"""Files and folders that are whole or absent, and what is left of writers that were killed."""

import errno
import shutil
from pathlib import Path

import h5py
import pytest

from medimg import atomic
from medimg.errors import InputError


def test_who_was_killed_leaves_nothing_and_who_writes_is_left_alone(tmp_path):
    for name in ("a", "b"):
        dead = tmp_path / f".writing-{name}-0123abcd"
        dead.mkdir()
        (dead / "file.csv").write_text("a patient's row")
    own = tmp_path / ".writing-a-of-mine.csv"
    own.write_text("a file, and nobody else's")
    with atomic.replacing(tmp_path / "a.csv") as file, atomic.replacing_folder(tmp_path / "a") as folder:
        file.write_text("1\n")
        (folder / "x").write_text("x")
        atomic.sweep_beside(tmp_path / "a.csv")
        left = {path.name for path in tmp_path.glob(".writing-*")}
        assert left == {file.parent.name, folder.parent.name, own.name, ".writing-b-0123abcd"}
        atomic.sweep(tmp_path.parent)
        assert not (tmp_path / ".writing-b-0123abcd").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [own.name, "a", "a.csv"]
    assert (tmp_path / "a" / "x").read_text() == "x"


def test_nothing_takes_a_place_where_writing_fails(tmp_path):
    (tmp_path / "a.csv").write_text("before")
    (tmp_path / "a").mkdir()
    for context in (atomic.replacing(tmp_path / "a.csv"), atomic.replacing_folder(tmp_path / "a")):
        with pytest.raises(ZeroDivisionError):
            begin_and_fail(context)
    assert {path.name: path.is_dir() for path in tmp_path.rglob("*")} == {"a": True, "a.csv": False}
    assert (tmp_path / "a.csv").read_text() == "before"


def test_what_locks_its_own_file_is_written(tmp_path):
    with atomic.replacing(tmp_path / "weights.h5") as file, h5py.File(file, "w") as written:
        written["x"] = [1, 2]
    with h5py.File(tmp_path / "weights.h5") as read:
        assert list(read["x"]) == [1, 2]


def begin_and_fail(context) -> None:
    with context as place:
        (place / "half" if place.is_dir() else place).write_text("half")
        raise ZeroDivisionError


def test_a_folder_that_can_take_no_place_leaves_what_was_there(tmp_path, monkeypatch):
    place, rename = tmp_path / "maps", Path.rename
    for content in ("first", "second"):
        with atomic.replacing_folder(place) as folder:
            (folder / "map").write_text(content)
    assert (place / "map").read_text() == "second"

    def full(path, target):
        if path.name == "folder":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(InputError, match="maps: can't be written"), atomic.replacing_folder(place) as folder:
        (folder / "map").write_text("third")
    assert (place / "map").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_what_was_there_is_whole_until_the_new_one_has_its_place(tmp_path, monkeypatch):
    """Killed as an old folder of thousands of files is removed, none would be left, the new one neither."""
    place, removed = tmp_path / "maps", shutil.rmtree
    with atomic.replacing_folder(place) as folder:
        (folder / "map").write_text("first")

    def seen(path, **options):
        assert (place / "map").read_text() == "second"
        removed(path, **options)

    monkeypatch.setattr(shutil, "rmtree", seen)
    with atomic.replacing_folder(place) as folder:
        (folder / "map").write_text("second")
