"""What the page says before it shows numbers: what was shared, under which promise, and what this does not tell."""

import pandas as pd

from federated.report.site_gain_words import GAINS, LOSES, NO_EVIDENCE, TOO_FEW
from medimg.style.words import bytes_text, epsilon_text, seconds_text

_COUNTED = {
    GAINS: ("gains", "gain"),
    LOSES: ("loses", "lose"),
    NO_EVIDENCE: ("no evidence", "no evidence"),
    TOO_FEW: ("too few rows", "too few rows"),
}
_SUMMED = {
    "none": "Updates went to the server in the clear.",
    "masking": "Updates were summed under pairwise masks, in a simulation",
    "ckks": "Updates were summed under CKKS encryption, in a simulation",
}
_ACCOUNTING = {
    "pld": "by privacy loss distributions",
    "rdp": "by Rényi accounting",
    "pld_without_amplification": "had the sampling not been secret",
}
# Of noise in shares no privacy loss distribution is known.
_ACCOUNTING_OF_SHARES = {**_ACCOUNTING, "pld": "by Rényi accounting, which is the claim"}
# Column of rounds.csv -> what it tells of a client; what is withheld of protected patients has no values there.
_OF_A_ROUND = {
    "examples": "the number of examples",
    "loss": "its training loss and accuracy",
    "val_loss": "the model's loss and AUROC on its own validation part",
    "seconds": "its times",
    "bytes_up": "its bytes",
}
_ALONGSIDE = {
    "none": "Beside its update, the server keeps of each client and round {measures} (rounds.csv, audit.jsonl).",
    "secure": "The secure sum of a round covers the updates alone: rounds.csv and audit.jsonl hold of each client "
    "and round {measures}. Whoever has this Run knows them.",
}
_WITHHELD = (
    "Not in this Run, since they carry no noise: the sites' numbers of training examples and patients, their classes, "
    "training loss and accuracy, and how long anything took."
)
_MEASURED_ON = {
    True: "The coordinator measured on the sites' validation and test rows, which it had: in the simulation no row is "
    "kept from it. Class counts of each client{of} are in partition_counts.csv.",
    False: "The coordinator measured on validation and test rows of its own Dataset.",
}
NO_PRIVACY = (
    "None was promised: the training had no differential privacy, so nothing bounds what the model or the updates tell "
    "about a patient. 'medimg audit' attacks the model and shows what can be learnt."
)
USE = (
    "For research. This is not a medical device and must not guide the care of a patient. The numbers hold for data "
    "like these: another scanner, hospital, population or prevalence changes them. Labels are taken as they are."
)


def accounting(privacy: dict | None) -> dict[str, str]:
    """How each epsilon was counted, by its name.

    Args:
        privacy: of federation.json.
    """
    sites = (privacy or {}).get("sites", {}).values()
    return _ACCOUNTING_OF_SHARES if any("shares" in site for site in sites) else _ACCOUNTING


def words_counted(gain: dict) -> tuple[int, int, str]:
    """Sites that gain, sites in all, and what the others do: `2 no evidence, 1 loses`.

    Args:
        gain: of `federated.report.site_gain.site_gain`, with local models.
    """
    verdicts = [place["word"] for place in gain["places"] if place["kind"] == "site"]
    counted = [
        f"{count} {text[count != 1]}"
        for word, text in _COUNTED.items()
        if word != GAINS and (count := verdicts.count(word))
    ]
    return verdicts.count(GAINS), len(verdicts), ", ".join(counted)


def shared(federation: dict, rounds: pd.DataFrame) -> list[str]:
    """What left the clients, from before the first round to the last.

    Args:
        federation: content of federation.json.
        rounds: content of rounds.csv.
    """
    disclosed = list(federation["statistics"])
    sentences = disclosed or ["No statistics shared before the first round are on record."]
    sentences.append(_updates(federation, rounds))
    sentences.append(_alongside(federation["secure"]["kind"], rounds))
    sentences.append("No image, table row, label or patient's name is in any of these messages.")
    if withheld(federation):
        sentences.append(_WITHHELD)
    of = "'s validation and test part" if withheld(federation) else ""
    sentences.append(_MEASURED_ON[not apart(federation)].format(of=of))
    return sentences


