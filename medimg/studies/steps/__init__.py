"""What a study's cells are made of: each step a module whose `run` calls what a command calls.

`run(inputs, folder, options) -> result`: plain values, as the command's JSON has them; those with `seconds_each` and
`times` tell what an epoch or round took. A killed step goes on in its folder where the command can.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from medimg.errors import InputError

_HERE = "medimg.studies.steps"
_NAMED = {name: f"{_HERE}.{name}" for name in ("thin", "divide", "genes", "extend", "train", "validate", "audit")}


class Shared(ExitStack):
    """What steps of one kind share while a study runs, such as a worker that is slow to start."""

    def __init__(self):
        super().__init__()
        self._made: dict[Callable, Any] = {}

    def of(self, kind: Callable[[], AbstractContextManager]) -> Any:
        """The one of this kind, made when it is first asked for, and ended with the study."""
        if kind not in self._made:
            self._made[kind] = self.enter_context(kind())
        return self._made[kind]


@dataclass(frozen=True)
class Inputs:
    """What a step finds.

    Attributes:
        data: the Dataset that the cell is about.
        others: all of the study's.
        folders: of the cell's earlier steps.
        members: Runs that vote.
        bootstrap: resamples for intervals.
        shared: by all cells.
    """

    data: Path
    others: tuple[Path, ...]
    folders: dict[str, Path]
    members: tuple[Path, ...]
    bootstrap: int
    shared: Shared


def name(step: str, module: str) -> None:
    """Name a step of a room that this one knows nothing of, by its module."""
    _NAMED[step] = module


def module_of(step: str) -> ModuleType:
    """The step's module.

    Raises:
        InputError: nobody has named it.
    """
    if step not in _NAMED:
        raise InputError(f"step '{step}' of a study is not known; known are {', '.join(sorted(_NAMED))}")
    return import_module(_NAMED[step])
