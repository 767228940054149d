"""YAML of a stranger: plain values, neither nested without end nor grown out of a few lines.

The parser calls itself at each level, and a hundred thousand brackets end the process without a word; an alias may
stand for ten others that each stand for ten; of a name that stands there twice the parser keeps the last. So a file's
events, which take no memory, are looked at first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medimg.errors import InputError
from medimg.untrusted.origin import read_from
from medimg.untrusted.printable import printable

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_LARGEST = 32 << 20  # bytes; a column of a table takes about 100
# Values of a file: each takes a kilobyte while it is read, and hardly any room in the file.
_MOST_VALUES = 1_000_000
_DEEPEST = 100
# Values that aliases may stand for, together.
_MOST_REPEATED = 100_000


def read_yaml(path: Path, name: str = "", as_text: bool = False) -> Any:
    """The content of a file: mappings, lists, text, numbers, dates and None.

    Args:
        path: the file.
        name: what errors call it; empty: the path.
        as_text: every value that is no list and no mapping as the text that stands there: `no`, `1.0`, `null`.

    Raises:
        InputError: it can't be read, is no YAML, names an object of Python, or is a bomb.
    """
    name = name or str(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{name}: is larger than {_LARGEST >> 20} MB")
        text = path.read_text(encoding="utf-8")
        _check(name, yaml.parse(text, _LOADER))
        return read_from(path, yaml.load(text, _TEXT_LOADER if as_text else _LOADER))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: can't be read ({error.strerror or error})") from error
    except Exception as error:
        # A tag over a value that it does not fit ends in any error: `!!bool x` in a KeyError.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: not readable as YAML ({reason})") from error


@dataclass
class _Open:
    """A list or a mapping that has begun.

    Attributes:
        anchor: None where it has none.
        size: values in it, aliases written out.
        names: of a mapping, so far; None: it is a list.
        at_name: of a mapping a name is due, no value.
    """

    anchor: str | None = None
    size: int = 0
    names: set[tuple] | None = None
    at_name: bool = True

    def hold(self, event: yaml.Event, size: int) -> None:
        """Take a value in, or a name; a name that is there already is refused."""
        self.size += size
        if self.names is None:
            return
        is_name, self.at_name = self.at_name, not self.at_name
        # What is no text is a name that nothing here reads.
        if is_name and isinstance(event, yaml.ScalarEvent):
            name = (event.value, event.implicit)
            if name in self.names:
                raise InputError(f"'{printable(event.value)}' stands there twice (line {event.start_mark.line + 1})")
            self.names.add(name)


def _check(name: str, events: Iterator) -> None:
    """Refuse depth, a name twice, and aliases that stand for themselves or for too much."""
    try:
        _check_events(events)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _check_events(events: Iterator) -> None:
    open_ones = [_Open()]
    sizes: dict[str, int] = {}
    repeated = 0
    for number, event in enumerate(events):
        if number > _MOST_VALUES:
            raise InputError(f"holds more than {_MOST_VALUES:,} values")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes and any(event.anchor == one.anchor for one in open_ones):
                raise InputError(f"its value '{printable(event.anchor)}' holds itself")
            size = sizes.get(event.anchor, 0)
            repeated += size
            if repeated > _MOST_REPEATED:
                raise InputError(f"its aliases stand for more than {_MOST_REPEATED:,} values; write them out")
            open_ones[-1].hold(event, size)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones[-1].hold(event, 0)
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            open_ones.append(_Open(event.anchor, 1, set() if is_mapping else None))
            # What an anchor named before is hidden from here on.
            sizes.pop(event.anchor, None)
            if len(open_ones) > _DEEPEST:
                raise InputError(f"is nested deeper than {_DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = open_ones.pop()
            open_ones[-1].size += ended.size
            if ended.anchor is not None:
                sizes[ended.anchor] = ended.size
        elif isinstance(event, yaml.ScalarEvent):
            open_ones[-1].hold(event, 1)
            if event.anchor is not None:
                sizes[event.anchor] = 1
