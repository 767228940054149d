"""The same attacks on a twin Run, and the difference on the same patients."""

import math

from medimg.audit.attacked import Attacked
from medimg.audit.config import AuditConfig
from medimg.audit.roc import auc_of, auc_replicates, fewest_patients
from medimg.evaluation.exact_differences import bounded_difference


def differences(attacked: Attacked, twin: Attacked, config: AuditConfig) -> dict:
    """How much more the twin gives away: its AUC less the Run's, attack by attack.

    Args:
        attacked: the Run.
        twin: its twin, on the same rows in the same order.
        config: options of the bootstrap.

    Returns:
        attack -> {"auc": {"value", "low", "high"}}, from the same resamples of patients for both.
    """
    subject = attacked.subject
    result, counted = {}, fewest_patients(subject.member, subject.patients)
    for name in attacked.scores:
        theirs, ours = (one.scores[name].values for one in (twin, attacked))
        resampled = [
            auc_replicates(scores, subject.member, subject.patients, config.bootstrap, config.seed)
            for scores in (theirs, ours)
        ]
        value = auc_of(theirs, subject.member) - auc_of(ours, subject.member)
        result[name] = {"auc": bounded_difference(resampled[0] - resampled[1], value, counted).around(value)}
    return result


def claimed(attacked: Attacked) -> float | str | None:
    """Epsilon of the ledger as JSON knows it: a number, "infinite", or None without a ledger."""
    if attacked.claim is None:
        return None
    return "infinite" if math.isinf(attacked.claim.epsilon) else attacked.claim.epsilon
