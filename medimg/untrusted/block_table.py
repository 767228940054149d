"""The table of keys and values that the index of a TensorFlow checkpoint is (LevelDB's format), read in plain Python.

TensorFlow's own reader follows offsets, lengths and restarts of the file as they come. Here every byte must be where
the format's writer puts it: blocks one behind another up to the end, none compressed, keys in their order.
Source: LevelDB, doc/table_format.md.
"""

import struct
from collections.abc import Iterator

_FOOTER, _HANDLES = 48, 40  # bytes; of the latter two handles, padded
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
# Behind each block: how it is compressed, and its checksum.
_TRAILER = 5
_LONGEST_VARINT = 10


class BrokenTableError(ValueError):
    """Bytes that are no table, or one that no writer made."""


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Keys and values of a table, in its order; the checksums of its blocks are not looked at.

    Args:
        content: the whole file.

    Raises:
        BrokenTableError: they are no table, or one that no writer made.
    """
    end = len(content) - _FOOTER
    if end < 0 or not content.endswith(_MAGIC):
        raise BrokenTableError("it is cut, or no table")
    footer = content[end : end + _HANDLES]
    meta, place = _handle(footer, 0)
    index, place = _handle(footer, place)
    if footer[place:].strip(b"\0"):
        raise BrokenTableError("its end holds more than it should")
    entries: dict[bytes, bytes] = {}
    at, last = 0, None
    for least, value in _block(content, index, end):
        handle, used = _handle(value, 0)
        if used < len(value) or handle[0] != at:
            raise BrokenTableError("a block is not where it should be")
        at = sum(handle) + _TRAILER
        pairs = list(_block(content, handle, meta[0]))
        if not pairs or (last is not None and pairs[0][0] <= last) or pairs[-1][0] > least:
            raise BrokenTableError("its blocks are not in order")
        entries.update(pairs)
        last = least
    if meta[0] != at or index[0] != sum(meta) + _TRAILER or sum(index) + _TRAILER != end:
        raise BrokenTableError("a block is not where it should be")
    if list(_block(content, meta, index[0])):
        raise BrokenTableError("it holds more than its entries")
    return entries


def varint(content: bytes, place: int) -> tuple[int, int]:
    """A whole number in sevens of bits, the lowest first, and the place behind it.

    Raises:
        BrokenTableError: it does not end, or not within 64 bits.
    """
    number = 0
    for count, byte in enumerate(content[place : place + _LONGEST_VARINT]):
        number |= (byte & 127) << 7 * count
        if byte < 128:
            if number >> 64:
                break
            return number, place + count + 1
    raise BrokenTableError("a number in it does not end")


def _handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the place behind them."""
    offset, place = varint(content, place)
    size, place = varint(content, place)
    return (offset, size), place


def _block(content: bytes, handle: tuple[int, int], end: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block that ends before `end`."""
    offset, size = handle
    # What does not compress is stored as it is; TensorFlow compresses no index.
    if offset + size + _TRAILER > end or content[offset + size] != 0:
        raise BrokenTableError("a block lies beyond its end, or is compressed")
    block = content[offset : offset + size]
    count = struct.unpack("<I", block[-4:])[0] if size >= 4 else 0
    stop = size - 4 - 4 * count
    if count < 1 or stop < 0:
        raise BrokenTableError("a block has no restarts")
    restarts = struct.unpack_from(f"<{count}I", block, stop)
    place, key, free = 0, None, set()
    while place < stop:
        start = place
        shared, place = varint(block, place)
        more, place = varint(block, place)
        length, place = varint(block, place)
        if shared > len(key or b"") or place + more + length > stop:
            raise BrokenTableError("an entry is longer than its block")
        new = (key or b"")[:shared] + block[place : place + more]
        if key is not None and new <= key:
            raise BrokenTableError("its keys are not in order")
        if not shared:
            free.add(start)
        place += more
        yield new, block[place : place + length]
        place += length
        key = new
    # An empty block restarts where it ends.
    if restarts[0] != 0 or list(restarts) != sorted(set(restarts)) or not free.issuperset(restarts[bool(not stop) :]):
        raise BrokenTableError("a block restarts where no entry begins")
