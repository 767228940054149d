"""Tables of LevelDB's format: TensorFlow's own are read as TensorFlow reads them, others are refused."""

import time

import pytest
import tensorflow as tf

from medimg.untrusted.block_table import BrokenTableError, read_table
from tests.tensor_bundles import entry, restarting, table, varint

A, B = entry(b"a", b"1"), entry(b"b", b"2")
ENDLESS = b"\xff" * 11
TWO = [(b"a", restarting(A, 0)), (b"b", restarting(B, 0))]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An index of TensorFlow's in several blocks: their size is 256 KB; and its names."""
    path = tmp_path_factory.mktemp("bundle") / "variables"
    names = [f"{number:05d}" + "/layer_with_a_long_name" * 5 + f"{number:05d}" for number in range(4000)]
    tensors = [tf.constant([1.0])] * len(names)
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    return path.with_name("variables.index").read_bytes(), names


def test_a_table_of_several_blocks_is_read_whole(written):
    content, names = written
    assert len(content) > 2 * 262_144
    started = time.process_time()
    entries = read_table(content)
    assert time.process_time() - started < 2
    assert list(entries) == [b"", *(name.encode() for name in names)]


def test_blocks_of_our_own_are_read():
    assert read_table(table(TWO)) == {b"a": b"1", b"b": b"2"}
    shared = restarting(entry(b"aa", b"1") + entry(b"b", b"2", shared=1), 0)
    assert read_table(table([(b"b", shared)])) == {b"aa": b"1", b"ab": b"2"}


HOSTILE = {
    "compressed": table(TWO, kind=b"\1"),
    "a block somewhere": table(TWO, handles={1: varint(0) + varint(3)}),
    "a block twice": table(TWO, handles={1: varint(0) + varint(len(TWO[0][1]))}),
    "a block beyond the end": table(TWO, handles={1: varint(len(TWO[0][1]) + 5) + varint(2**40)}),
    "a block before the start": table(TWO, handles={0: varint(2**64 - 5) + varint(2**32)}),
    "a handle without end": table(TWO, handles={0: ENDLESS}),
    "a handle and more": table(TWO, handles={0: varint(0) + varint(len(TWO[0][1])) + b"x"}),
    "an end without handles": table(TWO, footer=lambda handles: b"\xff" * 40),
    "an end of another place": table(TWO, footer=lambda handles: (varint(2**60) + varint(8) + handles[2:]).ljust(40)),
    "an end and more": table(TWO, footer=lambda handles: handles.ljust(40, b"x")),
    "no restarts": table([(b"a", A + bytes(4))]),
    "restarts without end": table([(b"a", A + b"\xff\xff\xff\xff")]),
    "more restarts than bytes": table([(b"a", A + bytes(4) + b"\4\0\0\0")]),
    "a restart in an entry": table([(b"b", restarting(A + B, 0, 1))]),
    "a restart beyond": table([(b"b", restarting(A + B, 0, 2**32 - 1))]),
    "a restart at the end": table([(b"b", restarting(A + B, 0, len(A + B)))]),
    "restarts backwards": table([(b"b", restarting(A + B, len(A), 0))]),
    "a restart of half a key": table([(b"ab", restarting(A + entry(b"b", b"2", shared=1), 0, len(A)))]),
    "an empty block": table([(b"a", restarting(b"", 0)), TWO[1]]),
    "no bytes": table([(b"a", b"")]),
    "an entry without end": table([(b"a", restarting(ENDLESS, 0))]),
    "a number of 70 bits": table([(b"a", restarting(b"\xff" * 9 + b"\x7f" + A, 0))]),
    "a value beyond": table([(b"a", restarting(varint(0) + varint(1) + varint(2**40) + b"a", 0))]),
    "a key beyond": table([(b"a", restarting(varint(0) + varint(2**62) + varint(0) + b"a", 0))]),
    "sharing with none": table([(b"a", restarting(entry(b"a", b"1", shared=2**31), 0))]),
    "keys backwards": table([(b"b", restarting(B + A, 0))]),
    "a key twice": table([(b"a", restarting(A + A, 0))]),
    "blocks backwards": table([TWO[1], TWO[0]]),
    "a key behind its block": table([(b"a", restarting(A + B, 0))]),
    "nothing": b"",
    "too short": table(TWO)[-47:],
    "cut in front": table(TWO)[1:],
    "more in front": b"x" + table(TWO),
    "more behind": table(TWO) + b"x",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_writer_makes_is_refused(kind):
    with pytest.raises(BrokenTableError):
        read_table(HOSTILE[kind])


def test_any_byte_may_be_another():
    """Without the checksums, which a stranger makes right: a table or its one error, and no other."""
    whole = table([(b"b", restarting(entry(b"aa", b"1") + entry(b"b", b"2", shared=1), 0)), (b"c", TWO[1][1])])
    refused = 0
    for place in range(len(whole)):
        for value in (0, 1, 127, 128, 255):
            content = bytearray(whole)
            content[place] = value
            try:
                assert all(isinstance(key, bytes) for key in read_table(bytes(content)))
            except BrokenTableError:
                refused += 1
    assert refused > 2 * len(whole)
