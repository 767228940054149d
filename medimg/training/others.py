"""Whether the other workers of a training are there before it trains: TensorFlow would wait without end.

Once they train together, one that is gone breaks a connection, and TensorFlow tells by itself.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from medimg.errors import InputError

# Seconds: until a worker must have come, for which one that was there may not answer, and between two looks.
_COMES, _AWAY, _GLANCE = 300.0, 15.0, 1.0
_WHO = "--distribute multi-worker: worker"
_trains = threading.Event()


@contextmanager
def awaited(here: str, others: list[str]) -> Iterator[None]:
    """Wait for all workers; then, until `training`, end this process with one line when one goes again.

    Nothing but the end of the process ends a wait inside TensorFlow.

    Args:
        here: HOST:PORT of this worker.
        others: of each other.

    Raises:
        InputError: one does not come, or the port is taken.
    """
    _gather(here, others)
    _trains.clear()
    threading.Thread(target=_watch, args=(others,), daemon=True).start()
    try:
        yield
    finally:
        _trains.set()


def training() -> None:
    """All workers have taken a step together."""
    _trains.set()


def _gather(here: str, others: list[str]) -> None:
    """Python waits, and at its port answers for TensorFlow, whose own wait neither ends nor lets a signal through."""
    end, missing = time.monotonic() + _COMES, others
    try:
        with socket.create_server(("", int(here.rpartition(":")[2]))):
            while missing := [address for address in missing if not _answers(address)]:
                if time.monotonic() > end:
                    raise InputError(
                        f"{_WHO} {missing[0]} has not come in {_COMES:.0f} s; start all of them at one time"
                    )
                time.sleep(_GLANCE)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{_WHO} {here}, this one, can't use its port ({error}); give another in TF_CONFIG") from error


def _watch(others: list[str]) -> None:
    until = dict.fromkeys(others, time.monotonic() + _AWAY)
    while not _trains.wait(_GLANCE):
        for address in others:
            if _answers(address):
                until[address] = time.monotonic() + _AWAY
            elif time.monotonic() > until[address]:
                sys.stderr.write(
                    f"medimg: error: {_WHO} {address} does not answer, and nothing was trained; see what it printed, "
                    "and start all of them anew with --overwrite\n"
                )
                sys.stderr.flush()
                os._exit(2)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GLANCE).close()
    except OSError:
        return False
    return True
