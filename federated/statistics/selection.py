"""Which encoded columns are kept, from sums per class over the clients."""

import numpy as np

from federated.statistics.asking import Asking, whole
from federated.statistics.moments import Moments
from federated.statistics.schema import Schema
from medimg.tables.preprocessing import Preprocessing


def best(
    asking: Asking, fitted: Preprocessing, filled: dict[str, Moments], schema: Schema, method: str, count: int
) -> np.ndarray:
    """The columns with the highest scores, as `medimg.tables.selection.best` chooses them from rows.

    Args:
        asking: clients.
        fitted: with all F columns.
        filled: of each raw column once filled; sums of squares are taken about its mean, in units of its range.
        schema: for the number of classes.
        method: `variance` or `anova`.
        count: how many to keep; all when there are no more.

    Returns:
        int64, positions in ascending order.
    """
    if count >= len(fitted.columns):
        return np.arange(len(fitted.columns))
    # 0 and 1 for columns of 0 and 1: their sums are whole numbers, and equal scores stay equal.
    shifts, scales = np.zeros(len(fitted.columns)), np.ones(len(fitted.columns))
    for i, column in enumerate(fitted.columns):
        if column.kind == "value":
            of_raw = filled[column.source]
            shifts[i] = (of_raw.mean - column.offset) / column.scale
            # Encoded values are of float32.
            scales[i] = 1.001 * (of_raw.high - of_raw.low) / column.scale
    groupings, groups = 1, 1
    if method == "anova":
        several = schema.task == "multilabel"
        groupings, groups = (len(schema.classes), 2) if several else (1, len(schema.classes))
    cells, features = groupings * groups, len(shifts)
    asked = {
        "preprocessing": fitted.to_dict(),
        "shifts": shifts.tolist(),
        "scales": scales.tolist(),
        "by": "class" if method == "anova" else "all",
    }
    n, sums, squares = np.split(asking("classes", cells * (1 + 2 * features), **asked), [cells, cells * (1 + features)])
    n = whole("classes", n).reshape(groupings, groups)
    sums, squares = (stacked.reshape(groupings, groups, features) for stacked in (sums, squares))
    if method == "variance":
        total = n[0, 0]
        scores = (squares[0, 0] - sums[0, 0] ** 2 / total) / total * (scales * fitted.plan.scale) ** 2
    else:
        scores = np.max([anova(*one) for one in zip(n, sums, squares, strict=True)], axis=0)
    # Of equal scores the later columns are kept, as from rows.
    return np.sort(np.argsort(scores, kind="stable")[-count:])


def anova(n: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """F of the one-way analysis of variance; a column that can't be judged comes last.

    Args:
        n: int (K,), rows of each class.
        sums: (K, F), of the columns in each class.
        squares: (K, F), of their squares.

    Returns:
        float64 (F,).
    """
    present = n > 0
    n, sums, squares = n[present], sums[present], squares[present]
    if len(n) < 2:
        return np.full(sums.shape[1], -np.inf)
    total = n.sum()
    of_mean = sums.sum(axis=0) ** 2 / total
    between = (sums**2 / n[:, None]).sum(axis=0) - of_mean
    within = squares.sum(axis=0) - of_mean - between
    with np.errstate(divide="ignore", invalid="ignore"):
        f = (between / (len(n) - 1)) / (within / (total - len(n)))
    return np.where(np.isnan(f), -np.inf, f)
