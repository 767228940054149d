"""How much of the real columns' interdependence the synthetic ones have.

A score of pair trends is high wherever most pairs of columns hardly depend on each other, shuffled columns included. So
the distance of association matrices is put on a scale of its own table: 1 = as near to the held-out rows as real rows
are, 0 = as far as real rows whose columns were shuffled.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data.schema import Feature
from medimg.tables.association import pairwise
from synthetic.judge.quality import MOST_COLUMNS

SHUFFLES = 5
# Less between shuffled and real is no structure to be kept.
LEAST_SPAN = 0.01


def association(rows: pd.DataFrame, features: Sequence[Feature]) -> np.ndarray:
    """Association of the first MOST_COLUMNS columns and, last, the label (`medimg.tables.association`).

    Returns:
        float64 (C + 1, C + 1), NaN where undefined.
    """
    return pairwise(rows, [*features[:MOST_COLUMNS], Feature("label", "categorical")])


def compare(
    real: pd.DataFrame, train: pd.DataFrame, made: pd.DataFrame, features: Sequence[Feature], seed: int
) -> dict:
    """Mean absolute difference of association from held-out rows, and the structure kept.

    Args:
        real: held-out rows.
        train: real rows, as many as `made`.
        made: synthetic rows.
        features: columns.
        seed: of the shuffles.

    Returns:
        `synthetic`, `real`, `shuffled`: mean absolute differences from `real`; `kept`: 1 - (synthetic - real) /
        (shuffled - real), None where the real columns have no structure or nothing is defined.
    """
    reference = association(real, features)
    defined = np.triu(~np.isnan(reference), 1)
    if not defined.any():
        return {"synthetic": None, "real": None, "shuffled": None, "kept": None}

    def difference(rows: pd.DataFrame) -> float:
        # A column that no longer varies goes with nothing.
        associations = np.nan_to_num(association(rows, features))
        return float(np.abs(associations - reference)[defined].mean())

    generator = np.random.default_rng(seed)
    shuffled = float(np.mean([difference(_shuffled(train, generator)) for _ in range(SHUFFLES)]))
    of_made, of_train = difference(made), difference(train)
    span = shuffled - of_train
    kept = 1 - (of_made - of_train) / span if span >= LEAST_SPAN else None
    return {"synthetic": of_made, "real": of_train, "shuffled": shuffled, "kept": kept}


def _shuffled(rows: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({name: rows[name].to_numpy()[generator.permutation(len(rows))] for name in rows})
