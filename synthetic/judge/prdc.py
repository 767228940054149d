"""Precision, recall, density and coverage of one set of points against another.

Source: Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020; precision and recall by
Kynkäänniemi et al., NeurIPS 2019.
"""

import numpy as np

from synthetic.judge.neighbours import distance_blocks, radii

NEIGHBOURS = 5


def prdc(real: np.ndarray, other: np.ndarray, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """How far `other` lies where `real` lies (precision, density), and the reverse (recall, coverage).

    Around each point is a ball that reaches to its k-th nearest neighbour of its own set.

    Args:
        real: float (N, F).
        other: float (M, F).
        neighbours: k; less where a set has no more than k points.

    Returns:
        `precision`: share of other points in the ball of some real point. `recall`: share of real points in the ball of
        some other point. `density`: real balls that an other point is in, over k (may exceed 1). `coverage`: share of
        real balls that hold some other point.
    """
    k = min(neighbours, len(real) - 1, len(other) - 1)
    real_radius, other_radius = radii(real, k), radii(other, k)
    precise = np.zeros(len(other), bool)
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    inside = 0
    for part, block in distance_blocks(real, other):
        in_real = block < real_radius[part, None]
        precise |= in_real.any(axis=0)
        covered[part] = in_real.any(axis=1)
        recalled[part] = (block < other_radius[None]).any(axis=1)
        inside += int(in_real.sum())
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled.mean()),
        "density": inside / (k * len(other)),
        "coverage": float(covered.mean()),
    }
