"""Names of categories with their counts as a vector that adds up: a sum over clients tells both, and no client's.

An invertible Bloom lookup table: each name is added, as often as it occurs, to three cells of a table; a cell that one
name alone is in tells it, and once that is taken off again others are alone.

Sources: Goodrich and Mitzenmacher, Invertible Bloom Lookup Tables, Allerton 2011; over secure sums, as here, Gascón et
al., Federated Heavy Hitter Recovery under Linear Sketching, ICML 2023.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

# Of a category's name in UTF-8; longer is text.
NAME_BYTES = 120
_HASHES = 3
_LETTERS = NAME_BYTES // 2  # of 16 bits: the count of 2^24 rows times one is within 2^40
WIDTH = 3 + _LETTERS  # words of a cell: count, column, check, letters

Key = tuple[int, str]


def cells_for(names: int) -> int:
    """Cells in which so many names are almost always found again."""
    return _HASHES * (16 + names)


def sketch(counts: Mapping[Key, int], cells: int) -> np.ndarray:
    """What a client counts.

    Args:
        counts: (number of the column, name of at most NAME_BYTES) -> how many rows have it.
        cells: of `cells_for`.

    Returns:
        float64 (cells * WIDTH,).
    """
    table = np.zeros((cells, WIDTH))
    for key, count in counts.items():
        table[_places(key, cells)] += count * _words(key)
    return table.ravel()


def names_in(total: np.ndarray, cells: int) -> dict[Key, int] | None:
    """All names and how many rows have each.

    Args:
        total: int64 (cells * WIDTH,), sum of the clients' sketches.
        cells: of each.

    Returns:
        None where there are too many names for so few cells, or an answer was no sketch.
    """
    table, counts = total.reshape(cells, WIDTH).copy(), {}
    waiting = list(range(cells))
    while waiting:
        place = waiting.pop()
        key = _alone(table[place])
        if key is None or place not in _places(key, cells):
            continue
        count = int(table[place, 0])
        counts[key] = counts.get(key, 0) + count
        places = _places(key, cells)
        table[places] -= count * _words(key)
        if (table[places] < 0).any():
            return None
        waiting += places
    return None if table.any() else counts


def _alone(cell: np.ndarray) -> Key | None:
    """The name that a cell holds, where it is one alone."""
    count = int(cell[0])
    if count <= 0 or (cell % count).any():
        return None
    words = cell // count
    letters = words[3:]
    if (letters >> 16).any():
        return None
    try:
        name = letters.astype(">u2").tobytes().rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    key = (int(words[1]), name)
    return key if np.array_equal(_words(key), words) else None


def _words(key: Key) -> np.ndarray:
    """Of a name that one row has, int64 (WIDTH,)."""
    column, name = key
    letters = np.frombuffer(name.encode().ljust(NAME_BYTES, b"\0"), ">u2")
    return np.concatenate([[1, column, int.from_bytes(_digest(key)[:2], "big")], letters.astype(np.int64)])


def _places(key: Key, cells: int) -> list[int]:
    """Its cells, one of each third of the table."""
    third, digest = cells // _HASHES, _digest(key)
    parts = [digest[4 * i : 4 * i + 4] for i in range(1, _HASHES + 1)]
    return [i * third + int.from_bytes(part, "big") % third for i, part in enumerate(parts)]


def _digest(key: Key) -> bytes:
    return hashlib.sha256(f"{key[0]}/{key[1]}".encode()).digest()
