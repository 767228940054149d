"""A federated training's checkpoints: one after every round, whole or not there."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from federated.engine.state import State
from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.json_file import AGAIN, read_json
from medimg.untrusted.printable import printable


@dataclass
class Progress:
    """Where a federated training is.

    Attributes:
        round: rounds done.
        history: rows of history.csv.
        best_round: round with the lowest pooled validation loss; 0 before the first.
        best_loss: that loss.
        waited: rounds since.
        rejected: client -> why its update was not used, since the last round that learnt something.
        stopped: why no further round follows; empty while there may be one.
    """

    round: int = 0
    history: list[dict] = field(default_factory=list)
    best_round: int = 0
    best_loss: float | None = None
    waited: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def may_go_on(self) -> bool:
        """Whether more rounds could follow if they were asked for: it did not stop before it had to."""
        return self.stopped == f"all {self.round} rounds done"

    def settle(self, rounds: int) -> None:
        """Stop after the last round; one that had stopped for want of rounds goes on with more of them."""
        if self.round >= rounds:
            self.stopped = f"all {self.round} rounds done"
        elif self.may_go_on:
            self.stopped = ""

    @classmethod
    def from_dict(cls, content: dict) -> "Progress":
        """From a file's values.

        Raises:
            ValueError: a value is missing, not known, or no progress's.
        """
        if set(content) != {of.name for of in fields(cls)}:
            raise ValueError("has other values")
        progress = cls(**content)
        for name, default in asdict(cls()).items():
            kinds = (int, float, type(None)) if name == "best_loss" else (type(default),)
            if type(content[name]) not in kinds:
                raise ValueError(f"'{name}' is of another kind")
        if not all(isinstance(row, dict) for row in progress.history):
            raise ValueError("its history is none")
        if min(progress.best_round, progress.waited) < 0 or progress.best_round > progress.round:
            raise ValueError("counts what can't be")
        return progress


class Checkpoints:
    """States by round in one folder; `progress.json` is written last and says which of them count.

    Args:
        folder: of its own.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def rounds(self) -> int:
        """Rounds done.

        Raises:
            InputError: the last state is damaged.
        """
        saved = self.load()
        return saved[2].round if saved else 0

    def load(self) -> tuple[State, State | None, Progress] | None:
        """The last state, the best one, and the progress; None where there is none.

        Raises:
            InputError: a file is damaged.
        """
        path = self.folder / "progress.json"
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            progress = Progress.from_dict(content)
        except ValueError as error:
            raise InputError(f"{path}: not a federated training's progress ({printable(error)}); {AGAIN}") from error
        best = State.load(self._state(progress.best_round)) if progress.best_round else None
        return State.load(self._state(progress.round)), best, progress

    def save(self, state: State, progress: Progress) -> None:
        """Write a round's state; those that are neither the last nor the best are removed."""
        state.save(self._state(progress.round))
        atomic.write_json(self.folder / "progress.json", asdict(progress))
        current = {self._state(progress.round), self._state(progress.best_round)}
        for path in self.folder.glob("state-*.npz"):
            if path not in current:
                path.unlink()

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number:06d}.npz"
