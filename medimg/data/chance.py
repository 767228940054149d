"""How many rows of a table equal a given one by chance, from the table's own values.

Five questions with five answers are answered alike by many; five measurements agree in two people hardly ever. The
twins expected of a row are the others that agree with it in all columns but the k most diverse, times the frequency of
its values in those k. Of all k the largest counts: columns that go together can only make chance likelier.

Source of the frequency of a value that no other row has: Good, The population frequencies of species and the estimation
of population parameters, Biometrika 40, 1953.
"""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

# A column of at most so many values is a question with answers, not a measurement.
FEW_VALUES = 12
# Frequency of a value of six digits or more in a column where no value comes twice.
_FINE, _DIGITS = 1e-6, 6
# Share of the rows from which on an end of a column's range is more than its most extreme patient.
_IDLE = 0.02
# Fewer rows at an end of the range are a patient or two, and not those in whom nothing was found.
_LEAST_IDLE = 5
# Columns whose pairs are looked at, pairs that tell, and how often they must agree in a third column to determine it.
_MOST_COLUMNS, _MOST_ROWS, _LEAST_PAIRS, _DETERMINED = 12, 2_000, 5, 0.8
FACTOR = np.uint64(0x9E3779B97F4A7C15)


def column_codes(column: pd.Series) -> np.ndarray:
    """int64 (N,): equal values share a number, -1 is missing. Floats are equal when six digits are.

    A program that writes another last digit has made no other measurement.
    """
    if column.dtype.kind == "f":
        return pd.factorize(rounded(column.to_numpy()))[0]
    return pd.factorize(column.astype(object).where(column != ""))[0]


def rounded(values: np.ndarray) -> np.ndarray:
    """Fractions to six significant digits; whole numbers, which may be codes, as they are."""
    values = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        # Beyond these a power of ten is no float; such numbers are left as they are.
        scale = 10.0 ** np.clip(digits, -300, 300)
        short = np.round(values * scale) / scale
    keep = (values == np.floor(values)) | ~np.isfinite(short)
    # Adding 0 makes -0.0 what it equals.
    return np.where(keep, values, short) + 0.0


def expected_twins(
    codes: np.ndarray,
    weights: np.ndarray,
    sampled: np.ndarray,
    fine: np.ndarray,
    total: int,
    idle: np.ndarray | None = None,
) -> np.ndarray:
    """Other rows that are expected to equal each row by chance.

    A value's frequency is that among different rows, so that copies don't vouch for each other. The commonest value of
    a column, an idle and a missing one agree for free; a value of a column of few tells half (the root of its
    frequency); a column that two others determine tells nothing.

    Args:
        codes: int64 (U, D) of `column_codes`, one row each of those that differ.
        weights: (U,), how many rows of the table equal each.
        sampled: bool (U,), a random sample of the different rows: what the others are compared with.
        fine: bool (D,), columns whose values have six digits or more.
        total: rows of the table.
        idle: bool (U, D) of `idle_cells`; None: none is.

    Returns:
        float64 (U,).
    """
    sample = codes[sampled]
    frequency = np.stack([_frequencies(codes[:, j], sample[:, j], fine[j]) for j in range(codes.shape[1])], axis=1)
    diverse = np.argsort([_agreement(column) for column in sample.T], kind="stable")
    frequency[:, _determined(sample[:_MOST_ROWS], diverse)] = 1.0
    if idle is not None:
        frequency[idle] = 1.0
    copies = np.where(sampled, weights, 0)
    scale = total / copies.sum()
    product, twins = np.ones(len(codes)), np.zeros(len(codes))
    hashes = [_mixed(codes[:, j], j) for j in range(codes.shape[1])]
    rest = np.bitwise_xor.reduce(hashes)
    for j in diverse:
        rest = rest ^ hashes[j]
        product = product * frequency[:, j]
        _, number = np.unique(rest, return_inverse=True)
        alike = np.bincount(number, copies)[number] - copies
        twins = np.maximum(twins, scale * alike * product)
    return twins


def idle_cells(column: pd.Series, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cells that say that nothing was found: of measured numbers 0 or an end of the range, where some have it.

    Patients without lesions have none in every column. Among different rows they are one, and would look like one
    patient copied a hundred times; but a copied patient does not have nothing, or the limit of detection, everywhere.
    Of what has few values or is text, and so no ends, it is what more than half of all rows have.

    Args:
        column: (U,), of the rows that differ.
        codes: int64 (U,) of `column_codes`.
        weights: (U,), how many rows of the table equal each.
    """
    present = codes >= 0
    if not present.any():
        return np.zeros(len(codes), bool)
    rows = np.bincount(codes[present], weights[present])
    if column.dtype.kind == "f" and len(rows) > FEW_VALUES:
        values = column.to_numpy()
        ends = np.isin(values, (0.0, np.nanmin(values), np.nanmax(values)))
        return ends & (rows[np.maximum(codes, 0)] >= max(_LEAST_IDLE, _IDLE * weights.sum()))
    return (codes == rows.argmax()) & (2 * rows.max() > weights.sum())


def _frequencies(column: np.ndarray, sample: np.ndarray, fine: bool) -> np.ndarray:
    """Of each row's value, among the different rows of the sample."""
    counts = np.bincount(sample[sample >= 0], minlength=max(int(column.max()), 0) + 1)
    rows = int(counts.sum())
    if not rows:
        return np.ones(len(column))
    single, double = int((counts == 1).sum()), int((counts == 2).sum())
    unseen = min(1.0, 2 * (double + 1) / max(single, 1)) / rows
    if fine and counts.max() == 1:
        unseen = min(unseen, _FINE)
    shares = np.where(counts > 1, counts / rows, unseen)
    if counts.max() > 1:
        shares[counts.argmax()] = 1.0
    if (counts > 0).sum() <= FEW_VALUES:
        shares = np.sqrt(shares)
    return np.where(column >= 0, shares[np.maximum(column, 0)], 1.0)


def _agreement(column: np.ndarray) -> float:
    """Chance that two rows agree in it; missing agrees with missing."""
    shares = np.bincount(column + 1) / len(column)
    return float((shares**2).sum())


def _determined(sample: np.ndarray, diverse: np.ndarray) -> list[int]:
    """Columns that follow from one or two others, such as a body mass index: pairs that agree there agree here."""
    columns = [j for j in diverse[:_MOST_COLUMNS] if len(np.unique(sample[:, j])) > FEW_VALUES]
    determined = []
    for j in list(columns):
        others = [i for i in columns if i != j]
        for a, b in combinations_with_replacement(others, 2):
            valid = (sample[:, [a, b, j]] >= 0).all(axis=1)
            pairs = _pairs(sample[valid][:, [a, b]])
            if pairs >= _LEAST_PAIRS and _pairs(sample[valid][:, [a, b, j]]) >= _DETERMINED * pairs:
                determined.append(int(j))
                columns.remove(j)
                break
    return determined


def _pairs(codes: np.ndarray) -> int:
    """Pairs of rows that agree in all columns."""
    if not len(codes):
        return 0
    mixed = np.bitwise_xor.reduce([_mixed(codes[:, i], i) for i in range(codes.shape[1])])
    counts = np.unique(mixed, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _mixed(column: np.ndarray, number: int) -> np.ndarray:
    """64 bits of a column's codes, to be combined by XOR (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        x = column.astype(np.int64).view(np.uint64) + FACTOR * np.uint64(2 * number + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
