"""One Run attacked: the scores of every attack and what they measure, over all rows, by class and by site."""

from dataclasses import dataclass

import numpy as np

from medimg.audit import lira
from medimg.audit.attacks import AttackScores, attack, halves
from medimg.audit.bound import lower_bound
from medimg.audit.claim import Claim, claim_of
from medimg.audit.config import AuditConfig
from medimg.audit.members import AuditSubject
from medimg.audit.roc import advantage_held_out, auc_interval, measure, within
from medimg.audit.signals import Signals, signals
from medimg.data.dataset import SEPARATOR
from medimg.evaluation.intervals import Measured
from medimg.listener import Step

# The delta of a bound where no ledger gives one: the counts of a thousand patients can't tell it from 0.
DELTA = 1e-5


@dataclass(frozen=True, eq=False)
class Attacked:
    """A Run and every attack's scores of its rows.

    Attributes:
        subject: the Run and its rows.
        claim: of its ledger; None: not private.
        signals: its model's answers.
        scores: attack -> scores.
        difficulty: float64 (N,), how shadow models that have not seen a row take to it; None without them.
        first_half: bool (N,), rows whose patients the bound's rule is chosen on.
    """

    subject: AuditSubject
    claim: Claim | None
    signals: Signals
    scores: dict[str, AttackScores]
    difficulty: np.ndarray | None
    first_half: np.ndarray

    @property
    def delta(self) -> float:
        """Delta of the claim, or DELTA."""
        return self.claim.delta if self.claim else DELTA


def run_attacks(
    subject: AuditSubject, config: AuditConfig, progress: Step, before: int = 0, models: int = 0
) -> Attacked:
    """Score every row with every attack.

    Args:
        subject: the Run and its rows.
        config: options.
        progress: told of rows answered and shadow models trained.
        before: shadow models trained for another Run before.
        models: shadow models for all Runs.
    """
    from medimg.evaluation.prediction import predict

    run, member, patients = subject.run, subject.member, subject.patients
    answers = predict(
        run.model(),
        subject.dataset,
        subject.rows,
        run.description(calibrated=False),
        progress=lambda done, total: progress("answers", done, total),
    )
    shown = signals(answers, subject.targets)
    first_half = halves(member, patients, config.seed)
    scores, difficulty = {}, None
    for name in dict.fromkeys(config.attack):
        if name == "lira":
            models_seen = lira.shadows(subject, config.shadow_models, config.seed, progress, before, models)
            online = lira.online_scores(shown.confidence, models_seen)
            offline = lira.offline_scores(shown.confidence, models_seen)
            scores |= {"lira": AttackScores(online, online), "lira-offline": AttackScores(offline, offline)}
            difficulty = lira.difficulty(models_seen)
        else:
            scores[name] = attack(name, shown, member, patients, first_half, config.seed)
    return Attacked(subject, claim_of(run), shown, scores, difficulty, first_half)


def measured(attacked: Attacked, config: AuditConfig, alpha: float, withheld: str = "") -> tuple[dict, dict]:
    """What the attacks measure.

    Args:
        attacked: scores.
        config: options of the bootstrap.
        alpha: the bound of epsilon is too high with probability at most this.
        withheld: why no bound can be had; '': it can.

    Returns:
        `attacks` of audit.json, and the bound of the attack that was chosen by the first half of the patients; a bound
        that is withheld has the value None and a `reason`.
    """
    subject, results, promises = attacked.subject, {}, {}
    member, patients = subject.member, subject.patients
    for name, scores in attacked.scores.items():
        bound, promises[name] = lower_bound(
            scores.for_bound, member, patients, attacked.first_half, attacked.delta, alpha
        )
        if withheld:
            bound = {**bound, "value": None, "reason": withheld}
        measures = measure(scores.values, member, patients, config.bootstrap, config.seed)
        results[name] = {
            **measures,
            "advantage_held_out": advantage_held_out(
                scores.for_bound, member, patients, attacked.first_half, config.bootstrap, config.seed
            ),
            "pooled": {
                "raw": {key: measures["auc"][key] for key in Measured._fields},
                "within_class": _within(scores.values, subject, "label", config),
                "within_site": _within(scores.values, subject, "site", config),
            },
            "epsilon_lower_bound": bound,
            "by_class": _by(_classes(subject), scores.values, subject, config),
            "by_site": _by(_sites(subject), scores.values, subject, config),
        }
    chosen = max(promises, key=promises.get)
    return results, {"attack": chosen, **results[chosen]["epsilon_lower_bound"]}


def _within(scores, subject: AuditSubject, column: str, config: AuditConfig) -> dict:
    """AUC of members against non-members that are alike in a column of the manifest."""
    strata = subject.rows[column].to_numpy(str)
    return within(scores, subject.member, strata, subject.patients, config.bootstrap, config.seed)


def _by(groups: dict[str, np.ndarray], scores, subject: AuditSubject, config: AuditConfig) -> dict:
    """AUC of each group's members against its own non-members."""
    result = {}
    for name, rows in groups.items():
        member = subject.member[rows]
        result[name] = {
            "members": int(member.sum()),
            "non_members": int((~member).sum()),
            "auc": auc_interval(scores[rows], member, subject.patients[rows], config.bootstrap, config.seed),
        }
    return result


def _classes(subject: AuditSubject) -> dict[str, np.ndarray]:
    labels = [set(label.split(SEPARATOR)) for label in subject.rows["label"]]
    if subject.dataset.task != "multilabel":
        labels = [{label} for label in subject.rows["label"]]
    names = [*subject.dataset.classes, *filter(None, [subject.dataset.negative])]
    of_class = {name: np.array([name in label for label in labels]) for name in names}
    return {name: rows for name, rows in of_class.items() if rows.any()}


def _sites(subject: AuditSubject) -> dict[str, np.ndarray]:
    sites = subject.rows["site"].to_numpy(str)
    names = np.unique(sites)
    return {} if len(names) < 2 else {name or "(none)": sites == name for name in names}
