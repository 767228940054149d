"""How numbers are written: the forms, and that they are written nowhere else."""

import re
from pathlib import Path

import pytest

from medimg.style.words import (
    bytes_text,
    epsilon_text,
    interval,
    listed,
    number,
    seconds_text,
    shortened,
    signed,
    signed_interval,
)

TOP = Path(__file__).parents[3]
MEASURED = {"value": 0.12849, "low": -0.0812, "high": 0.1774}
POINT = {"value": 0.5, "low": None, "high": None}
NOTHING = {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("write", "texts"),
    [
        (interval, ("0.128 [-0.081, 0.177]", "0.500", "-")),
        (lambda value: interval(value, digits=2), ("0.13 [-0.08, 0.18]", "0.50", "-")),
        (lambda value: interval(value, missing="undefined"), ("0.128 [-0.081, 0.177]", "0.500", "undefined")),
        (signed_interval, ("+0.128 [−0.081, +0.177]", "+0.500", "–")),
    ],
)
def test_a_value_with_its_interval(write, texts):
    assert tuple(map(write, (MEASURED, POINT, NOTHING))) == texts


def test_a_value_alone():
    assert number(0.12849) == "0.128"
    assert number(None) == "-"
    assert number(None, "undefined") == "undefined"
    assert [signed(value) for value in (0.1, -0.1, -0.0001, None)] == ["+0.100", "−0.100", "0.000", "–"]


def test_a_list_of_which_the_first_are_named():
    assert listed("abc") == "a, b, c"
    assert listed("abcde") == "a, b, c and 2 more"
    assert listed("abcd", count=20) == "a, b, c and 17 more"
    assert listed("ab", count=2) == "a, b"
    assert listed([]) == ""


def test_intervals_and_minus_signs_are_written_in_one_place():
    forms = re.compile(r"""\[\{[^}]*\.\d?f\},\s?\{|replace\("-", "−"\)""")
    files = [
        path for package in ("medimg", "federated", "synthetic", "explain") for path in (TOP / package).rglob("*.py")
    ]
    assert len(files) > 300
    writing = [path.relative_to(TOP).as_posix() for path in files if forms.search(path.read_text(encoding="utf-8"))]
    assert writing == ["medimg/style/words.py"]


def test_amounts_as_people_read_them():
    sizes = {0: "0 B", 36: "36 B", 999: "999 B", 999.9: "1000 B", 1000: "1 kB"}
    sizes |= {3_523_456: "3.52 MB", 999_900: "1000 kB", 7.2e9: "7.2 GB", 5e15: "5000 TB"}
    assert {amount: bytes_text(amount) for amount in sizes} == sizes
    times = {0.084: "0.084 s", 9.9: "9.9 s", 9.96: "10 s", 59.4: "59 s", 59.6: "1 min 0 s"}
    times |= {200: "3 min 20 s", 7500: "2 h 5 min"}
    assert {amount: seconds_text(amount) for amount in times} == times
    assert epsilon_text({"pld": 2.3456, "rdp": 3}) == "2.35"
    assert (epsilon_text("infinite"), epsilon_text(None)) == ("infinite", "unknown")


def test_a_long_name_loses_its_middle():
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"


def test_zeros_at_the_end_are_written():
    assert interval({"value": 0.97, "low": 0.955, "high": 0.983}) == "0.970 [0.955, 0.983]"
