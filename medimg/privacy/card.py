"""What a model card says of privacy: the promise, its ledger and what it does not cover."""

from medimg.privacy.statement import NO_PRIVACY, WITHHELD, in_shares, summary

_ACCOUNTS = {
    "pld": "by privacy loss distributions, which is the claim",
    "rdp": "by Renyi accounting",
    "pld_without_amplification": "had the samples not been secret",
}


def privacy_section(content: dict | None, row: str) -> str:
    """Markdown.

    Args:
        content: of `privacy.json` (`medimg.privacy.ledger.read`); None: the training was not private.
        row: `image` or `row` (`medimg.data.dataset.Dataset.unit`).
    """
    if content is None:
        return f"## Privacy\n\n{NO_PRIVACY}"
    unit = content["unit"]
    lines = [
        f"- Unit: one {unit} of the training part; neighbouring data sets: {content['neighbouring']}.",
        *_epsilons(content),
        f"- Delta: {content['delta']}.",
        f"- Accountant: {content['accountant']}; the ledger is {content['status']}.",
        f"- Counts by part and class, and the manifest's hash: {WITHHELD}. The number of training {unit}s is known by "
        "the steps of a pass alone.",
        "- The threshold and the metrics on this card come from the validation and the test part, whose patients are "
        "not protected.",
    ]
    rests = "\n".join(f"- {text}" for text in content["assumptions"])
    return (
        f"## Privacy\n\n{summary(content, row)}\n\n"
        + "\n".join(lines)
        + f"\n\nLedger, all that met the training part:\n\n{_events(content['events'])}"
        + f"\n\nWhat this rests on, and what it does not cover:\n\n{rests}"
    )


def _epsilons(content: dict) -> list[str]:
    epsilons = content["epsilon"]
    accounts = {"rdp": "by Renyi accounting, which is the claim"} if in_shares(content) else _ACCOUNTS
    lines = [f"- Epsilon: {epsilons[name]}, {words}." for name, words in accounts.items()]
    together = content.get("dataset")
    if together:
        lines.append(
            f"- Epsilon of the {together['runs']} private Runs that the Dataset's ledger held when this one ended: "
            f"{together['epsilon']['pld']}."
        )
    return lines


def _events(events: list[dict]) -> str:
    """A row for each event, with the numbers that an accountant needs to count again."""
    lines = [
        "| phase | steps | sampling | probability | steps a pass | noise multiplier |",
        "|---|---|---|---|---|---|",
    ]
    for event in events:
        mechanism = event["mechanism"]
        steps = sum(last - first for first, last in event["ranges"])
        cells = (
            event["phase"],
            steps,
            mechanism["sampling"],
            mechanism["sampling_probability"],
            mechanism["steps_per_pass"],
            mechanism["noise_multiplier"],
        )
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
