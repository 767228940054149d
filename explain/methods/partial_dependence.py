"""Partial dependence: the mean probability over patients when one feature is set to a value for all of them.

Friedman, "Greedy function approximation", Annals of Statistics 2001; the curves of single patients: Goldstein et al.,
"Peeking inside the black box" (ICE), J. Comput. Graph. Stat. 2015.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from explain.methods.table_score import TableModel
from medimg.tables.raw import Input

_GRID = 24
# Of the patients' own curves that the band holds.
_LOW, _HIGH = 10, 90


@dataclass(frozen=True, eq=False)
class Dependence:
    """The model's answer along one feature.

    Attributes:
        feature: the raw column.
        grid: float64 (G,) of numbers, days or codes; a last NaN stands for missing where training has missing values.
        probabilities: float32 (patients, G, explained), every patient's probability at each value.
        values: float64 (patients,), the patients' own values, NaN for missing.
    """

    feature: Input
    grid: np.ndarray
    probabilities: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """float (G, explained)."""
        return self.probabilities.mean(axis=0)

    def table(self, classes: list[str]) -> pd.DataFrame:
        """One row a value and class: feature, value, class, probability, low and high (10% and 90% of patients)."""
        band = np.percentile(self.probabilities, (_LOW, _HIGH), axis=0)
        return pd.DataFrame(
            {
                "feature": self.feature.name,
                "value": np.repeat([value_text(self.feature, v) for v in self.grid], len(classes)),
                "class": np.tile(classes, len(self.grid)),
                "probability": self.mean.ravel(),
                "low": band[0].ravel(),
                "high": band[1].ravel(),
            }
        )


def dependence(model: TableModel, patients: np.ndarray, index: int) -> Dependence:
    """Set a feature of all patients to each of its values in turn.

    Args:
        model: whose probabilities are asked for.
        patients: float64 (N, features), raw values of training rows.
        index: of the feature.
    """
    feature, values = model.preprocessing.raw[index], patients[:, index]
    grid = _grid(feature, values)
    probabilities = []
    for level in grid:
        changed = patients.copy()
        changed[:, index] = level
        probabilities.append(model.probabilities(changed)[:, model.explained])
    return Dependence(feature, grid, np.stack(probabilities, axis=1), values)


def value_text(feature: Input, value: float) -> str:
    """A raw value as a clinician would write it."""
    if np.isnan(value):
        return "missing"
    if feature.categories:
        is_category = 0 <= value < len(feature.categories)
        return feature.categories[int(value)] if is_category else "unseen"
    if feature.type == "date":
        return str(np.datetime64(round(value * 86400), "s")).replace("T00:00:00", "")
    return f"{value:.6g}"


def _grid(feature: Input, values: np.ndarray) -> np.ndarray:
    present = values[~np.isnan(values)]
    if feature.categories:
        grid = np.arange(len(feature.categories), dtype=float)
    else:
        # Values that patients have: between them the model was never asked. Outliers would stretch the axis.
        grid = np.unique(present)
        if len(grid) > _GRID:
            quantiles = np.linspace(1, 99, _GRID)
            grid = np.unique(np.percentile(present, quantiles, method="nearest"))
    return np.append(grid, np.nan) if len(present) < len(values) else grid
