"""Which rule `--aggregation` names, and what it asks for."""

from collections.abc import Sequence

import numpy as np

from federated.robust.krum import check_krum, krum, multi_krum
from federated.robust.mean import mean
from federated.robust.median import check_median, median
from federated.robust.trimmed_mean import trimmed_clients, trimmed_mean
from federated.robust.vectors import RobustAggregate
from medimg.errors import InputError

# Rules that are applied to the clients' updates outside of TFF.
ROBUST = ("median", "trimmed-mean", "krum", "multi-krum")
RULES = ("mean", *ROBUST)
# Why a secure sum is of no use to a rule: it gives the server the sum of the updates and nothing else.
NEEDS_EACH = {
    "median": "the median compares the clients' updates with each other",
    "trimmed-mean": "the trimmed mean must see which updates are largest and smallest",
    "krum": "Krum needs the distances between the clients' updates",
    "multi-krum": "multi-Krum needs the distances between the clients' updates",
    "robust-clip": "zeroing and adaptive clipping are done in TFF's aggregator, which a secure sum takes the place of",
}


def aggregate(
    aggregation: str,
    vectors: Sequence[np.ndarray],
    weights: Sequence[float] | None = None,
    trim: float = 0.2,
    byzantine: int = 1,
) -> RobustAggregate:
    """Aggregate the clients' updates by a rule.

    Args:
        aggregation: one of RULES.
        vectors: n updates, float (d,).
        weights: length n, e.g. examples; None counts every client alike. Krum takes one client whole.
        trim: of the trimmed mean, see there.
        byzantine: f of Krum and multi-Krum.

    Raises:
        InputError: too few clients for the rule.
        ValueError: not a rule.
    """
    if aggregation == "mean":
        return mean(vectors, weights)
    if aggregation == "median":
        return median(vectors, weights)
    if aggregation == "trimmed-mean":
        return trimmed_mean(vectors, trim, weights)
    if aggregation == "krum":
        return krum(vectors, byzantine)
    if aggregation == "multi-krum":
        return multi_krum(vectors, byzantine, weights=weights)
    raise ValueError(f"aggregation '{aggregation}' is not one of {', '.join(RULES)}")


def check_enough(aggregation: str, clients: int, trim: float = 0.2, byzantine: int = 1) -> None:
    """Refuse a rule that a round's clients are too few for; call it before the training as well.

    Args:
        aggregation: any value of `--aggregation`.
        clients: updates in a round.
        trim: of the trimmed mean.
        byzantine: f of Krum and multi-Krum.

    Raises:
        InputError: too few, with the remedy.
    """
    if aggregation == "median":
        check_median(clients)
    elif aggregation == "trimmed-mean":
        trimmed_clients(trim, clients)
    elif aggregation in ("krum", "multi-krum"):
        check_krum(clients, byzantine)


def check_compatible(aggregation: str, secure: str) -> None:
    """Refuse a rule that must see every update together with a sum that hides them.

    Args:
        aggregation: value of `--aggregation`.
        secure: value of `--secure`: none, masking or ckks.

    Raises:
        InputError: they exclude each other, with the reason.
    """
    if secure != "none" and aggregation in NEEDS_EACH:
        raise InputError(
            f"--aggregation {aggregation} with --secure {secure}: {NEEDS_EACH[aggregation]}, but with --secure "
            f"{secure} the server has only their sum; give --aggregation mean, or --secure none"
        )
