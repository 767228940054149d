"""Models trained several times: does the model matter more than the seed.

Sources: Fisher's one-way analysis of variance; Tukey, Comparing individual means in the analysis of
variance, Biometrics 5, 1949, for unequal numbers by Kramer.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class SeedTests:
    """Models as groups of seeds.

    Attributes:
        f: between models over within; None where no model varies with its seed.
        df: degrees of freedom, (models - 1, values - models).
        p: its p-value.
        eta_squared: share of all variation that lies between models; None where nothing varies.
        tukey: for each pair (i, j), i < j: difference of means (i less j), low, high, p.
    """

    f: float | None
    df: tuple[int, int]
    p: float | None
    eta_squared: float | None
    tukey: dict[tuple[int, int], dict[str, float]]


def seed_tests(groups: list[np.ndarray]) -> SeedTests:
    """One-way analysis of variance over seeds, eta squared, and Tukey's honest differences.

    Args:
        groups: for each of two or more models, float64 (seeds,) with two or more values of a metric.

    Raises:
        ValueError: fewer than two models, or one of fewer than two seeds.
    """
    groups = [np.asarray(group, np.float64) for group in groups]
    if len(groups) < 2 or min(map(len, groups)) < 2:
        raise ValueError("two models of two seeds each are needed")
    everything = np.concatenate(groups)
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    total = ((everything - everything.mean()) ** 2).sum()
    df = (len(groups) - 1, len(everything) - len(groups))
    if total < 1e-24:
        return SeedTests(None, df, None, None, {})
    eta_squared = float((total - within) / total)
    if within < 1e-24:
        return SeedTests(None, df, None, eta_squared, {})
    result = stats.f_oneway(*groups)
    honest = stats.tukey_hsd(*groups)
    interval = honest.confidence_interval(0.95)
    pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
    tukey = {
        (i, j): {
            "difference": float(honest.statistic[i, j]),
            "low": float(interval.low[i, j]),
            "high": float(interval.high[i, j]),
            "p": float(honest.pvalue[i, j]),
        }
        for i, j in pairs
    }
    return SeedTests(float(result.statistic), df, float(result.pvalue), eta_squared, tukey)
