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
    for name, leading in tail["closer_than_held_out"].items():
        if leading["p"] < limits.ALARM_P / limits.TAIL_TESTS:
            share = leading["count"] / tail["measured"]
            # Ordinary rows are close to everybody; close to one alone is a copy's mark.
            fails = name == "ratio" and share >= limits.NEAR_SHARE
            yield Finding(
                "privacy",
                "fail" if fails else "care",
                f"{leading['count']} synthetic {kind}s ({percent(share)}) {_BY[name]} "
                f"({tail['held_out']} of them), p = {leading['p']:.3g}.",
            )
    yield from _low(tail["low_percentile"], kind)


def grade_of_near(counts: dict) -> str:
    """Of rows that equal or nearly equal a training row, beside real rows that do."""
    beyond = counts["rate"] - counts["coincidence"]
    if beyond <= 0:
        return "care" if counts.get("unexplained") else "pass"
    enough = counts["count"] >= limits.NEAR_ROWS and beyond >= limits.NEAR_SHARE
    return "fail" if enough else "care"


def _named(tail: dict, name: str, word: str, kind: str) -> str:
    counts = tail[name]
    rows = [row for row in tail["worst"] if row["kind"] == name]
    names = listed([f"{row['synthetic']}{_how_near(row)}" for row in rows], count=counts["count"])
    plural = "" if counts["count"] == 1 else "s"
    return (
        f"{counts['count']} synthetic {kind}{plural} ({percent(counts['rate'])}) {word} a training patient's "
        f"({names}); of real {kind}s {percent(counts['held_out_rate'])} do another patient's."
    )


def _how_near(row: dict) -> str:
    return f" at {row['ratio']:.2g} of the distance to anybody else" if row["kind"] == "near" else ""


def _low(percentiles: dict, kind: str) -> Iterator[Finding]:
    synthetic, real = percentiles["synthetic"], percentiles["real"]
    if None in (synthetic["high"], real["low"]) or synthetic["high"] >= real["low"]:
        return
    yield Finding(
        "privacy",
        "care",
        f"the closest {percent(percentiles['share'])} of synthetic {kind}s come within "
        f"{interval(synthetic | {'low': synthetic['low'] or 0.0}, digits=2)} of the distance to anybody else, of real "
        f"ones {interval(real, digits=2)}.",
    )
