"""One writer at a time: a folder is locked while a command writes it.

`FOLDER/.lock` says which process writes, where and since when. What decides is the system's own lock on that file,
which ends with the process however that ends: after `kill -9` the next writer takes over. It does not reach other
machines, nor every file system; there what the file says decides.
"""

import errno
import fcntl
import functools
import hashlib
import inspect
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json
from medimg.untrusted.printable import printable

FILE = ".lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_TRIES = 100  # to open what others remove at the same time
_LARGEST = (1 << 31) - 1  # number of a process
_LATEST = 1 << 33  # seconds since 1970 that a time can be, in the year 2242
# Folder or file -> the thread of this process that writes it; what it calls may write there as well.
_held: dict[Path, int] = {}
# The system's lock is the process's: of two threads that take one, or let go of it, one at a time.
_taking = threading.Lock()


@dataclass(frozen=True)
class Owner:
    """Who writes a folder.

    Attributes:
        pid: process.
        started: when it started, in seconds since 1970: another process may get its number later.
        host: name of the machine.
        boot: id of the machine's boot, which its containers share; empty where the system has none.
    """

    pid: int
    started: float
    host: str
    boot: str

    @classmethod
    def this(cls) -> "Owner":
        """This process."""
        boot = Path("/proc/sys/kernel/random/boot_id")
        return cls(os.getpid(), _started(os.getpid()), socket.gethostname(), boot.read_text() if boot.exists() else "")

    def may_run_elsewhere(self) -> bool:
        """Whether it is, or was, on another machine, where nobody can look from here."""
        here = Owner.this()
        return self.host != here.host and not (self.boot and self.boot == here.boot)

    def runs(self) -> bool:
        """Whether it runs on this machine: a number that another process has by now is not it."""
        return _started(self.pid) == self.started

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started).isoformat(sep=" ", timespec="seconds")
        return f"process {self.pid} on {printable(self.host, 100)}, running since {since}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself; it is made where it is not there, and goes again where nothing was put into it.

    Whoever has it may lock it again. Of one who was killed what had no final name yet goes first.

    Args:
        folder: of a Run, a Dataset, an export or another result.

    Raises:
        InputError: another process or thread writes it, or it can't be written.
    """
    # Not resolve(), which ends in an error of its own where a link leads to itself.
    place = Path(os.path.realpath(folder))
    with _held_as(Path(folder), place, place / FILE) as was_killed:
        if was_killed:
            atomic.sweep(place)
        yield


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """Have a result that is one file, or a folder of a command's own, to oneself, with others in its folder.

    Its lock lies beside it while it is written.

    Args:
        file: the result, which need not be there.

    Raises:
        InputError: as of `locked`.
    """
    place = Path(os.path.realpath(Path(file).parent), Path(file).name)
    # Its own name may be as long as the file system allows.
    name = f"{FILE}-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}"
    with _held_as(Path(file), place, place.with_name(name)):
        yield


@contextmanager
def _held_as(shown: Path, place: Path, path: Path) -> Iterator[bool]:
    """Hold what lies at `place` by the lock file `path`; yields whether who had it before was killed."""
    me = threading.get_ident()
    if _held.get(place) == me:
        yield False
        return
    file = None
    missing = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
    try:
        with _taking:
            if place in _held:
                raise InputError(f"{shown}: is being written by another thread of this process; wait for it")
            file, was_killed = _taken(shown, path)
            _held[place] = me
        yield was_killed
    finally:
        with _taking:
            if file is not None:
                del _held[place]
                path.unlink(missing_ok=True)
                os.close(file)
            with suppress(OSError):
                for one in missing:
                    one.rmdir()


def writes(argument: str) -> Callable:
    """Decorate a function that writes the folder, or the Run, that is this argument of it: one call at a time."""

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def alone(*args, **kwargs):
            value = signature.bind(*args, **kwargs).arguments[argument]
            with locked(value if isinstance(value, str | Path) else value.root):
                return function(*args, **kwargs)

        return alone

    return decorate


def content(folder: Path) -> list[Path]:
    """What lies in a folder, but for its lock; nothing where there is none."""
    return [item for item in sorted(folder.iterdir()) if item.name != FILE] if folder.is_dir() else []


def require_other(out: Path) -> None:
    """Refuse a Run or a Dataset as the folder of a result, whose files would come among its own.

    Raises:
        InputError: it is one.
    """
    if any((Path(out) / name).is_file() for name in ("config.yaml", "dataset.yaml")):
        raise InputError(f"--out {out}: is a Run or a Dataset; give another folder")


def empty(folder: Path, last: Iterable[str], keep: Iterable[str] = ()) -> None:
    """Remove what lies in a locked folder, unless another process writes in a folder of it.

    Args:
        folder: the folder.
        last: what tells what it is, and so goes when all else is gone: killed before, it can be emptied again.
        keep: names that stay.

    Raises:
        InputError: something in it is being written, or can't be removed.
    """
    for file in folder.rglob(FILE):
        # As of folds, and of a study's Runs.
        with locked(file.parent):
            pass
    items = [item for item in content(folder) if item.name not in keep]
    try:
        for item in sorted(items, key=lambda item: item.name in last):
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error


def is_held(folder: Path) -> bool:
    """Whether this process writes it."""
    return Path(os.path.realpath(folder)) in _held


def _taken(folder: Path, path: Path) -> tuple[int, bool]:
    """The open file of the lock, which is ours until it is closed, and whether who had it before was killed."""
    for left in range(_TRIES, -1, -1):
        file = _opened(folder, path, left)
        if file is None:
            continue
        try:
            if _free(folder, file, path):
                was_killed = os.fstat(file).st_size > 0
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(asdict(Owner.this())).encode(), 0)
                return file, was_killed
        except InputError:
            os.close(file)
            raise
        except OSError as error:
            path.unlink(missing_ok=True)
            os.close(file)
            raise atomic.cannot_write(folder, error) from error
        os.close(file)
    raise _written_by(folder, None)


def _opened(folder: Path, path: Path, left: int) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: is a file, not a folder, or lies in one; give another") from error
    except OSError as error:
        # Whoever had made the folder may just have taken it away.
        if left and isinstance(error, FileNotFoundError):
            return None
        raise atomic.cannot_write(folder, error) from error


def _free(folder: Path, file: int, path: Path) -> bool:
    """Take the system's lock; False where the one before us has just removed the file that we had opened."""
    reaches = True
    try:
        # Not flock: a child of a killed process would go on to hold that.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        reaches = error.errno in _BUSY
        if reaches:
            raise _written_by(folder, _owner(file)) from error
    try:
        if not os.path.samestat(os.fstat(file), path.stat()):
            return False
    except FileNotFoundError:
        return False
    owner = _owner(file)
    if owner and owner.may_run_elsewhere():
        raise InputError(
            f"{folder}: is being written by {owner}, where this machine can't see whether it still runs; if it has "
            f"ended, remove {path}"
        )
    if owner and not reaches and owner.runs():
        raise _written_by(folder, owner)
    return True


def _written_by(folder: Path, owner: Owner | None) -> InputError:
    return InputError(
        f"{folder}: is being written by {owner or 'another process'}; wait until it ends, or give another folder"
    )


def _owner(file: int) -> Owner | None:
    """Whom the file names; None where it names nobody."""
    try:
        record = parse_json(os.pread(file, 4096, 0))
        owner = Owner(int(record["pid"]), float(record["started"]), str(record["host"]), str(record["boot"]))
    except (ValueError, TypeError, KeyError):
        return None
    # Of what else it says no time could be told.
    return owner if 0 < owner.pid <= _LARGEST and 0 <= owner.started < _LATEST else None


def _started(pid: int) -> float | None:
    # Here: not every command writes.
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
