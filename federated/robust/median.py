"""The coordinate-wise median.

Source: Yin, Chen, Ramchandran and Bartlett, Byzantine-robust distributed learning, ICML 2018.
"""

from collections.abc import Sequence

import numpy as np

from federated.robust.vectors import RobustAggregate, checked, coordinatewise, normalised
from medimg.errors import InputError

FEWEST = 3


def median(vectors: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> RobustAggregate:
    """The median of the clients' values, coordinate by coordinate.

    Fewer than half of the clients can't carry it beyond the others' values. With weights that holds for clients of
    less than half of the weight; examples are what a client says of itself, so a hostile one can lie its way to half.

    Args:
        vectors: n >= 3 updates, float (d,).
        weights: length n, e.g. examples; None counts every client alike.

    Returns:
        The aggregate. A client's share is the fraction of coordinates in which the median is its value: halves where
        the median lies between two values, divided among clients of the same value.

    Raises:
        InputError: fewer than 3 clients.
    """
    n, _ = checked(vectors)
    check_median(n)
    share = normalised(weights, n)[:, None]
    middle = _middle if weights is None else _weighted_middle

    def rule(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = middle(values, share)
        shares = np.zeros_like(values)
        for value in (low, high):
            tied = (values == value) * share
            shares += 0.5 * tied / tied.sum(axis=0)
        return low / 2 + high / 2, shares

    return coordinatewise(vectors, rule)


def check_median(clients: int) -> None:
    """Refuse a number of clients of which one alone could move the median anywhere.

    Raises:
        InputError: fewer than 3.
    """
    if clients < FEWEST:
        raise InputError(
            f"--aggregation median needs at least {FEWEST} clients in a round, got {clients}: of two, either moves "
            "the result anywhere; raise --clients or --client-fraction, or give --aggregation mean"
        )


def _middle(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(values)
    low, high = (n - 1) // 2, n // 2
    ordered = np.partition(values, (low, high), axis=0)
    return ordered[low], ordered[high]


def _weighted_middle(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values at which the clients up to there first have half, and first more than half, of the weight."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    reached = np.cumsum(share[order, 0], axis=0)
    # Sums of shares such as 0.1 miss an exact half by a few roundings.
    margin = 1e-9
    low = (reached >= 0.5 - margin).argmax(axis=0)
    high = (reached > 0.5 + margin).argmax(axis=0)
    columns = np.arange(values.shape[1])
    return ordered[low, columns], ordered[high, columns]
