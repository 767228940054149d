"""What the index of a TensorFlow checkpoint says of its tensors, held against the files before TensorFlow reads it.

TensorFlow makes room for what an index claims, and ends the process where a shape can't be. Source: TensorFlow,
core/protobuf/tensor_bundle.proto and core/util/tensor_bundle.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import tensor_bundle_pb2

from medimg.untrusted.block_table import read_table, varint
from medimg.untrusted.printable import printable

# An entry takes some hundred bytes; the largest model of the registry has 3,000 with its optimizer.
LARGEST_INDEX = 8 << 20
LARGEST_TEXT = 8 << 20
_MOST_SIDES = 32
_CHECKSUM = 4


@dataclass(frozen=True)
class Stored:
    """A tensor of a checkpoint.

    Attributes:
        dtype: of its numbers.
        shape: of it.
        file: that holds it.
        offset: where it begins there, in bytes.
        size: bytes that it takes.
    """

    dtype: tf.DType
    shape: tuple[int, ...]
    file: Path
    offset: int
    size: int


def read_bundle(path: Path) -> dict[str, Stored]:
    """The tensors of a checkpoint by name.

    Args:
        path: of the checkpoint, without `.index`.

    Raises:
        OSError: a file can't be read.
        ValueError: its index is none, or claims what its files do not hold.
    """
    index = path.with_name(f"{path.name}.index")
    if index.stat().st_size > LARGEST_INDEX:
        raise ValueError(f"its index is larger than {LARGEST_INDEX >> 20} MB")
    try:
        entries = read_table(index.read_bytes())
        header = _message(tensor_bundle_pb2.BundleHeaderProto(), entries.pop(b"", b""))
        return {
            key.decode(): _stored(path, key.decode(), header, _message(tensor_bundle_pb2.BundleEntryProto(), value))
            for key, value in entries.items()
        }
    except UnicodeDecodeError as error:
        raise ValueError("its index names a tensor by what is no text") from error


def check_text(name: str, stored: Stored) -> None:
    """See that a tensor is one text, as long as it says.

    Raises:
        OSError: its file can't be read.
        ValueError: it is not.
    """
    if stored.dtype != tf.string or stored.shape or stored.size > LARGEST_TEXT:
        raise ValueError(f"'{printable(name)}' is not one text of at most {LARGEST_TEXT >> 20} MB")
    with stored.file.open("rb") as file:
        file.seek(stored.offset)
        content = file.read(stored.size)
    length, place = varint(content, 0)
    if place + _CHECKSUM + length != stored.size:
        raise ValueError(f"'{printable(name)}' claims {length:,} bytes of text, in {stored.size:,} that are stored")


def _message(message: Any, content: bytes) -> Any:
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise ValueError("its index is not readable") from error
    return message


def _stored(path: Path, name: str, header: Any, entry: Any) -> Stored:
    known = printable(name)
    if entry.dtype not in _KINDS or entry.slices or entry.shape.unknown_rank or header.endianness:
        raise ValueError(f"'{known}' is stored in a way that TensorFlow does not write here")
    kind, sides = _KINDS[entry.dtype], [side.size for side in entry.shape.dim]
    if not 0 <= entry.shard_id < header.num_shards:
        raise ValueError(f"'{known}' lies in a file that there is not")
    file = path.with_name(f"{path.name}.data-{entry.shard_id:05d}-of-{header.num_shards:05d}")
    stored = file.stat().st_size
    # A side of 0 hides how long the others are; a text takes a byte at least, that of its length.
    size = math.prod(max(side, 1) for side in sides) * max(1, kind.size)
    if min(sides, default=0) < 0 or len(sides) > _MOST_SIDES or size > stored:
        raise ValueError(f"'{known}' claims {size:,} bytes, of {stored:,} that are stored")
    own = math.prod(sides) * kind.size
    if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > stored:
        raise ValueError(f"'{known}' claims bytes {entry.offset:,} and {entry.size:,} more, of {stored:,}")
    if kind != tf.string and own != entry.size:
        raise ValueError(f"'{known}' claims {own:,} bytes and takes {entry.size:,}")
    return Stored(kind, tuple(sides), file, entry.offset, entry.size)


# Of numbers, texts and truth values: neither resources nor variants, which are read by code of their own.
_KINDS = {
    kind.as_datatype_enum: kind
    for kind in (
        *(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.bool, tf.string),
        *(tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    )
}
