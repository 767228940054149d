"""Weights in HDF5 files: plain arrays of the file itself, seen to before any is read.

HDF5 can make another file's content look like an array (external links, external storage, virtual arrays), and an array
of terabytes out of a few bytes.
"""

import h5py

from medimg.errors import InputError
from medimg.untrusted.printable import printable

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST = 4 << 30  # bytes of all arrays together; VGG19 has 0.6 GB
# A compressed array, or one that was never written, takes memory that the file has not got: beyond SMALL bytes
# together, arrays are at most GROWTH times what they take in the file. Weights hardly compress.
SMALL, GROWTH = 16 << 20, 20
_DEEPEST = 50


def check(file: h5py.File) -> int:
    """See that a file holds nothing but arrays of numbers of its own.

    Returns:
        How many numbers they are.

    Raises:
        InputError: a link, an array kept elsewhere or of no numbers, more than LARGEST bytes, or far more bytes than
            the file has.
    """
    total = stored = numbers = 0
    for name, array in _arrays(file, "", set(), 0):
        if array.external is not None or array.is_virtual:
            raise InputError(f"its array '{printable(name)}' is kept in another file")
        if array.dtype.kind not in "fiub":
            raise InputError(f"its array '{printable(name)}' holds no numbers")
        total += array.nbytes
        if total > LARGEST:
            raise InputError(f"its arrays are larger than {LARGEST >> 30} GB")
        stored += array.id.get_storage_size()
        if total > SMALL + GROWTH * stored:
            raise InputError(
                f"its array '{printable(name)}' is {array.nbytes >> 20} MB that the file says and has not got"
            )
        numbers += array.size
    return numbers


def _arrays(group: h5py.Group, above: str, seen: set, depth: int):
    if depth > _DEEPEST:
        raise InputError(f"its groups are nested deeper than {_DEEPEST}")
    for name in group:
        path = f"{above}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"its '{printable(path)}' is a link to another place")
        item = group[name]
        # Groups may hold one another.
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _arrays(item, path, seen, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield path, item
