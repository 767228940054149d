"""Masked sums of statistics: of all clients or of none, of float64 numbers to about all of their digits.

Statistics are asked for many times over the same rows. Two sums over different clients would differ by those of one, so
each is over the same clients: where one is lost before its numbers are in, there is no sum, and it is asked for again.
"""

from collections.abc import Mapping

import numpy as np

from federated.secure.fixed_point import FixedPoint
from federated.secure.keys import Exchange, Identity
from federated.secure.masking import masked_sum
from federated.secure.terms import SumTerms, default_threshold

# Largest absolute value of a number; the same everywhere, since how large a site's are would tell of it.
LIMIT = 2.0**40
BITS = 64


def threshold_of(given: int, clients: int) -> int:
    """Clients that the sum needs to be opened: `--secure-threshold`, which may be of a round's fewer; 0: by itself."""
    return max(given, default_threshold(clients))


def whole_terms(
    number: int, clients: tuple[str, ...], threshold: int, length: int, start: str, exchange: Exchange
) -> SumTerms:
    """The terms of one sum; each try has a session of its own, so that one in which a client was lost is repeated.

    Args:
        number: of the question; the same question has the same one.
        clients: all.
        threshold: as of `threshold_of`.
        length: numbers of a client.
        start: digest of the question.
        exchange: the server's.
    """
    return SumTerms(
        round=number,
        clients=clients,
        threshold=threshold_of(threshold, len(clients)),
        length=2 * length,
        limit=LIMIT,
        max_weight=1.0,
        bits=BITS,
        server=exchange.public.hex(),
        start=start,
    )


def check_whole(terms: SumTerms, length: int) -> bool:
    """Whether these are terms of such a sum over so many numbers of a client."""
    return (terms.limit, terms.max_weight, terms.bits, terms.length) == (LIMIT, 1.0, BITS, 2 * length)


def encoding(clients: int) -> FixedPoint:
    """Of the sum over so many clients."""
    return FixedPoint(LIMIT, 1.0, clients, BITS)


def to_words(values: np.ndarray, clients: int) -> np.ndarray:
    """Each number as two: what the fixed point holds of it, and the rest, as large as the limit allows.

    Args:
        values: float64 (n,), within LIMIT.
        clients: in the sum.

    Returns:
        float64 (2n,).
    """
    unit = encoding(clients).unit
    coarse = np.rint(values / unit) * unit
    return np.concatenate([coarse, (values - coarse) * (LIMIT / unit)])


def from_words(total: np.ndarray, clients: int) -> np.ndarray:
    """The sum of the numbers, float64 (n,), of the sum of their words, float64 (2n,)."""
    coarse, rest = np.split(total, 2)
    return coarse + rest * (encoding(clients).unit / LIMIT)


def whole_sum(
    values: Mapping[str, np.ndarray], identities: Mapping[str, Identity], number: int, threshold: int = 0
) -> np.ndarray:
    """All parties in one process: the sum over clients, float64 (n,).

    Args:
        values: client -> float64 (n,), within LIMIT.
        identities: signing keys of at least these clients.
        number: of the question.
        threshold: as of `whole_terms`.
    """
    clients = len(values)
    summed = masked_sum(
        {name: to_words(vector, clients) for name, vector in values.items()},
        identities=identities,
        threshold=threshold_of(threshold, clients),
        round_number=number,
        limit=LIMIT,
        max_weight=1.0,
        bits=BITS,
        whole=True,
    )
    return from_words(summed.total, clients)
