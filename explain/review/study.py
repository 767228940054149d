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
            with self._lock, self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                text = io.StringIO(newline="")
                lines = csv.writer(text, lineterminator="\n")
                if not file.seek(0, os.SEEK_END):
                    lines.writerow(COLUMNS)
                if cells:
                    lines.writerow(cells)
                file.write(text.getvalue().encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
