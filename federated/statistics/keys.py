"""Numbers and dates as whole numbers in the same order, so that a search by halves ends at an exact value."""

import numpy as np

from medimg.data.dates import SECONDS_IN_DAY

_SIGN = np.uint32(1 << 31)


def to_keys(values: np.ndarray, kind: str) -> np.ndarray:
    """Keys in the order of the values.

    Args:
        values: float64 (N,) without NaN, as `medimg.tables.raw.read` gives them: numbers that are float32, or days.
        kind: type of the column; "date" has the seconds since 1970 as key, a number the place of its float32 among all.

    Returns:
        int64 (N,).
    """
    if kind == "date":
        return np.rint(np.asarray(values, np.float64) * SECONDS_IN_DAY).astype(np.int64)
    # Adding 0 makes -0 a 0. IEEE 754: positive floats are in the order of their bits, negative ones in the reverse.
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.int64)


def to_values(keys: np.ndarray, kind: str) -> np.ndarray:
    """The inverse of `to_keys`: float64 (N,)."""
    keys = np.asarray(keys, np.int64)
    if kind == "date":
        return keys / SECONDS_IN_DAY
    ordered = keys.astype(np.uint32)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)
