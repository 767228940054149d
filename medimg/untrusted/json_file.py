"""JSON of a Run, a Dataset or a message that may have been cut, edited or made by a stranger.

Python's reader takes more than JSON has: NaN, numbers beyond all bounds, a name twice, of which it keeps the last. What
one reader took for a threshold would be none, or another one, to the next.
"""

import json
import math
from pathlib import Path
from typing import Any

from medimg.errors import InputError
from medimg.untrusted.origin import read_from

AGAIN = "restore it, or have the command that wrote it write it again"
# Bytes of a file: `[],[],[]` takes twenty times as many in memory.
LARGEST = 32 << 20
# Digits of a whole number, which a float holds.
_LONGEST = 300


class NotFiniteError(ValueError):
    """NaN, infinity, or a number beyond all that float64 holds."""


def parse_json(text: str | bytes, allow_nan: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: what was read.
        allow_nan: NaN and Infinity, which Python writes, are numbers too.

    Raises:
        NotFiniteError: a number is none, or too large.
        ValueError: it is none, is nested too deep, or has what JSON has not.
    """
    constant = float if allow_nan else _refused
    try:
        return json.loads(
            text, parse_constant=constant, parse_float=finite, parse_int=_whole, object_pairs_hook=_each_once
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_json(path: Path, remedy: str = AGAIN, needed: tuple[str, ...] = (), allow_nan: bool = False) -> dict[str, Any]:
    """The object that a file holds.

    Args:
        path: the file.
        remedy: ends the error's line.
        needed: names that it must have.
        allow_nan: of a file whose writer keeps measures that are no number.

    Raises:
        InputError: it can't be read, is no JSON object, or lacks a name.
    """
    try:
        content = parse_json(text_of(path), allow_nan)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}); {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; {remedy}")
    for name in needed:
        if name not in content:
            raise InputError(f"{path}: '{name}' is missing; {remedy}")
    return read_from(path, content)


def text_of(path: Path, largest: int = LARGEST) -> str:
    """The text of a file.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        OSError: it can't be read.
        ValueError: it is larger, or no text.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest >> 20} MB")
    return content.decode("utf-8")


def _refused(word: str) -> float:
    raise NotFiniteError(f"{word} is no number of JSON")


def finite(text: str) -> float:
    """The number of a JSON text.

    Raises:
        NotFiniteError: it is none, or too large.
    """
    number = float(text)
    if not math.isfinite(number):
        raise NotFiniteError(f"the number {text[:20]} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > _LONGEST:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in content if names.count(name) > 1)
        raise ValueError(f"'{twice}' stands there twice")
    return content
