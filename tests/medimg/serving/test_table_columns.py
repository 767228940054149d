"""Names of a signature's inputs, and rows as requests."""

import re

import numpy as np
import pandas as pd

from medimg.serving.table_columns import MOST_INPUTS, example_row, hard_rows, inputs_of, served_columns
from medimg.tables.preprocessing import PreparedColumn, Preprocessing
from medimg.tables.raw import Input, read


def of(*inputs: Input) -> Preprocessing:
    columns = tuple(PreparedColumn(i.name, i.name, "value", fill=float(n)) for n, i in enumerate(inputs))
    return Preprocessing(inputs, columns)


def numbers(*names: str) -> Preprocessing:
    return of(*(Input(name, "continuous") for name in names))


def test_names_that_tensorflow_allows_stay_as_they_are():
    names = ("age", "chest_pain2", "training", "name", "inputs", "B")
    assert [column.input for column in served_columns(numbers(*names))] == list(names)


def test_other_names_become_safe_and_distinct():
    names = ["chest pain", "Größe", "a/b", "1st", "a b", "a_b", "class", "self", "AGE", "Age", "age"]
    names += ["性別", "年齢", "", "_x", "x=1", "a:0", "-x"]
    inputs = [column.input for column in served_columns(numbers(*names))]
    assert inputs[0] == "chest_pain"
    assert inputs[names.index("a_b")] == "a_b"
    assert inputs[names.index("AGE")] == "AGE"
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in inputs)
    assert len({name.lower() for name in inputs}) == len(names)
    assert not {"class", "self"} & set(inputs)


def test_many_columns_go_by_position():
    raw = [Input(f"g{i}", "continuous") for i in range(MOST_INPUTS)]
    raw[3] = Input("g3", "categorical", ("x", "y"))
    raw.append(Input("day", "date"))
    columns = served_columns(of(*raw))
    assert (columns[3].input, columns[3].position) == ("texts", 0)
    assert (columns[4].input, columns[4].position) == ("numbers", 3)
    assert (columns[-1].input, columns[-1].position) == ("texts", 1)
    frame = pd.DataFrame({f"g{i}": [float(i)] for i in range(MOST_INPUTS)})
    frame["g3"], frame["day"] = "x", "2020-01-01"
    inputs = inputs_of(frame, columns)
    assert inputs["numbers"].shape == (1, MOST_INPUTS - 1)
    assert inputs["numbers"].dtype == np.float32
    assert inputs["numbers"][0, 3] == 4.0
    assert inputs["texts"].tolist() == [["x", "2020-01-01"]]


def learnt(fill: float, scale: float, categories=("3", "7")) -> Preprocessing:
    """Of one table whose training rows have these medians and spreads."""
    return Preprocessing(
        raw=(
            Input("age", "continuous"),
            Input("visits", "integer"),
            Input("thal", "categorical", categories),
            Input("pain", "categorical", ("mild", "never seen")),
            Input("day", "date"),
        ),
        columns=(
            PreparedColumn("age", "age", "value", fill=fill, offset=fill, scale=scale),
            PreparedColumn("visits", "visits", "value", fill=round(fill)),
            PreparedColumn("thal=7", "thal", "category", fill=0.0, category="7"),
            PreparedColumn("pain", "pain", "value", fill=1.0),
            PreparedColumn("day", "day", "value", fill=18262.25 + fill),
        ),
    )


def test_nothing_that_was_learnt_of_numbers_and_dates_decides_the_example():
    example = example_row(learnt(54.5, 10.0))
    pd.testing.assert_frame_equal(example, example_row(learnt(71.25, 3.0)))
    assert not example.equals(example_row(learnt(54.5, 10.0), seed=1))
    row = example.iloc[0]
    assert 0.0 <= row["age"] < 10.0
    assert row["visits"] in range(10)
    assert row["thal"] in ("3", "7")
    assert row["pain"] in ("mild", "never seen")
    assert row["day"] == "2000-01-01"


def test_a_column_more_or_less_changes_no_other_columns_example():
    whole = learnt(54.5, 10.0)
    fewer = Preprocessing(whole.raw[1:], whole.columns[1:])
    pd.testing.assert_frame_equal(example_row(whole).drop(columns="age"), example_row(fewer))


def test_hard_rows_are_hard():
    preprocessing = learnt(54.5, 10.0)
    age, visits, thal, pain, day = read(example_row(preprocessing), preprocessing.raw)[0]
    values = read(hard_rows(preprocessing), preprocessing.raw)
    np.testing.assert_array_equal(values[0], [np.nan] * 5)
    np.testing.assert_array_equal(values[1], [age, visits, -1, -1, day])
    np.testing.assert_array_equal(values[2], [age, visits, thal, pain, day])
