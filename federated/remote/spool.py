"""The private folder of a site's worker: requests, answers and records; gone when the worker ends."""

import fcntl
import json
import os
import re
import secrets
import shutil
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

    def requests(self) -> Iterator[tuple[str, dict]]:
        """Take the requests that have arrived whole: their names and contents."""
        for path in sorted((self.path / messages.REQUESTS).iterdir()):
            if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > messages.LARGEST:
                path.unlink()
                continue
            raw = path.read_bytes()
            if messages.digest(raw) != path.stem:
                # Still being written.
                continue
            path.unlink()
            yield path.stem, json.loads(raw)

    def answer(self, name: str, content: dict) -> None:
        """Write the answer to a request.

        Raises:
            TypeError: it is not of plain values.
        """
        # Not `write_json`, for which NaN is null: both ends are Python, and statistics may hold NaN.
        atomic.write_text(self.path / messages.answer_path(name), json.dumps(content))


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
