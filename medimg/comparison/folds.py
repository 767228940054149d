"""Models over the folds of a cross-validation.

Sources: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003 (the corrected
resampled t-test); Fisher's two-way analysis of variance without replication; Friedman, JASA 32, 1937.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.anova import AnovaRM


@dataclass(frozen=True)
class CorrectedT:
    """The mean difference over folds.

    Attributes:
        difference: mean of first less second.
        low, high: 95% interval, with the corrected variance.
        t: the statistic; None where every fold has the same difference, which tells nothing of how others would vary,
            so that there is no interval.
        df: degrees of freedom, folds - 1.
        p: two-sided.
        ratio: test rows over training rows in a fold.
    """

    difference: float
    low: float | None
    high: float | None
    t: float | None
    df: int
    p: float | None
    ratio: float


@dataclass(frozen=True)
class FoldTests:
    """All models over the same folds.

    Attributes:
        f: the analysis of variance's F, model against model x fold; None where nothing varies.
        df: its degrees of freedom, (models - 1, (models - 1) (folds - 1)).
        p: its p-value.
        chi2, friedman_p: Friedman's test; None for two models, for which it is not defined.
    """

    f: float | None
    df: tuple[int, int]
    p: float | None
    chi2: float | None
    friedman_p: float | None


def corrected_t(first: np.ndarray, second: np.ndarray, ratio: float) -> CorrectedT:
    """The corrected resampled t-test of two models over the same folds.

    Folds share most of their training rows, so their differences vary less than those of fresh samples would;
    the variance of the mean is taken as (1/K + test rows / training rows) s^2 instead of s^2/K.

    Args:
        first: float64 (K,), the one model's metric in each fold, K >= 2.
        second: float64 (K,), the other's.
        ratio: test rows over training rows of a fold.

    Raises:
        ValueError: fewer than two folds, or not as many in both.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or len(first) < 2:
        raise ValueError(f"{len(first)} and {len(second)} folds: the same two or more are needed")
    gap = first - second
    folds, mean = len(gap), float(gap.mean())
    deviation = math.sqrt((1 / folds + ratio) * gap.var(ddof=1))
    df = folds - 1
    # Equal differences leave rounding errors, which are no spread.
    if deviation < 1e-12:
        return CorrectedT(mean, None, None, None, df, 1.0 if abs(mean) < 1e-12 else None, ratio)
    t = mean / deviation
    reach = float(stats.t.ppf(0.975, df)) * deviation
    p = float(2 * stats.t.sf(abs(t), df))
    return CorrectedT(mean, mean - reach, mean + reach, t, df, p, ratio)


def fold_tests(values: np.ndarray) -> FoldTests:
    """Repeated-measures analysis of variance (model as factor, fold as block), and Friedman's test.

    Args:
        values: float64 (models, K), the metric of each model in each fold; two or more of both.

    Raises:
        ValueError: fewer than two models or folds.
    """
    values = np.asarray(values, np.float64)
    models, folds = values.shape
    if models < 2 or folds < 2:
        raise ValueError(f"{models} models and {folds} folds: two of each are needed")
    df = (models - 1, (models - 1) * (folds - 1))
    chi2 = friedman_p = None
    if models > 2 and np.ptp(values, axis=0).any():
        chi2, friedman_p = map(float, stats.friedmanchisquare(*values))
    centred = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    if np.abs(centred).max() < 1e-12:
        return FoldTests(None, df, None, chi2, friedman_p)
    table = pd.DataFrame(
        [(m, k, values[m, k]) for m in range(models) for k in range(folds)], columns=["model", "fold", "value"]
    )
    fitted = AnovaRM(table, "value", "fold", within=["model"]).fit().anova_table.loc["model"]
    return FoldTests(float(fitted["F Value"]), df, float(fitted["Pr > F"]), chi2, friedman_p)
