"""What an index of a checkpoint claims of tensors is held against its files before TensorFlow looks at it."""

import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from medimg.untrusted.tensor_bundle import LARGEST_INDEX, check_text, read_bundle
from tests.tensor_bundles import varint, write_index

BUNDLE = {"num_shards": 1, "version": {"producer": 1}}
ENTRY = {"dtype": types_pb2.DT_FLOAT, "shape": {"dim": [{"size": 3}, {"size": 4}]}, "size": 48}


def _bundle(folder, entry=None, header=None, name=b"v", data=bytes(64)):
    header = tensor_bundle_pb2.BundleHeaderProto(**BUNDLE | (header or {})).SerializeToString()
    entry = tensor_bundle_pb2.BundleEntryProto(**ENTRY | (entry or {})).SerializeToString()
    write_index(folder / "variables.index", {b"": header, name: entry})
    (folder / "variables.data-00000-of-00001").write_bytes(data)
    return folder / "variables"


def _sides(*sides: int) -> dict:
    return {"shape": {"dim": [{"size": side} for side in sides]}}


def test_tensorflows_own_are_read_as_tensorflow_reads_them(tmp_path):
    root = tf.train.Checkpoint(a=tf.Variable(tf.ones((3, 4))), b=tf.Variable(1, dtype=tf.int64), c=tf.Variable("text"))
    root.d = tf.Variable(tf.ones(3, tf.bfloat16))
    path = root.write(str(tmp_path / "variables"))
    reader, stored = tf.train.load_checkpoint(path), read_bundle(tmp_path / "variables")
    assert {name: list(one.shape) for name, one in stored.items()} == reader.get_variable_to_shape_map()
    assert {name: one.dtype for name, one in stored.items()} == reader.get_variable_to_dtype_map()
    for name in ("_CHECKPOINTABLE_OBJECT_GRAPH", "c/.ATTRIBUTES/VARIABLE_VALUE"):
        check_text(name, stored[name])


def test_one_of_our_own_is_read(tmp_path):
    assert read_bundle(_bundle(tmp_path))["v"].shape == (3, 4)


@pytest.mark.parametrize(
    ("entry", "header"),
    [
        (_sides(-3, -4), {}),
        (_sides(-1), {}),
        (_sides(2**50), {}),
        (_sides(2**62, 2**62, 0) | {"size": 0}, {}),
        (_sides(*[1] * 300), {}),
        (_sides(4, 4), {}),
        ({"shape": {"unknown_rank": True}}, {}),
        ({"dtype": 0}, {}),
        ({"dtype": 99}, {}),
        ({"dtype": types_pb2.DT_RESOURCE}, {}),
        ({"dtype": types_pb2.DT_VARIANT}, {}),
        ({"dtype": types_pb2.DT_FLOAT_REF}, {}),
        ({"slices": [{"extent": [{"start": 0}]}]}, {}),
        ({"shard_id": 1}, {}),
        ({"shard_id": -1}, {}),
        ({"offset": 2**62}, {}),
        ({"offset": -8}, {}),
        ({"size": -48}, {}),
        ({"size": 2**62}, {}),
        ({"size": 44}, {}),
        ({}, {"endianness": 1}),
        ({}, {"num_shards": 0}),
    ],
)
def test_claims_that_can_not_be_are_refused(entry, header, tmp_path):
    path = _bundle(tmp_path, entry, header)
    with pytest.raises(ValueError, match="'v'"):
        read_bundle(path)


def test_an_index_that_is_no_text_no_message_or_too_large_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no text"):
        read_bundle(_bundle(tmp_path, name=b"\xff\xfe"))
    write_index(tmp_path / "variables.index", {b"": b"\xff\xff", b"v": b"x"})
    with pytest.raises(ValueError, match="not readable"):
        read_bundle(tmp_path / "variables")
    with (tmp_path / "variables.index").open("r+b") as file:
        file.truncate(LARGEST_INDEX + 1)
    with pytest.raises(ValueError, match="larger than"):
        read_bundle(tmp_path / "variables")


@pytest.mark.parametrize("length", [2**40, 2**63, 19, 21, 0])
def test_a_text_of_another_length_than_its_bytes_is_refused(tmp_path, length):
    data = varint(length) + bytes(4) + b"x" * 20
    entry = {"dtype": types_pb2.DT_STRING, "shape": {}, "size": len(data)}
    stored = read_bundle(_bundle(tmp_path, entry, data=data))["v"]
    with pytest.raises(ValueError, match=f"claims {length:,} bytes of text"):
        check_text("v", stored)


def test_a_text_without_end_or_many_are_refused(tmp_path):
    entry = {"dtype": types_pb2.DT_STRING, "shape": {}, "size": 64}
    stored = read_bundle(_bundle(tmp_path, entry, data=b"\xff" * 64))["v"]
    with pytest.raises(ValueError, match="does not end"):
        check_text("v", stored)
    with pytest.raises(ValueError, match="not one text"):
        check_text("v", read_bundle(_bundle(tmp_path, entry | _sides(2)))["v"])
