"""Dates as numbers: days since 1970-01-01, with the time of day as a fraction."""

import numpy as np

# ISO 8601, as `medimg data prepare` writes dates; numpy alone would also take '2020', 'now' and time zones.
DATE = r"^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2}))?$"
FORM = "YYYY-MM-DD or YYYY-MM-DDThh:mm:ss"
SECONDS_IN_DAY = 86400


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
