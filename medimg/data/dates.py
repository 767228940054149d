"""Dates as people write them: recognised by a whole column, written as ISO, and as days since 1970-01-01."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

# Its functions are made when it is imported, where no type checker sees them.
pc: Any = pyarrow.compute

# ISO 8601, as `medimg data prepare` writes dates; numpy alone would also take '2020', 'now' and time zones.
DATE = r"^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2}))?$"

FORM = "YYYY-MM-DD or YYYY-MM-DDThh:mm:ss"

SECONDS_IN_DAY = 86400

_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
_ZONE = r"(?: ?(?:Z|[+-]\d{2}:?\d{2}))?"


@dataclass(frozen=True)
class DateForm:
    """A way to write a date.

    Attributes:
        name: as a message shows it.
        pattern: regular expression of the whole cell.
        layout: of `strptime`, without the time; '' where only the column tells which of two it is.
    """

    name: str
    pattern: str
    layout: str


_AMBIGUOUS = DateForm("1/2/2020", r"^(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-]\d{4}" + _TIME + "$", "")
DAY_FIRST = DateForm("day/month/year", _AMBIGUOUS.pattern, "%d/%m/%Y")
MONTH_FIRST = DateForm("month/day/year", _AMBIGUOUS.pattern, "%m/%d/%Y")
# Whole numbers as well, of which ten are hardly ever all days by chance; else the column's name tells.
COMPACT_DAY = DateForm("20200301", r"^(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$", "%Y%m%d")
COMPACT = DateForm("20200301", r"^(?:19|20)\d{6}$", "%Y%m%d")
ISO = DateForm("2020-03-01", r"^\d{4}-\d{2}-\d{2}" + _TIME + _ZONE + "$", "%Y-%m-%d")
FORMS = (
    ISO,
    DateForm("2020/03/01", r"^\d{4}/\d{1,2}/\d{1,2}" + _TIME + "$", "%Y/%m/%d"),
    # With points the day is always first.
    DateForm("1.3.2020", r"^\d{1,2}\.\d{1,2}\.\d{4}" + _TIME + "$", "%d.%m.%Y"),
    DateForm("1-Mar-2020", r"^\d{1,2}-[A-Za-z]{3}-\d{4}" + _TIME + "$", "%d-%b-%Y"),
    DateForm("1 Mar 2020", r"^\d{1,2} [A-Za-z]{3} \d{4}" + _TIME + "$", "%d %b %Y"),
    _AMBIGUOUS,
    COMPACT_DAY,
    COMPACT,
)


class Recognition:
    """Which form all cells of a column have, over its blocks."""

    def __init__(self):
        self._open: list[DateForm] | None = None  # no cell seen yet
        self._first = self._second = 0  # largest of the two numbers of which one is the day

    def add(self, cells: pa.Array, numeric: bool) -> None:
        """Take the known cells of a block, stripped; `numeric`: all of them are numbers."""
        if not len(cells):
            return
        possible = (COMPACT_DAY, COMPACT) if numeric else FORMS
        before = FORMS if self._open is None else self._open
        self._open = [form for form in before if form in possible and _all_match(cells, form)]
        if _AMBIGUOUS in self._open:
            parts = pc.extract_regex(cells, _AMBIGUOUS.pattern)
            first, second = (pc.max(pc.cast(pc.struct_field(parts, i), pa.int64())).as_py() for i in (0, 1))
            self._first, self._second = max(self._first, first), max(self._second, second)

    @property
    def form(self) -> DateForm | None:
        """The one form, None when there is none or it can't be told."""
        if not self._open:
            return None
        if self._open[0] is not _AMBIGUOUS:
            return self._open[0]
        if self._first > 12 >= self._second:
            return DAY_FIRST
        return MONTH_FIRST if self._second > 12 >= self._first else None

    @property
    def is_ambiguous(self) -> bool:
        """Every cell is a date, but no day above 12 tells whether day or month comes first."""
        return bool(self._open) and self._open[0] is _AMBIGUOUS and max(self._first, self._second) <= 12


def to_iso(text: pd.Series, form: DateForm) -> pd.Series:
    """Dates of one form as `2020-03-01`, with `T14:05:00` where any of them has a time other than midnight.

    Args:
        text: as in the file; '' = missing.
        form: of the column.

    Returns:
        Text; '' for missing and for what is no date of that form. A time with a zone becomes UTC.
    """
    days = text.str.extract(r"^([^:]*?)(?:[T ](\d{1,2}:.*))?$")
    day = days[0].str.strip()
    if form in (DAY_FIRST, MONTH_FIRST):
        day = day.str.replace("-", "/", regex=False)
    parsed = pd.to_datetime(day, format=form.layout, errors="coerce")
    clock = days[1].fillna("").str.extract(r"^(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*(.*)$")
    hours, minutes, seconds = (pd.to_numeric(clock[i], errors="coerce").fillna(0) for i in range(3))
    since = hours * 3600 + minutes * 60 + seconds - _offset(clock[3].fillna(""))
    wrong = (hours > 23) | (minutes > 59) | (seconds > 59)
    instant = (parsed + pd.to_timedelta(since, unit="s")).mask(wrong)
    return instant.dt.strftime("%Y-%m-%dT%H:%M:%S").fillna("").astype(object)


def without_midnight(text: pd.Series) -> pd.Series:
    """A column's dates without their times when all are midnight."""
    if text.map(lambda cell: cell == "" or cell.endswith("T00:00:00")).all():
        return text.str.slice(0, 10)
    return text


def days_since_1970(dates: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01 in the proleptic Gregorian calendar.

    Args:
        dates: text (N,), each as FORM says.

    Returns:
        float64 (N,).

    Raises:
        ValueError: the calendar has no such day or time.
    """
    seconds = np.asarray(dates, dtype="datetime64[s]").astype(np.int64)
    return seconds / SECONDS_IN_DAY


def _offset(zone: pd.Series) -> np.ndarray:
    """Seconds that a zone like `+01:00` is ahead of UTC."""
    parts = zone.str.extract(r"^([+-])(\d{2}):?(\d{2})$")
    ahead = pd.to_numeric(parts[1]).fillna(0) * 3600 + pd.to_numeric(parts[2]).fillna(0) * 60
    return np.where(parts[0] == "-", -ahead, ahead)


def _all_match(cells: pa.Array, form: DateForm) -> bool:
    # Most text is no date: one cell says so.
    for tried in (cells.slice(0, 1), cells):
        matched = pc.match_substring_regex(tried, form.pattern)
        if not pc.all(matched, min_count=0).as_py():
            return False
    return True
