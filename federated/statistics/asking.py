"""Asking: one request to all clients, and their answers checked before anything is computed with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from medimg.errors import InputError

Ask = Callable[[dict], dict[str, dict]]


class Asking:
    """The clients of one computation: the same ones must answer every request.

    Args:
        ask: sends a request, a dict of plain values, to every client; gives client name -> its answer.
        common: what every request holds beside its own values.
    """

    def __init__(self, ask: Ask, common: dict | None = None):
        self._ask, self._common = ask, common or {}
        self._clients: list[str] = []

    def adding(self, **common) -> "Asking":
        """The same clients; every request holds these values too."""
        more = Asking(self._ask, {**self._common, **common})
        more._clients = self._clients
        return more

    def __call__(self, kind: str, **values) -> list[tuple[str, dict]]:
        """Answers by client, in the order of their names, so that sums are the same whoever answers first.

        Raises:
            InputError: nobody answers, or not those that answered before.
        """
        answers = self._ask({"kind": kind, **self._common, **values})
        names = sorted(answers)
        if not names:
            raise InputError(f"no client answers the request for statistics '{kind}'")
        if self._clients and names != self._clients:
            changed = sorted(set(names) ^ set(self._clients))
            raise InputError(
                f"client '{changed[0]}' answers only some of the requests for statistics, whose sums must be of the "
                "same clients; start again with those that are there"
            )
        self._clients = names
        return [(name, answers[name]) for name in names]


@contextmanager
def answer_of(client: str, kind: str) -> Iterator[None]:
    """What is wrong inside an answer, as one line that names the client."""
    try:
        yield
    except (InputError, KeyError, TypeError, ValueError, OverflowError) as error:
        words = " ".join(str(error).split())[:200]
        raise InputError(
            f"client '{client}': its answer to '{kind}' can't be used ({type(error).__name__}: {words}); run the same "
            "version of medimg everywhere, or federate without it"
        ) from error


def numbers(answer: dict, key: str, shape: tuple[int, ...], counts: bool = False) -> np.ndarray:
    """`answer[key]` as float64 of this shape; of counts as int64, none negative.

    Raises:
        ValueError: another shape, or what is no finite number.
    """
    given = np.asarray(answer[key], np.float64)
    if given.shape != shape:
        raise ValueError(f"{key} has shape {given.shape} instead of {shape}")
    if not np.isfinite(given).all():
        raise ValueError(f"{key} holds what is no number")
    if not counts:
        return given
    whole = given.astype(np.int64)
    if (whole < 0).any() or (whole != given).any():
        raise ValueError(f"{key} holds what is no count")
    return whole
