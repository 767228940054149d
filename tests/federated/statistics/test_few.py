"""Groups whose sums, or the differences of whose sums, are of few patients."""

import numpy as np
import pandas as pd
import pytest

from federated.statistics.few import FewPatientsError, require_patients


def refused(labels, fewest=2, patients=None):
    """Of labels (N, classes), each class a grouping of rows without and with it."""
    groups = np.array(labels, int).T
    try:
        require_patients(groups, pd.Series(patients or range(groups.shape[1])), fewest)
    except FewPatientsError:
        return True
    return False


MANY = [[1, 0]] * 3 + [[0, 1]] * 3


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (MANY, False),
        # All less both classes.
        ([*MANY, [0, 0]], True),
        # Both classes less all.
        ([*MANY, [1, 1]], True),
        ([*MANY, [0, 0], [0, 0]], False),
        # Of four kinds of rows three sums tell none alone.
        ([*MANY, [0, 0], [1, 1]], False),
        ([*MANY, [0, 0], [0, 0], [1, 1]], False),
        ([[1, 1]] * 5 + [[0, 1]] * 5 + [[0, 0]], True),
    ],
)
def test_rows_that_a_difference_of_groups_shows(labels, expected):
    assert refused(labels) is expected


def test_rows_of_one_patient_are_one():
    assert refused([*MANY, [0, 0], [0, 0]], patients=[*range(6), 6, 6])


def test_rows_of_no_class_are_a_group_too():
    groups, patients = np.array([[0, 0, 1, 1, -1]]), pd.Series(range(5))
    with pytest.raises(FewPatientsError, match="fewer than 2 patients"):
        require_patients(groups, patients, 2)
    require_patients(groups[:, :4], patients[:4], 2)
    require_patients(groups[:, :0], patients[:0], 2)
