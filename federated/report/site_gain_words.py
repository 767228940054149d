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
    gain = place["differences"]["local"]
    if gain["p_holm"] is None:
        return TOO_FEW
    if gain["p_holm"] >= ALPHA or gain["value"] == 0:
        return NO_EVIDENCE
    return GAINS if (gain["value"] > 0) != lower_is_better else LOSES


def sentences(result: dict) -> list[str]:
    """The head of the section: the count, each site that gains or loses, then all sites together.

    Args:
        result: of `site_gain`, without sentences and notes.
    """
    lines = []
    sites = [place for place in result["places"] if place["kind"] == "site"]
    if "local" in result["models"]:
        lines.append(_count(sites))
        lines += [_site(result, place) for place in sites if place["word"] in (GAINS, LOSES)]
    for place in result["places"]:
        if place["kind"] == "site":
            continue
        lines += [
            _together(result, place, baseline)
            for baseline in ("local", "centralised")
            if baseline in place["differences"]
        ]
    return lines


def notes(result: dict) -> list[str]:
    """What a reader must know of the numbers."""
    sites = [place for place in result["places"] if place["kind"] == "site"]
    lines = ["intervals and p-values are over the test patients of one training; another seed moves the values too"]
    few = [
        f"{place['name']} ({count} {name})"
        for place in sites
        for name, count in place["support"].items()
        if count < FEW
    ]
    if few:
        lines.append(f"fewer than {FEW} rows of a class make a site rough: {', '.join(few)}")
    for place in result["places"]:
        if place.get("left_out"):
            lines.append(f"{place['name']} leaves out {', '.join(place['left_out'])}: no interval")
    if any(place.get("word") == NO_EVIDENCE for place in sites):
        lines.append(
            "no evidence of a gain is not evidence of none: each interval shows how much these data leave open"
        )
    return lines


def _count(sites: list[dict]) -> str:
    number = {name: sum(place["word"] == name for place in sites) for name in _TOLD}
    parts = [f"{number[name]} {text[number[name] != 1]}" for name, text in _TOLD.items() if number[name]]
    return f"Of {len(sites)} sites, against training on their own data alone: {', '.join(parts)}."


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


def _together(result: dict, place: dict, baseline: str) -> str:
    difference = place["differences"][baseline]
    where = {"pooled": "On all rows", "mean": "On the mean of sites"}[place["kind"]]
    text = f"{where}, {_values(result, place, baseline)}"
    if difference["p_holm"] is None:
        return f"{text}; too few rows to test the difference."
    if difference["p_holm"] >= ALPHA:
        finding = "no evidence of a difference"
    else:
        better = (difference["value"] > 0) != result["lower_is_better"]
        finding = f"federated is {'better' if better else 'worse'}"
    return f"{text}, {_tested(difference)}): {finding}."


def _tested(difference: dict) -> str:
    """`difference +0.128 (95% interval +0.082 to +0.177; p = 0.002`, open for what else is to be said of p."""
    low, high = signed(difference["low"]), signed(difference["high"])
    return f"difference {signed(difference['value'])} (95% interval {low} to {high}; {p_text(difference['p_holm'])}"


def _values(result: dict, place: dict, baseline: str) -> str:
    name = METRIC_NAMES[result["metric"]][0]
    values = [number(place["values"][model]["value"], "undefined") for model in ("federated", baseline)]
    return f"{name} {values[0]} federated against {values[1]} {baseline}"
