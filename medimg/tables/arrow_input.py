"""Bytes for Arrow, whose threads let go of Python's objects when they like: while Python ends, too, which aborts it."""

import codecs
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_LONGEST = 10.0  # seconds


class _Watched:
    """An open file as UTF-8, each of whose blocks is watched until nobody has it any more."""

    closed = False

    def __init__(self, file: BinaryIO, encoding: str):
        self._file = file if encoding == "utf-8" else codecs.EncodedFile(file, "utf-8", encoding)
        self._blocks: list[bytes] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.is_held()
        if block:
            self._blocks.append(block)
        return block

    def is_held(self) -> bool:
        # The list, `block` and the function's own argument are three that hold it.
        self._blocks = [block for block in self._blocks if sys.getrefcount(block) > 3]
        return bool(self._blocks)


@contextmanager
def watched(file: BinaryIO, encoding: str) -> Iterator[_Watched]:
    """What Arrow is given in the place of a file; at its end no thread of Arrow's has a block of it.

    Args:
        file: open, closed by the caller.
        encoding: of its text.
    """
    source = _Watched(file, encoding)
    try:
        yield source
    finally:
        source.close()
        end = time.monotonic() + _LONGEST
        while source.is_held() and time.monotonic() < end:
            time.sleep(0.0005)
