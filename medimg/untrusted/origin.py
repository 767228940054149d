"""Which file a value was read from, for errors that no reader of it has foreseen: the line that tells them names it."""

import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

# Files that are remembered, and mappings and lists that are looked at in each.
_FILES, _MOST = 64, 10_000
# Bytes of a file whose content is kept for it: what is larger stays free to go.
_LARGEST = 1 << 20
_read: deque[tuple[Path, Any]] = deque(maxlen=_FILES)


def read_from(path: Path, content: Any) -> Any:
    """Remember a file's content, which it returns."""
    with suppress(OSError):
        if path.stat().st_size <= _LARGEST:
            _read.append((path, content))
    return content


def forget() -> None:
    """Forget all: another command begins."""
    _read.clear()


def origins(error: BaseException) -> list[Path]:
    """Files that the values at hand came from where an error arose, or else where that was called from.

    Args:
        error: as it was raised.
    """
    owners = {id(held): path for path, content in _read for held in islice(_containers(content), _MOST)}
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        here = (owners.get(id(value)) for value in frame.f_locals.values())
        if found := dict.fromkeys(path for path in here if path is not None):
            return list(found)
    return []


def _containers(content: Any) -> Iterator[Any]:
    """Mappings and lists: of a number or a text there may be one object for many."""
    waiting = deque([content])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, dict | list):
            yield value
            waiting.extend(value.values() if isinstance(value, dict) else value)
