"""Fewest patients that a site tells of: of its rows, of those that a question leaves out, of each class."""

import numpy as np
import pandas as pd

from medimg.errors import InputError

_ROUNDING = 1e-9


class FewPatientsError(InputError):
    """A site tells nothing of so few; its words hold nothing else of the site, and may leave it."""


def require_patients(groups: np.ndarray, patients: pd.Series, fewest: int) -> None:
    """Refuse to tell of groups of few patients, or of rows that the difference of groups shows.

    Args:
        groups: the group of each row, int (groupings, N); of none is one too.
        patients: of the rows.
        fewest: that a group must have.

    Raises:
        FewPatientsError: one has fewer.
    """
    if not groups.shape[1]:
        return
    for group in groups:
        _require(group, np.unique(group), patients, fewest)
    # Rows that are in the same groups; of two classes, all less both classes are the rows of neither.
    cells, cell = np.unique(groups, axis=1, return_inverse=True)
    indicators = np.concatenate([[one == group for group in np.unique(one)] for one in cells]).astype(float)
    # A sum of groups can be that of one cell alone where it is in the space that all of them span.
    shown = np.flatnonzero(np.einsum("ij,ji->i", np.linalg.pinv(indicators), indicators) > 1 - _ROUNDING)
    _require(cell.ravel(), shown, patients, fewest)


def _require(group: np.ndarray, labels: np.ndarray, patients: pd.Series, fewest: int) -> None:
    for k in labels:
        if patients[group == k].nunique() < fewest:
            raise FewPatientsError(f"min_patients: a class has fewer than {fewest} patients, of whom none is told")


def require_chosen(chosen: pd.Series, others: pd.Series, fewest: int) -> None:
    """Refuse a choice of rows by which whoever asks has those of few, as they are or by the difference to all.

    Args:
        chosen: patients of the rows that are counted.
        others: of those that are not.
        fewest: that each must have, where it has any.

    Raises:
        FewPatientsError: one has fewer.
    """
    for patients, what in ((chosen, "know all columns that must be known"), (others, "lack one of them")):
        if 0 < patients.nunique() < fewest:
            raise FewPatientsError(
                f"min_patients: fewer than {fewest} patients have rows that {what}; use --missing impute"
            )
