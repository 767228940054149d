"""Dates to ISO text and to days, against the calendar."""

import datetime

import numpy as np
import pandas as pd

from medimg.data.dates import ISO, days_since_1970, to_iso


def test_times_of_day():
    cells = ["2020-03-01T14:05", "2020-03-01 14:05:09.5", "2020-03-01T00:30+01:00", "2020-02-30"]
    expected = ["2020-03-01T14:05:00", "2020-03-01T14:05:09", "2020-02-29T23:30:00", ""]
    assert list(to_iso(pd.Series(cells), ISO)) == expected
    assert list(to_iso(pd.Series(["2020-03-01 25:00"]), ISO)) == [""]


def test_days_are_those_of_the_calendar():
    start = datetime.datetime(1970, 1, 1)
    for moment in ("1600-02-29T00:00:00", "1899-12-31T23:59:59", "2000-02-29T06:00:00", "2262-05-01T00:00:00"):
        expected = (datetime.datetime.fromisoformat(moment) - start).total_seconds() / 86400
        assert days_since_1970(np.array([moment]))[0] == expected
