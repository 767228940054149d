"""What a cross-validation promises: its K models together, of which K - 1 were trained with a given patient; and an
ensemble: all of its members together.

A patient is tested in one fold and in no other, so they took part in at most the K - 1 other trainings. All K models,
and the predictions pooled from them, come out of one command, so it is their composition that is claimed.
"""

from collections.abc import Sequence

from medimg.privacy.accounting import epsilon_of, largest
from medimg.privacy.events import json_numbers
from medimg.privacy.ledger import segments_of
from medimg.privacy.segments import events_of, united

COMPOSITION = (
    "All folds together: a patient is tested in one fold and took part in at most the others, whose models compose; "
    "the total is the largest over who is left out. That covers the models: metrics and predictions are of each fold's "
    "tested patients, without noise, and every patient is tested once."
)
ENSEMBLE = "All members together: a patient may have taken part in each of their trainings, so that these compose."


def together(folds: Sequence[dict]) -> dict:
    """The `privacy.json` of a cross-validation.

    Args:
        folds: of each fold, in order.
    """
    others = [[fold for n, fold in enumerate(folds) if n != tested] for tested in range(len(folds))]
    return _together(folds, others, COMPOSITION) | {
        "fold_budget_epsilon": folds[0]["budget_epsilon"],
        "folds": _listed(folds),
    }


def composed(members: Sequence[dict]) -> dict:
    """The `privacy.json` of an ensemble, all of whose members' models are released together.

    Args:
        members: of each.

    Raises:
        ValueError: they protect different units.
    """
    if len({content["unit"] for content in members}) > 1:
        raise ValueError("some protect patients, some clients")
    return _together(members, [members], ENSEMBLE) | {"members": _listed(members)}


def _on_dataset(contents: Sequence[dict]) -> dict | None:
    """What all Runs on the Dataset have spent when the last of these had ended; of built-in data nobody knows it."""
    known = contents[-1].get("dataset")
    return known if known and known["runs"] >= len(contents) else None


def _listed(contents: Sequence[dict]) -> list[dict]:
    return [{name: content[name] for name in ("run", "epsilon", "steps")} for content in contents]


def _together(contents: Sequence[dict], met: Sequence[Sequence[dict]], composition: str) -> dict:
    """What trainings promise together.

    Args:
        contents: of each.
        met: the trainings that a patient may have taken part in; the total is the largest.
        composition: why, in words.
    """
    first, delta = contents[0], max(content["delta"] for content in contents)
    totals = []
    for some in met:
        segments = united(segment for content in some for segment in segments_of(content))
        totals.append(epsilon_of(events_of(segments, first["unit"]), delta))
    shared = ("mechanism", "unit", "neighbouring", "l2_norm_clip", "accountant")
    return {
        "run": first["run"],
        "status": "complete",
        **{name: first[name] for name in shared},
        "delta": delta,
        "epsilon": json_numbers(largest(totals)),
        "composition": composition,
        "budget_epsilon": None,
        "steps": sum(content["steps"] for content in contents),
        "expected_units": max(content["expected_units"] for content in contents),
        "events": [event for content in contents for event in content["events"]],
        "dataset": _on_dataset(contents),
        "assumptions": list(dict.fromkeys(text for c in contents for text in c["assumptions"])),
    }
