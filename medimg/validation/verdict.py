"""What a validation says, in words: a verdict and its reasons, from the numbers of validation.json alone."""

import math

from medimg.evaluation.recalibration import miscalibration
from medimg.style.words import interval, listed, p_text, signed, signed_interval

_MACHINES = {
    "x-ray": {"x-ray", "cr", "dx", "radiograph", "radiographs", "radiography"},
    "ultrasound": {"ultrasound", "us"},
    "mr": {"mr", "mri"},
    "ct": {"ct"},
}
# A drop of AUROC that nobody would want to miss.
_MATTERS = 0.1
NOTHING = "no shift shown"
DIFFERS = "the data differ, the performance holds"
UPDATE = "ranks patients as well here, but probabilities or threshold do not carry over: recalibrate before use"
WORSE = "performs worse here: not to be used as it is"
CHANCE = "not shown to rank patients better than chance here: not to be used"
UNLABELLED = {False: "unlabelled: no shift shown", True: "unlabelled: the data differ, the performance is not known"}


def verdict(result: dict) -> tuple[str, list[str]]:
    """The verdict and its reasons, the heaviest first.

    Args:
        result: of `validate`, without `verdict` and `reasons`.
    """
    differ = [one for one in result["shift"] if one["shifted"]]
    another = _another_modality(result.get("modality", {}))
    differences = [*another, *_shift(result, differ)]
    differ = another + differ
    if not result["labelled"]:
        return UNLABELLED[bool(differ)], differences
    drop = result["drop"]
    fallen = _fallen(result)
    if len(result["kinds"]) == 1 or result["few"]:
        return _one_sided(result, fallen, differ), [*_decisions(result), *differences]
    updates = _off(result)
    auroc = drop["auroc"]
    worse = auroc["low"] is not None and auroc["low"] > 0
    reasons = [_ranking(result), *_decisions(result), *updates]
    if updates and result["calibration"]["proposal"]["update"] != "none":
        reasons.append(f"proposed for here: {result['calibration']['proposal']['words']}")
    if worse:
        return WORSE, reasons + differences
    low = result["auroc"]["here"]["low"]
    if low is not None and low <= 0.5:
        return CHANCE, reasons + differences
    if updates or fallen:
        return UPDATE, reasons + differences
    words = DIFFERS if differ else NOTHING
    if result["own_rows"] == result["n"]:
        words += "; but these are the Run's own test patients, no other hospital's"
    elif auroc["value"] is None or auroc["high"] is None:
        words += "; no drop of AUROC could be measured"
    elif auroc["high"] > _MATTERS:
        words += f"; too few patients to exclude a drop of AUROC by {auroc['high']:.2f}"
    return words, reasons + differences


def _ranking(result: dict) -> str:
    internal, external, drop = (result["auroc"]["own"], result["auroc"]["here"], result["drop"]["auroc"])
    if drop["value"] is None:
        return (
            f"AUROC {interval(external, missing='undefined')} here; the Run's own test part is not there to compare "
            "with"
        )
    how = "no drop shown"
    if drop["low"] is not None and drop["low"] > 0:
        how = "it ranks worse here"
    elif drop["high"] is not None and drop["high"] < 0:
        how = "it ranks better here"
    measured = f"AUROC {interval(external)} here, {interval(internal)} on the own test part"
    return f"{measured}: drop {signed_interval(drop)}, {how}"


def _fallen(result: dict) -> list[str]:
    """Sensitivity or specificity that is lower here at the Run's own threshold."""
    drops = {name: result["drop"][name] for name in ("sensitivity", "specificity")}
    return [name for name, drop in drops.items() if drop["low"] is not None and drop["low"] > 0]


def _decisions(result: dict) -> list[str]:
    external, internal = result["threshold"]["transported"], result["threshold"]["own"]
    fallen = _fallen(result)
    reasons = []
    for name in ("sensitivity", "specificity"):
        if external[name]["value"] is None:
            continue
        words = f"{name} {interval(external[name])} at the Run's own decision"
        if internal and internal[name]["value"] is not None:
            words += f", {interval(internal[name])} on the own test part"
        reasons.append(words + (": it falls here" if name in fallen else ""))
    return reasons


def _off(result: dict) -> list[str]:
    """Why probabilities are wrong here and were not, or not so, on the own test part."""
    external, internal = result["calibration"], result["calibration"] and result["calibration"]["own"]
    if not external or not miscalibration(external):
        return []
    if (
        internal
        and miscalibration(internal)
        and not any(_other(internal[name], external[name]) for name in ("slope", "intercept"))
    ):
        result["notes"].append(
            "probabilities are as wrong here as on the own test part"
            + ("" if result["calibrated"] else ": 'medimg evaluate RUN --calibrate temperature'")
        )
        return []
    return miscalibration(external)


def _other(internal: dict, external: dict) -> bool:
    """Two values differ beyond both intervals."""
    if None in (internal["low"], external["low"]):
        return False
    half = math.hypot((internal["high"] - internal["low"]) / 2, (external["high"] - external["low"]) / 2)
    return abs(internal["value"] - external["value"]) > half


def _one_sided(result: dict, fallen: list[str], differ: list[dict]) -> str:
    """Of one kind of patients, or too few of another: its sensitivity or specificity is all that can be judged."""
    few = {name: result["patients_of"][name] for name in result["few"]}
    judged = [name for name in result["kinds"] if name not in few]
    if few:
        words = f"too few patients of {listed(f'{name} ({count})' for name, count in few.items())}"
        words += " to judge ranking or calibration" if judged else " to judge anything"
    else:
        words = f"patients of {judged[0]} alone: neither ranking nor calibration can be judged"
    if judged:
        measures = result["threshold"]["transported"]
        has_sensitivity = measures["sensitivity"]["value"] is not None and judged != result["classes"][:1]
        name = "sensitivity" if has_sensitivity else "specificity"
        drop = result["drop"][name]
        words += f"; {name} falls here" if name in fallen else f"; no fall of {name} shown"
        if drop["value"] is None:
            words = words.replace(f"no fall of {name} shown", f"{name} is known, and nothing to compare it with")
        elif name not in fallen and drop["high"] and drop["high"] > _MATTERS:
            words += f", though too few patients to exclude one by {drop['high']:.2f}"
    return words + ("; the data differ" if differ else "")


def _another_modality(modality: dict) -> list[str]:
    """A sentence where both sides say what made their images, and it was no machine of one kind."""
    internal, external = (_machines(modality.get(side) or "") for side in ("own", "here"))
    if not internal or not external or internal & external:
        return []
    return [f"another modality: {modality['here']} here, {modality['own']} in the Run's own data"]


def _machines(modality: str) -> set[str]:
    """Kinds of machines, of words or of DICOM's codes; what is not known stands for itself."""
    parts = [part.strip().casefold() for part in modality.split(",") if part.strip()]
    return {next((kind for kind, words in _MACHINES.items() if words & set(part.split())), part) for part in parts}


def _shift(result: dict, differ: list[dict]) -> list[str]:
    if not result["shift"]:
        return ["no quantity could be compared with the Run's own test part"]
    if not differ:
        return [f"none of {len(result['shift'])} quantities differs from the own test part (Holm, p < 0.05)"]
    words = [_difference(one) for one in differ]
    return [f"{len(differ)} of {len(result['shift'])} quantities differ: {listed(words, 6)}"]


def _difference(one: dict) -> str:
    effect = "no overlap" if one["effect"] is None else f"{signed(one['effect'], 2)} SD"
    return f"{one['name']} ({effect}, {p_text(one['p_holm'])})"
