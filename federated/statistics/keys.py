"""Numbers and dates as whole numbers in the same order, so that a search by halves ends at an exact value."""

import numpy as np

from medimg.data.dates import SECONDS_IN_DAY

_SIGN, _SIGN_OF_64 = np.uint32(1 << 31), np.uint64(1 << 63)
DATE, DOUBLE = "date", "double"


def to_keys(values: np.ndarray, kind: str) -> np.ndarray:
    """Keys in the order of the values.

    Args:
        values: float64 (N,) without NaN, as `medimg.tables.raw.read` gives them: numbers that are float32, or days.
        kind: type of the column; "date" has the seconds since 1970 as key, a number the place of its float32 among
            all, "double" that of its float64.

    Returns:
        int64 (N,).
    """
    if kind == DATE:
        return np.rint(np.asarray(values, np.float64) * SECONDS_IN_DAY).astype(np.int64)
    if kind == DOUBLE:
        bits = (np.asarray(values, np.float64) + 0.0).view(np.uint64)
        return np.where(bits & _SIGN_OF_64, ~bits ^ _SIGN_OF_64, bits).view(np.int64)
    # Adding 0 makes -0 a 0. IEEE 754: positive floats are in the order of their bits, negative ones in the reverse.
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.int64)


def to_values(keys: np.ndarray, kind: str) -> np.ndarray:
    """The inverse of `to_keys`: float64 (N,)."""
    keys = np.asarray(keys, np.int64)
    if kind == DATE:
        return keys / SECONDS_IN_DAY
    if kind == DOUBLE:
        bits = keys.view(np.uint64)
        return np.where(keys < 0, ~bits ^ _SIGN_OF_64, bits).view(np.float64)
    ordered = keys.astype(np.uint32)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)


def in_parts(keys: np.ndarray, low: int, high: int, bins: int) -> np.ndarray:
    """How many keys lie in each of so many equal parts of [low, high], int64 (bins,)."""
    step = (high - low) // bins + 1
    inside = keys[(keys >= low) & (keys <= high)]
    # Without a sign: the difference of two keys may be more than int64 holds.
    places = (inside.view(np.uint64) - np.uint64(low % 2**64)) // np.uint64(step)
    return np.bincount(places.astype(np.int64), minlength=bins)
