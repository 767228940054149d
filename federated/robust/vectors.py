"""Clients' updates as the rows of a matrix that is never held whole in float64."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError

# Values of a block of coordinates, all clients together: 8 MB in float64, and a rule holds a few such arrays.
BLOCK_VALUES = 1_000_000


@dataclass(frozen=True, eq=False)
class RobustAggregate:
    """What a rule made of n updates.

    Attributes:
        vector: (d,), float32 when all updates are, else float64.
        share: float64 (n,), how much of the result is each client's: its weight, averaged over the coordinates.
            They sum to 1.
        scores: float64 (n,), Krum's sums of squared distances, lower is better; None for the other rules.
    """

    vector: np.ndarray
    share: np.ndarray
    scores: np.ndarray | None = None

    @property
    def used(self) -> np.ndarray:
        """Bool (n,): something of the client's update is in the result."""
        return self.share > 0


def checked(vectors: Sequence[np.ndarray]) -> tuple[int, int]:
    """Number of clients and of coordinates.

    Args:
        vectors: n float arrays (d,), or one (n, d); memory-mapped files too, since only blocks are read.

    Raises:
        InputError: there is no client.
        ValueError: not all are vectors of floats of one length.
    """
    if len(vectors) == 0:
        raise InputError("no client's update is left to aggregate; lower --dropout or raise --client-fraction")
    shapes = {np.shape(vector) for vector in vectors}
    if len(shapes) > 1 or len(shape := shapes.pop()) != 1 or shape[0] == 0:
        raise ValueError(
            "updates must be vectors of one length; flatten them with federated.rounds.screening.Update.vector"
        )
    for i, vector in enumerate(vectors):
        if not np.issubdtype(vector.dtype, np.floating):
            raise ValueError(f"update {i} has dtype {vector.dtype}, not a float's")
    return len(vectors), shape[0]


def blocks(vectors: Sequence[np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the coordinates with the clients' values there, float64 (n, width).

    Raises:
        ValueError: an update holds NaN or infinity; `federated.rounds.screening.validate` rejects those by the
            client's name.
    """
    n, d = checked(vectors)
    width = max(1, BLOCK_VALUES // n)
    for start in range(0, d, width):
        block = slice(start, min(d, start + width))
        values = np.stack([np.asarray(vector[block], np.float64) for vector in vectors])
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise ValueError(f"update {int(finite.argmin())} holds NaN or infinity; validate it first")
        yield block, values


def result_dtype(vectors: Sequence[np.ndarray]) -> np.dtype:
    """Float32 when no update is finer."""
    widest = np.result_type(*{vector.dtype for vector in vectors})
    return np.dtype(np.float64 if widest.itemsize > 4 else np.float32)


def normalised(weights: Sequence[float] | None, n: int) -> np.ndarray:
    """Weights that sum to 1, float64 (n,); equal ones for None.

    Raises:
        ValueError: not n positive finite numbers.
    """
    if weights is None:
        return np.full(n, 1 / n)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (n,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights must be {n} positive numbers, one a client")
    return weights / weights.sum()


def coordinatewise(
    vectors: Sequence[np.ndarray], rule: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> RobustAggregate:
    """Apply a rule that treats every coordinate for itself.

    Args:
        vectors: n updates (d,).
        rule: from values (n, width) to the result (width,) and the clients' shares (n, width), which sum to 1 over
            the clients.
    """
    n, d = checked(vectors)
    vector, share = np.empty(d, result_dtype(vectors)), np.zeros(n)
    for block, values in blocks(vectors):
        vector[block], shares = rule(values)
        share += shares.sum(axis=1)
    return RobustAggregate(vector, share / d)
