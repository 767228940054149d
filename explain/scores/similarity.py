"""How alike two maps are: Spearman's rank correlation over pixels."""

import numpy as np


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each map of one list and the other's.

    Args:
        first: float (N, S, S).
        second: likewise.

    Returns:
        float64 (N,); 0 where one of the two is flat, NaN where both are: then there is nothing to compare.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    a_spread, b_spread = (np.sqrt((x**2).sum(axis=1)) for x in (a, b))
    spread = a_spread * b_spread
    correlations = np.divide((a * b).sum(axis=1), spread, out=np.zeros(len(a)), where=spread > 0)
    correlations[(a_spread == 0) & (b_spread == 0)] = np.nan
    return correlations
