"""A lower bound of epsilon from an attack's hits and false alarms on patients.

The rule (which threshold, and whether it calls members or non-members) is chosen on one half of the patients and
counted on the other, so choosing costs no confidence.

Sources: Clopper and Pearson, Biometrika 26, 1934; Jagielski, Ullman and Oprea, Auditing Differentially Private Machine
Learning, NeurIPS 2020; Nasr et al., IEEE S&P 2021.
"""

from dataclasses import dataclass

import numpy as np

from medimg.evaluation.exact import clopper_pearson_of_counts

CONFIDENCE = 0.95


@dataclass(frozen=True)
class AttackRule:
    """A decision that was chosen beforehand.

    Attributes:
        threshold: patients scoring at least this are called members, the others non-members.
        calls_members: the bound is on calls of members, TPR over FPR; else on calls of non-members.
        promise: epsilon's bound on the half that it was chosen on; may be negative.
    """

    threshold: float
    calls_members: bool
    promise: float


def epsilon_of_counts(hits, n_hits, alarms, n_alarms, delta: float, alpha: float) -> np.ndarray:
    """ln((rate_low - delta) / alarm_rate_high), both bounds together wrong with probability at most `alpha`.

    Args:
        hits: calls that are right, of `n_hits` that could be.
        n_hits: patients of the kind that is called.
        alarms: calls that are wrong, of `n_alarms` that could be.
        n_alarms: patients of the other kind.
        delta: of the claim.
        alpha: in (0, 1).

    Returns:
        float64; -inf where nothing is shown at all.
    """
    low, _ = clopper_pearson_of_counts(hits, n_hits, alpha)
    _, high = clopper_pearson_of_counts(alarms, n_alarms, alpha)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(low - delta, 0.0)) - np.log(high)


def choose(scores: np.ndarray, member: np.ndarray, delta: float, alpha: float) -> AttackRule:
    """The rule whose bound is largest on these patients.

    Args:
        scores: float (P,), one a patient.
        member: bool (P,), both kinds present.
        delta: of the claim.
        alpha: that the bound will be counted with.
    """
    thresholds = np.unique(scores)
    ours, others = np.sort(scores[member]), np.sort(scores[~member])
    hits = len(ours) - np.searchsorted(ours, thresholds)
    alarms = len(others) - np.searchsorted(others, thresholds)
    counted = (hits, len(ours), alarms, len(others))
    calling_members = epsilon_of_counts(*counted, delta, alpha)
    missed, spared = len(ours) - hits, len(others) - alarms
    calling_others = epsilon_of_counts(spared, len(others), missed, len(ours), delta, alpha)
    calls_members = bool(calling_members.max() >= calling_others.max())
    promise = calling_members if calls_members else calling_others
    best = int(np.argmax(promise))
    return AttackRule(_half_way(thresholds, best), calls_members, float(promise[best]))


def _half_way(thresholds: np.ndarray, best: int) -> float:
    """Between a score and the next below: the same calls here, and others as good as the patient of that score alike.

    At the score itself, where it is the least of the members', about one member of as many elsewhere would be missed.
    """
    at = float(thresholds[best])
    if best == 0:
        return at
    below = float(thresholds[best - 1])
    middle = below + (at - below) / 2
    # Neither where a score is infinite nor between neighbouring floats is there a middle.
    return middle if np.isfinite(middle) and below < middle <= at else at


def count(rule: AttackRule, scores: np.ndarray, member: np.ndarray, delta: float, alpha: float) -> dict:
    """The bound of a rule on patients that it was not chosen on.

    Args:
        rule: chosen elsewhere.
        scores: float (P,), one a patient.
        member: bool (P,).
        delta: of the claim.
        alpha: the bound is too high with probability at most this.

    Returns:
        `value` (0 when nothing is shown), `calls`, `right`, `right_of`, `wrong`, `wrong_of`, `delta`, `confidence`.
    """
    called = scores >= rule.threshold
    kind = member
    if not rule.calls_members:
        called, kind = ~called, ~member
    right, wrong = int((called & kind).sum()), int((called & ~kind).sum())
    right_of, wrong_of = int(kind.sum()), int((~kind).sum())
    value = float(epsilon_of_counts(right, right_of, wrong, wrong_of, delta, alpha))
    return {
        "value": max(0.0, value),
        "calls": "members" if rule.calls_members else "non-members",
        "right": right,
        "right_of": right_of,
        "wrong": wrong,
        "wrong_of": wrong_of,
        "delta": delta,
        "confidence": 1 - alpha,
    }


def per_patient(
    scores: np.ndarray, member: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score of each patient: the claim protects patients, the attack scores rows.

    Returns:
        Scores (P,), membership (P,) and names (P,) of the patients.
    """
    names, first, where = np.unique(patients, return_index=True, return_inverse=True)
    mean = np.bincount(where, weights=scores) / np.bincount(where)
    return mean, member[first], names


def lower_bound(
    scores: np.ndarray,
    member: np.ndarray,
    patients: np.ndarray,
    first_half: np.ndarray,
    delta: float,
    alpha: float = 1 - CONFIDENCE,
) -> tuple[dict, float]:
    """Choose a rule on the patients of the first half, count it on the others.

    Args:
        scores: float (N,), higher = rather a member; those of the first half owe nothing to the second.
        member: bool (N,).
        patients: (N,).
        first_half: bool (N,), the same for all rows of a patient.
        delta: of the claim.
        alpha: the bound is too high with probability at most this.

    Returns:
        What `count` says, and the promise of the rule: attacks may be chosen by it.
    """
    chosen_on = per_patient(scores[first_half], member[first_half], patients[first_half])
    counted_on = per_patient(scores[~first_half], member[~first_half], patients[~first_half])
    rule = choose(*chosen_on[:2], delta, alpha)
    return count(rule, *counted_on[:2], delta, alpha), rule.promise
