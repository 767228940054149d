"""Indexes of TensorFlow's checkpoints as a stranger may write them: a table (LevelDB's format)."""

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_POLYNOMIAL = 0x82F63B78
_MASK = 0xFFFFFFFF


def varint(number: int) -> bytes:
    """In sevens of bits, the lowest first."""
    pieces = []
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def masked_crc(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted as LevelDB stores it."""
    crc = _MASK
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= _MASK
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & _MASK)


def entry(key: bytes, value: bytes, shared: int = 0) -> bytes:
    """Of a block: a key without what it shares with the one before, and a value."""
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


def restarting(entries: bytes, *restarts: int) -> bytes:
    """A block of entries, and where in it a key is whole."""
    return entries + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def stored(block: bytes, kind: bytes = b"\0") -> bytes:
    """A block as it stands in the file, with how it is compressed and its checksum."""
    return block + kind + masked_crc(block + kind)


def table(
    blocks: Sequence[tuple[bytes, bytes]],
    kind: bytes = b"\0",
    handles: Mapping[int, bytes] | None = None,
    footer: Callable[[bytes], bytes] = lambda handles: handles.ljust(40, b"\0"),
) -> bytes:
    """A table of blocks, checksums right.

    Args:
        blocks: a key that is not before any of the block's, and the block.
        kind: how blocks say that they are compressed.
        handles: number of a block -> where it is said to be.
        footer: of the two handles at the end.
    """
    content = bytearray()

    def put(block: bytes) -> bytes:
        at = varint(len(content)) + varint(len(block))
        content.extend(stored(block, kind))
        return at

    places = [(key, put(block)) for key, block in blocks]
    places = [(key, (handles or {}).get(number, at)) for number, (key, at) in enumerate(places)]
    meta = put(restarting(b"", 0))
    index = put(restarting(b"".join(entry(key, at) for key, at in places), 0))
    return bytes(content) + footer(meta + index) + _MAGIC


def write_index(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Write an index.

    Args:
        path: of the `.index` file.
        entries: key -> serialised entry; '' the header.
    """
    ordered = sorted(entries.items())
    block = restarting(b"".join(entry(key, value) for key, value in ordered), 0)
    path.write_bytes(table([(ordered[-1][0], block)]))
