"""Aggregations that a generator across clients can have, of images and of rows alike."""

from federated.rounds.averaging import options_of_rounds
from federated.rounds.compatibility import check_aggregation
from medimg.errors import InputError

# They are TFF's, of updates that stand for steps of a few weights; moments of Adam are none.
LEFT_OUT = ("robust-clip", "compress")


def check(config, clients: int) -> None:
    """Refuse what does not go together, before anything is written.

    Args:
        config: `synthetic.config.SynthesizeConfig` with a partition.
        clients: number of clients.

    Raises:
        InputError: names the option.
    """
    if config.aggregation in LEFT_OUT:
        raise InputError(
            f"--aggregation {config.aggregation}: not for a generator, whose updates hold Adam's moments; use mean"
        )
    check_aggregation(options_of_rounds(config, 1), clients)
