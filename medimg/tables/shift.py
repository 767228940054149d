"""How far each site's patients differ from all others': standardised differences, feature by feature.

Numbers: difference of means over the pooled standard deviation (Austin, "Balance diagnostics ...", Stat. Med. 2009).
Categories: the multivariate standardised difference (Yang and Dalton, "A unified approach to measuring the effect size
between two groups", SAS Global Forum 2012, paper 335). Both speak of known values only: what a site does not measure is
counted apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data.schema import Feature
from medimg.tables.ordered import is_ordered, levels, ordered_matrix

# Below it groups count as balanced (Austin 2009).
NEGLIGIBLE = 0.1


def site_shift(frame: pd.DataFrame, features: Sequence[Feature], sites: Sequence[str]) -> pd.DataFrame:
    """Standardised difference between each site and all rows of other sites.

    Args:
        frame: with `site` and the features.
        features: of its columns.
        sites: whose differences are wanted.

    Returns:
        float64, one row a feature and one column a site. Of columns with an order, positive where the site's values are
        higher; of categories never negative. Infinite where the two do not overlap at all; NaN where one of them has
        fewer than two known values.
    """
    site = frame["site"].to_numpy()
    result = np.full((len(features), len(sites)), np.nan)
    ordered = [i for i, feature in enumerate(features) if is_ordered(feature)]
    matrix = ordered_matrix(frame, [features[i] for i in ordered])
    for j, name in enumerate(sites):
        here = site == name
        result[ordered, j] = mean_difference(matrix[here], matrix[~here])
    for i, feature in enumerate(features):
        if not is_ordered(feature):
            codes, names = levels(frame[feature.name])
            for j, name in enumerate(sites):
                here = site == name
                counts = [np.bincount(codes[rows & (codes >= 0)], minlength=len(names)) for rows in (here, ~here)]
                result[i, j] = category_difference(*counts)
    return pd.DataFrame(result, index=[f.name for f in features], columns=list(sites))


def mean_difference(here: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(mean - mean of the rest) / root of the mean of both variances, column by column.

    Args:
        here: float (N, F), the group's rows; NaN = missing.
        rest: float (M, F), all others.

    Returns:
        float64 (F,).
    """
    first, second = _moments(here), _moments(rest)
    difference, spread = first[0] - second[0], np.sqrt((first[1] + second[1]) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        standardised = np.where(difference == 0, 0.0, difference / spread)
    enough = (first[2] >= 2) & (second[2] >= 2)
    return np.where(enough, standardised, np.nan)


def category_difference(here: np.ndarray, rest: np.ndarray) -> float:
    """Multivariate standardised difference of two groups' counts over the same categories.

    Args:
        here: int (categories,), the group's counts.
        rest: int (categories,), those of all others.

    Returns:
        At least 0; infinite when no linear combination of the categories varies within either group as it does between
        them; NaN with fewer than two rows in a group.
    """
    if here.sum() < 2 or rest.sum() < 2:
        return np.nan
    # A category that nobody has would make the covariance singular; the first of the others is the reference.
    present = (here + rest) > 0
    p, q = (counts[present][1:] / counts.sum() for counts in (here, rest))
    difference = p - q
    covariance = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    variance, axes = np.linalg.eigh(covariance)
    along = axes.T @ difference
    varies = variance > 1e-12
    if np.abs(along[~varies]).max(initial=0.0) > 1e-9:
        return np.inf
    return float(np.sqrt((along[varies] ** 2 / variance[varies]).sum()))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance (n - 1) and number of the known values of each column."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    return mean, squares / np.maximum(count - 1, 1), count
