"""Where in a Run a result goes: what is asked again replaces its result, what is asked otherwise leaves it.

The Run itself holds what was asked first, until what is asked by default takes
that place and the other moves beside it. All else has a folder named by what was asked.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

from medimg.errors import InputError

# Folder -> what its result answers; None where it holds no whole result.
Held = Callable[[Path], dict | None]
_LONGEST = 110  # bytes of a name, and of its options


def place_of(top: Path, below: Path, name: str, request: dict, held: Held, files: Iterable[str]) -> Path:
    """The folder of a result that may lie at the top.

    Args:
        top: the Run.
        below: where the other folders are.
        name: of what is asked, without options.
        request: what decides the result; `options` are those that are not at their defaults.
        held: see there.
        files: of a result, the one that `held` reads last.
    """
    at_top = held(top)
    if at_top is None or at_top == request:
        return top
    if request["options"]:
        return beside(below, name, request, held, plain=False)
    _move(top, beside(below, name, at_top, held, plain=False), files)
    return top


def beside(below: Path, name: str, request: dict, held: Held, plain: bool = True) -> Path:
    """The first folder that is free or has this very result: NAME, NAME with the options, then numbers.

    Args:
        below: where the folders are.
        name: of what is asked.
        request: as of `place_of`.
        held: see there.
        plain: NAME alone will do as well.
    """
    names = _names(_safe(name) or "data", _safe(_words(request)), plain)
    return next(below / one for one in names if held(below / one) in (None, request))


def require_place(out: Path, request: dict, held: Held) -> None:
    """Refuse a folder that a person gave if it has the result of something else.

    Raises:
        InputError: it has.
    """
    if held(out) not in (None, request):
        raise InputError(f"--out {out}: holds the result of other data or options; give another folder")


def _names(name: str, words: str, plain: bool) -> Iterator[str]:
    if plain:
        yield name
    yield name + words
    for number in count(2):
        yield f"{name}{words}-{number}"


def _words(request: dict) -> str:
    if "options" not in request:
        # Of a version that did not write them down.
        return "-earlier"
    return "".join(f"-{key.replace('_', '-')}-{value}" for key, value in request["options"].items())


def _safe(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".")
    return plain.encode()[:_LONGEST].decode(errors="ignore")


def _move(top: Path, aside: Path, files: Iterable[str]) -> None:
    for file in files:
        if (top / file).exists():
            (aside / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside / file, ignore_errors=True)
            shutil.move(top / file, aside / file)
