"""The closest few: which synthetic rows are a training patient's own, though most of the others are nobody's.

Averages hide a handful of copies. So each synthetic row is held against what real rows do: how near one training
patient, and no other, they come. Real rows are those held out, and those of train against the rest of train.
Sources: Zhao et al., CTAB-GAN, ACML 2021 (ratio of nearest distances); Facco et al. 2017 (its law, `closest_two`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, chi2, hypergeom

from medimg.evaluation.intervals import Measured
from synthetic.judge import thresholds as limits
from synthetic.judge.closest_two import ClosestTwo
from synthetic.judge.copies import counted

# Rows that are named of each kind, and of those that are called nothing.
NAMED, UNTOLD = 20, 5
# The gaps that the law is fitted to: below, near and far mix; above, real files hold patients who are there twice.
_FITTED = (0.5, 0.95)
_CONFIDENCE = 0.95
# The low percentile that is shown and compared, with an exact interval at 99%.
LOW, _INTERVAL = 0.02, 0.99
# What is added to distances, as a part of the tolerance.
_LEAST = 0.02


@dataclass(frozen=True, eq=False)
class TailParts:
    """Closest training rows of three kinds of rows.

    Attributes:
        made: of distinct synthetic rows.
        names: of these.
        numbers: their places in the synthetic manifest, from 1.
        held_out: of held-out rows, one of each patient.
        train: of training rows, among those of other patients.
        train_equal: bool, these rows have the values of another training patient.
        tolerance: distance up to which a row may be called a near copy.
        chance_equal: of a table, rows may be equal by chance: these are counted apart.
        rows: how many synthetic rows there were before a sample was drawn.
    """

    made: ClosestTwo
    names: np.ndarray
    numbers: np.ndarray
    held_out: ClosestTwo
    train: ClosestTwo
    train_equal: np.ndarray
    tolerance: float
    chance_equal: bool
    rows: int


def measure(parts: TailParts) -> dict:
    """The tail of closeness.

    Returns:
        `near` and, of a table, `equal`: as `copies.counted` (the held-out ones are all real rows) without pairs,
        `near` with `unexplained`: how many are far nearer than any real row is;
        `worst`: synthetic rows, at most NAMED of each kind, the closest first, each {"synthetic", "number", "kind"
        (equal, near or none), "distance", "ratio"}; `closer_than_held_out`: by `distance` and by `ratio`, how many
        rows are beyond every held-out one, and p; `low_percentile`: of the ratio, `synthetic` and `real`;
        `rows`, `measured`, `held_out`, `real`: how many there were; `tolerance`; `limit` (ratio below which a row is
        called near).
    """
    least = _LEAST * parts.tolerance
    made, held_out, train = parts.made, parts.held_out, parts.train
    equal = _equal(made, parts)
    real = (held_out.of(~_equal(held_out, parts)), train)
    gaps = np.concatenate([part.gap(least) for part in real])
    limit = gap_limit(gaps, len(made.distance))

    def is_near(rows: ClosestTwo) -> np.ndarray:
        return (rows.distance <= parts.tolerance) & (rows.gap(least) > limit)

    near = is_near(made) & ~equal
    near_real = np.concatenate([is_near(part) for part in real])
    explained = limits.BEYOND_REAL * gaps[near_real].max(initial=0.0)
    unexplained = int((near & (made.gap(least) > explained)).sum())
    measures = {
        "near": _counted(near, near_real) | {"unexplained": unexplained},
        "worst": _worst(parts, equal, near, least),
        "closer_than_held_out": {
            "distance": leading(-made.distance, -held_out.distance),
            "ratio": leading(made.gap(least), held_out.gap(least)),
        },
        "low_percentile": {
            "share": LOW,
            "synthetic": low_percentile(made.of(~equal).ratio()),
            "real": low_percentile(np.concatenate([part.ratio() for part in real])),
        },
        "rows": parts.rows,
        "measured": len(made.distance),
        "held_out": len(held_out.distance),
        "real": len(gaps),
        "tolerance": parts.tolerance,
        "limit": float(np.exp(-limit)),
    }
    if parts.chance_equal:
        real_equal = np.concatenate([_equal(held_out, parts), parts.train_equal])
        measures["equal"] = _counted(equal, real_equal)
    return measures


def gap_limit(gaps: np.ndarray, n: int) -> float:
    """The gap that n rows as real ones would exceed in limits.NEAR_CHANCE of judgements.

    Beyond their median, gaps fall off exponentially (the ratio's law is a power); the rate is fitted, censored above,
    and its lower confidence bound taken: few real rows make a row less easily accused.

    Args:
        gaps: of real rows, as `ClosestTwo.gap`.
        n: rows to be judged.

    Returns:
        inf where real rows show no law, as when all are alike.
    """
    if not len(gaps):
        return np.inf
    low, high = np.quantile(gaps, _FITTED)
    beyond = gaps[gaps > low]
    events = int((beyond < high).sum())
    total = float((np.minimum(beyond, high) - low).sum())
    if not events or total <= 0:
        return np.inf
    rate = chi2.ppf(1 - _CONFIDENCE, 2 * events) / (2 * total)
    return float(low + np.log(max(1.0, (gaps > low).mean() * n / limits.NEAR_CHANCE)) / rate)


def leading(made: np.ndarray, held_out: np.ndarray) -> dict:
    """Synthetic rows that score beyond every held-out row.

    Were both drawn alike, every order of them would be as likely: the chance that the first k of all are synthetic is
    hypergeometric, whatever the scores mean.

    Args:
        made: float (N,), large is suspicious.
        held_out: float (M,).

    Returns:
        {"count", "p"}.
    """
    count = int((made > held_out.max(initial=-np.inf)).sum()) if len(held_out) else 0
    everybody = len(made) + len(held_out)
    chance = hypergeom.pmf(count, everybody, len(made), count) if count else 1.0
    return {"count": count, "p": float(chance)}


def low_percentile(values: np.ndarray) -> dict:
    """The LOW quantile with the exact interval of order statistics; a bound that too few rows give is None."""
    n, tail = len(values), (1 - _INTERVAL) / 2
    if not n:
        return Measured()._asdict()
    ranked = np.sort(values)
    low_rank, high_rank = int(binom.ppf(tail, n, LOW)), int(binom.ppf(1 - tail, n, LOW)) + 1
    low = ranked[low_rank - 1] if low_rank else None
    high = ranked[high_rank - 1] if high_rank <= n else None
    return Measured.of(np.quantile(values, LOW), low, high)._asdict()


def _equal(rows: ClosestTwo, parts: TailParts) -> np.ndarray:
    if not parts.chance_equal:
        return np.zeros(len(rows.distance), bool)
    return rows.distance == 0


def _counted(flagged: np.ndarray, real: np.ndarray) -> dict:
    if not len(flagged) or not len(real):
        return counted([], max(1, len(flagged)), 0, max(1, len(real)))
    counts = counted([("", "")] * int(flagged.sum()), len(flagged), int(real.sum()), len(real))
    return {name: value for name, value in counts.items() if name != "pairs"}


def _worst(parts: TailParts, equal: np.ndarray, near: np.ndarray, least: float) -> list[dict]:
    made, ratios = parts.made, parts.made.ratio()
    order = np.argsort(-made.gap(least), kind="stable")
    kinds = {"equal": equal, "near": near, "none": ~(equal | near)}
    return [
        {
            "synthetic": str(parts.names[i]),
            "number": int(parts.numbers[i]),
            "kind": kind,
            "distance": float(made.distance[i]),
            "ratio": float(ratios[i]),
        }
        for kind, flagged in kinds.items()
        for i in [i for i in order if flagged[i]][: NAMED if kind != "none" else UNTOLD]
    ]
