"""The salt of hashed ids: one, whole, and readable by its owner alone."""

import errno
import stat
import threading

import pytest

from medimg.dicom import pseudonyms
from medimg.dicom.pseudonyms import salt_at
from medimg.errors import InputError


def test_two_at_once_have_the_same_salt(tmp_path, monkeypatch):
    """The second begins while the first draws."""
    drawing, over, draw = threading.Event(), threading.Event(), pseudonyms.secrets.token_hex
    found = []

    def slow(count):
        if not drawing.is_set():
            drawing.set()
            over.wait(2)
        return draw(count)

    def take():
        try:
            found.append(salt_at(tmp_path / "salt"))
        except InputError as error:
            found.append(error)

    monkeypatch.setattr(pseudonyms.secrets, "token_hex", slow)
    first = threading.Thread(target=take)
    first.start()
    assert drawing.wait(60)
    second = threading.Thread(target=lambda: (take(), over.set()))
    second.start()
    for thread in (first, second):
        thread.join()
    assert found == [salt_at(tmp_path / "salt")] * 2
    assert stat.S_IMODE((tmp_path / "salt").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["salt"]


def test_a_full_disk_leaves_no_salt_that_is_not_whole(tmp_path, monkeypatch):
    def full(count):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pseudonyms.secrets, "token_hex", full)
        with pytest.raises(InputError, match=r"kept there \(No space left on device\); say where by --salt FILE"):
            salt_at(tmp_path / "salt")
    assert list(tmp_path.iterdir()) == []
    assert len(salt_at(tmp_path / "salt")) == 32


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(InputError, match=r"No such file or directory\); say where by --salt FILE"):
        salt_at(tmp_path / "nowhere" / "salt")
    assert list(tmp_path.iterdir()) == []
