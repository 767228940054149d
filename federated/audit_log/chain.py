"""A line of the log: a record, its place, its time, the hash of the line before and its own.

Source: Haber and Stornetta, How to time-stamp a digital document, Journal of Cryptology 3, 1991 (linking); RFC 8785
for the idea of one canonical JSON text, here Python's with sorted keys, no blanks and ASCII only.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from medimg.atomic import finite

# What stands for the line before the first.
GENESIS = "0" * 64


class BrokenLineError(ValueError):
    """A line is not what the log writes; the message is the reason alone."""


@dataclass(frozen=True)
class Entry:
    """A line, read.

    Attributes:
        number: 1 for the first.
        at: UTC, ISO 8601, to the microsecond or the day alone.
        previous: hash of the line before, GENESIS for the first.
        record: what the caller gave.
        hash: SHA-256 of the canonical JSON of the four above, 64 hexadecimal digits.
    """

    number: int
    at: str
    previous: str
    record: dict
    hash: str

    def line(self) -> bytes:
        """The canonical text with its newline."""
        return canonical(vars(self)) + b"\n"


@dataclass(frozen=True)
class ChainLink:
    """A line of a file as it was found.

    Attributes:
        place: 1 for the first line of the file.
        end: bytes of the file up to and with this line.
        entry: None when it can't be read.
        problem: why it is not what was written there; empty when it is.
    """

    place: int
    end: int
    entry: Entry | None
    problem: str


def new_entry(number: int, previous: str, record: dict, timed: bool = True) -> Entry:
    """The line that follows the one with the hash `previous`, now.

    Args:
        number: of the line.
        previous: hash of the line before.
        record: what it holds.
        timed: to the microsecond; else the day alone.

    Raises:
        TypeError: the record holds something that JSON has no form for.
    """
    now = datetime.now(UTC)
    exact = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    at = exact if timed else now.date().isoformat()
    content = {"number": number, "at": at, "previous": previous, "record": finite(record)}
    return Entry(**content, hash=hashlib.sha256(canonical(content)).hexdigest())


def canonical(content: dict) -> bytes:
    """The one JSON text of a content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def read_line(line: bytes) -> Entry:
    """Read one line and check it for itself.

    Raises:
        BrokenLineError: with the reason.
    """
    if not line.endswith(b"\n"):
        raise BrokenLineError("it breaks off")
    try:
        content = json.loads(line)
        # Whatever JSON takes for the same (blanks, doubled keys, 1.0 for 1) would be an edit without a trace.
        if not isinstance(content, dict) or canonical(content) + b"\n" != line:
            raise BrokenLineError("it is not in the form that the log writes")
        entry = Entry(**content)
    except BrokenLineError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenLineError("it can't be read as a record") from error
    if type(entry.number) is not int or not isinstance(entry.record, dict):
        raise BrokenLineError("it can't be read as a record")
    del content["hash"]
    if hashlib.sha256(canonical(content)).hexdigest() != entry.hash:
        raise BrokenLineError("its content does not fit its hash: it was changed")
    return entry


def links(lines: Iterable[bytes]) -> Iterator[ChainLink]:
    """The lines of a log in order, each checked for itself and against the one before.

    After a broken line the next is checked for itself alone, so that one edit is one problem.

    Args:
        lines: with their newlines, e.g. a file opened for bytes.
    """
    end, before, known = 0, (0, GENESIS), True
    for place, line in enumerate(lines, start=1):
        end += len(line)
        try:
            entry = read_line(line)
        except BrokenLineError as error:
            known = False
            yield ChainLink(place, end, None, str(error))
            continue
        follows = (entry.number - 1, entry.previous) == before
        problem = "" if follows or not known else _does_not_follow(entry, place, before[0])
        before, known = (entry.number, entry.hash), True
        yield ChainLink(place, end, entry, problem)


def _does_not_follow(entry: Entry, place: int, number: int) -> str:
    if place == 1:
        return f"it is record {entry.number}, not the first: the beginning was removed"
    if entry.number == number + 1:
        return "its link to the line before does not fit: one of them was put in another's place"
    return f"record {entry.number} follows record {number}: lines were removed, added or swapped"
