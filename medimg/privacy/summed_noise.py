"""Noise of which each of several sites adds a share, and the sum alone has all of it: what one release costs.

A sum of discrete Gaussians is not quite one: the distributed discrete Gaussian mechanism (Kairouz, Liu, Steinke 2021)
counts the difference.
"""

import math

import attr
import numpy as np
from dp_accounting import dp_event


@attr.s(frozen=True, slots=True, auto_attribs=True)
class SummedNoiseDpEvent(dp_event.DpEvent):
    """A sum of integer vectors, to which so many independent shares of discrete Gaussian noise are added.

    More shares than counted only add to it: what is independent of the data can be added by anybody afterwards.

    Attributes:
        sensitivity: most that one unit adds to the sum, in L2 norm, a whole number.
        share_variance: parameter of each share, a whole number.
        shares: that are counted on.
        dimension: of the vector.
    """

    sensitivity: int
    share_variance: int
    shares: int
    dimension: int


def renyi(event: SummedNoiseDpEvent, orders: np.ndarray) -> np.ndarray:
    """Renyi divergences of one release (proposition 14), float64 (orders,); infinite where the bound does not hold.

    Args:
        event: the release.
        orders: above 1.
    """
    # The bound is for shares of at least half a step.
    if event.shares < 1 or event.sensitivity < 1 or 4 * event.share_variance < 1:
        return np.full(len(orders), math.inf)
    tau = excess(event)
    deviation = math.sqrt(event.shares) * math.sqrt(event.share_variance)
    euclidean = event.sensitivity / deviation
    # Of whole numbers the sum of sizes is at most the sum of squares.
    manhattan = euclidean * min(math.sqrt(event.dimension), event.sensitivity)
    half = np.asarray(orders, np.float64) / 2
    return np.minimum.reduce(
        [
            half * euclidean**2 + tau * event.dimension,
            half * (euclidean**2 + 2 * manhattan * tau + tau**2 * event.dimension),
            half * (euclidean + math.sqrt(event.dimension) * tau) ** 2,
        ]
    )


def excess(event: SummedNoiseDpEvent) -> float:
    """Tau: by how much, in one coordinate, the sum of the shares is not a discrete Gaussian."""
    return 10 * sum(math.exp(-2 * math.pi**2 * event.share_variance * k / (k + 1)) for k in range(1, event.shares))
