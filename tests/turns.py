"""Tests of some seconds take turns: at every change one fifth of them, chosen by the commit, besides all the others.

`script/test` names the turn; without one (`pytest`, `script/test -m ""` before a release) all are run. The list is of
what took 5 seconds or more in a whole run on 2 cores, in order, so that siblings of a file have different turns.
"""

import os
from pathlib import Path

TURNS = 5
LONG = (Path(__file__).parent / "long_tests.txt").read_text(encoding="utf-8").splitlines()


def waits(node: str, turn: str) -> bool:
    """Whether it is not this test's turn.

    Args:
        node: id.
        turn: a whole number, of which the rest modulo `TURNS` counts; empty: all are run.
    """
    return bool(turn) and node in _PLACES and _PLACES[node] % TURNS != int(turn) % TURNS


def named() -> str:
    """The turn that the environment names."""
    return os.environ.get("MEDIMG_TURN", "")


_PLACES = {node: place for place, node in enumerate(LONG)}
