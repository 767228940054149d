"""Which encoded columns of a wide table are kept, by what the training rows alone tell."""

import numpy as np

_CELLS = 4_000_000


def best(matrix: np.ndarray, scale: np.ndarray, targets: np.ndarray, method: str, count: int) -> np.ndarray:
    """The columns with the highest scores.

    Args:
        matrix: float32 (N, F), encoded training rows.
        scale: float64 (F,), what each column was divided by.
        targets: int64 (N,), -1 = unlabelled; or float32 (N, classes), NaN rows = unlabelled.
        method: "variance": of the column before scaling; "anova": F statistic between the classes (for several
            labels, the largest over them).
        count: how many to keep; all when there are no more.

    Returns:
        int64, positions in ascending order. Of equal scores the later columns are kept, as in scikit-learn.
    """
    if count >= matrix.shape[1]:
        return np.arange(matrix.shape[1])
    # Column blocks: scores are per column, and float64 copies of the whole matrix need not fit.
    width = max(1, _CELLS // max(1, len(matrix)))
    scores = [
        _scores(matrix[:, i : i + width].astype(np.float64), scale[i : i + width], targets, method)
        for i in range(0, matrix.shape[1], width)
    ]
    return np.sort(np.argsort(np.concatenate(scores), kind="stable")[-count:])


def _scores(matrix: np.ndarray, scale: np.ndarray, targets: np.ndarray, method: str) -> np.ndarray:
    if method == "variance":
        return matrix.var(axis=0) * scale**2
    if targets.ndim == 1:
        return _anova(matrix, targets, targets >= 0)
    labelled = ~np.isnan(targets).any(axis=1)
    return np.max([_anova(matrix, label, labelled) for label in targets.T], axis=0)


def _anova(matrix: np.ndarray, targets: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """F of the one-way analysis of variance; a column that can't be judged comes last."""
    from sklearn.feature_selection import f_classif

    if len(np.unique(targets[labelled])) < 2:
        return np.full(matrix.shape[1], -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        f, _ = f_classif(matrix[labelled], targets[labelled])
    return np.where(np.isnan(f), -np.inf, f)
