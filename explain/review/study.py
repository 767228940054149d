"""A reader study: whether readers agree with the Run, a line each in a CSV that many may write to at once."""

import csv
import fcntl
import io
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.csv_cells import quote
from medimg.untrusted.printable import printable

COLUMNS = ("time", "reader", "file", "sha256", "frame", "p", "decision", "threshold", "answer", "seconds")
ANSWERS = ("agree", "disagree")


class ReaderStudy:
    """The CSV.

    Args:
        path: of it; what is there is added to.

    Raises:
        InputError: it is another file, or can't be written.
    """

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                if file.readline().decode("utf-8", "replace").rstrip() != ",".join(COLUMNS):
                    raise InputError(f"--reader-study {path}: is no reader study; give another file")
        self._append(None)

    def add(self, row: dict) -> None:
        """Add a row with COLUMNS but `time`; it is on the disk when this returns.

        Raises:
            InputError: it can't be written.
        """
        cells = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **row}
        self._append([quote(printable(cells[name])) for name in COLUMNS])

    def _append(self, cells: list[str] | None) -> None:
        try:
            # Threads of this process, and other processes that write to the same file.
            with self._lock, self.path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                text = io.StringIO(newline="")
                lines = csv.writer(text, lineterminator="\n")
                end = file.seek(0, os.SEEK_END)
                if not end:
                    lines.writerow(COLUMNS)
                elif not _ends_a_line(file):
                    text.write("\n")
                if cells:
                    lines.writerow(cells)
                try:
                    _write(file, text.getvalue().encode("utf-8"))
                except OSError:
                    # Of a full disk: a part of a line would become the next reader's.
                    file.truncate(end)
                    raise
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error


def _ends_a_line(file: io.RawIOBase) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _write(file: io.FileIO, content: bytes) -> None:
    """All of it, on the disk when this returns."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())
