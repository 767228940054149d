"""One paragraph for a report: what a `privacy.json` promises."""


def summary(content: dict) -> str:
    """The guarantee of a private Run in words.

    Args:
        content: of `privacy.json` (`medimg.privacy.ledger.read`).

    Returns:
        One paragraph of plain text.
    """
    unit, epsilon = content["unit"], content["epsilon"]
    if not content["events"]:
        return "No private step was made, so nothing about the training data was released."
    sentences = [
        f"Trained with differential privacy for one {unit}: (epsilon, delta) = ({_number(epsilon['pld'])}, "
        f"{content['delta']:g}) by privacy loss distributions ({_number(epsilon['rdp'])} by Renyi accounting), for "
        f"adding or removing one of {content['units']:,} {unit}s with all {_theirs(unit)} images."
    ]
    if epsilon["pld"] == "infinite":
        sentences.append("Without noise there is no guarantee.")
    sentences.append(_mechanism(content))
    if "sites" in content:
        sentences.append(content["composition"])
    if epsilon["pld"] != epsilon["pld_without_amplification"]:
        sentences.append(
            "Had the samples not been secret, with each "
            f"{unit} in one known batch of each pass, epsilon would be {_number(epsilon['pld_without_amplification'])}."
        )
    if content.get("budget_epsilon") is not None:
        sentences.append(f"The budget was epsilon {_number(content['budget_epsilon'])}.")
    together = content.get("dataset")
    if together and together["runs"] > 1:
        sentences.append(
            f"All {together['runs']} private Runs on this Dataset together: "
            f"epsilon {_number(together['epsilon']['pld'])}."
        )
    uncovered = sum(text.startswith("Not covered") for text in content["assumptions"])
    sentences.append(f"{uncovered} things are not covered; the assumptions list them.")
    return " ".join(sentences)


def _mechanism(content: dict) -> str:
    noises = sorted({event["mechanism"]["noise_multiplier"] for event in content["events"]})
    ways = {_way(event["mechanism"]) for event in content["events"]}
    drawn = {
        "all": "every one that takes part",
        "poisson": "drawn by Poisson sampling",
        "shuffle": "in shuffled batches",
    }
    at_most = "at most " if "sites" in content else ""
    text = (
        f"{at_most}{content['steps']:,} steps, about {content['expected_units']} {content['unit']}s in each "
        f"({' and '.join(drawn[way] for way in sorted(ways))}), contributions clipped to {content['l2_norm_clip']:g}, "
        f"noise multiplier {', '.join(f'{noise:.4g}' for noise in noises)}."
    )
    return text[0].upper() + text[1:]


def _theirs(unit: str) -> str:
    return "its" if unit == "client" else "their"


def _way(mechanism: dict) -> str:
    everyone = mechanism["sampling"] == "shuffle" and mechanism["steps_per_pass"] == 1
    return "all" if everyone else mechanism["sampling"]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
