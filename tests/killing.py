"""Trainings that end in the middle as if killed, and commands that are: at a change to a file, or amid writing one."""

import os
import resource
import signal
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from medimg.listener import Listener
from tests.forks import forked, typed

# Of Python's audit events (PEP 578): each is told before it happens.
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """Nothing of the product catches it."""


def killed_after(epoch: int) -> Listener:
    """A training ends with `Killed` when this epoch is written down."""

    def kill(row: dict) -> None:
        if row["epoch"] == epoch:
            raise Killed

    return Listener(epoch=kill)


def killed_at(change: int, root: Path, words: list[str]) -> bool:
    """Type a command in a process of its own and kill it, as `kill -9` does, before a change to a file below a folder.

    Args:
        change: how many it may make: a file opened for writing, renamed, removed; a folder made.
        root: the folder.
        words: of the command, without `medimg`.

    Returns:
        Whether it was killed; False: it had ended, as it should, before.
    """
    return _killed(_dies_at_change, change, root, words)


def killed_beyond(size: int, root: Path, words: list[str]) -> bool:
    """Type a command in a process of its own, killed as a file of it grows beyond a size: half of the file is there.

    Args:
        size: in bytes.
        root: as in `killed_at`.
        words: of the command.

    Returns:
        As `killed_at`.
    """
    return _killed(_dies_at_size, size, root, words)


def _killed(target, at: int, root: Path, words: list[str]) -> bool:
    process = forked(target, at, root, [str(word) for word in words])
    process.join(600)
    code, alive = process.exitcode, process.is_alive()
    process.kill()
    assert not alive, words
    assert code in (0, -signal.SIGKILL, -signal.SIGXFSZ), (code, words)
    return code != 0


def _typed(root: Path, words: list[str]) -> None:
    # What it keeps among temporary files is looked at as well.
    os.environ["TMPDIR"] = tempfile.tempdir = str(root)
    os.environ["MEDIMG_CACHE"] = str(root / "cache")
    # Nothing is told to the terminal of the tests.
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        typed(words)


def _dies_at_change(change: int, root: Path, words: list[str]) -> None:
    left = change

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        writes = event in _CHANGES or (event == "open" and arguments[2] & _WRITING)
        names = [os.fsdecode(one) for one in arguments[:2] if isinstance(one, str | bytes | os.PathLike)]
        if not writes or not any(Path(name).is_relative_to(root) for name in names):
            return
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(watch)
    _typed(root, words)


def _dies_at_size(size: int, root: Path, words: list[str]) -> None:
    # Python ignores the signal, and writing fails; by default it kills.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    _typed(root, words)
