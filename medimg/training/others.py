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

# Seconds: until a worker must have come, for which one that was there may not answer, and between two looks.
_COMES, _AWAY, _GLANCE = 300.0, 15.0, 1.0
_trains = threading.Event()


@contextmanager
def awaited(others: list[str]) -> Iterator[None]:
    """Meanwhile, until `training`, end this process with one line when a worker does not come, or goes again.

    Nothing but the end of the process ends a wait inside TensorFlow.

    Args:
        others: HOST:PORT of each.
    """
    _trains.clear()
    threading.Thread(target=_watch, args=(others,), daemon=True).start()
    try:
        yield
    finally:
        _trains.set()


def training() -> None:
    """All workers have taken a step together."""
    _trains.set()


def _watch(others: list[str]) -> None:
    until = dict.fromkeys(others, time.monotonic() + _COMES)
    while not _trains.wait(_GLANCE):
        for address in others:
            if _answers(address):
                until[address] = time.monotonic() + _AWAY
            elif time.monotonic() > until[address]:
                sys.stderr.write(
                    f"medimg: error: --distribute multi-worker: worker {address} does not answer, and nothing was "
                    "trained; see what it printed, and start all of them anew with --overwrite\n"
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
