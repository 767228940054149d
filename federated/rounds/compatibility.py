"""Which aggregations, secure sums and strategies go together, and with how many clients."""

from federated.algorithms.strategy import KINDS
from federated.config import FederateConfig
from federated.robust.rules import check_compatible, check_enough
from federated.rounds.participation import check_dropout, clients_in_round
from medimg.errors import InputError


def check_aggregation(config: FederateConfig, clients: int) -> None:
    """Refuse what does not go together, before anything is written.

    Args:
        config: options.
        clients: of the federation.

    Raises:
        InputError: names the option.
    """
    check_dropout(config.client_dropout)
    check_compatible(config.aggregation, config.secure)
    in_round = clients_in_round(clients, config.client_fraction)
    check_enough(config.aggregation, in_round, config.trim, config.byzantine)
    if KINDS[config.strategy].client.second_vector and config.aggregation != "mean":
        raise InputError(
            f"--aggregation {config.aggregation}: not with --strategy {config.strategy}, whose clients send a second "
            "vector beside the update; use mean"
        )
    if config.secure == "none":
        return
    if config.aggregation == "compress":
        raise InputError(
            f"--aggregation compress: a secure sum ({config.secure}) needs whole numbers of one grid; use mean"
        )
    if in_round < 2:
        raise InputError(
            f"--secure {config.secure}: needs 2 or more clients in a round, there is {in_round}: the sum of one is its "
            "own update"
        )
    threshold = config.secure_threshold
    if threshold and not in_round / 2 < threshold <= in_round:
        raise InputError(
            f"--secure-threshold {threshold}: must be more than half of the {in_round} clients of a round, and no more "
            "than they are"
        )
