"""How strongly columns of mixed types go together, and each of them with the label.

Two columns with an order: Spearman's rho. A column with an order and a category: the correlation ratio, corrected for
chance (the root of epsilon squared: Kelley, "An unbiased correlation ratio measure", PNAS 1935). Two categories:
Cramer's V, corrected for chance (Bergsma, "A bias-correction for Cramer's V", J. Korean Stat. Soc. 2013).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from medimg.data.schema import Feature
from medimg.tables.ordered import is_ordered, levels, ordered_matrix, ordered_values

# Fewer rows say nothing of a pair of columns, nor of a class.
LEAST_ROWS = 10


def pairwise(frame: pd.DataFrame, features: Sequence[Feature]) -> np.ndarray:
    """float64 (F, F): association of every two columns over the rows where both are known.

    Spearman's rho is in -1..1, the others in 0..1; NaN where a column does not vary or fewer than LEAST_ROWS rows know
    both.
    """
    ordered = [is_ordered(feature) for feature in features]
    values = [
        ordered_values(frame, f) if number else levels(frame[f.name])[0]
        for f, number in zip(features, ordered, strict=True)
    ]
    result = np.full((len(features), len(features)), np.nan)
    for i, first in enumerate(values):
        for j in range(i, len(values)):
            result[i, j] = result[j, i] = _one_pair(first, ordered[i], values[j], ordered[j])
    return result


def _one_pair(first: np.ndarray, ordered: bool, second: np.ndarray, also_ordered: bool) -> float:
    known = _known(first, ordered) & _known(second, also_ordered)
    if known.sum() < LEAST_ROWS:
        return np.nan
    first, second = first[known], second[known]
    if ordered and also_ordered:
        return spearman(first, second)
    if ordered or also_ordered:
        return correlation_ratio(*((second, first) if ordered else (first, second)))
    return cramers_v(first, second)


def _known(values: np.ndarray, ordered: bool) -> np.ndarray:
    return ~np.isnan(values) if ordered else values >= 0


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation, ties by their mean rank; NaN when one is constant."""
    ranks = np.stack([rankdata(first), rankdata(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((ranks**2).sum(axis=1).prod())
    return float((ranks[0] * ranks[1]).sum() / spread) if spread > 0 else np.nan


def correlation_ratio(groups: np.ndarray, values: np.ndarray) -> float:
    """Correlation of values with the means of their groups, corrected for chance.

    Args:
        groups: int (N,).
        values: float (N,).

    Returns:
        The root of epsilon squared (the adjusted R squared of the group means), 0 when that is negative; NaN with one
        group, constant values, or a group for every value.
    """
    _, groups, counts = np.unique(groups, return_inverse=True, return_counts=True)
    n, k = len(values), len(counts)
    values = values - values.mean()
    total = float((values**2).sum())
    if k < 2 or n <= k or total == 0:
        return np.nan
    between = float((np.bincount(groups, values) ** 2 / counts).sum())
    return float(np.sqrt(max(0.0, 1 - (total - between) / total * (n - 1) / (n - k))))


def cramers_v(first: np.ndarray, second: np.ndarray) -> float:
    """Cramer's V of two categories, corrected for chance; NaN when one is constant.

    Args:
        first: int (N,), the one category of each row.
        second: int (N,), the other.
    """
    first = np.unique(first, return_inverse=True)[1]
    second = np.unique(second, return_inverse=True)[1]
    rows, columns, n = first.max() + 1, second.max() + 1, len(first)
    if rows < 2 or columns < 2:
        return np.nan
    table = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = ((table - expected) ** 2 / expected).sum() / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi / least))) if least > 0 else np.nan


def clustered(association: np.ndarray) -> np.ndarray:
    """Order of the columns in which alike ones are neighbours: average linkage on 1 - |association|.

    Returns:
        int (F,).
    """
    if len(association) < 3:
        return np.arange(len(association))
    distance = 1 - np.abs(np.nan_to_num(association))
    np.fill_diagonal(distance, 0.0)
    # Rounding leaves -1e-16.
    distance = np.clip((distance + distance.T) / 2, 0.0, 1.0)
    return leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))


