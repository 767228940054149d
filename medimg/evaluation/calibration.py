"""Do probabilities mean what they say: reliability bins and the expected calibration error.

Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
binning, AAAI 2015 (equal-width bins).
"""

from dataclasses import dataclass

import numpy as np

from medimg.evaluation.intervals import wilson_interval

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """One row a bin that holds anything.

    Attributes:
        low, high: edges of the bin.
        probability: mean predicted probability in the bin.
        hits: number of true outcomes in the bin.
        count: number of predictions in the bin.
    """

    low: np.ndarray
    high: np.ndarray
    probability: np.ndarray
    hits: np.ndarray
    count: np.ndarray

    @property
    def frequency(self) -> np.ndarray:
        """Observed share of true outcomes in each bin."""
        return self.hits / self.count

    @property
    def bars(self) -> np.ndarray:
        """How far the 95% Wilson interval of each bin's frequency reaches below and above it, (2, bins)."""
        bounds = np.array([wilson_interval(*pair) for pair in zip(self.hits, self.count, strict=True)])
        # A bin's share can lie a rounding error outside of its own interval.
        return np.maximum(0, [self.frequency - bounds[:, 0], bounds[:, 1] - self.frequency])

    @property
    def error(self) -> float:
        """Expected calibration error: |frequency - probability|, averaged over predictions."""
        gap = np.abs(self.frequency - self.probability)
        return float((gap * self.count).sum() / self.count.sum())


def bin_index(probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each probability: [0, 1/bins), [1/bins, 2/bins), ..., the last one closed.

    Args:
        probability: float (N,) in [0, 1].
        bins: number of bins of equal width.

    Returns:
        int64 (N,).
    """
    return np.minimum((np.asarray(probability) * bins).astype(np.int64), bins - 1)


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = BINS) -> Reliability:
    """Predicted probability against observed frequency, by bin.

    Args:
        truth: bool (N,), did it happen.
        probability: float (N,) in [0, 1], that it happens.
        bins: number of bins of equal width.
    """
    index = bin_index(probability, bins)
    count = np.bincount(index, minlength=bins)
    total = np.bincount(index, weights=probability, minlength=bins)
    hits = np.bincount(index, weights=truth, minlength=bins)
    filled = np.flatnonzero(count)
    return Reliability(
        low=filled / bins,
        high=(filled + 1) / bins,
        probability=total[filled] / count[filled],
        hits=hits[filled].astype(np.int64),
        count=count[filled],
    )


def residuals_by_bin(truth: np.ndarray, probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """truth - probability in the column of each row's bin, 0 elsewhere.

    With weights w (block, N), `abs(w @ residuals).sum(1) / w.sum(1)` is the expected calibration
    error of every weighted sample at once.

    Returns:
        float64 (N, bins).
    """
    residuals = np.zeros((len(truth), bins))
    rows = np.arange(len(truth))
    residuals[rows, bin_index(probability, bins)] = truth - probability
    return residuals
