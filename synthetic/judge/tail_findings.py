"""Grades of the tail: near copies named, rows beyond all held-out ones, and a low percentile that is too low."""

from collections.abc import Iterator

from medimg.style.words import interval, listed
from synthetic.judge import thresholds as limits
from synthetic.judge.findings import Finding, percent

_BY = {
    "distance": "lie closer to a training patient than any held-out patient does",
    "ratio": "lie closer to one training patient, and to no other, than any held-out patient does",
}


def tail_findings(tail: dict, images: bool) -> Iterator[Finding]:
    """What the closest few tell.

    Args:
        tail: of `synthetic.judge.tail.measure`.
        images: rows are images.
    """
    kind = "image" if images else "row"
    for name, word in (("near", "nearly equal"), ("equal", "equal")):
        if name not in tail or not tail[name]["count"]:
            continue
        yield Finding("privacy", grade_of_near(tail[name]), _named(tail, name, word, kind))
    for name, found in tail["closer_than_held_out"].items():
        if found["p"] < limits.ALARM_P / limits.TAIL_TESTS:
            share = found["count"] / tail["measured"]
            # Ordinary rows are close to everybody; close to one alone is a copy's mark.
            fails = name == "ratio" and share >= limits.NEAR_SHARE
            yield Finding(
                "privacy",
                "fail" if fails else "care",
                f"{found['count']} synthetic {kind}s ({percent(share)}) {_BY[name]} "
                f"({tail['held_out']} of them), p = {found['p']:.3g}.",
            )
    yield from _low(tail["low_percentile"], kind)


def grade_of_near(found: dict) -> str:
    """Of rows that equal or nearly equal a training row, beside real rows that do."""
    beyond = found["rate"] - found["coincidence"]
    if beyond <= 0:
        return "care" if found.get("unexplained") else "pass"
    enough = found["count"] >= limits.NEAR_ROWS and beyond >= limits.NEAR_SHARE
    return "fail" if enough else "care"


def _named(tail: dict, name: str, word: str, kind: str) -> str:
    found = tail[name]
    rows = [row for row in tail["worst"] if row["kind"] == name]
    named = listed([f"{row['synthetic']}{_how_near(row)}" for row in rows], count=found["count"])
    plural = "" if found["count"] == 1 else "s"
    return (
        f"{found['count']} synthetic {kind}{plural} ({percent(found['rate'])}) {word} a training patient's "
        f"({named}); of real {kind}s {percent(found['held_out_rate'])} do another patient's."
    )


def _how_near(row: dict) -> str:
    return f" at {row['ratio']:.2g} of the distance to anybody else" if row["kind"] == "near" else ""


def _low(found: dict, kind: str) -> Iterator[Finding]:
    made, real = found["synthetic"], found["real"]
    if None in (made["high"], real["low"]) or made["high"] >= real["low"]:
        return
    yield Finding(
        "privacy",
        "care",
        f"the closest {percent(found['share'])} of synthetic {kind}s come within "
        f"{interval(made | {'low': made['low'] or 0.0}, digits=2)} of the distance to anybody else, of real ones "
        f"{interval(real, digits=2)}.",
    )
