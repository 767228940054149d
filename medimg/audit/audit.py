"""`medimg audit`: attack a Run, bound epsilon from below, compare with its claim and its twin."""

from medimg.audit import canary, lira
from medimg.audit.attacked import Attacked, measured, run_attacks
from medimg.audit.attacks import TRAINED
from medimg.audit.bound import CONFIDENCE
from medimg.audit.config import ATTACKS, AuditConfig
from medimg.audit.exchangeable import Exchangeability, exchangeability
from medimg.audit.members import AuditSubject, same_rows, subject
from medimg.audit.retrain import options, seconds
from medimg.audit.roc import FALSE_POSITIVE_RATES, auc_interval
from medimg.audit.twin import claimed, differences
from medimg.audit.verdict import verdict
from medimg.errors import InputError
from medimg.listener import Step
from medimg.lock import writes
from medimg.run import Run

STANDING_NOTES = (
    "validation rows are neither members nor non-members: the epoch was chosen by them",
    "pooled AUCs: 'raw' compares every member with every non-member, so a different mix of classes moves it; 'within "
    "class' compares those of one label only (the classes' AUCs weighted by their pairs)",
    "the best advantage takes its threshold from the rows that it is measured on and is never below 0; 'held out' "
    "takes it from half of the patients and is measured on the others",
    "the attacks score rows; intervals resample patients, and the bound of epsilon uses each patient's mean score, "
    "since the claim protects patients",
    "the bound of epsilon takes patients as independent trials of one training; the rule was chosen on half of the "
    "patients and counted on the other half",
    "the audit reads training data without noise: its files are no part of what the claimed epsilon covers; share "
    "them as you would share the data's statistics",
)


@writes("run")
def audit(run: Run, config: AuditConfig, progress: Step | None = None) -> dict:
    """Attack a Run and write audit.json, audit.html and figures/audit_*.png into it.

    Args:
        run: the Run.
        config: options of the command.
        progress: called with what is done, how far, and of how many.

    Returns:
        The content of audit.json.

    Raises:
        InputError: an option, the Run, its data or its twin can't be used.
    """
    # Lazily: drawing needs matplotlib.
    from medimg.audit.report import write

    config.require_effect()
    progress = progress or (lambda what, done, total: None)
    ours = subject(run.with_data_at(config.data), config.seed)
    theirs = subject(Run.load(config.twin).with_data_at(config.data), config.seed) if config.twin else None
    _check(config, ours, theirs)
    runs = 2 if theirs else 1
    models = config.shadow_models * runs
    alike = exchangeability(ours, config.seed)
    attacked = run_attacks(ours, config, progress, 0, models)
    # Two bounds are stated, so each has half of the 5%.
    alpha = (1 - CONFIDENCE) / (2 if config.canaries else 1)
    result = _result(attacked, config, alpha, alike)
    twin = None
    if theirs:
        twin = run_attacks(theirs, config, progress, config.shadow_models, models)
        attacks, bound = measured(twin, config, alpha, _withheld(alike))
        result["twin"] = {
            "run": str(theirs.run.root.resolve()),
            "claimed_epsilon": claimed(twin),
            "attacks": attacks,
            "epsilon_lower_bound": bound["value"],
            "difference": differences(attacked, twin, config),
        }
    if config.canaries:
        result["canaries"] = canary.run_canaries(ours, config.canaries, config.seed, alpha, progress)
    result["notes"] = _notes(attacked, twin, config)
    result["verdict"] = verdict(attacked, result, alike)
    write(result, attacked, twin)
    return result


def cost(run: Run, config: AuditConfig) -> str | None:
    """What the options cost beyond one pass over the rows, in one sentence; None: no model is trained."""
    runs = [run, Run.load(config.twin)] if config.twin else [run]
    trainings = [(one, config.shadow_models) for one in runs if "lira" in config.attack]
    trainings += [(run, 1)] if config.canaries else []
    count = sum(number for _, number in trainings)
    if not count:
        return None
    each = [(seconds(one), number) for one, number in trainings]
    if any(took is None for took, _ in each):
        return f"{count} models are trained"
    minutes = sum(took * number for took, number in each) / 60
    return f"{count} models are trained, in about {max(1, round(minutes))} min by the time that the Run took"


