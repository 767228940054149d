"""Arguments and options that name a Dataset, a Run, a file, a model or a source: refused at once where there is none,
and completed in the shell."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from medimg.errors import InputError
from medimg.preparation.builtin import PHANTOM

# What a metavar's word promises: the file that marks such a folder, and what is said where it is not there.
_DATASET = ("dataset.yaml", "not a prepared Dataset (no dataset.yaml); make one with 'medimg data prepare'")
_MARKS = {
    "DATA": _DATASET,
    "DATA2": ("dataset.yaml", "no such folder; give a prepared Dataset"),
    "RUN": ("config.yaml", "not a Run (no config.yaml); 'medimg train' makes one"),
    "FILE": ("", "no such file"),
    "PATH": ("", "does not exist; give files, folders, a Dataset or a CSV"),
}
# Of these a folder without the mark is nothing that can be used.
_MARKED = ("DATA",)


class Place(click.ParamType):
    """A path, or one of some words.

    Args:
        metavar: as help shows it: words that are taken as they are, and at least one of `_MARKS`.
    """

    name = "place"

    def __init__(self, metavar: str):
        parts = metavar.rstrip(".").split("|")
        self.marks = [part for part in parts if part in _MARKS]
        self.words = [part for part in parts if part not in _MARKS]
        self.words += [PHANTOM] if set(self.marks) & {"DATA", "PATH"} else []

    def require(self, value: str, option: str) -> None:
        """Refuse a path that leads nowhere, before anything heavy is imported.

        Raises:
            InputError: names it, and the option that it was given by.
        """
        mark, why = _MARKS[self.marks[0]]
        marked = len(self.marks) == 1 and self.marks[0] in _MARKED
        path = Path(value) / mark if marked else Path(value)
        if value not in self.words and not path.exists():
            raise InputError(f"{option}{value}: {why}")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words, what has the mark, and folders that one may go on into."""
        completions = [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        start = Path(incomplete or ".")
        folder = start if incomplete.endswith("/") or not incomplete else start.parent
        for path in sorted(folder.glob("*")):
            if not str(path).startswith(incomplete.removeprefix("./").rstrip("/")) or path.name.startswith("."):
                continue
            if any((path / _MARKS[mark][0]).is_file() for mark in self.marks):
                completions.append(CompletionItem(str(path)))
            elif path.is_dir():
                completions.append(CompletionItem(f"{path}/"))
        return completions


class Named(click.ParamType):
    """One of some names, which only completion looks at: what takes the name says what is wrong with it."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]]):
        self.names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so."""
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


def _models() -> list[str]:
    from medimg.models.registry import ARGUMENTS, FAMILIES

    return [*FAMILIES, *ARGUMENTS]


def _sources() -> list[str]:
    from medimg.sources import SOURCES

    return list(SOURCES)


_NAMES = {"model": _models, "feature_model": _models, "source": _sources}


def name_places(params: Iterable[click.Parameter]) -> None:
    """Give a command's parameters the type that their metavar or name tells."""
    for param in params:
        if set((param.metavar or "").rstrip(".").split("|")) & set(_MARKS):
            param.type = Place(param.metavar)
        elif param.name in _NAMES and param.type is click.STRING:
            param.type = Named(_NAMES[param.name])


def require_places(params: Iterable[click.Parameter], values: dict) -> None:
    """Refuse paths that lead nowhere.

    Raises:
        InputError: names the first.
    """
    for param in params:
        for value in places_in([param], values):
            param.type.require(value, f"{param.opts[0]} " if isinstance(param, click.Option) else "")


def places_in(params: Iterable[click.Parameter], values: dict) -> list[str]:
    """The paths that a command was given."""
    places = [values.get(param.name) for param in params if isinstance(param.type, Place)]
    return [
        one
        for value in places
        for one in (value if isinstance(value, tuple | list) else (value,) if value is not None else ())
    ]
