"""JSON of a Run or a Dataset that may have been cut, edited or made by a stranger."""

import json
from pathlib import Path
from typing import Any

from medimg.errors import InputError

AGAIN = "restore it, or have the command that wrote it write it again"


def read_json(path: Path, remedy: str = AGAIN, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object that a file holds.

    Args:
        path: the file.
        remedy: ends the error's line.
        needed: names that it must have.

    Raises:
        InputError: it can't be read, is no JSON object, or lacks a name.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; {remedy}")
    for name in needed:
        if name not in content:
            raise InputError(f"{path}: '{name}' is missing; {remedy}")
    return content
