"""What a checkpoint keeps of a training's progress, numbers that are none among it."""

import json
import math

import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2

from medimg.errors import InputError
from medimg.training.checkpoint import Checkpoints
from medimg.training.progress import Progress
from medimg.untrusted.block_table import read_table
from tests.tensor_bundles import varint, write_index


def test_measures_that_are_no_number_come_back(tmp_path):
    """A validation part of one class has no AUROC, and before the first epoch the best is infinitely bad."""
    progress = Progress()
    history = [{"loss": 0.5, "val_auroc": math.nan, "val_loss": math.inf, "best": -math.inf}]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(progress, history, weight=tf.Variable(1.0))
    again, rows = checkpoints.state()
    assert json.dumps(again.to_dict()) == json.dumps(progress.to_dict())
    assert json.dumps(rows) == json.dumps(history)


@pytest.mark.parametrize(
    "change",
    [
        {"progress": {"epoch": -3}},
        {"progress": {"epoch": "1"}},
        {"progress": {"learning_rate": math.nan}},
        {"progress": {"total_epochs": 2}},
        {"progress": {"more": 1}},
        {"progress": [], "history": []},
        {"history": {"loss": 1}},
        {"history": [1]},
    ],
)
def test_a_progress_that_nobody_made_is_refused_by_name(tmp_path, change):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Progress(epoch=1, total_epochs=1), [{"loss": 0.5}], weight=tf.Variable(1.0))
    path = tmp_path / "last-000010" / "state.json"
    content = json.loads(path.read_text())
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) and name == "progress" else value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"state\.json: not a training's progress"):
        checkpoints.state()


def test_the_newest_checkpoint_is_kept_beside_what_is_none(tmp_path):
    """A folder that sorts behind it is neither taken for it nor the reason to remove it."""
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "last-notes").mkdir()
    for epoch in (99_999, 100_000):
        checkpoints.save(Progress(epoch=1, total_epochs=epoch), [], weight=tf.Variable(1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last-1000000", "last-notes"]
    assert checkpoints.state()[0].total_epochs == 100_000


@pytest.mark.parametrize("sizes", [(2**50,), (2**34,), (2**20, 2**20)])
def test_a_tensor_larger_than_its_file_is_refused_before_room_is_made(tmp_path, sizes):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Progress(), [], weight=tf.Variable(tf.ones(3)))
    shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in sizes])
    entry = tensor_bundle_pb2.BundleEntryProto(dtype=types_pb2.DT_FLOAT, shape=shape, size=4 * math.prod(sizes))
    header = tensor_bundle_pb2.BundleHeaderProto(num_shards=1, version={"producer": 1})
    entries = {b"": header.SerializeToString(), b"weight/.ATTRIBUTES/VARIABLE_VALUE": entry.SerializeToString()}
    write_index(tmp_path / "last-000000" / "variables.index", entries)
    with pytest.raises(InputError, match=f"claims {4 * math.prod(sizes):,} bytes, of"):
        checkpoints.restore(weight=tf.Variable(tf.zeros(3)))


def _model(units: int = 3) -> tf.keras.Model:
    return tf.keras.Sequential([tf.keras.layers.Dense(units, input_shape=(4,)), tf.keras.layers.Dense(2)])


def test_the_best_weights_come_back(tmp_path):
    checkpoints, model, other = Checkpoints(tmp_path), _model(), _model()
    checkpoints.save_best(model, 0)
    checkpoints.load_best(other, 0)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        assert (one == two).all()


@pytest.mark.parametrize("other", ["of other shapes", "of fewer layers", "damaged", "gone"])
def test_weights_of_another_model_or_none_are_refused_by_name(tmp_path, other):
    checkpoints = Checkpoints(tmp_path)
    fewer = tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=(4,))])
    checkpoints.save_best({"of other shapes": _model(5), "of fewer layers": fewer}.get(other, _model()), 0)
    for path in (tmp_path / "best-0").iterdir():
        if other == "damaged":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif other == "gone":
            path.unlink()
    with pytest.raises(InputError, match=r"best-0/variables: not the weights of this training, or damaged"):
        checkpoints.load_best(_model(), 0)


GRAPH, VALUE = "_CHECKPOINTABLE_OBJECT_GRAPH", "weight/.ATTRIBUTES/VARIABLE_VALUE"


def _saved(folder, weight) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    checkpoints.save(Progress(), [], weight=weight)
    return checkpoints


def _graph(folder):
    """Whose the variables are, of the checkpoint in the folder."""
    reader = tf.train.load_checkpoint(str(folder / "last-000000" / "variables"))
    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(GRAPH))


def _rewrite(folder, **tensors) -> None:
    """The checkpoint with other tensors, as TensorFlow itself writes them."""
    for path in (folder / "last-000000").glob("variables.*"):
        path.unlink()
    prefix = str(folder / "last-000000" / "variables")
    kinds = {"tensor_names": list(tensors), "shape_and_slices": [""] * len(tensors)}
    tf.raw_ops.SaveV2(prefix=prefix, tensors=list(tensors.values()), **kinds)


