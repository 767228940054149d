"""Listener: whom a training tells how it goes, and what else is told of progress."""

from collections.abc import Callable
from dataclasses import dataclass

# Called with how far something is, and of how much; and with what is done before both.
Progress = Callable[[int, int], None]
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Listener:
    """Whom a training tells how it goes.

    Attributes:
        step: called with what is done, how far, and of how many.
        epoch: called with each finished epoch's row of history.csv.
        round: called with each federated round's row of history.csv.
        note: called with a sentence worth reading before the training goes on.
    """

    step: Step = lambda what, done, total: None
    epoch: Callable[[dict], None] = lambda row: None
    round: Callable[[dict], None] = lambda row: None
    note: Callable[[str], None] = lambda sentence: None
