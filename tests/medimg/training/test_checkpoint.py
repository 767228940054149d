"""What a checkpoint keeps of a training's progress, numbers that are none among it."""

import json
import math

import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from medimg.errors import InputError
from medimg.training.checkpoint import Checkpoints
from medimg.training.progress import Progress
from tests.tensor_bundles import write_index


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
