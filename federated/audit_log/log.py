"""Write the log: one record, one line, on the disk before the next step is taken."""

import fcntl
import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated.audit_log.chain import Entry, links, new_entry
from federated.audit_log.head import Head, head_path, read_head, write_head
from federated.audit_log.rounds import standing_rounds
from medimg import atomic
from medimg.errors import InputError


@dataclass(frozen=True)
class Resumption:
    """What a resumed log told of itself.

    Attributes:
        round: the last round that stands; the next one is repeated or new.
        superseded: rounds on record that will be repeated.
        cut_bytes: bytes behind the last committed record that were cut off.
        cut_sha256: their digest; empty when nothing was cut.
    """

    round: int
    superseded: tuple[int, ...]
    cut_bytes: int
    cut_sha256: str


class AuditLog:
    """An append-only log of one Run.

    `append` returns when line and head are on the disk. A kill at any moment leaves the committed records and perhaps
    something behind them, whole or torn, that nobody was told had been written: `resume` cuts that and says so in a
    record of its own. Committed records are never cut: a round that is repeated stays, marked as superseded.

    Write a round's record before its checkpoint. Then no checkpoint is ahead of the log, and a log that ends before
    the checkpoint has lost records.

    Args:
        path: `RUN/audit.jsonl`.
        key: signs the head with every record; None: nobody does.
        timed: records have their time; else the day alone, as of a private training: how long a round took tells how
            many patients were drawn.

    Raises:
        InputError: another process writes the log, or it can't be written.

    Example:
        with AuditLog(run / "audit.jsonl") as log:
            log.append({"event": "round", "round": 1, "participants": ["north", "south"], "model": digest})
    """

    def __init__(self, path: Path, key: Ed25519PrivateKey | None = None, timed: bool = True):
        self.path, self._key, self._timed = Path(path), key, timed
        self._file = _opened(self.path)
        self._size = os.fstat(self._file.fileno()).st_size
        head = read_head(self.path)
        self._head = head or Head()
        self._may_append = self._size == 0 and self._head.number == 0
        if self._may_append:
            self._commit(Head())

    def __enter__(self) -> "AuditLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def head(self) -> Head:
        """Number and hash of the last record: note it where the log's folder can't be written from."""
        return self._head

    def append(self, record: dict) -> Head:
        """Add a record.

        Args:
            record: with `event` (start, round, end, ...); of a round also `round`, and by custom `participants`,
                `model` (digest of the weights after it), `updates` (client -> digest), `events` (DpEvents), `bytes`
                and `dropped`. NaN becomes null.

        Returns:
            The new head.

        Raises:
            InputError: the log holds records and was not resumed, or can't be written.
            ValueError: no event, or a round without its number.
        """
        if not self._may_append:
            raise InputError(f"{self.path}: already holds records; continue it with --resume, or give another --out")
        if not isinstance(record.get("event"), str):
            raise ValueError("a record needs an 'event', e.g. 'round'")
        if record["event"] == "round" and not isinstance(record.get("round"), int):
            raise ValueError("a record of a round needs its number, 'round'")
        return self._add(record)

    def begin(self, start: dict, round: int) -> None:
        """Append the first record of a new log, or resume one, whose first record may not have been committed.

        Args:
            start: the first record.
            round: as of `resume`.

        Raises:
            InputError: as of `append` and `resume`.
        """
        begun = self._head.number > 0
        if self._size or begun:
            self.resume(round)
        if not begun:
            self.append(start)

    def _add(self, record: dict) -> Head:
        entry = new_entry(self._head.number + 1, self._head.hash, record, self._timed)
        self._write(entry.line())
        self._commit(Head(entry.number, entry.hash))
        return self._head

    def resume(self, round: int) -> Resumption:
        """Continue after a checkpoint: cut what was not committed, and put on record what happened.

        Args:
            round: the last round of the checkpoint; 0 when there is none.

        Raises:
            InputError: a committed record was changed or is missing, or the log lacks rounds of the checkpoint.
        """
        entries, end = self._committed()
        standing = standing_rounds(entries)
        if round > max(standing, default=0):
            raise InputError(
                f"{self.path}: ends at round {max(standing, default=0)}, the checkpoint is at round {round}: records "
                "were removed; start anew with --overwrite"
            )
        cut = os.pread(self._file.fileno(), self._size - end, end)
        os.ftruncate(self._file.fileno(), end)
        self._size = end
        atomic.sweep_beside(head_path(self.path))
        resumption = Resumption(
            round=round,
            superseded=tuple(number for number in standing if number > round),
            cut_bytes=len(cut),
            cut_sha256=hashlib.sha256(cut).hexdigest() if cut else "",
        )
        self._add({"event": "resume", **asdict(resumption)})
        self._may_append = True
        return resumption

    def _committed(self) -> tuple[list[Entry], int]:
        """The records up to the head, and where they end in the file."""
        if self._size and read_head(self.path) is None:
            raise InputError(
                f"{head_path(self.path)}: missing, so a cut end of the log can't be told; put it back, or start "
                "anew with --overwrite"
            )
        entries, end = [], 0
        with self.path.open("rb") as lines:
            for link in links(lines):
                if len(entries) == self._head.number:
                    break
                if link.problem:
                    raise self._changed(f" line {link.place}: {link.problem}")
                entries.append(link.entry)
                end = link.end
        last = Head(entries[-1].number, entries[-1].hash) if entries else Head()
        if (last.number, last.hash) != (self._head.number, self._head.hash):
            raise self._changed(f": its head is record {self._head.number}, the log ends otherwise")
        return entries, end

    def _changed(self, what: str) -> InputError:
        return InputError(f"{self.path}{what}; a changed log is not continued: start anew with --overwrite")

    def _write(self, line: bytes) -> None:
        number = self._file.fileno()
        try:
            # What an interrupted append left there may be longer than this line.
            os.ftruncate(number, self._size)
            written = 0
            while written < len(line):
                written += os.pwrite(number, line[written:], self._size + written)
            os.fsync(number)
        except OSError as error:
            os.ftruncate(number, self._size)
            raise atomic.cannot_write(self.path, error) from error

    def _commit(self, head: Head) -> None:
        signed = head if self._key is None else head.signed(self._key)
        write_head(self.path, signed)
        self._head, self._size = signed, os.fstat(self._file.fileno()).st_size


def _opened(path: Path):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(f"{path}: another process is writing it; let it end first") from error
    return file
