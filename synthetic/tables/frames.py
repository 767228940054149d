"""Rows as the frame that a generator takes, by what was learnt or declared of their columns, and back.

What comes back never leaves what was learnt: no category, range, number of decimals or missing value beside it.
"""

import numpy as np
import pandas as pd

from medimg.data.dates import SECONDS_IN_DAY
from synthetic.tables.columns import GeneratorColumn, numbers_of

# Least rows of a frame that tells what is public.
_POINTS = 256


def to_frame(
    rows: pd.DataFrame, columns: tuple[GeneratorColumn, ...], seed: np.random.Generator | None
) -> pd.DataFrame:
    """The rows as the generator's frame.

    Args:
        rows: of a manifest, holding nothing that `learn` did not see but for numbers beyond their bounds; of `declared`
            columns anything.
        columns: what was learnt or declared.
        seed: draws the values that stand in for missing ones, from the column's own; None: the middle of the range
            does, so that no row tells of another.

    Returns:
        One float64 column for each number, and one of text for each category and each number's "is missing"; named by
        position, since a name may be anything.
    """
    frame = {}
    for position, column in enumerate(columns):
        if column.kind == "category":
            codes = {level: str(code) for code, level in enumerate(column.levels)}
            values = _levels_of(rows[column.name], column)
            # Of declared columns what is not stated counts as missing.
            unknown = codes.get(_missing_level(column))
            frame[f"category {position}"] = [codes.get(value, unknown) for value in values]
        elif column.kind == "number":
            values = numbers_of(rows[column.name], column.type)
            missing = np.isnan(values)
            if column.lacking:
                frame[f"missing {position}"] = np.where(missing, "1", "0")
            values[missing] = _stand_ins(values, missing, column, seed)
            frame[f"number {position}"] = np.clip(values, column.low, column.high)
    return pd.DataFrame(frame, index=range(len(rows)))


def public_frame(columns: tuple[GeneratorColumn, ...]) -> pd.DataFrame:
    """A frame that tells what `columns` tell and nothing of a patient: even steps over each range, each category.

    Args:
        columns: what was learnt.
    """
    frame = {}
    # As many rows as the widest column has categories.
    points = max([_POINTS, *(len(column.levels) for column in columns)])
    for position, column in enumerate(columns):
        if column.kind == "category":
            frame[f"category {position}"] = [str(i % len(column.levels)) for i in range(points)]
        elif column.kind == "number":
            if column.lacking:
                frame[f"missing {position}"] = [str(i % 2) for i in range(points)]
            frame[f"number {position}"] = np.linspace(column.low, column.high, points)
    return pd.DataFrame(frame)


def known_numbers(rows: pd.DataFrame, column: GeneratorColumn) -> np.ndarray:
    """The known values of a number or date, float64, within its bounds; of a date days since 1970-01-01."""
    values = numbers_of(rows[column.name], column.type)
    return np.clip(values[~np.isnan(values)], column.low, column.high)


def discrete(frame: pd.DataFrame) -> list[str]:
    """The frame's columns that are no numbers."""
    return [name for name in frame if not name.startswith("number")]


def from_frame(frame: pd.DataFrame, columns: tuple[GeneratorColumn, ...], count: int) -> pd.DataFrame:
    """Rows as a manifest holds them: the inverse of `to_frame`."""
    rows = {}
    for position, column in enumerate(columns):
        if column.kind == "constant":
            rows[column.name] = [column.levels[0]] * count
        elif column.kind == "category":
            codes = frame[f"category {position}"].astype(int)
            rows[column.name] = [column.levels[code] for code in codes]
        else:
            values = frame[f"number {position}"].to_numpy(np.float64)
            if column.decimals is not None:
                values = np.round(values, column.decimals)
            # After rounding, which may step over a bound that has more decimals.
            values = np.clip(values, column.low, column.high)
            if column.lacking:
                values[frame[f"missing {position}"].to_numpy() == "1"] = np.nan
            rows[column.name] = _dates(values, column) if column.type == "date" else values
    return pd.DataFrame(rows, index=range(count))


def _stand_ins(
    values: np.ndarray, missing: np.ndarray, column: GeneratorColumn, seed: np.random.Generator | None
) -> np.ndarray:
    """What stands in for the missing ones."""
    if seed is None:
        return np.full(missing.sum(), (column.low + column.high) / 2)
    pool = values[~missing] if (~missing).any() else np.array([column.low])
    return seed.choice(pool, missing.sum())


def _missing_level(column: GeneratorColumn):
    """The very object that the levels hold, or None."""
    return next((v for v in column.levels if pd.isna(v) or v == ""), None)


def _levels_of(values: pd.Series, column: GeneratorColumn) -> list:
    if column.type in ("continuous", "integer"):
        # NaN is a key only as the very object that the levels hold.
        missing = _missing_level(column)
        values = values.clip(column.low, column.high) if column.low < column.high else values
        return [missing if np.isnan(value) else value for value in values]
    return values.tolist()


def date_text(day: float, decimals: int | None) -> str:
    """Days since 1970-01-01 as a manifest has them; with `decimals` 0 the day alone."""
    moment = np.datetime64(round(day * SECONDS_IN_DAY), "s")
    return str(moment.astype("datetime64[D]")) if decimals == 0 else str(moment)


def _dates(days: np.ndarray, column: GeneratorColumn) -> list[str]:
    return ["" if np.isnan(day) else date_text(day, column.decimals) for day in days]
