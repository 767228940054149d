"""What the numbers of `site_gain` allow one to say."""

from medimg.comparison.pairs import ALPHA
from medimg.evaluation.metrics import METRIC_NAMES
from medimg.evaluation.summary import FEW
from medimg.style.words import number, p_text, signed

GAINS, LOSES, NO_EVIDENCE, TOO_FEW = "gains", "loses", "no evidence", "too few rows"


def word(place: dict, lower_is_better: bool) -> str:
    """Whether the federated model is better there than the local ones: gains, loses, no evidence, too few rows.

    Args:
        place: an entry of `places` with its differences.
        lower_is_better: of the metric.
    """
    found = place["differences"]["local"]
    if found["p_holm"] is None:
        return TOO_FEW
    if found["p_holm"] >= ALPHA or found["value"] == 0:
        return NO_EVIDENCE
    return GAINS if (found["value"] > 0) != lower_is_better else LOSES


def sentences(result: dict) -> list[str]:
    """The head of the section: the count, each site that gains or loses, then all sites together.

    Args:
        result: of `site_gain`, without sentences and notes.
    """
    told = []
    ours = [place for place in result["places"] if place["kind"] == "site"]
    if "local" in result["models"]:
        told.append(_count(ours))
        told += [_site(result, place) for place in ours if place["word"] in (GAINS, LOSES)]
    for place in result["places"]:
        if place["kind"] == "site":
            continue
        told += [_together(result, place, other) for other in ("local", "centralised") if other in place["differences"]]
    return told


def notes(result: dict) -> list[str]:
    """What a reader must know of the numbers."""
    ours = [place for place in result["places"] if place["kind"] == "site"]
    told = ["intervals and p-values are over the test patients of one training; another seed moves the values too"]
    few = [
        f"{place['name']} ({count} {name})" for place in ours for name, count in place["support"].items() if count < FEW
    ]
    if few:
        told.append(f"fewer than {FEW} rows of a class make a site rough: {', '.join(few)}")
    for place in result["places"]:
        if place.get("left_out"):
            told.append(f"{place['name']} leaves out {', '.join(place['left_out'])}: no interval")
    if any(place.get("word") == NO_EVIDENCE for place in ours):
        told.append("no evidence of a gain is not evidence of none: each interval shows how much these data leave open")
    return told


def _count(ours: list[dict]) -> str:
    number = {name: sum(place["word"] == name for place in ours) for name in _TOLD}
    parts = [f"{number[name]} {text[number[name] != 1]}" for name, text in _TOLD.items() if number[name]]
    return f"Of {len(ours)} sites, against training on their own data alone: {', '.join(parts)}."


_TOLD = {
    GAINS: ("gains", "gain"),
    LOSES: ("loses", "lose"),
    NO_EVIDENCE: ("shows no evidence either way", "show no evidence either way"),
    TOO_FEW: ("has too few rows to say", "have too few rows to say"),
}


def _site(result: dict, place: dict) -> str:
    tested = result["tested"]
    corrected = f", corrected for {tested} sites" if tested > 1 else ""
    return (
        f"{place['name']} {place['word']}: {_values(result, place, 'local')}, "
        f"{_tested(place['differences']['local'])}{corrected})."
    )


def _together(result: dict, place: dict, other: str) -> str:
    found = place["differences"][other]
    where = {"pooled": "On all rows", "mean": "On the mean of sites"}[place["kind"]]
    text = f"{where}, {_values(result, place, other)}"
    if found["p_holm"] is None:
        return f"{text}; too few rows to test the difference."
    if found["p_holm"] >= ALPHA:
        what = "no evidence of a difference"
    else:
        better = (found["value"] > 0) != result["lower_is_better"]
        what = f"federated is {'better' if better else 'worse'}"
    return f"{text}, {_tested(found)}): {what}."


def _tested(found: dict) -> str:
    """`difference +0.128 (95% interval +0.082 to +0.177; p = 0.002`, open for what else is to be said of p."""
    low, high = signed(found["low"]), signed(found["high"])
    return f"difference {signed(found['value'])} (95% interval {low} to {high}; {p_text(found['p_holm'])}"


def _values(result: dict, place: dict, other: str) -> str:
    name = METRIC_NAMES[result["metric"]][0]
    values = [number(place["values"][model]["value"], "undefined") for model in ("federated", other)]
    return f"{name} {values[0]} federated against {values[1]} {other}"
