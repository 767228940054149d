"""The audit in sentences: what the claim allows, what was measured, and what neither says."""

import math

from medimg.audit.attacked import Attacked
from medimg.audit.exchangeable import Exchangeability
from medimg.style.words import interval


def verdict(attacked: Attacked, result: dict, alike: Exchangeability) -> list[str]:
    """Sentences for audit.json and the head of the report.

    Args:
        attacked: the Run.
        result: content of audit.json but for the verdict.
        alike: whether members and non-members differ in membership alone.
    """
    sentences = [_claim(attacked), alike.sentence(), _measured(result, alike)]
    if not alike.shifted:
        sentences.append(_bound(attacked, result, alike))
    if "canaries" in result:
        sentences.append(_canaries(result["canaries"]))
    if "twin" in result:
        sentences.append(_twin(result))
    return sentences


def strongest(attacks: dict) -> str:
    """The attack with the highest AUC."""
    return max(attacks, key=lambda name: attacks[name]["auc"]["value"])


def _claim(attacked: Attacked) -> str:
    claim = attacked.claim
    if claim is None:
        return "Claimed: nothing. The Run was not trained privately, so any attack may succeed."
    if math.isinf(claim.epsilon):
        return "Claimed: nothing. The ledger's epsilon is infinite, so any attack may succeed."
    return (
        f"Claimed: epsilon {claim.epsilon:.3g} at delta {claim.delta:g} for one {claim.unit}. No attack can have an "
        f"AUC above {claim.most_auc:.3f}, an advantage above {claim.most_advantage:.3f}, or find more than "
        f"{float(claim.most_tpr(0.01)):.1%} of the members at 1% false alarms."
    )


def _measured(result: dict, alike: Exchangeability) -> str:
    name = strongest(result["attacks"])
    attack = result["attacks"][name]
    area = attack["auc"]
    shown = area["low"] is not None and area["low"] > 0.5
    if alike.shifted:
        meaning = "whether that is membership or the difference of the parts is not known"
    elif shown:
        meaning = "the model tells members from non-members"
    else:
        meaning = "no difference between members and non-members is shown by these attacks"
    return (
        f"Measured: the strongest attack, {name}, has AUC {interval(area, missing='undefined')} over all rows and "
        f"{interval(attack['pooled']['within_class'], missing='undefined')} pooled within classes, advantage "
        f"{interval(attack['advantage_held_out'])} with a threshold from other patients (at best "
        f"{attack['advantage']['value']:.3f}, by luck alone up to {attack['advantage']['chance']:.3f}) and finds "
        f"{attack['tpr_at_fpr_0.01']['value']:.1%} of the members at 1% false alarms: {meaning}."
    )


def _bound(attacked: Attacked, result: dict, alike: Exchangeability) -> str:
    lower, claim = result["epsilon_lower_bound"], attacked.claim
    text = f"Epsilon is at least {lower:.3g}, by the attacks, at {100 * result['bound']['confidence']:.3g}% confidence"
    if claim is None or math.isinf(claim.epsilon):
        return text + ("." if lower > 0 else ": nothing is shown.")
    if lower > claim.epsilon:
        doubt = "" if alike.held_out else "the parts differ by themselves, or "
        return (
            f"{text}: above the claim of {claim.epsilon:.3g}. Either {doubt}the claim is wrong, or this is one of the "
            f"{1 - result['bound']['confidence']:.1%} of audits that may err; do not rely on it before that is settled."
        )
    return (
        f"{text}: it does not contradict the claim of {claim.epsilon:.3g}. An audit can refute a claim and never prove "
        "one; better attacks may find more."
    )


def _canaries(canaries: dict) -> str:
    bound = canaries["epsilon_lower_bound"]
    return (
        f"Canaries: of {canaries['count']}, {canaries['inserted']} were put into a second training; {bound['right']} "
        f"of {bound['guesses']} guesses who was were right, so its epsilon is at least {bound['value']:.3g} "
        f"(so many canaries can show at most {bound['most']:.3g})."
    )


def _twin(result: dict) -> str:
    twin = result["twin"]
    name = strongest(twin["attacks"])
    more = interval(twin["difference"][name]["auc"])
    return (
        f"The twin: {name} has AUC {interval(twin['attacks'][name]['auc'])} on it; {more} more than on this Run, "
        "on the same patients."
    )
