"""What rounds leave, and that they learnt nothing."""

from dataclasses import dataclass
from pathlib import Path

from federated.engine.state import State
from federated.rounds.checkpoint import Progress
from medimg.errors import InputError

_TOLD = 3  # rejected clients whose reasons an error has room for


@dataclass(frozen=True)
class Outcome:
    """What the rounds leave.

    Attributes:
        state: whose weights are kept.
        progress: history, best round and why it ended.
        kept_round: of `state`.
    """

    state: State
    progress: Progress
    kept_round: int


class NothingLearntError(InputError):
    """No round used any update, or so many clients' were rejected that no later round can use one.

    Args:
        outcome: as far as it went.
        table: rounds.csv; None: none.
    """

    def __init__(self, outcome: Outcome, table: Path | None):
        number, rejected = outcome.progress.round, outcome.progress.rejected
        message = f"no round of {number} used any update"
        if rejected:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(rejected.items())[:_TOLD])
            message = (
                f"round {number} learnt nothing, and no later one can: {len(rejected)} updates rejected ({reasons})"
            )
        hint = f"; {table} says why of each client" if table else ""
        super().__init__(
            f"{message}{hint}; lower --learning-rate, raise --secure-limit or change what else the reasons name, with "
            "--overwrite"
        )
        self.outcome = outcome
