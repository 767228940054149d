"""share, share-with-care or do-not-share, and why: the worst grade of all measures decides."""

import math
from collections.abc import Iterator

from medimg.privacy.recount import promised
from medimg.style.words import interval, listed
from synthetic.judge import discoveries, unjudged
from synthetic.judge import thresholds as limits
from synthetic.judge.appearance import farthest
from synthetic.judge.findings import GRADES, PARTS, Finding, percent
from synthetic.judge.rows import Subject
from synthetic.judge.tail_findings import tail_findings

NO_GUARANTEE = (
    "No formal guarantee: the synthetic Dataset's files claim no differential privacy; the tests above can show a "
    "leak, and never that there is none."
)

VERDICTS = {"pass": "share", "care": "share-with-care", "fail": "do-not-share"}
_PASSED = {
    "privacy": "Privacy: {copies}, and nothing that knows training patients better than held-out ones, was found.",
    "utility": "Utility: classifiers trained on the synthetic rows do about as well on real patients.",
    "fidelity": "Fidelity: the synthetic rows lie where real ones do, about as well as other real rows.",
    "diversity": "Diversity: the synthetic rows differ from each other as real ones do.",
}


def judge(result: dict, guarantee: str) -> dict:
    """The verdict on a judgement's measures.

    Args:
        result: `utility`, `fidelity`, `diversity`, `privacy` of judgement.json.
        guarantee: one sentence on the formal guarantee.

    Returns:
        `verdict`, `grades` (part -> grade) and `reasons`: what is wrong, the worst first, what passed, the guarantee.
    """
    findings = [*_privacy(result["privacy"]), *_utility(result["utility"])]
    findings += [*_fidelity(result["fidelity"]), *_diversity(result["diversity"])]
    worst = sorted(findings, key=lambda finding: -GRADES.index(finding.grade))
    grades = {part: max(("pass", *(f.grade for f in findings if f.part == part)), key=GRADES.index) for part in PARTS}
    reasons = [f"{f.part.capitalize()}: {f.text}" for f in worst if f.grade != "pass"]
    copies = _copies_passed(result["privacy"]["copies"])
    reasons += [text.format(copies=copies) for part, text in _PASSED.items() if grades[part] == "pass"]
    return {
        "verdict": VERDICTS[max(grades.values(), key=GRADES.index)],
        "grades": grades,
        "reasons": [*reasons, guarantee],
    }


def _privacy(privacy: dict) -> Iterator[Finding]:
    copies = privacy["copies"]
    if copies["count"]:
        yield Finding(
            "privacy",
            _grade_of_copies(copies),
            f"{_counted(copies)}; of held-out real ones {percent(copies['held_out_rate'])} do. These are "
            f"{listed([pair['synthetic'] for pair in copies['pairs']], count=copies['count'])}.",
        )
    yield from tail_findings(privacy["tail"], copies["images"])
    yield from unjudged.findings(privacy["unjudged"])
    share = privacy["closer_to_train"]
    if share["p"] < limits.ALARM_P:
        yield Finding(
            "privacy",
            "fail" if share["value"] >= limits.LEAK else "care",
            f"synthetic rows lie closer to training than to held-out patients: share {interval(share)} where 0.5 "
            f"is expected, p = {share['p']:.3g}.",
        )
    for name, attack in privacy["membership"].items():
        # Several attacks are tried: each has its part of the false alarms.
        if attack["p"] < limits.ALARM_P / limits.ATTACKS:
            yield Finding(
                "privacy",
                "fail" if attack["auc"]["value"] >= limits.LEAK else "care",
                f"whose data were learnt from can be told: membership inference by {name} has AUC "
                f"{interval(attack['auc'])}, p = {attack['p']:.3g}.",
            )
    yield from _attribute(privacy.get("attribute", {}))
    if privacy["held_out_patients"] < limits.HELD_OUT:
        yield Finding(
            "privacy",
            "care",
            f"only {privacy['held_out_patients']} patients were held out (fewer than {limits.HELD_OUT}): a leak could "
            "not be seen.",
        )


