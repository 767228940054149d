"""A site's records of what it has answered: small JSON files that are on the disk before the answer is given."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json, text_of


def read(path: Path, value: Callable[[Any], Any], remedy: str = "") -> dict[str, Any]:
    """The record; an empty one where there is none yet.

    Args:
        path: its file.
        value: makes a value of what the file has.
        remedy: ends the error's line.

    Raises:
        InputError: the file is damaged, so that the site does not know what it has answered.
    """
    if not path.is_file():
        return {}
    try:
        return {str(name): value(of) for name, of in parse_json(text_of(path)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged, and with it what this site has answered{remedy}") from error


def write(path: Path, content: dict[str, Any]) -> None:
    """Put a record on the disk.

    Raises:
        InputError: it can't be written.
    """
    with atomic.replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
