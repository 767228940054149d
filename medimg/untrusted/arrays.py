"""Arrays of an `.npz` file that may have been cut, edited or made by a stranger.

NumPy makes room for what a member's header claims before it reads a byte, and a few packed bytes may stand for
gigabytes. So the members are looked at first: no array is larger than what its member holds, and none is a pickle.
"""

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medimg.untrusted.printable import printable

# Bytes that packed members may come to together; stored ones are bounded by the file.
_MOST_PACKED = 256 << 20
_ENDING = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file by name.

    Args:
        path: the file.
        names: of those that are wanted; None: all.

    Raises:
        OSError: it can't be read.
        ValueError: it is no whole file of arrays, lacks one, or claims more than it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, Path(path).stat().st_size)
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in (content.files if names is None else names)}
    except OSError:
        raise
    except Exception as error:
        # Of zip files alone there are six kinds of errors.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _check(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("holds an array twice")
    packed = sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)
    stored = sum(member.file_size for member in members if member.compress_type == zipfile.ZIP_STORED)
    if stored > size or packed > _MOST_PACKED:
        raise ValueError(f"claims {stored + packed:,} bytes of arrays in a file of {size:,}")
    for member in members:
        name = printable(member.filename)
        if not member.filename.endswith(_ENDING):
            raise ValueError(f"holds '{name}', which is no array")
        with archive.open(member) as file:
            read_header = _HEADERS.get(np.lib.format.read_magic(file))
            if read_header is None:
                raise ValueError(f"holds '{name}', of another format")
            shape, _, kind = read_header(file)
        if kind.hasobject or math.prod(shape) * max(1, kind.itemsize) > member.file_size:
            raise ValueError(f"'{name}' claims {printable(shape)} of {printable(kind)}, which it does not hold")
