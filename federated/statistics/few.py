"""Fewest patients that a site tells of: of its rows, of those that a question leaves out, of each class."""

import numpy as np
import pandas as pd

from medimg.errors import InputError


class FewPatientsError(InputError):
    """A site tells nothing of so few; its words hold nothing else of the site, and may leave it."""


def require_patients(groups: np.ndarray, size: int, patients: pd.Series, fewest: int) -> None:
    """Refuse to tell of groups of few patients.

    Args:
        groups: the group of each row, int (groupings, N).
        size: number of groups.
        patients: of the rows.
        fewest: that a group must have, where it has any.

    Raises:
        FewPatientsError: one has fewer.
    """
    for group in groups:
        for k in range(size):
            if 0 < patients[group == k].nunique() < fewest:
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
