"""Means over seeds and how sure they are."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from medimg.evaluation.intervals import LAST_DIGIT, LEVEL


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with its Student's t interval, which speaks of other seeds.

    Args:
        values: one a seed; NaN ones are left out.

    Returns:
        Mean, low and high; the ends NaN with fewer than two values, or where all agree: a point would look like
        certainty.
    """
    defined = np.asarray(values, float)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return math.nan, math.nan, math.nan
    mean = float(defined.mean())
    # Equal ones may differ by their last digit.
    if len(defined) < 2 or np.ptp(defined) < LAST_DIGIT:
        return mean, math.nan, math.nan
    half = float(t.ppf(0.5 + LEVEL / 2, len(defined) - 1)) * defined.std(ddof=1) / math.sqrt(len(defined))
    return mean, mean - half, mean + half


def summary(table: pd.DataFrame, by: Sequence[str], metrics: Sequence[str], reference: str = "") -> pd.DataFrame:
    """Means over seeds, in the order of the table.

    Args:
        table: one row a seed and group, with `seed`, the columns `by` and the metrics.
        by: what makes a group; the last of them names the model.
        metrics: columns.
        reference: model that the others are compared with, seed by seed; empty: none.

    Returns:
        `by`, `seeds` and of each metric the mean, `_low`, `_high`, with a reference also `_less_reference` and its
        `_low` and `_high`.
    """
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True)) | {"seeds": group["seed"].nunique()}
        others = table
        for column, value in list(zip(by, key, strict=True))[:-1]:
            others = others[others[column] == value]
        beside = others[others[by[-1]] == reference].set_index("seed")
        for metric in metrics:
            of_group = group.set_index("seed")[metric]
            row |= _named(metric, mean_interval(of_group))
            if reference:
                row |= _named(f"{metric}_less_{reference}", mean_interval(of_group - beside[metric]))
        rows.append(row)
    return pd.DataFrame(rows)


def _named(name: str, values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
