"""What all Runs on one Dataset have spent or may yet spend: `privacy_ledger.jsonl` in its folder.

One line for each stretch of steps, only ever appended, under a lock, and on the disk before the
training goes on. Lines of a Run that was overwritten or deleted stay: what was released may have
been copied. Not seen: Runs on a copy of the folder elsewhere, and what an earlier folder of the
same patients held before it was deleted.

Before its first step a training reserves all the steps that it plans (`"reserved": true`), settled
under the same lock from what the file holds, so that two that start together do not both take what
is left. A reservation ends by a line with no steps (`"released": true`); what was recorded stays
counted. Steps are recorded before they are run, and only while a reservation holds them, so what is
released was never run: a killed training keeps its reservation until it is resumed and ends, or
until its Run is given up. Versions that know of no reservations count them as spent.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from medimg.errors import InputError
from medimg.privacy.segments import Segment, events_of, missing_from, united
from medimg.untrusted.inside import require_own_files
from medimg.untrusted.json_file import parse_json

FILE = "privacy_ledger.jsonl"


@dataclass(frozen=True)
class Entries:
    """What a ledger holds.

    Attributes:
        recorded: steps that were run, or were about to be, one segment for each training phase.
        reserved: steps that trainings which have not ended have planned, recorded ones among them.
        folders: run -> where it was when it wrote last.
    """

    recorded: tuple[Segment, ...] = ()
    reserved: tuple[Segment, ...] = ()
    folders: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Segment, ...]:
        """Both, each step once."""
        return united((*self.recorded, *self.reserved))

    def others(self, run: str) -> tuple[Segment, ...]:
        """Of all Runs but one."""
        return tuple(segment for segment in self.all if segment.run != run)


class DatasetLedger:
    """The ledger of one Dataset folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.path = Path(root) / FILE

    def append(self, segment: Segment, reserved: bool = False, **about: str) -> None:
        """Add a segment unless the ledger has all of it.

        Args:
            segment: steps about to be run.
            reserved: they must be in a reservation that still stands.
            **about: plain values for the reader, e.g. the Run's folder; not counted.

        Raises:
            OSError: the folder can't be written.
            InputError: a line of the ledger can't be read, or the reservation is gone.
        """
        with self._locked() as (entries, write):
            recorded = united(entries.recorded)
            if united((*recorded, segment)) == recorded:
                return
            if reserved:
                self._require_reservation(entries, segment)
            write([{**segment.to_dict(), **about}])

    def reserve(
        self, run: str, settle: Callable[[Entries], Iterable[Segment]], inherited: Iterable[Segment] = (), **about: str
    ) -> None:
        """Settle what a training will spend while no other can, and set it aside; its earlier reservation goes.

        Args:
            run: id of the Run.
            settle: what the ledger holds -> the steps that the Run plans. It must not use this ledger.
            inherited: steps of other Runs that this one continues; those that the ledger does not know are recorded.
            **about: plain values for the reader.

        Raises:
            OSError: the folder can't be written.
            InputError: a line of the ledger can't be read, or of `settle`; nothing is reserved then.
        """
        with self._locked() as (entries, write):
            recorded = united((*entries.recorded, *inherited))
            planned = tuple(settle(replace(entries, recorded=recorded)))
            new = [s for s in inherited if united((*entries.recorded, s)) != entries.recorded]
            write(
                [
                    *(segment.to_dict() for segment in new),
                    *_releases(entries, run),
                    *({**segment.to_dict(), "reserved": True, **about} for segment in planned),
                ]
            )

    def release(self, run: str) -> int:
        """End what a Run has reserved; what it has recorded stays spent.

        Returns:
            The number of steps that nothing counts any more.

        Raises:
            OSError: the folder can't be written.
            InputError: a line of the ledger can't be read.
        """
        with self._locked() as (entries, write):
            lines = _releases(entries, run)
            if lines:
                write(lines)

            def steps(segments: Iterable[Segment]) -> int:
                return sum(segment.steps for segment in segments if segment.run == run)

            return steps(entries.all) - steps(entries.recorded)

    def entries(self) -> Entries:
        """Everything in the ledger.

        Raises:
            InputError: the file, or a line of it, can't be read.
        """
        require_own_files(self.path.parent, [FILE])
        try:
            return self._parse(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return Entries()
        except OSError as error:
            raise InputError(
                f"{self.path}: can't be read ({error.strerror}); without it the privacy that was spent is not known"
            ) from error

    def events(self, unit: str = "patient", but: str = "") -> tuple:
        """DpEvents of what all Runs, or all but one, have spent or reserved.

        Args:
            unit: who is protected. A patient is inside a client, so what protects clients counts for patients.
            but: id of a Run to leave out.
        """
        return events_of(self.entries().others(but), unit)

    def runs(self, unit: str = "patient") -> list[str]:
        """Ids of the Runs that have spent, or reserved, something that counts for the unit."""
        units = {"patient", "client"} if unit == "patient" else {unit}
        return sorted({segment.run for segment in self.entries().all if segment.unit in units})

    @contextmanager
    def _locked(self) -> Iterator[tuple[Entries, Callable[[list[dict]], None]]]:
        """The entries, and how to add lines, with no other process doing so."""
        require_own_files(self.path.parent, [FILE])
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = file.read()

            def write(lines: list[dict]) -> None:
                # A line that a crash cut off is ended here, and left out by every reader.
                start = "" if not content or content.endswith(b"\n") else "\n"
                file.write((start + "".join(json.dumps(line) + "\n" for line in lines)).encode())
                file.flush()
                os.fsync(file.fileno())

            yield self._parse(content), write

    def _require_reservation(self, entries: Entries, segment: Segment) -> None:
        reserved_ranges = [s.ranges for s in entries.all if s.key == segment.key]
        if missing_from(segment.ranges, [pair for ranges in reserved_ranges for pair in ranges]):
            raise InputError(
                f"{self.path}: what this Run had reserved was released, so no step may be run; --resume reserves anew "
                "what is left"
            )

    def _parse(self, content: bytes) -> Entries:
        recorded, reserved, folders = [], {}, {}
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                values = parse_json(line)
                segment = Segment.from_dict(values)
            except InputError as error:
                raise self._unreadable(number, str(error)) from error
            except ValueError:
                # Appending is one write: only a crash in the middle of it leaves half a line, before any step was run.
                if line.startswith(b"{") and not line.rstrip().endswith(b"}"):
                    continue
                raise self._unreadable(number, "not JSON") from None
            folders[segment.run] = values.get("folder") or folders.get(segment.run, "")
            if values.get("released"):
                reserved.pop(segment.key, None)
            elif values.get("reserved"):
                reserved[segment.key] = united((*reserved.get(segment.key, ()), segment))
            else:
                recorded.append(segment)
        still_reserved = united(segment for segments in reserved.values() for segment in segments)
        return Entries(united(recorded), still_reserved, folders)

    def _unreadable(self, number: int, why: str) -> InputError:
        return InputError(
            f"{self.path} row {number}: {why}; restore the file from a copy: without it the privacy that was spent "
            "is not known"
        )


def _releases(entries: Entries, run: str) -> list[dict]:
    """Lines that end what a Run has reserved."""
    ended = [replace(s, ranges=()) for s in entries.reserved if s.run == run]
    return [{**segment.to_dict(), "released": True} for segment in ended]
