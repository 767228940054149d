"""Fréchet distance of two sets of points, each taken as a normal distribution.

Sources: Dowson and Landau, J. Multivariate Analysis 12, 1982; Heusel et al., NeurIPS 2017. Only comparable with the
same features and numbers of points: few points make it larger, so it stands beside that of as many real ones.
"""

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).

    Args:
        first: float (N, F), N > 1.
        second: float (M, F), M > 1.
    """
    covariances = [np.cov(points, rowvar=False).reshape(points.shape[1], -1) for points in (first, second)]
    # C1 C2 has the eigenvalues of the symmetric root(C1) C2 root(C1), whose computation is stable.
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ covariances[1] @ root)
    means = first.mean(axis=0) - second.mean(axis=0)
    spread = sum(np.trace(c) for c in covariances) - 2 * np.sqrt(np.clip(product, 0, None)).sum()
    return float(means @ means + max(0.0, spread))
