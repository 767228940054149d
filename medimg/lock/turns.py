"""Whoever comes second waits: for what takes a moment, or is made once for all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """One at a time in a folder: others wait until it is over, or its process ends, however that ends.

    Args:
        folder: which is there.

    Raises:
        OSError: it can't be opened or locked.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
