"""Indexes of TensorFlow's checkpoints as a stranger may write them: a table of one block (LevelDB's format)."""

import struct
from collections.abc import Mapping
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


def write_index(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Write an index.

    Args:
        path: of the `.index` file.
        entries: key -> serialised entry; '' the header.
    """
    content = bytearray()

    def put(pairs) -> bytes:
        """Append a block; where it is."""
        block = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs)
        block += struct.pack("<II", 0, 1)
        at = varint(len(content)) + varint(len(block))
        content.extend(block + b"\0" + masked_crc(block + b"\0"))
        return at

    ordered = sorted(entries.items())
    data = put(ordered)
    meta = put([])
    blocks = put([(ordered[-1][0], data)])
    path.write_bytes(bytes(content) + (meta + blocks).ljust(40, b"\0") + _MAGIC)
