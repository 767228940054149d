"""Confidence intervals: the bootstrap over patients, and Wilson's for a proportion.

Images of one patient are alike, so images are no independent draws; patients are. A resample draws
as many patients as there are, with replacement, and takes all images of each as often as it was
drawn. Instead of repeating rows, a row carries its count as an integer weight, so that scores are
sorted once for all resamples.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval); Field
and Welsh, Bootstrapping clustered data, JRSS B 69, 2007; Wilson, JASA 22, 1927.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
# What is equal may differ by it as floating-point numbers.
LAST_DIGIT = 1e-12
# Weights held at once: a block of resamples times rows, 8 bytes each (16 MB).
BLOCK_WEIGHTS = 2_000_000


class Measured(NamedTuple):
    """A value and its interval, as `_asdict()` in every JSON file; None where undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float | None, low: float | None = None, high: float | None = None) -> "Measured":
        """Of numbers, of which NaN is none."""
        return cls(*(None if number is None or math.isnan(number) else float(number) for number in (value, low, high)))


class Interval(NamedTuple):
    """A two-sided interval; None where fewer than two resamples define the statistic.

    Attributes:
        low: lower bound.
        high: upper bound.
        left_out: resamples in which the statistic is undefined.
    """

    low: float | None
    high: float | None
    left_out: int = 0

    def around(self, value: float) -> dict:
        """{"value", "low", "high"}: a value measured on the sample itself with this interval; None where it is NaN."""
        return (Measured() if np.isnan(value) else Measured(float(value), self.low, self.high))._asdict()

    def with_width(self) -> "Interval":
        """This, or none where every resample agrees and no exact bound is known: few who agree are no certainty."""
        return Interval(None, None, self.left_out) if self.is_flat else self

    @property
    def is_flat(self) -> bool:
        """All resamples agree, but for the last digit."""
        return self.low is not None and self.high is not None and self.high - self.low < LAST_DIGIT


def wilson_interval(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a proportion of independent trials.

    Args:
        hits: successes, 0 <= hits <= n.
        n: trials; with none, nothing is known and the interval is (0, 1).
        level: coverage, e.g. 0.95.

    Returns:
        (low, high), both in [0, 1].

    Raises:
        ValueError: hits is not in 0..n.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"hits {hits} is not in 0..{n}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = hits / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and n hits the bound is exactly 0 or 1; rounding must not say otherwise.
    low = 0.0 if hits == 0 else (centre - spread) / scale
    high = 1.0 if hits == n else (centre + spread) / scale
    return low, high


def numbered(names: Sequence) -> np.ndarray:
    """Int (N,): of each row the number of its name, from 0 in the names' order."""
    return np.unique(np.asarray(names), return_inverse=True)[1]


def cluster_weights(clusters: Sequence, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row occurs in each resample, in blocks of resamples.

    The same clusters and seed give the same resamples, so two models measured on the same rows can
    be compared pairwise. A row's weight depends neither on the block size nor on the other rows of
    its cluster.

    Args:
        clusters: length N, the cluster (patient) of each row.
        resamples: number of resamples.
        seed: of the draws.

    Yields:
        float64 (block, N) of whole numbers; float64 because matrix products need it.
    """
    cluster = numbered(clusters)
    n_clusters, n_rows = int(cluster.max(initial=-1)) + 1, len(cluster)
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_WEIGHTS // max(1, n_rows))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, n_clusters, (size, n_clusters))
        drawn += np.arange(size)[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=size * n_clusters)
        yield counts.reshape(size, n_clusters)[:, cluster].astype(np.float64)


def cluster_bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], clusters: Sequence, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Replicates of a statistic over resamples of whole clusters.

    Args:
        statistic: from weights (block, N) to values (block, ...), NaN where undefined.
        clusters: length N, the cluster (patient) of each row.
        resamples: number of resamples.
        seed: of the draws.

    Returns:
        float64 (resamples, ...).

    Example:
        `cluster_bootstrap(lambda w: w @ correct / w.sum(1), patients)` gives 1000 accuracies.
    """
    return np.concatenate([statistic(block) for block in cluster_weights(clusters, resamples, seed)])


def percentile_interval(replicates: np.ndarray) -> Interval:
    """The central 95% interval of bootstrap replicates of one statistic; undefined ones are left out.

    Args:
        replicates: float (resamples,), NaN where undefined.
    """
    replicates = np.asarray(replicates, np.float64)
    defined = replicates[~np.isnan(replicates)]
    left_out = len(replicates) - len(defined)
    if len(defined) < 2:
        return Interval(None, None, left_out)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), left_out)
