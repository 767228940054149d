"""The report's tables for the command line."""

from federated.report.words import apart, withheld
from medimg.evaluation.metrics import METRIC_NAMES
from medimg.style.words import bytes_text, epsilon_text, interval, p_text, seconds_text, signed_interval

Table = tuple[str, list[str], list[list]]
_MOST_IN_LINE = 4


def printed(federation: dict) -> list[Table]:
    """Title, columns and rows of each table, as `medimg.commands.console.table` takes them.

    Does each site gain (values, then differences), clients with their privacy, and what it cost. The first two are left
    out when no models were compared.

    Args:
        federation: content of federation.json.
    """
    gain = federation["comparison"]["gain"]
    tables = [] if gain is None else [_values(gain), *_differences(gain)]
    return [*tables, _clients(federation), _cost(federation)]


def _values(gain: dict) -> Table:
    name = METRIC_NAMES[gain["metric"]][0]
    words = "local" in gain["models"]
    columns = ["site", *gain["models"], *(["gain?"] if words else [])]
    # Beside four intervals in a line, nothing else fits into a log's 120 columns.
    broken = len(gain["models"]) > _MOST_IN_LINE
    rows = []
    for place in gain["places"]:
        texts = [_value(model, estimate) for model, estimate in place["values"].items()]
        if broken:
            texts = [text.replace(" [", "\n[") for text in texts]
        rows.append([place["name"], *texts, *([place["word"]] if words else [])])
    return f"{name} on each site's test patients [95% interval]", columns, rows


def _value(model: str, estimate: dict) -> str:
    # The floor is the same answer for all: a log of 120 columns has better use for the room.
    return interval(estimate | {"low": None} if model == "majority" else estimate)


def _differences(gain: dict) -> list[Table]:
    baselines = [model for model in gain["models"] if model not in ("federated", "majority")]
    if not baselines:
        return []
    columns = ["federated less", "n", *(text for baseline in baselines for text in (baseline, "p"))]
    rows = []
    for place in gain["places"]:
        row = [place["name"], place["n"]]
        for baseline in baselines:
            difference = place["differences"][baseline]
            row += [signed_interval(difference), _p(difference["p_holm"])]
        rows.append(row)
    return [(f"{METRIC_NAMES[gain['metric']][0]}, differences [95% interval] and corrected p", columns, rows)]


def _p(p: float | None) -> str:
    return "-" if p is None else p_text(p).removeprefix("p ").removeprefix("= ")


def _clients(federation: dict) -> Table:
    privacy = federation["privacy"]
    counts = [] if withheld(federation) else ["examples", "patients"]
    columns = ["client", *counts]
    rows = [[c["name"], *(c[name] for name in counts)] for c in federation["clients"]]
    if privacy and privacy["sites"]:
        columns.append("epsilon")
        for row in rows:
            site = privacy["sites"].get(row[0])
            row.append("-" if site is None else epsilon_text(site["epsilon"]))
    return f"{len(rows)} client{'' if len(rows) == 1 else 's'}", columns, rows


def _cost(federation: dict) -> Table:
    seconds, traffic, privacy = federation["seconds"], federation["bytes"], federation["privacy"]
    best = federation["best_round"]
    rows = [
        ["rounds", str(federation["rounds"])],
        ["kept", "the last" if best is None else f"round {best}"],
        *([] if seconds["rounds"] is None else [_time(seconds)]),
        ["to clients", bytes_text(traffic["down"])],
        ["from clients", bytes_text(traffic["up"])],
        ["secure sum", _secure(federation)],
        ["epsilon", "none promised" if not privacy else _spent(privacy)],
    ]
    return f"{federation['strategy']}, {federation['aggregation']}", ["", "value"], rows


def _time(seconds: dict) -> list[str]:
    median = seconds_text(seconds["round"])
    return ["time", f"{seconds_text(seconds['rounds'])}, median round {median}"]


def _secure(federation: dict) -> str:
    kind = federation["secure"]["kind"]
    return kind if kind == "none" or apart(federation) else f"{kind} (simulated)"


def _spent(privacy: dict) -> str:
    total = epsilon_text(privacy["total"]["epsilon"])
    return f"{total} at delta {privacy['delta']:g}, one {privacy['unit']}"
