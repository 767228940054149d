"""One writer at a time: a folder is locked while a command writes it.

`FOLDER/.lock` says which process writes, where and since when. What decides is the system's own lock on that file,
which ends with the process however that ends: after `kill -9` the next writer takes over. It does not reach other
machines, nor every file system; there what the file says decides.
"""

import errno
import fcntl
import functools
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

FILE = ".lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_TRIES = 100  # to open what others remove at the same time
# Folder -> the thread of this process that writes it; what it calls may write there as well.
_held: dict[Path, int] = {}


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
        return f"process {self.pid} on {self.host}, running since {since}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself; it is made where it is not there, and goes again where nothing was put into it.

    Whoever has it may lock it again. Of one who was killed what had no final name yet goes first.

    Args:
        folder: of a Run, a Dataset, an export or another result.

    Raises:
        InputError: another process or thread writes it, or it can't be written.
    """
    folder = Path(folder)
    place = folder.resolve()
    me = threading.get_ident()
    if _held.get(place) == me:
        yield
        return
    if place in _held:
        raise InputError(f"{folder}: is being written by another thread of this process; wait for it")
    missing = [one for one in (place, *place.parents) if not one.exists()]
    file = None
    try:
        file, was_killed = _taken(folder, place / FILE)
        _held[place] = me
        if was_killed:
            atomic.sweep(place)
        yield
    finally:
        if file is not None:
            del _held[place]
            (place / FILE).unlink(missing_ok=True)
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
    return Path(folder).resolve() in _held


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
            f"ended, remove {folder / FILE}"
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
        record = json.loads(os.pread(file, 4096, 0))
        return Owner(int(record["pid"]), float(record["started"]), str(record["host"]), str(record["boot"]))
    except (ValueError, TypeError, KeyError):
        return None


def _started(pid: int) -> float | None:
    # Here: not every command writes.
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
