"""The coordinate-wise trimmed mean.

Source: Yin, Chen, Ramchandran and Bartlett, Byzantine-robust distributed learning, ICML 2018.
"""

import math
from collections.abc import Sequence

import numpy as np

from federated.robust.vectors import RobustAggregate, checked, coordinatewise, normalised
from medimg.errors import InputError


def trimmed_mean(vectors: Sequence[np.ndarray], trim: float, weights: Sequence[float] | None = None) -> RobustAggregate:
    """The mean without the largest and the smallest values of every coordinate.

    As many hostile clients as are trimmed on a side can't carry it beyond the others' values.

    Args:
        vectors: n updates, float (d,).
        trim: below 1 the fraction of clients left out on each side, rounded up so that no fraction means none; from
            1 on their number.
        weights: length n, e.g. examples, of the mean of what is left; None counts every client alike. What is
            trimmed is counted in clients, so a client gains nothing there by claiming more examples.

    Returns:
        The aggregate. A client's share is its weight in the mean, averaged over the coordinates; where clients of
        the same value stand on the edge, what is kept of them is divided among them.

    Raises:
        InputError: `trim` is no fraction or number, or leaves no client.
    """
    n, _ = checked(vectors)
    k = trimmed_clients(trim, n)
    weight = normalised(weights, n)[:, None]

    def rule(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shares = _kept(values, k) * weight
        shares /= shares.sum(axis=0)
        return np.einsum("ij,ij->j", shares, values), shares

    return coordinatewise(vectors, rule)


def trimmed_clients(trim: float, clients: int) -> int:
    """How many clients `trim` leaves out on each side.

    Raises:
        InputError: `trim` is no fraction or number, or leaves no client.
    """
    if not math.isfinite(trim) or trim < 0 or (trim >= 1 and trim != int(trim)):
        raise InputError(
            f"--trim {trim:g}: must be a fraction of the clients from 0 to below 0.5, or a whole number of clients"
        )
    # 0.07 * 100 is a rounding above 7.
    k = int(trim) if trim >= 1 else math.ceil(trim * clients - 1e-9)
    if 2 * k >= clients:
        most = (clients - 1) // 2
        raise InputError(
            f"--trim {trim:g}: leaves out {k} of {clients} clients on each side, so none is left; give at most "
            f"{most}, or more clients a round (--clients, --client-fraction)"
        )
    return k


def _kept(values: np.ndarray, k: int) -> np.ndarray:
    """How much of every value is left when k are taken away at either end, float64 (n, width) in 0..1."""
    n = len(values)
    middle = np.sort(values, axis=0)[k : n - k]
    low, high = middle[0], middle[-1]
    share = ((values > low) & (values < high)).astype(np.float64)
    for edge in (low, high):
        tied = values == edge
        share = np.where(tied, (middle == edge).sum(axis=0) / tied.sum(axis=0), share)
    return share
