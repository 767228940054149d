"""What a cross-validation promises: its K models together, of which K - 1 were trained with a given patient.

A patient is tested in one fold and in no other, so they took part in at most the K - 1 other trainings. All K models,
and the predictions pooled from them, come out of one command, so it is their composition that is claimed.
"""

from collections.abc import Sequence

from medimg.privacy.accounting import epsilon_of
from medimg.privacy.events import json_numbers
from medimg.privacy.ledger import segments_of
from medimg.privacy.segments import events_of, united

COMPOSITION = (
    "All folds together: a patient is tested in one fold and took part in at most the others, whose models compose; "
    "the total is the largest over who is left out. That covers the models: metrics and predictions are of each fold's "
    "tested patients, without noise, and every patient is tested once."
)


def together(folds: Sequence[dict]) -> dict:
    """The `privacy.json` of a cross-validation.

    Args:
        folds: of each fold, in order.
    """
    first = folds[0]
    segments = [segments_of(content) for content in folds]
    unit, delta = first["unit"], first["delta"]
    totals = []
    for tested in range(len(folds)):
        others = united(s for n, fold in enumerate(segments) if n != tested for s in fold)
        totals.append(epsilon_of(events_of(others, unit), delta))
    told = ("mechanism", "unit", "neighbouring", "delta", "l2_norm_clip", "accountant")
    return {
        "run": first["run"],
        "status": "complete",
        **{name: first[name] for name in told},
        "epsilon": json_numbers({name: max(t[name] for t in totals) for name in totals[0]}),
        "composition": COMPOSITION,
        "budget_epsilon": None,
        "fold_budget_epsilon": first["budget_epsilon"],
        "steps": sum(content["steps"] for content in folds),
        "expected_units": max(content["expected_units"] for content in folds),
        "events": [event for content in folds for event in content["events"]],
        "folds": [{name: content[name] for name in ("run", "epsilon", "steps")} for content in folds],
        "dataset": folds[-1].get("dataset"),
        "assumptions": list(dict.fromkeys(text for c in folds for text in c["assumptions"])),
    }
