"""What all Runs on one Dataset have spent: `privacy_ledger.jsonl` in its folder.

One line for each stretch of steps, only ever appended, under a lock, and on the disk before the
training goes on. Lines of a Run that was overwritten or deleted stay: what was released may have
been copied. Not seen: Runs on a copy of the folder elsewhere, and what an earlier folder of the
same patients held before it was deleted.
"""

import fcntl
import json
import os
from pathlib import Path

from medimg.errors import InputError
from medimg.privacy.segments import Segment, united

FILE = "privacy_ledger.jsonl"


class DatasetLedger:
    """The ledger of one Dataset folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.path = Path(root) / FILE

    def append(self, segment: Segment, **about: str) -> None:
        """Add a segment unless the ledger has all of it.

        Args:
            segment: steps about to be run.
            **about: plain values for the reader, e.g. the Run's folder; not counted.

        Raises:
            OSError: the folder can't be written.
            InputError: a line of the ledger can't be read.
        """
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = file.read()
            known = united(self._parse(content))
            if united((*known, segment)) == known:
                return
            line = json.dumps({**segment.to_dict(), **about}) + "\n"
            # A line that a crash cut off is ended here, and left out by every reader.
            start = "" if not content or content.endswith(b"\n") else "\n"
            file.write((start + line).encode())
            file.flush()
            os.fsync(file.fileno())

    def segments(self, unit: str = "patient") -> tuple[Segment, ...]:
        """Everything recorded about one kind of unit, one segment for each training phase.

        Raises:
            InputError: the file, or a line of it, can't be read.
        """
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise InputError(
                f"{self.path}: can't be read ({error.strerror}); without it the privacy that was spent is not known"
            ) from error
        return united(s for s in self._parse(content) if s.unit == unit)

    def events(self, unit: str = "patient", but: str = "") -> tuple:
        """DpEvents of all Runs, or of all but one.

        Args:
            unit: who is protected; what protects other units is not counted.
            but: id of a Run to leave out.
        """
        return tuple(s.event() for s in self.segments(unit) if s.run != but)

    def runs(self, unit: str = "patient") -> list[str]:
        """Ids of the Runs that have spent something."""
        return sorted({segment.run for segment in self.segments(unit)})

    def _parse(self, content: bytes) -> list[Segment]:
        segments = []
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                segments.append(Segment.from_dict(json.loads(line)))
            except (json.JSONDecodeError, UnicodeDecodeError):
                # Appending is one write: only a crash in the middle of it leaves half a line, before any step was run.
                if line.startswith(b"{") and not line.rstrip().endswith(b"}"):
                    continue
                raise self._unreadable(number, "not JSON") from None
            except InputError as error:
                raise self._unreadable(number, str(error)) from error
        return segments

    def _unreadable(self, number: int, why: str) -> InputError:
        return InputError(
            f"{self.path} row {number}: {why}; restore the file from a copy: without it the privacy that was spent "
            "is not known"
        )
