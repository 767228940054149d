"""AUC, advantage and TPR at low FPR of membership scores, with intervals over patients.

Sources: Yeom et al., IEEE CSF 2018 (advantage: the largest TPR - FPR); Carlini et al., IEEE S&P 2022 (TPR at low
FPR); Wilks, Annals of Mathematical Statistics 12, 1941 (intervals of a quantile from order statistics).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from medimg.evaluation.exact import bounded_share
from medimg.evaluation.exact_differences import bounded_difference
from medimg.evaluation.few_faults import any_of_few, misranked
from medimg.evaluation.intervals import BLOCK_WEIGHTS, LEVEL, Interval, Measured, cluster_bootstrap, percentile_interval

FALSE_POSITIVE_RATES = (0.001, 0.01)
# False positives expected at an FPR below which the bootstrap can't be trusted there.
_ENOUGH_FALSE_POSITIVES = 10


@dataclass(frozen=True)
class Level:
    """An FPR and how far N non-member patients resolve it.

    Attributes:
        rate: the FPR.
        resolved: enough non-members for the bootstrap.
        low, high: FPRs in the sample between which, at 95%, the threshold of that FPR lies; low < 0: above every
            non-member.
    """

    rate: float
    resolved: bool
    low: float
    high: float

    @classmethod
    def of(cls, rate: float, patients: int) -> "Level":
        """The level for a number of non-member patients."""
        tail = (1 - LEVEL) / 2
        low, high = binom.ppf([tail, 1 - tail], patients, rate)
        resolved = patients * rate >= _ENOUGH_FALSE_POSITIVES
        return cls(rate, resolved, (low - 1) / patients, high / patients)


class Ranking:
    """Scores sorted once, so that weights of many resamples are cumulated over one order.

    Args:
        scores: float (N,), higher = rather a member.
    """

    def __init__(self, scores: np.ndarray):
        scores = np.asarray(scores, np.float64)
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        # A threshold lies between different scores only.
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def rates(self, members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """FPR and TPR at every threshold, from none called a member to all.

        Args:
            members: float (B, N), weight of each row as a member.
            others: float (B, N), its weight as a non-member.

        Returns:
            Two float64 (B, thresholds + 1); NaN where there is nobody of that kind.
        """
        rates = []
        for weights in (others, members):
            cumulated = np.cumsum(weights[:, self.order], axis=1)[:, self.ends]
            with np.errstate(invalid="ignore", divide="ignore"):
                rates.append(np.pad(cumulated / cumulated[:, -1:], ((0, 0), (1, 0))))
        return rates[0], rates[1]


def auc(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    """Area under ROC curves (B, T), ties counted half: (B,)."""
    return ((tpr[:, 1:] + tpr[:, :-1]) * np.diff(fpr, axis=1)).sum(axis=1) / 2


def tpr_at(fpr: np.ndarray, tpr: np.ndarray, rate: float) -> np.ndarray:
    """The largest TPR of ROC curves (B, T) at an FPR of at most `rate`: (B,), NaN where undefined."""
    reached = np.where(fpr <= rate + 1e-12, tpr, 0.0).max(axis=1)
    return np.where(np.isnan(fpr[:, -1]), np.nan, reached)


def auc_of(scores: np.ndarray, member: np.ndarray) -> float:
    """AUC of scores (N,) for bool (N,) membership; NaN where either kind is absent."""
    return float(auc(*Ranking(scores).rates(1.0 * member[None], 1.0 * ~member[None]))[0])


def auc_replicates(scores: np.ndarray, member: np.ndarray, patients: Sequence, resamples: int, seed: int) -> np.ndarray:
    """AUC over resamples of patients; the same patients and seed give the same resamples: float64 (resamples,)."""
    ranking = Ranking(scores)
    return cluster_bootstrap(lambda w: auc(*ranking.rates(w * member, w * ~member)), patients, resamples, seed)


def auc_interval(scores: np.ndarray, member: np.ndarray, patients: Sequence, resamples: int, seed: int) -> dict:
    """AUC as {"value", "low", "high"}; None where members or non-members are of fewer than two patients."""
    patients = np.asarray(patients)
    fewest = fewest_patients(member, patients)
    if fewest < 2:
        return Measured()._asdict()
    interval = percentile_interval(auc_replicates(scores, member, patients, resamples, seed))
    value = auc_of(scores, member)
    return _bounded(interval, value, fewest, *_ranked(scores, member, patients)).around(value)


def fewest_patients(member: np.ndarray, patients: Sequence) -> int:
    """Of members or of non-members, of which there are fewer."""
    patients = np.asarray(patients)
    return min(len(set(patients[member])), len(set(patients[~member])))


def _bounded(interval: Interval, value: float, fewest: int, certain: bool = False, few: bool = False) -> Interval:
    """Where all resamples agree, or few patients' are all faults, Clopper and Pearson's: no attack succeeds on
    everybody, nor on nobody, for certain. Scores that are all the same rank nobody, whomever they are of: that stays.
    """
    return interval if certain else bounded_share(interval, value, fewest, few)


def _ranked(scores: np.ndarray, member: np.ndarray, patients: Sequence) -> tuple[bool, bool]:
    """Whether their AUC is 0.5 of whomever, and whether it is so by few patients alone."""
    if np.ptp(scores) == 0:
        return True, False
    return False, any_of_few(misranked(scores, member), patients)


def within(
    scores: np.ndarray, member: np.ndarray, strata: Sequence, patients: Sequence, resamples: int, seed: int
) -> dict:
    """AUC of members against non-members of the same stratum, pooled: the mix of strata can't pass for membership.

    The strata's AUCs weighted by their pairs: the chance that a random member scores above a random non-member that is
    of its stratum. Source: van Elteren, Bulletin of the International Statistical Institute 37, 1960, with his other
    weights.

    Args:
        scores: float (N,), higher = rather a member.
        member: bool (N,).
        strata: length N, e.g. each row's label.
        patients: length N; patients are resampled.
        resamples: of the bootstrap.
        seed: of it.

    Returns:
        {"value", "low", "high"}; None where no stratum has both members and non-members.
    """
    strata = np.asarray(strata)
    groups = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    groups = [rows for rows in groups if member[rows].any() and not member[rows].all()]
    if not groups:
        return Measured()._asdict()
    rankings = [Ranking(scores[rows]) for rows in groups]

    def pooled(weights: np.ndarray) -> np.ndarray:
        won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for rows, ranking in zip(groups, rankings, strict=True):
            members, others = weights[:, rows] * member[rows], weights[:, rows] * ~member[rows]
            count = members.sum(axis=1) * others.sum(axis=1)
            won += np.nan_to_num(auc(*ranking.rates(members, others))) * count
            pairs += count
        with np.errstate(invalid="ignore"):
            return won / pairs

    interval = percentile_interval(cluster_bootstrap(pooled, patients, resamples, seed))
    value = pooled(np.ones((1, len(strata))))[0]
    fewest = fewest_patients(member, patients)
    return _bounded(interval, value, fewest, *_ranked(scores, member, patients)).around(value)


def advantage_held_out(
    scores: np.ndarray, member: np.ndarray, patients: Sequence, first_half: np.ndarray, resamples: int, seed: int
) -> dict:
    """TPR - FPR of the threshold that is best on the first half of the patients, measured on the others.

    Args:
        scores: float (N,), higher = rather a member; those of the first half owe nothing to the second.
        member: bool (N,).
        patients: length N; those of the second half are resampled.
        first_half: bool (N,), the same for all rows of a patient.
        resamples: of the bootstrap.
        seed: of it.

    Returns:
        {"value", "low", "high"}; negative where the threshold calls more non-members than members.
    """
    chosen_on = member[first_half]
    ranking = Ranking(scores[first_half])
    fpr, tpr = ranking.rates(1.0 * chosen_on[None], 1.0 * ~chosen_on[None])
    best = int(np.argmax((tpr - fpr)[0]))
    ranked = np.sort(scores[first_half])[::-1]
    threshold = np.inf if best == 0 else ranked[ranking.ends[best - 1]]
    rest, called = member[~first_half], scores[~first_half] >= threshold

    def gained(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ (called & rest)) / (weights @ rest) - (weights @ (called & ~rest)) / (weights @ ~rest)

    tested = np.asarray(patients)[~first_half]
    drawn = cluster_bootstrap(gained, tested, resamples, seed)
    value = gained(np.ones((1, len(rest))))[0]
    return bounded_difference(drawn, value, fewest_patients(rest, tested)).around(value)


def measure(scores: np.ndarray, member: np.ndarray, patients: Sequence, resamples: int, seed: int) -> dict:
    """Every measure of an attack, with intervals and with what a model that tells nothing would give.

    Args:
        scores: float (N,), higher = rather a member.
        member: bool (N,).
        patients: length N; patients are resampled, and are members or not as a whole.
        resamples: of the bootstrap, and permutations of membership.
        seed: of both.

    Returns:
        `auc`, `advantage`, `tpr_at_fpr_0.001` and `tpr_at_fpr_0.01`, each {"value", "low", "high", "chance"}: the
        95% interval, and the value that 95% of permuted memberships stay below. Where too few non-members
        resolve an FPR ("resolved" is false), the interval spans the thresholds that may belong to that FPR;
        it starts at 0 where the threshold may lie above every non-member.
    """
    patients = np.asarray(patients)
    levels = [Level.of(f, len(set(patients[~member]))) for f in FALSE_POSITIVE_RATES]
    ranking = Ranking(scores)

    def measures(members: np.ndarray, others: np.ndarray) -> np.ndarray:
        fpr, tpr = ranking.rates(members, others)
        at = [tpr_at(fpr, tpr, f) for v in levels for f in (v.rate, v.low, v.high)]
        return np.column_stack([auc(fpr, tpr), (tpr - fpr).max(axis=1), *at])

    values = measures(1.0 * member[None], 1.0 * ~member[None])[0]
    drawn = cluster_bootstrap(lambda w: measures(w * member, w * ~member), patients, resamples, seed)
    chance = _by_chance(measures, member, patients, resamples, seed)
    fewest = fewest_patients(member, patients)
    result = {
        "auc": _measured(values[0], drawn[:, 0], chance[:, 0], fewest, *_ranked(scores, member, patients)),
        "advantage": _measured(values[1], drawn[:, 1], chance[:, 1], fewest),
    }
    members = len(set(patients[member]))
    for number, level in enumerate(levels):
        i = 2 + 3 * number
        measured = _measured(values[i], drawn[:, i], chance[:, i], members)
        measured["resolved"] = level.resolved
        if not level.resolved:
            below = percentile_interval(drawn[:, i + 1])
            above = percentile_interval(drawn[:, i + 2])
            measured["low"] = 0.0 if level.low < 0 else below.low
            measured["high"] = above.high
        result[f"tpr_at_fpr_{level.rate:g}"] = measured
    return result


def _measured(value: float, replicates: np.ndarray, chance: np.ndarray, fewest: int, *ranked) -> dict:
    interval = _bounded(percentile_interval(replicates), value, fewest, *ranked)
    return {**interval.around(value), "chance": float(np.quantile(chance, LEVEL))}


def _by_chance(measures, member, patients, permutations: int, seed: int) -> np.ndarray:
    """Measures with membership handed out anew among patients: what luck alone gives."""
    _, first, where = np.unique(patients, return_index=True, return_inverse=True)
    is_member = member[first]
    generator = np.random.default_rng([seed, 1])
    block = max(1, BLOCK_WEIGHTS // len(patients))
    results = []
    for start in range(0, permutations, block):
        tiled = np.tile(is_member, (min(block, permutations - start), 1))
        permuted = generator.permuted(tiled, axis=1)[:, where]
        results.append(measures(1.0 * permuted, 1.0 * ~permuted))
    return np.concatenate(results)
