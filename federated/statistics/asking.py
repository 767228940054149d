"""Asking: one question to all clients, and the sum of their answers checked before anything is computed with it."""

from collections.abc import Callable

import numpy as np

from medimg.errors import InputError

# Sends a question, a dict of plain values, to every client, each of which answers with `answer` on its own Dataset; is
# told how many numbers an answer has, and gives the sum of all, float64 (n,). It may learn nothing but that.
Total = Callable[[dict, int], np.ndarray]


class Asking:
    """The clients of one computation.

    Args:
        total: gives the sum of all clients' answers.
        common: what every question holds beside its own values.
    """

    def __init__(self, total: Total, common: dict | None = None):
        self._total, self._common = total, common or {}

    def adding(self, **common) -> "Asking":
        """The same clients; every question holds these values too."""
        return Asking(self._total, {**self._common, **common})

    def __call__(self, kind: str, size: int, **values) -> np.ndarray:
        """The sum of the clients' answers, float64 (size,).

        Raises:
            InputError: it is of another size, or no number.
        """
        answer = np.asarray(self._total({"kind": kind, **self._common, **values}, size), np.float64)
        if answer.shape != (size,) or not np.isfinite(answer).all():
            raise unusable(kind, f"{answer.shape} instead of {(size,)}, or not all of them numbers")
        return answer

    def counts(self, kind: str, size: int, **values) -> np.ndarray:
        """A sum of counts, int64 (size,).

        Raises:
            InputError: it is something else.
        """
        return whole(kind, self(kind, size, **values))


def whole(kind: str, total: np.ndarray) -> np.ndarray:
    """A sum of counts as int64.

    Raises:
        InputError: it is something else.
    """
    counts = np.rint(total)
    if (counts < 0).any() or (counts != total).any():
        raise unusable(kind, "no counts")
    return counts.astype(np.int64)


def unusable(kind: str, why: str) -> InputError:
    """Of a sum nobody can be named: a client's answer may be in it alone."""
    return InputError(
        f"statistics '{kind}': the sum of the clients' answers can't be used ({why}); has a table changed meanwhile, "
        "is medimg of one version everywhere, and every site honest?"
    )