def _grade_of_copies(copies: dict) -> str:
    """p alone would pass copies that too few held-out patients are there to make unlikely."""
    by_test = limits.COPIES.grade(copies["p"])
    beyond = copies["rate"] - copies["coincidence"]
    if copies["images"]:
        # Two films are never one by coincidence, unlike two patients of few columns.
        by_share = "fail" if beyond >= limits.COPIED_IMAGES else "care"
    else:
        by_share = "care" if beyond > 0 else "pass"
    return max(by_test, by_share, key=GRADES.index)


def _copies_passed(copies: dict) -> str:
    if not copies["count"]:
        return "no copies"
    return f"{_counted(copies)}, as held-out ones do ({percent(copies['held_out_rate'])})"


def _counted(copies: dict) -> str:
    kind = "image" if copies["images"] else "row"
    some = f"1 synthetic {kind}" if copies["count"] == 1 else f"{copies['count']} synthetic {kind}s"
    equal = "equals" if copies["count"] == 1 else "equal"
    return f"{some} ({percent(copies['rate'])}) {equal} a training {kind}"


def _attribute(columns: dict) -> Iterator[Finding]:
    leaks = {name: attack for name, attack in columns.items() if attack["excess"]["low"] > 0}
    if leaks:
        name = max(leaks, key=lambda column: leaks[column]["excess"]["low"])
        worst, more = leaks[name], len(leaks) - 1
        yield Finding(
            "privacy",
            limits.ATTRIBUTE.grade(worst["excess"]["low"]),
            f"'{name}' of training patients is guessed right in {worst['train']:.0%}, of held-out ones in "
            f"{worst['test']:.0%}" + (f" (and {more} more columns likewise)." if more else "."),
        )


def _utility(utility: dict) -> Iterator[Finding]:
    yield from discoveries.findings(utility.get("discoveries"))
    gap = utility["gap"]
    if gap["value"] is None:
        text = "AUROC is not defined, since the held-out rows have one class: nothing is known."
        yield Finding("utility", "care", text)
        return
    grade = limits.GAP.grade(gap["value"])
    if gap["low"] is not None and gap["low"] <= 0:
        # The choice of test patients alone may have made it: a few dozen make gaps like this between real rows too.
        grade = {"fail": "care"}.get(grade, "pass")
    classifiers = "on average over classifiers" if gap["classifier"] == "mean" else gap["classifier"]
    yield Finding(
        "utility",
        grade,
        f"trained on synthetic instead of real rows, classifiers lose {interval(gap)} AUROC ({classifiers}).",
    )


def _fidelity(fidelity: dict) -> Iterator[Finding]:
    if "column_shapes" in fidelity:
        shapes = fidelity["column_shapes"]
        if None not in (shapes["synthetic"], shapes["real"]):
            yield Finding(
                "fidelity",
                limits.SHAPES.grade(shapes["real"] - shapes["synthetic"]),
                f"columns are distributed otherwise: SDMetrics' column shapes {shapes['synthetic']:.3f}, of other real "
                f"rows {shapes['real']:.3f}.",
            )
        structure_kept = fidelity["structure"]["kept"]
        if structure_kept is not None:
            yield Finding(
                "fidelity",
                limits.STRUCTURE.grade(structure_kept),
                f"{max(0.0, structure_kept):.0%} of the dependence between columns is kept (0% = columns shuffled).",
            )
        novelty = fidelity["novelty"]
        yield Finding(
            "fidelity",
            limits.NOVELTY.grade(novelty["synthetic"] - novelty["held_out"] - limits.ALLOWANCE * novelty["error"]),
            f"{novelty['synthetic']:.0%} of the rows have a value that no training row has, of held-out rows "
            f"{novelty['held_out']:.0%}.",
        )
        return
    made, real = fidelity["manifold"]["synthetic"], fidelity["manifold"]["real"]
    for name in ("precision", "density", "coverage"):
        if real[name]:
            yield Finding(
                "fidelity",
                limits.MANIFOLD.grade(made[name] / real[name]),
                f"{name} {made[name]:.2f}, of other real images {real[name]:.2f}.",
            )
    yield from _appearance(fidelity["appearance"])


