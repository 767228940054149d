"""Holm's correction of p-values for their number.

Source: Holm, Scandinavian Journal of Statistics 6, 1979. By hand, since statsmodels' `multipletests` has Python's
collector look through the whole process each time: half a second and more where models are.
"""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number; None is no test and stays None."""
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    raised = np.maximum.accumulate([p * (len(tested) - rank) for rank, (p, _) in enumerate(tested)])
    for p, (_, place) in zip(raised, tested, strict=True):
        corrected[place] = min(float(p), 1.0)
    return corrected
