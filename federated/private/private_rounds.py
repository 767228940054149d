"""What every private federation does round by round: write down what is about to be spent, and say what it came to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from federated.config import FederateConfig
from medimg.errors import InputError
from medimg.privacy.ledger import Ledger


def refuse_class_weights(config: FederateConfig) -> None:
    """Refuse weights that all rows of a client decide, and not each its own.

    Raises:
        InputError: the option asks for them.
    """
    if config.balance == "class-weight":
        raise InputError(
            "--balance class-weight: the weights are exact class counts, which carry no noise; not with --dp"
        )


class PrivateRounds(ABC):
    """The part of a federated Run's private side that does not depend on its unit.

    Attributes:
        config: options.
        rounds: that the budget allows.
        ledger: of the Run.
    """

    config: FederateConfig
    rounds: int
    ledger: Ledger

    def __init__(self, config: FederateConfig):
        self.config = config
        self._recorded: dict[int, dict] = {}

    @abstractmethod
    def sentences(self) -> list[str]:
        """What the user should know before training."""

    def events(self, number: int) -> dict:
        """What the audit log's record of the round that was last written down says of privacy."""
        return {"privacy": self._recorded[number]}

    def complete(self) -> None:
        """The last round has been made: close the ledger."""
        self.ledger.complete()

    def summary(self) -> dict:
        """For federation.json."""
        return {**self.ledger.summary(), "sentences": self.sentences()}

    def require_counted(self, number: int, participants: Sequence[str], work: dict[str, float]) -> None:
        """Refuse a checkpoint with a round that the ledger does not count.

        Args:
            number: of the round, from 1.
            participants: all who were asked.
            work: as of `before_round`.

        Raises:
            InputError: the ledger is older than the checkpoint, or gone.
        """
        self.ledger.spending.require_sites_counted(self._ranges(number, participants, work))

    @abstractmethod
    def _ranges(self, number: int, participants: Sequence[str], work: dict[str, float]) -> dict[str, tuple[int, int]]:
        """Client -> its steps in a round, first to one past the last."""

    def _record(self, number: int, ranges: dict[str, tuple[int, int]], most: Callable[[str], int]) -> None:
        """Write down the steps, first to one past the last, of each client that is asked in a round.

        Args:
            number: of the round.
            ranges: client -> its steps.
            most: client -> the steps that its budget allows in all.

        Raises:
            InputError: a client would pass its budget, or the Run's folder can't be written.
        """
        for name, (first, end) in ranges.items():
            repeated = self.ledger.covers(name, (first, end))
            if not repeated and self.ledger.steps(name) + end - first > most(name):
                raise InputError(
                    f"client {name}: round {number} would pass its privacy budget (--dp-epsilon "
                    f"{self.config.dp_epsilon}); the training can't go on"
                )
        self._recorded = {number: self.ledger.record_sites(ranges)}

    def _fewer_rounds(self) -> list[str]:
        """A sentence where the budget allows fewer rounds than were asked for."""
        if self.rounds >= self.config.rounds:
            return []
        return [
            f"The budget allows {self.rounds} of {self.config.rounds} rounds with --dp-noise-multiplier "
            f"{self.config.dp_noise_multiplier}."
        ]
