"""A judgement as the command line prints it."""

from medimg.style.words import interval, number
from synthetic.judge.utility import TRAININGS

Table = tuple[str, list[str], list[list]]


def printed(judgement: dict) -> list[Table]:
    """Title, columns and rows of each table, for `medimg.commands.console.table`; then print `judgement["reasons"]`.

    Args:
        judgement: content of judgement.json.
    """
    return [_utility(judgement["utility"]), _measures(judgement), _privacy(judgement["privacy"])]


def _utility(utility: dict) -> Table:
    rows = [
        [name, *(interval(utility[t][name]["auroc"]) for t in TRAININGS), interval(gap["auroc"])]
        for name, gap in utility["gaps"].items()
    ]
    gap = utility["gap"]
    rows.append([f"headline ({gap['classifier']})", "", "", "", interval(gap)])
    title = f"Utility: AUROC on {utility['rows']['test']} real test rows [95%]"
    return title, ["trained on", *TRAININGS, "gap (real - synthetic)"], rows


def _measures(judgement: dict) -> Table:
    fidelity, diversity = judgement["fidelity"], judgement["diversity"]
    rows = []
    if "column_shapes" in fidelity:
        for name in ("column_shapes", "pair_trends"):
            rows.append([name.replace("_", " "), number(fidelity[name]["synthetic"]), number(fidelity[name]["real"])])
        structure = fidelity["structure"]
        rows.append(["correlation difference", number(structure["synthetic"]), number(structure["real"])])
        rows.append(["structure kept", number(structure["kept"]), "1"])
    else:
        frechet = fidelity["frechet_distance"]
        rows.append(["Fréchet distance", number(frechet["synthetic"]), number(frechet["real"])])
        appearance = fidelity["appearance"].get("groups", {})
        rows += [
            [f"{group}, of halves", number(distances["synthetic"]), number(distances["real"])]
            for group, distances in appearance.items()
        ]
    manifold = fidelity["manifold"]
    rows += [[name, number(manifold["synthetic"][name]), number(manifold["real"][name])] for name in manifold["real"]]
    spread, repeated = diversity["spread"], diversity["duplicates"]
    rows.append([f"spread ({diversity['measure']})", number(spread["synthetic"]), number(spread["real"])])
    rows.append(["rows repeated", number(repeated["synthetic"]), number(repeated["real"])])
    return "Fidelity and diversity", ["measure", "synthetic", "real"], rows


def _privacy(privacy: dict) -> Table:
    copies, share = privacy["copies"], privacy["closer_to_train"]
    rows = [
        ["copies of training rows", f"{copies['count']} ({copies['rate']:.1%})", f"{copies['held_out_rate']:.1%}"],
        *_tail(privacy["tail"]),
        ["share closer to train", interval(share), "0.5"],
    ]
    rows += [
        [f"membership by {name}: AUC", interval(attack["auc"]), "0.5"] for name, attack in privacy["membership"].items()
    ]
    for name, column in privacy.get("attribute", {}).items():
        if column["excess"]["low"] > 0:
            rows.append([f"'{name}' guessed right", f"{column['train']:.1%}", f"{column['test']:.1%}"])
    title = f"Privacy, against {privacy['held_out_patients']} held-out patients"
    return title, ["measure", "synthetic", "without a leak"], rows


def _tail(tail: dict) -> list[list]:
    near = tail["near"]
    low = tail["low_percentile"]
    return [
        ["near copies of one patient", f"{near['count']} ({near['rate']:.1%})", f"{near['held_out_rate']:.1%}"],
        [
            "closer to train than any held out",
            str(tail["closer_than_held_out"]["distance"]["count"]),
            f"p = {tail['closer_than_held_out']['distance']['p']:.3g}",
        ],
        [
            f"nearest / next, percentile {100 * low['share']:g}",
            number(low["synthetic"]["value"]),
            number(low["real"]["value"]),
        ],
    ]
