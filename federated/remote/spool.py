"""The private folder of a site's worker: requests, answers and records; gone when the worker ends."""

import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from federated.remote import messages
from medimg import atomic

_PREFIX = "medimg-worker-"
_LOCK = "lock"
_NAME = re.compile(r"[0-9a-f]{64}\.json")


class Spool:
    """A folder of mode 700 in the system's folder for temporary files (TMPDIR), removed on leaving.

    It holds the records: patients' data. What a killed process left behind is removed by the next.

    Attributes:
        folder: with `root`, an empty folder that the worker's own view of the disk is mounted on, and `spool`.
        path: the worker's working folder.
        session: changes with every start: records of an earlier session are gone.
    """

    def __init__(self):
        self.session = secrets.token_hex(16)
        # Requests that were not whole when they were read last.
        self._half: dict[str, tuple] = {}

    def __enter__(self) -> "Spool":
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _locked(self.folder)
        self.path = self.folder / "spool"
        (self.folder / "root").mkdir()
        for name in (messages.REQUESTS, messages.ANSWERS, messages.RECORDS):
            (self.path / name).mkdir(parents=True)
        atomic.write_text(self.path / messages.SESSION, self.session)
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def requests(self) -> Iterator[tuple[str, bytes | None]]:
        """Take the requests that have arrived whole: their names and contents, None of one that is too large.

        Whoever reaches the worker writes what he likes here, so that nothing is followed, waited for or taken on trust.
        """
        try:
            # Of the folder that is open: its path may have become another's.
            names = sorted(os.listdir(own_folder(self.path / messages.REQUESTS)))  # noqa: PTH208
        except OSError:
            return
        self._half = {name: state for name, state in self._half.items() if name in set(names)}
        for name in names:
            if not _NAME.fullmatch(name):
                continue
            path = self.path / messages.REQUESTS / name
            try:
                raw, whole = self._read(path)
                if whole:
                    path.unlink()
            except OSError:
                # Gone again, or no file.
                continue
            if whole:
                yield path.stem, raw

    def _read(self, path: Path) -> tuple[bytes | None, bool]:
        """The content of a request, and whether it is whole: not while it is being written, nor where it is no file."""
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None, False
            if found.st_size > messages.LARGEST:
                return None, True
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._half.get(path.name) == state:
                return None, False
            raw = file.read(messages.LARGEST + 1)
        if messages.digest(raw) != path.stem:
            # Still being written: not read again until it has changed.
            self._half[path.name] = state
            return None, False
        return raw, True

    def answer(self, name: str, content: dict) -> None:
        """Write the answer to a request.

        Raises:
            TypeError: it is not of plain values.
            OSError: it can't be written.
        """
        # Not `write_json`, for which NaN is null: both ends are Python, and statistics may hold NaN.
        raw = json.dumps(content).encode()
        # By the folder itself, not by its name: a link in its place would have this process write elsewhere.
        place = own_folder(self.path / messages.ANSWERS)
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            made = f".{name}-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(made, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(raw)
            os.rename(made, f"{name}.json", src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)


def own_folder(path: Path) -> Path:
    """A folder of the spool, made anew where something else has taken its place.

    Raises:
        OSError: it can't be made.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            path.mkdir()
    except FileNotFoundError:
        path.mkdir()
    return path


def sweep() -> None:
    """Remove the folders of this user's workers that no longer run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            continue
        if (folder / _LOCK).exists() and (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """The folder's lock, held until closed or until this process ends; None: another process has it."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