def apart(federation: dict) -> bool:
    """Clients trained at sites of their own; `workers` is of Runs of TFF's workers."""
    return federation.get("engine") == "flower" or bool(federation.get("workers"))


def withheld(federation: dict) -> bool:
    """What is counted or timed of training patients is left out, as of every private Run but the oldest."""
    return any(client["examples"] is None for client in federation["clients"])


def _alongside(secure: str, rounds: pd.DataFrame) -> str:
    measures_sent = [words for name, words in _OF_A_ROUND.items() if rounds[name].notna().any()]
    measures = " and ".join(filter(None, [", ".join(measures_sent[:-1]), *measures_sent[-1:]]))
    return _ALONGSIDE["none" if secure == "none" else "secure"].format(measures=measures)


def _updates(federation: dict, rounds: pd.DataFrame) -> str:
    total = federation["bytes"]
    text = "In each round the clients that take part are sent the model and answer with how their training changed it"
    uploads = rounds[rounds["bytes_up"] > 0]
    if len(uploads):
        down, up = uploads["bytes_down"].mean(), uploads["bytes_up"].mean()
        text += f": {bytes_text(down)} to a client and {bytes_text(up)} from it, on average"
    traffic = f"{bytes_text(total['down'])} to clients, {bytes_text(total['up'])} from them"
    return f"{text}. Over the whole training: {traffic}."


def summed(secure: dict) -> str:
    """How the updates were added, in one sentence.

    Args:
        secure: of federation.json: `kind` and `threshold`.
    """
    text = _SUMMED.get(secure["kind"], f"Updates were summed by '{secure['kind']}'")
    if secure["kind"] == "none":
        return text
    if secure.get("threshold") is None:
        return f"{text}."
    return f"{text}; with fewer than {secure['threshold']} clients a round gives no sum."


def promise(privacy: dict) -> str:
    """The guarantee of a private federation in one sentence.

    Args:
        privacy: of federation.json.
    """
    sites = [epsilon_text(site["epsilon"]) for site in privacy["sites"].values()]
    text = (
        f"Differential privacy for one {privacy['unit']}: epsilon {epsilon_text(privacy['total']['epsilon'])} at delta "
        f"{privacy['delta']:g} for the whole federation"
    )
    return text + (f"; {len(sites)} sites keep a ledger each, below." if len(sites) > 1 else ".")


def course(federation: dict) -> str:
    """How long it went and why it ended, in two sentences."""
    seconds, best, count = federation["seconds"], federation["best_round"], federation["rounds"]
    stopped = str(federation["stopped"]).strip().rstrip(".")
    model = "of the last round" if best is None else f"of round {best}"
    took = ""
    if seconds["rounds"] is not None:
        took = (
            f" in {seconds_text(seconds['rounds'])} (the first {seconds_text(seconds['first'])}, the median "
            f"{seconds_text(seconds['round'])})"
        )
    return f"{count} round{'' if count == 1 else 's'}{took}: {stopped}. The model {model} was kept."


def limits(federation: dict) -> list[str]:
    """What was simulated and what the page does not tell."""
    sentences = [
        "Clients were trained by processes of their own, which answered signed messages by their own code; whether "
        "these were machines of their own, no file here tells."
        if apart(federation)
        else "Simulated: all parties ran in one process on one machine, which could read every client's data. That the "
        "messages are those of a network shows what would be sent; it separates nobody."
    ]
    if not str(federation["partition"]).startswith("site"):
        sentences.append(
            f"The clients are parts of one data set ({federation['partition']}), not hospitals: scanners, protocols "
            "and habits of labelling differ between hospitals in ways that no such division imitates."
        )
    seconds = "" if withheld(federation) else " and seconds the time of computing"
    content = "whole messages of medimg's" if apart(federation) else "the content of the messages"
    sentences.append(f"Bytes are {content}{seconds}: encryption, protocol and network come on top.")
    if federation["best_round"] is not None:
        sentences.append(
            "The kept round was chosen on validation data, so the validation curves flatter it; the table of sites is "
            "of test patients, who chose nothing."
        )
    return [*sentences, USE]
