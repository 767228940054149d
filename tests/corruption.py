"""Files as a full disk, a broken cable, an edit or a stranger leave them: cut, empty, flipped, mistyped, no files."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml

OTHERS = (None, True, -7, 1e400, "x", [], ["x"], {}, {"x": 1})
# As text of JSON, which no JSON or no reader's number is.
ODD = (
    *("NaN", "-Infinity", "1e400", "1e308", "9" * 400, "9" * 5000),
    *('"\\ud800\\u0000"', "[" * 10_000, f'"{"x" * 100_000}"'),
)
# What stands where a file was. A link leads to `outside`, whose content is nobody's business.
NO_FILES: dict[str, Callable[[Path, Path], None]] = {
    "gone": lambda path, outside: None,
    "a folder": lambda path, outside: path.mkdir(),
    "a full folder": lambda path, outside: (path.mkdir(), (path / "x").write_text("x")),
    "a pipe": lambda path, outside: os.mkfifo(path),
    "a link out": lambda path, outside: path.symlink_to(outside),
    "a link to a folder": lambda path, outside: path.symlink_to(outside.parent),
    "a link to itself": lambda path, outside: path.symlink_to(path.name),
    "a link to a device": lambda path, outside: path.symlink_to("/dev/zero"),
}


def replaced(path: Path, how: str, outside: Path) -> None:
    """Put something else in a file's place, see `NO_FILES`."""
    path.unlink()
    NO_FILES[how](path, outside)


def damaged(path: Path, draw: np.random.Generator, each: int = 1) -> Iterator[tuple[str, bytes]]:
    """What the file may have become: a word for it, and its bytes.

    Args:
        path: of the whole file.
        draw: where it is cut, which bits turn, which values are replaced by others.
        each: damages of a kind.
    """
    whole = path.read_bytes()
    yield "emptied", b""
    yield "no text", bytes(range(256))
    for _ in range(each):
        end = int(draw.integers(0, max(len(whole), 1)))
        yield f"cut at {end}", whole[:end]
        place, bit = int(draw.integers(0, max(len(whole), 1))), int(draw.integers(0, 8))
        flipped = bytearray(whole or b"\0")
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place}", bytes(flipped)
        yield from _mistyped(path, whole, draw)


def _mistyped(path: Path, whole: bytes, draw: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    if path.suffix in (".json", ".yaml"):
        read, write = (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.safe_dump)
        content = read(whole)
        places = list(_places(content))
        if places:
            place = places[draw.integers(len(places))]
            other = OTHERS[draw.integers(len(OTHERS))]
            yield f"{'/'.join(map(str, place))} = {other!r}", write(_replaced(content, place, other)).encode()
            yield f"without {'/'.join(map(str, place))}", write(_replaced(content, place, None, gone=True)).encode()
            odd = ODD[draw.integers(len(ODD))]
            text = write(_replaced(content, place, "@odd@")).replace('"@odd@"', "@odd@").replace("'@odd@'", "@odd@")
            yield f"{'/'.join(map(str, place))} = {odd[:20]}", text.replace("@odd@", odd).encode()
            if isinstance(content, dict):
                name, rest = json.dumps(next(iter(content))), json.dumps(content)[1:]
                yield "a name twice", f"{{{name}: 1, {rest}".encode()
        yield "nested without end", b'{"a":' * 100_000
    if path.suffix == ".csv" and whole.count(b"\n") > 1:
        lines = whole.decode().splitlines()
        row, column = int(draw.integers(1, len(lines))), int(draw.integers(0, lines[0].count(",") + 1))
        for word in ("x", "", "nan", "-1e400", "9" * 400, "a\0b", '"'):
            cells = lines[row].split(",")
            cells[min(column, len(cells) - 1)] = word
            yield f"row {row} column {column} = {word[:20]!r}", "\n".join([*lines[:row], ",".join(cells)]).encode()
        header = lines[0].split(",")
        yield "a column twice", "\n".join([f"{line},{line.split(',')[0]}" for line in lines]).encode()
        yield "a cell more", "\n".join([lines[0], *(f"{line},x" for line in lines[1:])]).encode()
        header[column] = "other"
        yield f"column {column} renamed", "\n".join([",".join(header), *lines[1:]]).encode()


def _places(content, before: tuple = ()) -> Iterator[tuple]:
    """Paths of all values in nested mappings and lists."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*before, key)
        yield from _places(value, (*before, key))


def _replaced(content, place: tuple, other, gone: bool = False):
    key, *rest = place
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest:
        copy[key] = _replaced(copy[key], tuple(rest), other, gone)
    elif gone:
        del copy[key]
    else:
        copy[key] = other
    return copy
