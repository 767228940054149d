"""What a `privacy.json` promises, in the words that every report, model card and command uses."""

import re

# Phase of a ledger in which the training patients of each class are counted.
CLASS_COUNTS = "class counts"
# Generators that count instead of training.
COUNTED = ("marginals",)
# Of a training without a `privacy.json`.
NO_PRIVACY = "Trained without differential privacy: nothing bounds what the weights tell of a training patient."
# In place of what a private training does not tell.
WITHHELD = "withheld: private training"
# How an assumption begins that names what the guarantee leaves out, and where its name ends and its reason begins.
_LEFT_OUT = "Not covered: "
_REASON = re.compile(r"[;:.] | \(|, (?:whose|which|by which|in|unless|without|or at|and the) |\.$")
_OTHER_PARTS = "Patients of 'val' and 'test' are not protected."


def summary(content: dict, row: str = "", model: str = "") -> str:
    """The guarantee of a private Run, or of a synthetic Dataset, in words.

    Args:
        content: of `privacy.json` (`medimg.privacy.ledger.read`).
        row: what a row of the training part is, `image` or `row` (`Dataset.unit`); empty: not known.
        model: name of the model or generator; only `marginals`, which is counted and not trained, differs.

    Returns:
        One paragraph of plain text: the numbers, what was done and what is not covered.
    """
    if not content["events"]:
        return "No private step was made, so nothing about the training data was released."
    unit, epsilon = content["unit"], content["epsilon"]
    verb = "Counted" if model in COUNTED else "Trained"
    theirs = f"{'its' if unit == 'client' else 'their'} {f'{row}s' if row else 'data'}"
    sentences = [
        f"{verb} with differential privacy for one {unit}: (epsilon, delta) = ({_number(epsilon['pld'])}, "
        f"{content['delta']:g}) {_accountants(content)}, for "
        f"adding or removing one {unit} of split 'train' with all {theirs}."
    ]
    if epsilon["pld"] == "infinite":
        sentences.append("Without noise there is no guarantee.")
    sentences += _mechanisms({**content, "events": _own_events(content)}, model)
    started = {event["run"] for event in content["events"]} - own_runs(content)
    if started:
        sentences.append(
            f"The first weights, or the rows, come from {len(started)} private Run{'s' if len(started) > 1 else ''}, "
            "whose steps are counted in epsilon."
        )
    if content.get("composition"):
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
    return " ".join([*sentences, *_not_covered(content["assumptions"])])


def in_shares(content: dict) -> bool:
    """Whether noise in shares was counted, of which no privacy loss distribution is known."""
    return any("shares" in event["mechanism"] for event in content["events"])


def _accountants(content: dict) -> str:
    if in_shares(content):
        return "by Renyi accounting"
    return f"by privacy loss distributions ({_number(content['epsilon']['rdp'])} by Renyi accounting)"


def _not_covered(assumptions: list[str]) -> list[str]:
    """All that the guarantee leaves out, by name, in one sentence: it belongs to the numbers, not into small print."""
    names = [
        _REASON.split(text.removeprefix(_LEFT_OUT), maxsplit=1)[0] for text in assumptions if text.startswith(_LEFT_OUT)
    ]
    if any(_OTHER_PARTS in text for text in assumptions):
        names.insert(0, "patients of the validation and test parts")
    listed = "; ".join(f"({number}) {name}" for number, name in enumerate(names, start=1))
    return [f"Not covered: {listed}."] if names else []


def _own_events(content: dict) -> list[dict]:
    """Events of the Run itself, without those of Runs that it started from."""
    own = own_runs(content)
    return [event for event in content["events"] if event["run"] in own]


def own_runs(content: dict) -> set[str]:
    """Ids of the Run, or of the folds or members that it is made of."""
    parts = content.get("folds") or content.get("members")
    return {part["run"] for part in parts} if parts else {content["run"]}


def _mechanisms(content: dict, model: str) -> list[str]:
    """What met the training part, a sentence each."""
    # In a federation a phase is a site, whatever its name.
    counting = [] if "sites" in content else [CLASS_COUNTS]
    counts = [event for event in content["events"] if event["phase"] in counting]
    others = [event for event in content["events"] if event["phase"] not in counting]
    sentences = []
    if others and model in COUNTED:
        sentences.append(
            f"Every column was counted once in each class, each {content['unit']} as one row, with Gaussian noise of "
            f"standard deviation {_noises(others)} times the L2 norm of what such a row adds to what is counted."
        )
    elif others:
        sentences.append(_steps(content, others, content["steps"] - _number_of_steps(counts)))
    if counts:
        sentences.append(
            f"The {content['unit']}s of each class were counted once, each as at most one, with Gaussian noise of "
            f"standard deviation {_noises(counts)}."
        )
    return sentences


def _steps(content: dict, events: list[dict], steps: int) -> str:
    """Of a training."""
    ways = {_way(event["mechanism"]) for event in events}
    drawn = {
        "all": "every one that takes part",
        "poisson": "drawn by Poisson sampling",
        "shuffle": "in shuffled batches",
    }
    at_most = "at most " if "sites" in content else ""
    text = (
        f"{at_most}{steps:,} steps, about {content['expected_units']} {content['unit']}s in each "
        f"({' and '.join(drawn[way] for way in sorted(ways))}), contributions clipped to {content['l2_norm_clip']:g}, "
        f"noise multiplier {_noises(events)}."
    )
    return text[0].upper() + text[1:]


def _number_of_steps(events: list[dict]) -> int:
    return sum(last - first for event in events for first, last in event["ranges"])


def _noises(events: list[dict]) -> str:
    noises = sorted({event["mechanism"]["noise_multiplier"] for event in events})
    return ", ".join(f"{noise:.4g}" for noise in noises)


def _way(mechanism: dict) -> str:
    everyone = mechanism["sampling"] == "shuffle" and mechanism["steps_per_pass"] == 1
    return "all" if everyone else mechanism["sampling"]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
