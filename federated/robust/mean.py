"""The weighted mean: what the robust rules are measured against. One client can move it anywhere."""

from collections.abc import Sequence

import numpy as np

from federated.robust.vectors import RobustAggregate, blocks, checked, normalised, result_dtype


def mean(vectors: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> RobustAggregate:
    """The mean of the clients' updates (McMahan et al., AISTATS 2017).

    Args:
        vectors: n updates, float (d,).
        weights: length n, e.g. examples; None counts every client alike.
    """
    n, d = checked(vectors)
    share = normalised(weights, n)
    vector = np.empty(d, result_dtype(vectors))
    for block, values in blocks(vectors):
        vector[block] = share @ values
    return RobustAggregate(vector, share)
