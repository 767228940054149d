"""How many patients a score's faults come from: of very few, resamples know no better than of none.

Where one of ten positives is missed, a resample misses it three times at most, and a classifier that misses four of
ten is still as likely as 5%. So where fewer than FEW patients have all faults, or all that is right, the bounds of
`medimg.evaluation.exact` count beside the bootstrap's. Patients who have unequal shares of them count as Kish's
effective number, (sum d)^2 / sum d^2. Source: Kish, Survey Sampling, 1965.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from medimg.evaluation.intervals import numbered
from medimg.evaluation.metrics import OneVsRest

# So many that whatever a share truly is, of 8 patients or of 300, nine of ten samples or more have it in their
# interval, and on the mean over true shares 95 of 100; by the bootstrap alone it may be 85 of 100.
FEW = 4
SHARES = ("accuracy", "sensitivity", "specificity", "precision")


def effective_patients(amounts: np.ndarray, patients: Sequence) -> float:
    """Kish's number of those that have amounts; 0 where nobody has any.

    Args:
        amounts: float (N,), of each row, none below 0.
        patients: length N, the patient of each row.
    """
    number = np.asarray(patients)
    # Small numbers are quickly counted as they are.
    if number.dtype.kind not in "iu" or number.min() < 0 or number.max() > 2 * len(number):
        number = numbered(number)
    each = np.bincount(number, weights=amounts)
    return float(each.sum() ** 2 / (each**2).sum()) if each.any() else 0.0


def is_of_few(name: str, one: OneVsRest, patients: Sequence) -> bool:
    """Whether the faults, or else all that is right, are of fewer than FEW patients.

    Args:
        name: of METRICS; of those that have no bound between 0 and 1 it is False.
        one: N rows.
        patients: length N, the patient of each row.
    """
    return any_of_few(_amounts(name, one), patients)


def any_of_few(each: Sequence[np.ndarray], patients: Sequence) -> bool:
    """Whether any of some amounts, as of `effective_patients`, are those of fewer than FEW patients."""
    return any(effective_patients(amounts, patients) < FEW for amounts in each)


def _amounts(name: str, one: OneVsRest) -> list[np.ndarray]:
    """What makes the score lower, and what makes it higher, each float (N,)."""
    truth, called = one.truth, one.decision
    if name in SHARES:
        of = {"sensitivity": truth, "specificity": ~truth, "precision": called}.get(name, np.full(len(truth), True))
        right = truth == called
        return [of & ~right, of & right]
    if name == "f1":
        return [truth & ~called, called & ~truth, truth & called]
    if name == "brier":
        loss = (one.probability - truth) ** 2
        return [loss, 1 - loss]
    return misranked(one.probability if one.score is None else one.score, truth) if name == "auroc" else []


def misranked(score: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
    """Of positives and of negatives, the share of the others that each is, and is not, ranked wrongly against.

    Args:
        score: float (N,).
        truth: bool (N,), of both kinds.
    """
    above = np.zeros(len(score))
    for of in (truth, ~truth):
        # Others below, ties half.
        above[of] = (rankdata(score)[of] - rankdata(score[of])) / (~of).sum()
    right = np.where(truth, above, 1 - above)
    return [np.where(of, share, 0.0) for of in (truth, ~truth) for share in (1 - right, right)]
