"""The state of a training between epochs: early stopping, plateau, and what a resumed run must know."""

import dataclasses
import math
from dataclasses import dataclass


@dataclass
class Progress:
    """Where a training is; plain numbers, so that it is written to a checkpoint as JSON.

    Attributes:
        phase: index of the phase.
        epoch: epochs finished in the phase.
        total_epochs: epochs finished in all phases.
        best: lowest validation loss of the phase so far, None before the first epoch.
        best_epoch: epoch (of all) that had it.
        waited: epochs since then.
        plateau_waited: epochs since then or since the last fall of the learning rate.
        learning_rate: current.
        finished: the phase is over.
    """

    phase: int = 0
    epoch: int = 0
    total_epochs: int = 0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    plateau_waited: int = 0
    learning_rate: float = 0.0
    finished: bool = False

    def start_phase(self, phase: int, learning_rate: float) -> None:
        """Begin a phase afresh."""
        self.phase, self.epoch, self.finished = phase, 0, False
        self.best, self.waited, self.plateau_waited = None, 0, 0
        self.learning_rate = learning_rate

    def end_epoch(self, loss: float, epochs: int, patience: int, plateau_patience: int, plateau_factor: float) -> bool:
        """Take in an epoch's validation loss; update learning rate and `finished`.

        Returns:
            Whether the loss is the phase's best; a NaN never is.
        """
        self.epoch += 1
        self.total_epochs += 1
        better = not math.isnan(loss) and (self.best is None or loss < self.best)
        if better:
            self.best, self.best_epoch = loss, self.total_epochs
            self.waited = self.plateau_waited = 0
        else:
            self.waited += 1
            self.plateau_waited += 1
        if plateau_patience and self.plateau_waited >= plateau_patience:
            self.learning_rate *= plateau_factor
            self.plateau_waited = 0
        self.settle(epochs, patience)
        return better

    def settle(self, epochs: int, patience: int) -> None:
        """Is the phase over: also one that goes on with more epochs than it had."""
        self.finished = self.epoch >= epochs or self.stopped_early(patience)

    def stopped_early(self, patience: int) -> bool:
        """Whether the loss has not become better for so long that more epochs change nothing."""
        return bool(patience and self.waited >= patience)

    @classmethod
    def from_dict(cls, content: object) -> "Progress":
        """From plain values of a checkpoint.

        Raises:
            ValueError: a value is missing, not known, or no progress's.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, dict) or set(content) != names:
            raise ValueError("has other values")
        progress = cls(**content)
        for name, value in content.items():
            kinds = {"finished": (bool,), "learning_rate": (int, float), "best": (int, float, type(None))}
            if type(value) not in kinds.get(name, (int,)):
                raise ValueError(f"'{name}' is of another kind")
        numbers = [progress.phase, progress.epoch, progress.total_epochs, progress.waited, progress.plateau_waited]
        if min(numbers) < 0 or progress.epoch > progress.total_epochs or not math.isfinite(progress.learning_rate):
            raise ValueError("counts what can't be")
        return progress

    def to_dict(self) -> dict:
        """Plain values."""
        return dataclasses.asdict(self)