def _appearance(appearance: dict) -> Iterator[Finding]:
    if "not_available" in appearance:
        return
    mean, name = appearance["mean"], farthest(appearance)
    worst = appearance["features"][name]
    yield Finding(
        "fidelity",
        limits.APPEARANCE.grade(mean["synthetic"] - mean["real"]),
        f"brightness, texture and shape are {mean['synthetic']:.2f} from real images' (0 = alike, 1 = apart), two "
        f"halves of real ones {mean['real']:.2f} from each other; most of all '{name}': {worst['synthetic']:.2f}, "
        f"halves {worst['real']:.2f}.",
    )


def _diversity(diversity: dict) -> Iterator[Finding]:
    spread = diversity["spread"]
    if spread["ratio"] is None:
        text = "no class has two synthetic and two real rows to compare: nothing is known."
        yield Finding("diversity", "care", text)
    else:
        yield Finding(
            "diversity",
            limits.SPREAD.grade(spread["ratio"]),
            f"within a class, rows differ {spread['ratio']:.2f} times as much as real ones.",
        )
    repeated = diversity["duplicates"]
    yield Finding(
        "diversity",
        limits.DUPLICATES.grade(repeated["synthetic"] - repeated["real"]),
        f"{repeated['synthetic']:.1%} of the rows repeat another, of real rows {repeated['real']:.1%}.",
    )
    for name in diversity["classes"]["missing"]:
        rows = diversity["classes"]["counts"][name]["real"]
        grade = "fail" if rows >= limits.CLASS_ROWS else "care"
        yield Finding("diversity", grade, f"class '{name}' ({rows} training rows) is missing.")
    if diversity.get("categories") is not None:
        yield Finding(
            "diversity",
            limits.CATEGORIES.grade(diversity["categories"]),
            f"{diversity['categories']:.0%} of the categories of the training rows occur.",
        )


def formal_guarantee(subject: Subject) -> str:
    """In words what `guaranteed` finds, else that there is none."""
    guarantee = guaranteed(subject)
    if guarantee is None:
        return NO_GUARANTEE
    counted = "its events give it; that they are all that was done " if guarantee["counted"] else ""
    return (
        f"Formal guarantee, as the synthetic Dataset's own files claim: (epsilon, delta) = "
        f"({guarantee['epsilon']:.3g}, {guarantee['delta']:g}) for one {guarantee['unit']}; {counted}medimg "
        "has not verified, who made the rows answers for it, and its assumptions are part of it."
    )


def guaranteed(subject: Subject) -> dict | None:
    """`epsilon`, `delta`, `unit` and whether events were counted: by privacy.json, else its preparation's `privacy`.

    Raises:
        InputError: privacy.json claims less than its events give (`medimg.privacy.recount`).
    """
    ledger = promised(subject.synthetic.root)
    entry = ledger or subject.origin.get("privacy")
    epsilon = entry.get("epsilon") if isinstance(entry, dict) else None
    if isinstance(epsilon, dict):
        epsilon = epsilon.get("pld")
    if not _is_number(epsilon):
        return None
    delta, unit = entry.get("delta", 0.0), entry.get("unit", "patient")
    # A stranger's file may say anything; what is no guarantee is none.
    if not _is_number(delta) or delta > 1 or unit not in ("patient", "client"):
        return None
    return {"epsilon": epsilon, "delta": delta, "unit": unit, "counted": ledger is not None}


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf  # pyright: ignore[reportOperatorIssue]
