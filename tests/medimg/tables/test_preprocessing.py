"""Preprocessing as data: what transform computes, what it refuses, and that JSON brings it back."""

import json

import numpy as np
import pandas as pd
import pytest

from medimg.errors import InputError
from medimg.tables.preprocessing import PreparedColumn, Preprocessing
from medimg.tables.raw import Input, read

PREPROCESSING = Preprocessing(
    raw=(
        Input("chol", "continuous"),
        Input("thal", "categorical", ("3", "7")),
        Input("stage", "ordinal", ("I", "II", "III")),
        Input("day", "date"),
    ),
    columns=(
        PreparedColumn("chol", "chol", "value", fill=200.0, offset=100.0, scale=50.0),
        PreparedColumn("chol missing", "chol", "missing", fill=1.0),
        PreparedColumn("thal=3", "thal", "category", fill=1.0, category="3"),
        PreparedColumn("thal=7", "thal", "category", fill=0.0, category="7"),
        PreparedColumn("stage", "stage", "value", fill=1.0, offset=1.0, scale=0.5),
        PreparedColumn("day", "day", "value", fill=18262.0, offset=18262.0, scale=2.0),
    ),
    dropped={"ca": "missing in every training row"},
)


def frame(**columns):
    base = {"chol": [250.0], "thal": ["7"], "stage": ["III"], "day": ["2020-01-03T12:00:00"]}
    return pd.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [3, 0, 0, 1, 2, 1.25]),
        ({"chol": [np.nan]}, [2, 1, 0, 1, 2, 1.25]),
        ({"chol": [np.inf]}, [2, 1, 0, 1, 2, 1.25]),
        ({"chol": [1e300]}, [2, 1, 0, 1, 2, 1.25]),
        ({"chol": ["  ? "]}, [2, 1, 0, 1, 2, 1.25]),
        ({"chol": [" 150 "]}, [1, 0, 0, 1, 2, 1.25]),
        ({"thal": [""]}, [3, 0, 1, 0, 2, 1.25]),
        ({"thal": [None]}, [3, 0, 1, 0, 2, 1.25]),
        ({"thal": ["6"]}, [3, 0, 0, 0, 2, 1.25]),
        ({"thal": [3.0]}, [3, 0, 1, 0, 2, 1.25]),
        ({"thal": [" 3.0 "]}, [3, 0, 1, 0, 2, 1.25]),
        ({"stage": ["NA"]}, [3, 0, 0, 1, 0, 1.25]),
        ({"stage": ["IV"]}, [3, 0, 0, 1, -4, 1.25]),
        ({"day": ["-"]}, [3, 0, 0, 1, 2, 0]),
        ({"day": ["2019-12-31"]}, [3, 0, 0, 1, 2, -0.5]),
    ],
)
def test_each_value_by_hand(changed, expected):
    matrix = PREPROCESSING.transform(frame(**changed))
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [expected])


def test_names_sources_and_inputs():
    assert PREPROCESSING.inputs == ("chol", "thal", "stage", "day")
    assert PREPROCESSING.names[:3] == ("chol", "chol missing", "thal=3")
    assert PREPROCESSING.sources == ("chol", "chol", "thal", "thal", "stage", "day")


def test_json_brings_it_back_to_the_last_bit():
    content = json.loads(json.dumps(PREPROCESSING.to_dict(), allow_nan=False))
    again = Preprocessing.from_dict(content)
    assert again == PREPROCESSING
    many = pd.concat([frame(chol=[value]) for value in np.linspace(-1e3, 1e3, 97)])
    np.testing.assert_array_equal(again.transform(many), PREPROCESSING.transform(many))


def test_blocks_do_not_change_the_result(monkeypatch):
    from medimg.tables import preprocessing

    many = pd.concat([frame(chol=[v], thal=[t]) for v in range(9) for t in ("3", "7", "")])
    whole = PREPROCESSING.transform(many)
    monkeypatch.setattr(preprocessing, "_CELLS", 12)
    np.testing.assert_array_equal(PREPROCESSING.transform(many), whole)


def test_no_rows_give_no_rows():
    assert PREPROCESSING.transform(frame().iloc[:0]).shape == (0, 6)


def test_order_and_other_columns_do_not_matter():
    shuffled = frame().assign(other="x")[["other", "day", "stage", "thal", "chol"]]
    np.testing.assert_array_equal(PREPROCESSING.transform(shuffled), PREPROCESSING.transform(frame()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chol": ["high"]}, r"row 'r7': column 'chol': 'high' is not a number"),
        ({"day": ["03/01/2020"]}, r"row 'r7': column 'day': '03/01/2020' is not a date"),
        ({"day": ["2021-02-29"]}, r"row 'r7': column 'day': '2021-02-29' is not a date"),
        ({"day": ["2020"]}, r"column 'day': '2020' is not a date as YYYY-MM-DD"),
        ({"day": ["2020-01-01T25:00:00"]}, r"column 'day'.* is not a date"),
    ],
)
def test_values_that_cannot_be_read_are_named(changed, message):
    rows = pd.concat([frame().assign(row="r1"), frame(**changed).assign(row="r7")])
    with pytest.raises(InputError, match=message):
        PREPROCESSING.transform(rows)


def test_missing_columns_are_named():
    with pytest.raises(InputError, match=r"lacks 'chol', 'stage', which the model learns from"):
        PREPROCESSING.transform(frame().drop(columns=["chol", "stage"]))


def test_a_column_given_twice_is_refused():
    twice = pd.concat([frame(), frame()[["chol"]]], axis=1)
    with pytest.raises(InputError, match="column 'chol' is there twice"):
        PREPROCESSING.transform(twice)


def test_numbers_are_read_as_a_served_model_is_given_them():
    value = 0.1 + 1e-9
    matrix = read(pd.DataFrame({"a": [value]}), (Input("a", "continuous"),))
    assert matrix[0, 0] == float(np.float32(value)) != value
