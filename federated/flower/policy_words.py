"""What a site's policy allows, in words."""

from federated.flower.policy import Policy


def sentences(policy: Policy) -> list[str]:
    """What it allows, a sentence each."""
    names = ", ".join(party.name for party in policy.coordinators)
    lines = [f"Answers {names} alone, whoever runs the link."]
    lines.append(f"Models: {', '.join(policy.models) or 'all that medimg knows'}.")
    lines.append(f"Strategies: {', '.join(policy.strategies) or 'all that medimg knows'}.")
    runs = f", in at most {policy.most_runs} runs ever" if policy.most_runs else ""
    lines.append(f"At most {policy.most_rounds} rounds a run{runs}.")
    lines += _of_updates(policy)
    partners = ", ".join(party.name for party in policy.sites)
    lines.append(
        f"Sums with {partners} alone."
        if partners
        else "Sums with whatever sites the coordinator names: it could invent some, and see the rest alone; list "
        "them in 'sites'."
    )
    lines.append(_privacy(policy))
    lines.append(
        f"Takes part with {policy.fewest_patients} or more training patients, in steps of {policy.fewest_rows} or more."
        " The last step of a pass may have fewer."
    )
    lines.append(
        _of_statistics(policy)
        if policy.statistics and policy.dp_unit == "none"
        else "No counts and sums of its training rows leave."
    )
    lines.append(
        f"Metrics of its own test part leave, with intervals{', and what it gains' * policy.gain}."
        if policy.metrics
        else "No metric of its own test part leaves."
    )
    if policy.hours:
        lines.append(f"Answers from {policy.hours[0]:%H:%M} to {policy.hours[1]:%H:%M}, local time.")
    lines.append("A person approves every run." if policy.approval else "Runs need no person's approval.")
    return lines


def _of_updates(policy: Policy) -> list[str]:
    if policy.secure == "optional":
        return [
            f"Updates may leave as they are; a secure sum needs at least {policy.fewest_sites} sites. Whoever "
            "coordinates sees what an update shows: 'secure: required' prevents it."
        ]
    kind = "secure" if policy.secure == "required" else policy.secure
    line = f"Updates leave in {kind} sums of at least {policy.fewest_sites} sites, never alone."
    if policy.secure == "masking":
        return [line]
    return [
        line,
        "In a ckks sum a site of the list that is shown another's ciphertext can read its update: "
        "'secure: masking' allows none.",
    ]


def _of_statistics(policy: Policy) -> str:
    sentence = "Counts and sums of its training rows leave, down to how often each value of a column occurs"
    if policy.secure == "optional":
        return (
            f"{sentence}: with --secure in masked sums of all sites, else its own as they are; 'secure: required' "
            "lets them leave in masked sums alone."
        )
    return f"{sentence}: in masked sums of all sites, of {policy.fewest_sites} or more, never alone."


def _privacy(policy: Policy) -> str:
    if policy.dp_unit == "none":
        return "Differential privacy is not required: models may remember patients."
    limits = [
        f"epsilon at most {policy.dp_epsilon:g} a run"
        if policy.dp_epsilon is not None
        else "of a run the coordinator says how much, or how little, noise ('epsilon' sets a limit)",
        f"delta at most {policy.dp_delta:g}" if policy.dp_delta is not None else "",
        f"epsilon at most {policy.dp_budget:g} over all runs on the Dataset"
        if policy.dp_budget is not None
        else "no limit over all runs ('budget' sets one)",
    ]
    limits.append("" if policy.dp_noise == "local" else "all noise by itself, or a share of it")
    line = f"Trains with differential privacy of patients alone: {', '.join(filter(None, limits))}."
    if policy.dp_noise == "local":
        return line
    return (
        f"{line} Of a share the sum alone has enough noise, as long as fewer than half of the sites of 'sites' collude "
        "(of three or four: one)."
    )