def with_label(frame: pd.DataFrame, features: Sequence[Feature], labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """How well each column alone ranks the classes.

    Args:
        frame: N rows.
        features: of its columns.
        labels: int (N,), the class of each row, none negative.
        seed: of the halves that judge categories.

    Returns:
        One row a feature, indexed by its name. `auroc`: of a column with an order, on the rows where it is known, in
        whichever direction is better; of a category, of the class rates of its categories, learned on half of the rows
        and judged on the other. `missing_auroc`: of being missing. With more than two classes, means over all pairs of
        classes (Hand and Till, Machine Learning 2001). NaN where a class has fewer than LEAST_ROWS known rows.
    """
    aurocs = np.full(len(features), np.nan)
    ordered = [i for i, feature in enumerate(features) if is_ordered(feature)]
    matrix = ordered_matrix(frame, [features[i] for i in ordered])
    aurocs[ordered] = column_aurocs(matrix, labels)
    missing = np.full(len(features), np.nan)
    missing[ordered] = column_aurocs(np.isnan(matrix).astype(float), labels)
    halves = _halves(labels, seed)
    for i, feature in enumerate(features):
        if not is_ordered(feature):
            codes, _ = levels(frame[feature.name])
            aurocs[i] = _category_auroc(codes, labels, halves)
            missing[i] = column_aurocs((codes < 0).astype(float)[:, None], labels)[0]
    return pd.DataFrame({"auroc": aurocs, "missing_auroc": missing}, index=[feature.name for feature in features])


def column_aurocs(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUROC of every column in its better direction, on its known rows; the mean over pairs of classes.

    Args:
        matrix: float (N, F), NaN = missing.
        labels: int (N,).

    Returns:
        float64 (F,), NaN where no pair of classes has LEAST_ROWS known rows each.
    """
    aurocs = []
    for low, high in combinations(np.unique(labels), 2):
        chosen = np.isin(labels, (low, high))
        values, positive = matrix[chosen], labels[chosen] == high
        ranks = pd.DataFrame(values).rank().to_numpy()
        known = ~np.isnan(values)
        n1, n0 = known[positive].sum(axis=0), known[~positive].sum(axis=0)
        wins = np.nansum(ranks[positive], axis=0) - n1 * (n1 + 1) / 2
        enough = (n1 >= LEAST_ROWS) & (n0 >= LEAST_ROWS)
        auroc = np.divide(wins, n1 * n0, out=np.full(len(n1), np.nan), where=enough)
        aurocs.append(np.maximum(auroc, 1 - auroc))
    return _mean_of_known(np.array(aurocs).reshape(len(aurocs), matrix.shape[1]))


def _category_auroc(codes: np.ndarray, labels: np.ndarray, halves: np.ndarray) -> float:
    """A rate learned on the rows that it ranks would make an identifier look perfect: hence the halves."""
    codes, labels = codes + 1, np.unique(labels, return_inverse=True)[1]
    shape = (codes.max(initial=0) + 1, labels.max(initial=0) + 1)
    aurocs = []
    for half in (False, True):
        counts = np.zeros(shape)
        np.add.at(counts, (codes[halves != half], labels[halves != half]), 1)
        for low, high in combinations(range(shape[1]), 2):
            chosen = (halves == half) & ((labels == low) | (labels == high))
            positive = labels[chosen] == high
            n1, n0 = positive.sum(), (~positive).sum()
            if 2 * min(n1, n0) < LEAST_ROWS:
                continue
            # One row at the overall rate keeps small categories near it.
            pair = counts[:, [low, high]]
            rate = (pair[:, 1] + pair[:, 1].sum() / max(pair.sum(), 1)) / (pair.sum(axis=1) + 1)
            ranks = rankdata(rate[codes[chosen]])
            aurocs.append((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))
    return float(np.mean(aurocs)) if aurocs else np.nan


def _halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Bool (N,): half of the rows of each class, drawn by seed."""
    order = np.random.default_rng(seed).permutation(len(labels))
    place = pd.Series(labels[order]).groupby(labels[order]).cumcount().to_numpy()
    halves = np.zeros(len(labels), bool)
    halves[order] = place % 2 == 1
    return halves


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0))
