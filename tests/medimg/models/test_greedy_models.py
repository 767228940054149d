"""A model of a stranger that asks for more memory or time than its file is worth: refused before it takes them."""

import io
import json
import time
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.models.saving import load_model, save_model
from medimg.models.weights import _read
from tests.medimg.models.test_foreign_models import dense, packed

LAYERS = tf.keras.layers


def refused(path, match: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=match) as found:
        load_model(path)
    assert time.monotonic() - began < 20
    assert str(found.value).startswith(str(path))
    assert "\n" not in str(found.value)


def layer(config: dict, kind: str) -> dict:
    return next(one for one in config["config"]["layers"] if one["class_name"] == kind)["config"]


def _dense(config):
    dense(config)["config"]["units"] = 10**12


def _conv(config):
    layer(config, "Conv2D")["filters"] = 10**10


def _kernel(config):
    layer(config, "Conv2D")["kernel_size"] = [10**6, 10**6]


def _a_little_more(config):
    """Not huge: each is below any limit of size that could be set, together they are beyond what the file holds."""
    dense(config)["config"]["units"] = 4000


@pytest.mark.parametrize("change", [_dense, _conv, _kernel, _a_little_more])
def test_a_configuration_asks_for_no_more_than_the_weights_are(tmp_path, written, change):
    config = json.loads(json.dumps(written[1]))
    change(config)
    packed(tmp_path / "model.keras", {**written[2], "config.json": json.dumps(config)})
    refused(tmp_path / "model.keras", r"asks for [\d,]+ numbers or more and its weights are \d+;")


def _saved(path, model):
    save_model(model, path)
    return path


def test_answers_of_a_layer_without_weights(tmp_path):
    pixels = tf.keras.Input((16, 16, 1))
    grown = LAYERS.UpSampling2D((30_000, 30_000))(pixels)
    model = tf.keras.Model(pixels, LAYERS.GlobalAveragePooling2D()(grown))
    refused(_saved(tmp_path / "model.keras", model), r"layer 'up_sampling2d.*' gives 230,400,000,000")


def test_models_that_call_each_other_twice(tmp_path):
    """Forty models of three layers: 2^40 calls."""
    numbers = tf.keras.Input((2,))
    model = tf.keras.Model(numbers, LAYERS.ReLU()(numbers))
    for _ in range(3):
        numbers = tf.keras.Input((2,))
        model = tf.keras.Model(numbers, model(model(numbers)))
    path = _saved(tmp_path / "model.keras", model)
    np.testing.assert_array_equal(load_model(path)(np.array([[-1.0, 2.0]])), [[0.0, 2.0]])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    # Each deeper one holds the one before in the place of its own model.
    inner = next(i for i, x in enumerate(config["config"]["layers"]) if "layers" in x["config"])
    for _ in range(40):
        outer = json.loads(json.dumps({**config, "config": {**config["config"], "layers": []}}))
        layers = list(config["config"]["layers"])
        layers[inner] = {**layers[inner], "config": config["config"]}
        outer["config"]["layers"] = layers
        config = outer
    packed(path, {**members, "config.json": json.dumps(config)})
    refused(path, r"more than 5,000 calls of layers")


def test_layers_by_the_thousand(tmp_path, written):
    config = json.loads(json.dumps(written[1]))
    config["config"]["layers"] += [
        {
            "module": "keras.layers",
            "class_name": "ReLU",
            "config": {"name": f"relu{i}"},
            "registered_name": None,
            "inbound_nodes": [],
        }
        for i in range(6000)
    ]
    packed(tmp_path / "model.keras", {**written[2], "config.json": json.dumps(config)})
    refused(tmp_path / "model.keras", r"more than 5,000 calls of layers")


def test_no_list_of_layers(tmp_path, written):
    for odd in (5, "layers", {"a": 1}, None):
        config = {**written[1], "config": {**written[1]["config"], "layers": odd}}
        packed(tmp_path / "model.keras", {**written[2], "config.json": json.dumps(config)})
        refused(tmp_path / "model.keras", "no list of layers")


def test_a_mean_that_is_spread_over_the_input(tmp_path):
    numbers = tf.keras.Input((3,))
    model = tf.keras.Model(numbers, LAYERS.Normalization(mean=0.0, variance=1.0)(numbers))
    refused(_saved(tmp_path / "model.keras", model), "has a mean of its own")


def _unwritten(file):
    file.create_dataset("x", (200_000_000,), "float32")


def _squeezed(file):
    zeros = {"chunks": (1 << 20,), "compression": "gzip", "compression_opts": 9}
    file.create_dataset("x", data=np.zeros(30_000_000, "float32"), **zeros)


@pytest.mark.parametrize("fill", [_unwritten, _squeezed])
def test_arrays_that_the_file_has_not_got(tmp_path, written, fill):
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        file.attrs["layer_names"] = ["x"]
        fill(file)
    assert len(raw.getvalue()) < 1 << 20
    packed(tmp_path / "model.keras", {**written[2], "model.weights.h5": raw.getvalue()})
    refused(tmp_path / "model.keras", r"array '/x' is \d+ MB that the file says and has not got")
    (tmp_path / "weights.h5").write_bytes(raw.getvalue())
    with pytest.raises(InputError, match="has not got"):
        _read(str(tmp_path / "weights.h5"))


def test_weights_packed_into_nothing(tmp_path, written):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", written[2]["config.json"])
        archive.writestr("model.weights.h5", written[2]["model.weights.h5"] + bytes(100 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, r"its weights are 100 MB packed into \d+ KB")


def test_compressed_weights_of_use_still_open(tmp_path, written):
    """Who packs a model again, with compression, keeps it."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in written[2].items():
            archive.writestr(name, content)
    assert load_model(path).count_params() > 0