@pytest.mark.parametrize("other", [tf.ones((4, 3)), tf.ones((3, 4), tf.int32), tf.ones(12), tf.fill((3, 4), "x")])
def test_a_tensor_of_another_shape_or_kind_is_refused_before_it_is_read(tmp_path, other):
    checkpoints = _saved(tmp_path, tf.Variable(tf.ones((3, 4))))
    _rewrite(tmp_path, **{GRAPH: tf.constant(_graph(tmp_path).SerializeToString()), VALUE: other})
    with pytest.raises(InputError, match=r"is float32 of \(3, 4\), and (float32|int32|string) of \("):
        checkpoints.restore(weight=tf.Variable(tf.zeros((3, 4))))


def test_four_gigabytes_that_are_there_are_not_read(tmp_path):
    """A sparse file costs its maker nothing."""
    checkpoints = _saved(tmp_path, tf.Variable(tf.ones((3, 4))))
    index = tmp_path / "last-000000" / "variables.index"
    entries = read_table(index.read_bytes())
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(entries[VALUE.encode()])
    entry.shape.dim[0].size, entry.size = 2**28, 2**32
    write_index(index, {**entries, VALUE.encode(): entry.SerializeToString()})
    with index.with_name("variables.data-00000-of-00001").open("r+b") as file:
        file.truncate(2**32)
    with pytest.raises(InputError, match=r"and float32 of \(268435456, 4\) in it"):
        checkpoints.restore(weight=tf.Variable(tf.zeros((3, 4))))


def test_a_graph_that_claims_more_text_than_there_is_is_refused(tmp_path):
    checkpoints = _saved(tmp_path, tf.Variable(1.0))
    folder = tmp_path / "last-000000"
    entries = read_table((folder / "variables.index").read_bytes())
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(entries[GRAPH.encode()])
    data = folder / "variables.data-00000-of-00001"
    text = varint(2**40) + bytes(24)
    entry.offset, entry.size = data.stat().st_size, len(text)
    data.write_bytes(data.read_bytes() + text)
    write_index(folder / "variables.index", {**entries, GRAPH.encode(): entry.SerializeToString()})
    with pytest.raises(InputError, match="claims 1,099,511,627,776 bytes of text"):
        checkpoints.restore(weight=tf.Variable(tf.zeros(3)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no graph", "whose its variables are"),
        ("not readable", "is not readable"),
        ("no nodes", "nothing for 'weight:0'"),
        ("a node beyond", "nothing for 'weight:0'"),
        ("a node before", "nothing for 'weight:0'"),
        ("a ring", "state of what has none|nothing for 'weight:0'"),
        ("another key", "nothing for 'weight:0'"),
        ("two keys", "nothing for 'weight:0'"),
    ],
)
def test_a_graph_that_leads_elsewhere_is_refused(tmp_path, change, words):
    checkpoints = _saved(tmp_path, tf.Variable(1.0))
    graph = _graph(tmp_path)
    (child,) = (one for one in graph.nodes[0].children if one.local_name == "weight")
    if change == "no nodes":
        del graph.nodes[:]
    elif change in ("a node beyond", "a node before", "a ring"):
        child.node_id = {"a node beyond": 2**31 - 1, "a node before": -1, "a ring": 0}[change]
    elif change == "another key":
        graph.nodes[child.node_id].attributes[0].checkpoint_key = GRAPH + "x"
    elif change == "two keys":
        graph.nodes[child.node_id].attributes.add().CopyFrom(graph.nodes[child.node_id].attributes[0])
    content = b"\xff" * 9 if change == "not readable" else graph.SerializeToString()
    tensors = {GRAPH: tf.constant(content), VALUE: tf.constant(1.0)}
    if change == "no graph":
        del tensors[GRAPH]
    _rewrite(tmp_path, **tensors)
    with pytest.raises(InputError, match=words):
        checkpoints.restore(weight=tf.Variable(0.0, name="weight"))


def test_what_nothing_asks_for_is_not_kept_for_later(tmp_path):
    """TensorFlow would give it to whatever comes under that name: an optimizer, a metric, of any shape."""
    checkpoints = Checkpoints(tmp_path)
    first, second = tf.Module(), tf.Module()
    first.now, first.later = tf.Variable(1.0), tf.Variable(tf.ones(1000))
    second.now = tf.Variable(0.0)
    checkpoints.save(Progress(), [], module=first)
    checkpoints.restore(module=second)
    second.later = tf.Variable(tf.zeros(3))
    assert second.now.numpy() == 1
    assert second.later.numpy().tolist() == [0, 0, 0]


def test_a_variable_of_two_names_is_found_by_either(tmp_path):
    checkpoints, first, second = Checkpoints(tmp_path), tf.Module(), tf.Module()
    first.one = tf.Variable(1.0)
    second.two = second.one = tf.Variable(0.0)
    checkpoints.save(Progress(), [], module=first)
    checkpoints.restore(module=second)
    assert second.two.numpy() == 1
