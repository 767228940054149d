"""What each kind of column is taken for."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from medimg.data.dates import DAY_FIRST, FORMS, MONTH_FIRST, to_iso, without_midnight
from medimg.errors import InputError
from medimg.tables import columns
from medimg.tables.columns import forced, infer
from medimg.tables.inference import ColumnSummary
from medimg.tables.ordinals import order_of


def summary(cells, comma=False, blocks=2):
    found = ColumnSummary(comma)
    column = pa.array([str(cell) for cell in cells])
    for part in np.array_split(np.arange(len(column)), blocks):
        found.add(column.take(pa.array(part)))
    return found


def kind(cells, name="x", **options):
    return infer(name, summary(cells, **options)).feature.type


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.5", "2", "?", "3e2"] * 5, "continuous"),
        (["3", "+4", "NA", "5.0"] * 5, "integer"),
        (["0", "1", "1", ""] * 5, "categorical"),
        (["1", "2.0", "2", "1.0"] * 5, "categorical"),
        (["yes", "no"] * 10, "categorical"),
        (["a"] * 20, "categorical"),
        (["low", "high", "medium"] * 5, "ordinal"),
        (["2020-03-01", "2021-12-31", ""] * 5, "date"),
        ([f"text {i}" for i in range(30)], "identifier"),
        ([str(i) for i in range(5, 30)], "identifier"),
        ([f"text {i // 2}" for i in range(400)], "metadata"),
        (["", "?", "n/a", "nan"] * 3, "metadata"),
        (["1/2/2020", "3/4/2020"] * 5, "metadata"),
        (["inf", "-inf"] * 5, "metadata"),
        ([f"{i}.25" for i in range(30)], "continuous"),
    ],
)
def test_types(cells, expected, blocks):
    assert kind(cells, blocks=blocks) == expected


def test_codes_with_zeros_in_front_stay_text():
    for cells, expected in (
        (["001", "008", "250", "033"] * 5, "categorical"),
        ([f"{i // 2:05d}" for i in range(900)], "metadata"),
        ([f"{i:05d}" for i in range(900, 960)], "identifier"),
        (["01", "02"] * 9, "categorical"),
        (["0", "0.5", "00.5", "10"] * 5, "continuous"),
    ):
        found = infer("x", summary(cells))
        assert found.feature.type == expected
        assert (found.reason == columns.CODES) == (expected != "continuous")
        assert found.convert(pa.array(cells)).tolist()[0] in (cells[0], 0.0)
    assert forced("x", "integer", summary(["001", "008"])).convert(pa.array(["008"])).tolist() == [8.0]


@pytest.mark.parametrize("of", [str, float])
def test_whole_numbers_that_are_all_days_are_dates(of):
    days = [f"{2000 + i % 20}{1 + i % 12:02d}{1 + i % 28:02d}" for i in range(40)]

    def read(cells, name="admitted"):
        found = ColumnSummary(False)
        found.add(pa.array([of(cell) for cell in cells]))
        return infer(name, found)

    column = read(days)
    assert (column.feature.type, column.reason) == ("date", columns.COMPACT_DATES)
    assert column.convert(pa.array([of(days[0])])).tolist() == ["2000-01-01T00:00:00"]
    assert read([*days, "20011301"]).feature.type == "integer"
    assert read([*days, "20011301"], "admission_date").feature.type == "date"
    assert read(days[:9]).feature.type == "integer"
    assert read(days[:9], "visit_date").feature.type == "date"
    assert read(days, "visit_id").feature.type != "date"


def test_names_of_identifiers():
    numbers = np.random.default_rng(0).permutation(1000)[:60]
    for name in ("id", "MRN", "visit_id", "recordId", "record_no", "Patient ID"):
        assert kind(numbers, name) == "identifier", name
    for name in ("lipid", "acid", "humid", "age"):
        assert kind(numbers, name) == "integer", name
    assert kind(["3", "1", "4"] * 20, "ward_id") == "categorical"
    assert kind(["A12", "13", "14"] * 20 + [f"B{i}" for i in range(40)], "visit_id") == "identifier"


def test_copies_in_another_block_are_seen():
    names = [f"p{i}" for i in range(30)]
    assert summary(names).distinct
    assert not summary([*names, "p0"]).distinct
    assert summary(range(9)).numbers.counting
    assert not summary([0, 1, 2, 2, 3, 4]).numbers.counting


def test_a_mixed_column_names_its_first_odd_cell():
    with pytest.raises(ValueError, match=r"<0\.1") as error:
        infer("lab", summary(["1.5", "2", "", "<0.1", "3", "4", "<0.2"]))
    assert error.value.args == (3, "<0.1")
    cells = ["1", "2", "", "low", "3", "4"]
    column = forced("lab", "continuous", summary(cells))
    np.testing.assert_array_equal(column.convert(pa.array(cells)), [1, 2, np.nan, np.nan, 3, 4])
    text = forced("lab", "categorical", summary(cells)).convert(pa.array(cells))
    assert text.to_pylist() == ["1", "2", "", "low", "3", "4"]
    assert kind(["I10", "250", "E11"] * 5) == "categorical"


def test_decimal_commas():
    cells = ["1,5", "-,5", "2", "1,5e2", ""]
    column = infer("x", summary(cells, comma=True))
    assert column.feature.type == "continuous"
    assert column.comma
    np.testing.assert_array_equal(column.convert(pa.array(cells)), [1.5, -0.5, 2, 150, np.nan])
    with pytest.raises(ValueError, match=r"1\.5"):
        infer("x", summary([*cells, "1.5"], comma=True))
    assert kind(["1,5", "2,5"] * 5) == "categorical"


def test_numbers_are_read_as_python_reads_them():
    cells = ["1", " 2.5 ", "+3", "-.5", "1.", "1e-3", "", "?", "inf", "0.1", "123456789.123"]
    read = forced("x", "continuous", summary(cells)).convert(pa.array(cells))
    expected = [np.nan if cell in ("", "?", "inf") else float(cell) for cell in cells]
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(
        forced("x", "continuous", summary([*cells, "x"])).convert(pa.array([*cells, "x"])), [*expected, np.nan]
    )


@pytest.mark.parametrize(
    ("levels", "order"),
    [
        (["High", "low", "Medium"], ("low", "Medium", "High")),
        (["severe", "none", "mild"], ("none", "mild", "severe")),
        (["III", "I", "IV", "II"], ("I", "II", "III", "IV")),
        (["T4", "T1b", "T1a"], ("T1a", "T1b", "T4")),
        (["Grade 10", "Grade 2"], ("Grade 2", "Grade 10")),
        (["stage_2", "stage_1"], ("stage_1", "stage_2")),
        (["NYHA class II", "NYHA class I"], ("NYHA class I", "NYHA class II")),
        (["yes", "no"], ()),
        (["V", "X"], ()),
        (["T1", "N2"], ()),
        (["low", "Low", "high"], ()),
        (["low", "purple"], ()),
        (["high"], ()),
        (["1", "2", "3"], ()),
    ],
)
def test_scales(levels, order):
    assert order_of(levels) == order


def test_which_of_day_and_month_comes_first():
    assert infer("d", summary(["1/2/2020", "13/2/2020"])).form is DAY_FIRST
    assert infer("d", summary(["1/2/2020", "2/13/2020"])).form is MONTH_FIRST
    assert infer("d", summary(["1/13/2020", "13/2/2020"] * 5)).form is None
    assert infer("d", summary(["1/2/2020", "3/4/2020"])).reason == columns.AMBIGUOUS
    with pytest.raises(InputError, match="write them as 2020-03-01"):
        forced("d", "date", summary(["1/2/2020", "3/4/2020"]))


@pytest.mark.parametrize("form", [*(f for f in FORMS if f.layout), DAY_FIRST, MONTH_FIRST])
def test_every_form_is_read_as_python_reads_it(form):
    day = datetime.date(2020, 10, 25)
    later = datetime.date(2019, 2, 3)
    cells = pd.Series([day.strftime(form.layout), later.strftime(form.layout), "", "nonsense"])
    assert list(without_midnight(to_iso(cells, form))) == ["2020-10-25", "2019-02-03", "", ""]
    assert infer("birth_date", summary(cells[:3])).form.name == form.name


def test_forced_types():
    found = summary(["1", "2", "3"] * 5)
    for name in ("identifier", "metadata", "categorical", "integer", "ordinal"):
        assert forced("x", name, found).feature.type == name
    assert forced("x", {"ordinal": ["2", "1"]}, found).feature.order == ("2", "1")
    with pytest.raises(InputError, match="--column-type x=number: choose one of continuous"):
        forced("x", "number", found)