def _check(config: AuditConfig, ours: AuditSubject, theirs: AuditSubject | None) -> None:
    """Before the first model is trained."""
    for name in config.attack:
        if name not in ATTACKS:
            raise InputError(f"--attack {name}: choose among {', '.join(ATTACKS)}")
    if not config.attack:
        raise InputError(f"--attack: give at least one of {', '.join(ATTACKS)}")
    if "lira" in config.attack:
        lira.check(config.shadow_models)
    if theirs:
        same_rows(ours, theirs)
    if "lira" in config.attack or config.canaries:
        for one in filter(None, (ours, theirs)):
            options(one.run)
    if config.canaries:
        canary.check(ours, config.canaries)


def _withheld(alike: Exchangeability) -> str:
    return alike.sentence() if alike.shifted else ""


def _result(attacked: Attacked, config: AuditConfig, alpha: float, alike: Exchangeability) -> dict:
    ours, claim = attacked.subject, attacked.claim
    attacks, bound = measured(attacked, config, alpha, _withheld(alike))
    result = {
        "run": str(ours.run.root.resolve()),
        "dataset": ours.dataset.name,
        "unit": ours.dataset.unit,
        "members": int(ours.member.sum()),
        "non_members": int((~ours.member).sum()),
        "member_patients": ours.patient_counts()[0],
        "non_member_patients": ours.patient_counts()[1],
        "non_members_from": ours.others,
        "exchangeability": {**alike.to_dict(), "says": alike.sentence()},
        "claimed_epsilon": claimed(attacked),
        "claimed_delta": claim.delta if claim else None,
        "claimed_unit": claim.unit if claim else None,
        "attacks": attacks,
        "epsilon_lower_bound": bound["value"],
        "epsilon_lower_bound_reason": bound.get("reason", alike.sentence()),
        "bound": bound,
        "seed": config.seed,
        "bootstrap": config.bootstrap,
    }
    if claim:
        result["allowed"] = {
            "auc": claim.most_auc,
            "advantage": claim.most_advantage,
            **{f"tpr_at_fpr_{f:g}": float(claim.most_tpr(f)) for f in FALSE_POSITIVE_RATES},
        }
    if attacked.difficulty is not None:
        result["shift"] = auc_interval(attacked.difficulty, ours.member, ours.patients, config.bootstrap, config.seed)
    return result


def _notes(attacked: Attacked, twin: Attacked | None, config: AuditConfig) -> list[str]:
    ours = attacked.subject
    notes = [*STANDING_NOTES, *ours.notes]
    others = ours.patient_counts()[1]
    for rate in FALSE_POSITIVE_RATES:
        if others * rate < 1:
            notes.append(
                f"{others} patients are not members: an FPR of {rate:.1%} is less than one of them, so the value is "
                "the TPR without any false alarm and its interval says how little is known"
            )
    trained = [name for name in config.attack if name in TRAINED]
    if trained:
        notes.append(
            f"trained attacks ({', '.join(trained)}): each half of the patients is scored by an attacker fitted on the "
            "other half, so no score is an attacker's own training score"
        )
    if attacked.difficulty is not None:
        trained_on = int((ours.pool["split"] == "train").sum())
        notes.append(
            f"{config.shadow_models} shadow models, each trained on half of the {len(ours.pool)} rows, where the Run "
            f"had {trained_on}; 'shift' is the AUC of confidence of models that have not seen the row: "
            "what it is off 0.5 is a difference of the parts, no leak"
        )
    if twin and twin.claim is not None:
        notes.append("the twin was itself trained privately")
    return notes
