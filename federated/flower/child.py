"""Processes of ours: they end with the one that started them, however that ended, and by a signal in good order."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# <sys/prctl.h>: the signal that Linux sends when the parent ends.
_PARENT_DEATH_SIGNAL = 1
_STARTED_BY = "MEDIMG_STARTED_BY"
_GRACE = 10.0  # seconds to end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(words: list, log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen:
    """A child of ours.

    Args:
        words: of a Python command, without `python`.
        log: file for what it prints.
        environment: beside this process's own.
    """
    variables = {**os.environ, **(environment or {}), _STARTED_BY: str(os.getpid())}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=variables,
            start_new_session=True,
        )


def ends_with_parent() -> None:
    """In a child: end when the parent does; where nobody started it, do nothing."""
    parent = os.environ.pop(_STARTED_BY, "")
    if not parent:
        return
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        # It ended before we could ask.
        sys.exit(1)


def stop(process: subprocess.Popen) -> None:
    """End a child and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every signal that ends a process run through the clean-up, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        # While starting: nothing to tell.
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
