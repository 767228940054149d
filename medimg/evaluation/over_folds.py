"""Metrics over the folds of a cross-validation: mean, spread and an interval that knows that folds share training data.

Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003.
"""

import math

import numpy as np
from scipy.stats import t

from medimg.evaluation.intervals import LEVEL


def over_folds(values: list[float | None], tested: list[int], trained: list[int]) -> dict:
    """Mean, standard deviation and 95% interval of a metric over folds.

    Args:
        values: the metric in each fold, None where it is undefined there.
        tested: rows that each fold was tested on.
        trained: rows that its model was trained on.

    Returns:
        `values`, `mean`, `sd` (n - 1), `low`, `high`; None where fewer than one (mean) or two folds define it.
    """
    defined = np.array([v for v in values if v is not None], float)
    result = {"values": values, "mean": None, "sd": None, "low": None, "high": None}
    if len(defined):
        result["mean"] = float(defined.mean())
    if len(defined) < 2:
        return result
    deviation = float(defined.std(ddof=1))
    ratio = float(np.mean(np.asarray(tested) / np.asarray(trained)))
    error = deviation * math.sqrt(1 / len(defined) + ratio)
    half = float(t.ppf(0.5 + LEVEL / 2, len(defined) - 1)) * error
    # Every metric lies between 0 and 1; Student's t does not know.
    low, high = max(0.0, result["mean"] - half), min(1.0, result["mean"] + half)
    return {**result, "sd": deviation, "low": low, "high": high}
