"""Rows of a table that are copies of one patient: equal rows where chance makes none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import pdtrc

from medimg.data.chance import FACTOR, column_codes, expected_twins, idle_cells, rounded

# How much more often than by the model chance may make equal rows: columns go together in ways that it misses.
MARGIN = 20.0
ALPHA = 1e-3
# Rows of fewer expected twins than these are looked at together; of the first, all equal ones are copies once it shows.
_RARE = tuple(10.0**-k / MARGIN for k in range(9))
_MOST_ROWS, _SEED = 20_000, 0
# A patient's name before copies were joined.
GIVEN = "patient_given"


@dataclass(frozen=True, eq=False)
class Copies:
    """Equal rows of different patients, judged.

    Attributes:
        group: int64 by the table's index; rows of one number are copies of one patient, 0 is no copy.
        equal: rows of different patients that equal another, copies or not.
        observed: groups of equal rows that chance is not expected to make.
        expected: pairs of such rows that it makes on average, by the model.
        apart: columns that differ in every row, as a number of the row does, and so were not compared.
    """

    group: pd.Series
    equal: int = 0
    observed: int = 0
    expected: float = 0.0
    apart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool((self.group > 0).any())


def find_copies(table: pd.DataFrame, columns: Sequence[str]) -> Copies:
    """Rows of different patients that agree in every column and can't do so by chance.

    Args:
        table: `patient` (`patient_given` counts where it is there), and the columns: numbers as float64 with NaN for
            missing, all else as text with '' for missing.
        columns: those that a model may learn from.
    """
    nothing = Copies(pd.Series(0, table.index, dtype=np.int64))
    apart = tuple(name for name in columns if _numbers_the_rows(table[name]))
    names = [name for name in columns if name not in apart]
    if len(table) < 2 or not names:
        return nothing
    number = equal_rows(table, names)
    several = _of_several(number, given_patients(table))
    if not several.any():
        return nothing
    twins, sampled = _twins(table, names, number, several)
    copied, observed, expected = _judged(twins, several, sampled)
    group = np.where(copied, np.cumsum(copied), 0)[number]
    equal = int(several[number].sum())
    return Copies(pd.Series(group, table.index), equal, observed, expected, apart)


def join_copies(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table with one `patient`, the first, for all rows that are copies and for all rows of those who hold them.

    Whatever counts, divides or draws patients then takes copies for what they are. Where that changes anything,
    `patient_given` keeps the names as they were.
    """
    # Here: a Dataset joins as it is read, and splits know Datasets.
    from medimg.data.units import units

    group = find_copies(table, columns).group
    if not (group > 0).any():
        return table
    text = group.astype(str).where(group > 0, "")
    unit = units(pd.DataFrame({"patient": table["patient"], "copy": text}), ["patient", "copy"])
    joined = table["patient"].groupby(unit).transform("first")
    if (joined == table["patient"]).all():
        return table
    before = {} if GIVEN in table else {GIVEN: table["patient"]}
    return table.assign(patient=joined, **before)


def given_patients(table: pd.DataFrame) -> pd.Series:
    """Patients as they were named before copies were joined."""
    if GIVEN not in table:
        return table["patient"]
    names = table[GIVEN].fillna("").astype(str)
    return names.where(names != "", table["patient"])


def equal_rows(table: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """int64 (N,): rows that agree in all columns share a number, from 0 in the order of the first ones."""
    # Of 64 bits: for two of a million different rows to share one has a chance of 3e-8.
    content = np.zeros(len(table), np.uint64)
    for name in columns:
        content = content * FACTOR + _hashes(table[name])
    return pd.factorize(content)[0]


def _of_several(number: np.ndarray, patient: pd.Series) -> np.ndarray:
    """Which groups of equal rows hold several patients."""
    count = int(number.max()) + 1
    if count == len(number):
        return np.zeros(count, bool)
    codes = pd.factorize(patient)[0]
    pairs = np.unique(number.astype(np.int64) * (int(codes.max()) + 1) + codes)
    return np.bincount(pairs // (int(codes.max()) + 1), minlength=count) > 1


def _twins(
    table: pd.DataFrame, names: list[str], number: np.ndarray, several: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expected twins of each group's row, NaN of those not asked for, and which of all groups are a random sample."""
    sizes = np.bincount(number)
    first = np.argsort(number, kind="stable")[np.r_[0, np.cumsum(sizes)[:-1]]]
    sampled = np.zeros(len(sizes), bool)
    draw = np.random.default_rng(_SEED)
    sampled[draw.permutation(len(sizes))[:_MOST_ROWS]] = True
    rated = sampled | several
    rows = [table[name].iloc[first[rated]] for name in names]
    codes = [column_codes(column) for column in rows]
    idle = [idle_cells(*one, sizes[rated]) for one in zip(rows, codes, strict=True)]
    twins = np.full(len(sizes), np.nan)
    twins[rated] = expected_twins(
        np.stack(codes, axis=1),
        sizes[rated],
        sampled[rated],
        np.array([_is_fine(column) for column in rows]),
        len(table),
        np.stack(idle, axis=1),
    )
    return twins, sampled


def _judged(twins: np.ndarray, several: np.ndarray, sampled: np.ndarray) -> tuple[np.ndarray, int, float]:
    """Which groups are copies, and how many were seen and expected among rows of few expected twins."""
    scale = len(sampled) / sampled.sum() / 2
    observed_rare, chance = 0, 0.0
    for limit in _RARE:
        observed = int((several & (twins < limit)).sum())
        expected = float(twins[sampled & (twins < limit)].sum() * scale)
        if limit == _RARE[0]:
            observed_rare, chance = observed, expected
        if observed and pdtrc(observed - 1, MARGIN * expected) < ALPHA:
            # Where copying is common, one is likelier than chance wherever chance expects less than one twin.
            return several & (twins < (1 if limit == _RARE[0] else limit)), observed, expected
    return np.zeros(len(twins), bool), observed_rare, chance


def _hashes(column: pd.Series) -> np.ndarray:
    if column.dtype.kind == "f":
        return pd.util.hash_array(rounded(column.to_numpy()))
    return pd.util.hash_array(np.asarray(column.astype(object)))


def _numbers_the_rows(column: pd.Series) -> bool:
    """Whether every row has its own whole number or text: an index, an identifier, a time stamp."""
    # Most columns show in the first rows that they don't.
    for part in (column.iloc[:_MOST_ROWS], column):
        if part.dtype.kind == "f" and not (part == np.floor(part)).all():
            return False
        if not part.is_unique:
            return False
    return True


def _is_fine(column: pd.Series) -> bool:
    """Whether most of its numbers are fractions of six digits or more."""
    if column.dtype.kind != "f":
        return False
    values = column.dropna().to_numpy()[:_MOST_ROWS]
    return len(values) > 0 and bool(np.mean([float(f"{value:.5g}") != value for value in values]) > 0.5)
