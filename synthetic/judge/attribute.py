"""Attribute inference: does knowing the rest of a patient's row give away one column, more so for training patients?

The attacker finds the synthetic row closest in all other columns and takes its value. A guess about a training patient
that does no better than one about a held-out patient tells of medicine, not of the patient: only the excess is a leak.
Source: Giomi et al., A unified framework for quantifying privacy risk in synthetic data, PoPETs 2023; its rates and
their errors are computed by their library, anonymeter.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from medimg.evaluation.intervals import Measured
from synthetic.judge.neighbours import nearest

# A number is guessed when it is off by at most this part of its range (5th to 95th percentile of the real rows).
TOLERANCE = 0.05
# Secrets tried at most, and targets attacked in each part.
MOST_SECRETS, MOST_TARGETS = 30, 1000
LEVEL = 0.99


def infer(
    columns: Sequence[str],
    encoded: tuple[np.ndarray, np.ndarray, np.ndarray],
    sources: Sequence[str],
    values: tuple[np.ndarray, np.ndarray, np.ndarray],
    is_number: Sequence[bool],
    patients: Sequence[Sequence] | None = None,
) -> dict[str, dict]:
    """The attack on every column.

    Args:
        columns: the C columns that may be secret; the first MOST_SECRETS are tried.
        encoded: of synthetic, train and test rows: float (N, F), what distances are measured in.
        sources: length F, the column that each encoded one comes from.
        values: of the same rows: float (N, C), the columns themselves, categories as codes; NaN is missing.
        is_number: length C; else a guess must be exact.
        patients: of the train and of the test rows; one row of each is attacked, since only patients are independent.
            None: every row has its own.

    Returns:
        Column -> {"train", "test": rates of right guesses, "excess": {"value", "low", "high"}}. Intervals are at 99%
        for all columns together (Bonferroni): one of thirty must not look like a leak by chance.
    """
    sources = np.asarray(sources)
    tried = list(columns)[:MOST_SECRETS]
    level = 1 - (1 - LEVEL) / max(1, len(tried))
    made, *parts = encoded
    attacked = [_targets(of) for of in patients or [np.arange(len(part)) for part in parts]]
    results = {}
    for number, name in enumerate(tried):
        others = sources != name
        if not others.any():
            continue
        column = [part[:, number] for part in values]
        tolerance = _tolerance(np.concatenate(column[1:]), is_number[number])
        rates = []
        for rows, secrets, targets in zip(parts, column[1:], attacked, strict=True):
            closest = nearest(rows[targets][:, others], made[:, others])[1][:, 0]
            right = _right(column[0][closest], secrets[targets], tolerance)
            rates.append((int(right.sum()), len(right)))
        results[name] = _excess(*rates, level)
    return results


def _targets(patients: Sequence) -> np.ndarray:
    """Positions of the first rows of patients, evenly through the part: its first ones may be of one hospital."""
    first = np.sort(np.unique(np.asarray(patients), return_index=True)[1])
    return first[np.linspace(0, len(first) - 1, min(len(first), MOST_TARGETS)).astype(int)]


def _tolerance(values: np.ndarray, is_number: bool) -> float:
    present = values[~np.isnan(values)]
    if not is_number or not len(present):
        return 0.0
    low, high = np.quantile(present, [0.05, 0.95])
    return TOLERANCE * float(high - low)


def _right(guesses: np.ndarray, secrets: np.ndarray, tolerance: float) -> np.ndarray:
    both_missing = np.isnan(guesses) & np.isnan(secrets)
    return both_missing | (np.abs(guesses - secrets) <= tolerance + 1e-9)


def _excess(train: tuple[int, int], test: tuple[int, int], level: float) -> dict:
    """Right guesses and tries of each part -> rates, and the share of what was left to learn that was learnt."""
    from anonymeter.stats.confidence import residual_success, success_rate

    rates = [success_rate(n, hits, level) for hits, n in (train, test)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        excess = residual_success(*rates)
    return {
        "train": train[0] / train[1],
        "test": test[0] / test[1],
        "excess": Measured(excess.value, excess.value - excess.error, excess.value + excess.error)._asdict(),
    }
