"""Files as a full disk, a broken cable, an edit or a stranger leave them: cut, empty, flipped, of wrong types."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

OTHERS = (None, True, -7, 1e400, "x", [], ["x"], {}, {"x": 1})


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
    if path.suffix == ".csv" and whole.count(b"\n") > 1:
        lines = whole.decode().splitlines()
        row, column = int(draw.integers(1, len(lines))), int(draw.integers(0, lines[0].count(",") + 1))
        for word in ("x", "", "nan"):
            cells = lines[row].split(",")
            cells[min(column, len(cells) - 1)] = word
            yield f"row {row} column {column} = {word!r}", "\n".join([*lines[:row], ",".join(cells)]).encode()
        header = lines[0].split(",")
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
