"""Checkpoints that a killed training resumes from, bit for bit.

`checkpoints/last-NNNNNN/` holds the variables (weights and optimizer) and `state.json`; it is
written under another name and renamed, so a folder of that name is whole.
"""

import json
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from medimg import atomic
from medimg.errors import InputError
from medimg.training.progress import Progress
from medimg.training.restoring import restore
from medimg.untrusted.json_file import AGAIN, read_json
from medimg.untrusted.printable import printable


class Checkpoints:
    """The checkpoints of one Run.

    Args:
        folder: RUN/checkpoints.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def save(self, progress: Progress, history: list[dict], **trackables) -> None:
        """Write the newest state, then remove the one before it.

        Args:
            progress: where the training is.
            history: rows of history.csv so far.
            **trackables: models and optimizers.
        """
        content = {"progress": progress.to_dict(), "history": history}
        with _WholeFolder(self.folder / f"last-{_number(progress):06d}") as temporary:
            tf.train.Checkpoint(**trackables).write(str(temporary / "variables"))
            (temporary / "state.json").write_text(json.dumps(content))
        for older in self._saved()[:-1]:
            shutil.rmtree(older)

    def save_best(self, model: tf.keras.Model, phase: int) -> None:
        """Write the phase's best weights so far."""
        with _WholeFolder(self.folder / f"best-{phase}") as temporary:
            tf.train.Checkpoint(model=model).write(str(temporary / "variables"))

    def load_best(self, model: tf.keras.Model, phase: int) -> None:
        """Read the phase's best weights into the model.

        Raises:
            InputError: they are damaged, or another model's.
        """
        _read(self.folder / f"best-{phase}" / "variables", model=model)

    def state(self) -> tuple[Progress, list[dict]] | None:
        """Progress and history of the newest checkpoint, None when there is none.

        Raises:
            InputError: they can't be read, or are none.
        """
        saved = self._saved()
        if not saved:
            return None
        # Before the first epoch nothing is best, and of a part without labels no measure is a number.
        path = saved[-1] / "state.json"
        content = read_json(path, needed=("progress", "history"), allow_nan=True)
        history = content["history"]
        try:
            progress = Progress.from_dict(content["progress"])
            if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
                raise ValueError("its history is none")
            if _number(progress) != _number_of(path.parent):
                raise ValueError("is of another epoch than its folder's name says")
        except ValueError as error:
            raise InputError(f"{path}: not a training's progress ({printable(error)}); {AGAIN}") from error
        return progress, history

    def restore(self, **trackables) -> None:
        """Read the newest checkpoint's variables; the optimizer must be built.

        Raises:
            InputError: they are damaged, or another training's.
        """
        _read(self._saved()[-1] / "variables", **trackables)

    def clear(self) -> None:
        """Remove all of them: the training is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _saved(self) -> list[Path]:
        # By number: a million sorts before 999990 as text, and what is called otherwise is no checkpoint.
        return sorted((path for path in self.folder.glob("last-*") if path.name[5:].isdecimal()), key=_number_of)


def _read(path: Path, **trackables) -> None:
    """Read variables that are all there.

    Raises:
        InputError: they are not, or of other shapes.
    """
    try:
        restore(path, **trackables)
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = printable(" ".join(str(error).split()), 200)
        raise InputError(f"{path}: not the weights of this training, or damaged ({reason}); {AGAIN}") from error


def _number(progress: Progress) -> int:
    """Phase and epoch in one: a phase's end and the next one's start have the same epoch."""
    return progress.total_epochs * 10 + progress.phase


def _number_of(folder: Path) -> int:
    return int(folder.name[5:])


class _WholeFolder:
    """A folder that takes its name when the block ends well, in place of an older one."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for left in self.path.parent.glob(".tmp-*"):
                shutil.rmtree(left, ignore_errors=True)
            self.temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=self.path.parent))
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        return self.temporary

    def __exit__(self, kind, error, _):
        if kind is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)
            if isinstance(error, OSError):
                raise atomic.cannot_write(self.path, error) from error
            if isinstance(error, tf.errors.OpError):
                # TensorFlow's own words for a full or read-only disk.
                cause = OSError(None, error.message.splitlines()[0])
                raise atomic.cannot_write(self.path, cause) from error
            return
        if self.path.exists():
            aside = self.path.with_name(f".tmp-{self.path.name}-old")
            shutil.rmtree(aside, ignore_errors=True)
            self.path.rename(aside)
            self.temporary.rename(self.path)
            shutil.rmtree(aside)
        else:
            self.temporary.rename(self.path)
