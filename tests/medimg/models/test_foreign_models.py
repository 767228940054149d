"""A model or weights from a stranger: refused in one line before anything of it runs."""

import io
import json
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.saving import load_model, save_model
from medimg.models.tabular import build_tabular
from medimg.pipeline.whitening import Whitening


def packed(path, members: dict) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def dense(config: dict) -> dict:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def lambda_model(marker):
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    x = tf.keras.Input((2,))
    y = tf.keras.layers.Lambda(lambda t, c=code: (eval(c), t)[1])(x)
    return tf.keras.Model(x, y)


@pytest.mark.parametrize("form", ["hdf5", "hdf5 with a zip behind it", "folder"])
def test_what_is_no_zip_runs_nothing(tmp_path, written, form):
    marker, path = tmp_path / "ran", tmp_path / "model.keras"
    model = lambda_model(marker)
    if form == "folder":
        model.save(path.with_suffix(""), save_format="tf")
        path.with_suffix("").rename(path)
    else:
        model.save(tmp_path / "x.h5")
        zipped = written[0].read_bytes() if "zip" in form else b""
        path.write_bytes((tmp_path / "x.h5").read_bytes() + zipped)
    marker.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"model\.keras: ") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)
    assert not marker.exists()
    if form == "hdf5":
        # Keras alone, in safe mode, runs it: the test is of something.
        tf.keras.models.load_model(path, compile=False, safe_mode=True)
        assert marker.exists()


SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}


def test_we_write_the_zip_in_any_thread(tmp_path, written):
    """Keras keeps in a variable of the thread whether `.keras` means the zip or HDF5."""
    path = tmp_path / "model.keras"
    model = load_model(written[0])
    with ThreadPoolExecutor(1) as other:
        other.submit(save_model, model, path).result()
    assert zipfile.is_zipfile(path)
    np.testing.assert_array_equal(load_model(path).get_weights()[0], model.get_weights()[0])


def _class(module, name, registered=None, **config):
    return {"module": module, "class_name": name, "config": {"name": "odd", **config}, "registered_name": registered}


UNSAFE = {
    "function of any module": (SYSTEM, "os.function 'system'"),
    "class of any module": (_class("subprocess", "Popen", args="true"), "subprocess.Popen"),
    "function of Keras": (_class("keras.utils", "get_file", origin="http://127.0.0.1:9/x"), "keras.utils.get_file"),
    "Lambda": (_class("keras.layers", "Lambda", function=SYSTEM), "keras.layers.Lambda"),
    "Lambda in the old way": (
        {"class_name": "Lambda", "config": {"name": "odd", "function": ["4wA=", None, None]}},
        "None.Lambda",
    ),
    "TensorFlow operation": (
        _class("keras.src.layers.core.tf_op_layer", "TFOpLambda", "TFOpLambda", function="io.write_file"),
        "TFOpLambda 'io.write_file'",
    ),
    "layer that reads a file": (
        _class("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        "keras.layers.StringLookup",
    ),
    "layer that holds another": (
        _class("keras.layers", "TimeDistributed", layer=_class("keras.layers", "Lambda")),
        "keras.layers.TimeDistributed",
    ),
    "other object under an allowed class": (
        _class("keras.layers", "Dense", "medimg>Preprocessing", units=2),
        "registered as medimg>Preprocessing",
    ),
    "allowed class of another module": (_class("os", "Dense", units=2), "os.Dense"),
    "lambda": ({"class_name": "__lambda__", "config": {"value": "x"}}, "__lambda__"),
    "no names": ({"class_name": ["Dense"], "module": {}, "config": {}}, "Dense"),
}


@pytest.mark.parametrize("where", ["layer", "activation", "deep"])
@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names_are_named(tmp_path, written, name, where):
    odd, told = UNSAFE[name]
    config = json.loads(json.dumps(written[1]))
    if where == "layer":
        config["config"]["layers"].insert(1, odd)
    elif where == "activation":
        dense(config)["config"]["activation"] = odd
    else:
        dense(config)["config"]["kernel_initializer"]["config"]["x"] = [{"y": [[odd]]}]
    path = tmp_path / "model.keras"
    packed(path, {**written[2], "config.json": json.dumps(config)})
    with pytest.raises(InputError) as refused:
        load_model(path)
    assert told in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def _compiled_inside(config):
    dense(config)["compile_config"] = {"optimizer": SYSTEM}


def _named_activation(config):
    dense(config)["config"]["activation"] = "deserialize"


def _initializer_as_text(config):
    dense(config)["config"]["kernel_initializer"] = "medimg>Preprocessing"


def _layer_without_class(config):
    config["config"]["layers"][1] = {"name": "x", "inbound_nodes": []}


def _no_model(config):
    config["module"] = "keras"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_compiled_inside, "is compiled inside"),
        (_named_activation, "activation 'deserialize'"),
        (_initializer_as_text, "kernel_initializer 'medimg>Preprocessing'"),
        (_layer_without_class, "layer without a class"),
        (_no_model, "keras.Functional"),
    ],
)
def test_other_ways_in(tmp_path, written, change, told):
    config = json.loads(json.dumps(written[1]))
    change(config)
    packed(tmp_path / "model.keras", {**written[2], "config.json": json.dumps(config)})
    with pytest.raises(InputError, match=told):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"assets/vocabulary.txt": b"x"}, "holds 'assets/vocabulary.txt'"),
        ({"../../out.txt": b"x"}, r"holds '\.\./\.\./out\.txt'"),
        ({"inner.keras": b"PK\x03\x04"}, "holds 'inner.keras'"),
        ({"a\nmedimg: fine": b""}, r"holds 'a\\nmedimg: fine'"),
        ({"config.json": b"[" * 100_000}, "not readable as a Keras model"),
        ({"config.json": b"{}"}, "not a model of layers"),
        ({"config.json": b"[1]"}, "not a model of layers"),
        ({"config.json": b"\xff\xfe"}, "not readable as a Keras model"),
        ({"model.weights.h5": b"none"}, "not readable as a Keras model"),
    ],
)
def test_members(tmp_path, written, members, told):
    packed(tmp_path / "model.keras", {**written[2], **members})
    with pytest.raises(InputError, match=told):
        load_model(tmp_path / "model.keras")


def test_a_member_twice_and_one_missing(tmp_path, written):
    path = tmp_path / "model.keras"
    packed(path, written[2])
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match=r"Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match=r"holds it twice"):
        load_model(path)
    packed(path, {k: v for k, v in written[2].items() if k != "model.weights.h5"})
    with pytest.raises(InputError, match=r"'model\.weights\.h5' is missing"):
        load_model(path)


def external_link(file, secret):
    file["layers"] = h5py.ExternalLink(str(secret), "/x")


def soft_link(file, secret):
    file["layers"] = h5py.SoftLink("/elsewhere")


def external_storage(file, secret):
    file.create_dataset("x", (4,), "uint8", external=[(str(secret), 0, 4)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), "uint8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge(file, secret):
    file.create_dataset("x", (1 << 40,), "float32", chunks=(1 << 20,))


@pytest.mark.parametrize("fill", [external_link, soft_link, external_storage, virtual, huge])
def test_weights_that_lie_elsewhere(tmp_path, written, fill):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4, dtype="uint8")
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        file.attrs["layer_names"] = ["layers"]
        fill(file, secret)
    packed(tmp_path / "model.keras", {**written[2], "model.weights.h5": raw.getvalue()})
    told = "another file|another place|larger than 4 GB"
    with pytest.raises(InputError, match=told):
        load_model(tmp_path / "model.keras")
    # The same file as --weights FILE.h5.
    weights = tmp_path / "weights.h5"
    weights.write_bytes(raw.getvalue())
    with pytest.raises(InputError, match=f"--weights {weights}: its .*({told})"):
        build("mobilenet", 32, 3, 2, weights=str(weights))


def test_hdf5_is_only_ever_weights(tmp_path):
    """A whole model with a Lambda in an `.h5`: its layers' arrays are read, the model in it is not."""
    marker = tmp_path / "ran"
    lambda_model(marker).save(tmp_path / "model.h5")
    marker.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"does not fit baseline_cnn"):
        build("baseline_cnn", 16, 1, 2, weights=str(tmp_path / "model.h5"))
    assert not marker.exists()


@pytest.mark.slow
def test_every_model_of_ours_opens(tmp_path):
    """The list allows all that medimg builds, and the file gives the same answers; plain images: `test_models`."""
    whitening = Whitening(mean=np.zeros(3), matrix=np.eye(3))
    models = [
        build("baseline_cnn", 16, 3, 2, norm="group", model_arg={"width": "4", "stages": "1", "pool": "max"}),
        build("baseline_cnn", 16, 3, 2, normalize=whitening),
        build_tabular("mlp", 5, 3),
        build_tabular("logistic", 5, 2, model_arg={"l2": 0}),
    ]
    for model in models:
        path = tmp_path / "model.keras"
        save_model(model, path)
        x = np.random.default_rng(0).uniform(0, 255, (1, *model.input_shape[1:])).astype("float32")
        np.testing.assert_allclose(load_model(path)(x), model(x), atol=1e-4)


def test_broken_bytes_are_an_input_error(tmp_path, written):
    """Any damage: the model opens, or one line says that it does not."""
    whole, drawn = written[0].read_bytes(), random.Random(0)
    path, opened, told = tmp_path / "model.keras", 0, []
    for number in range(60):
        data = bytearray(whole)
        # The configuration and the directory behind the weights are where a change tells.
        for _ in range(drawn.randint(1, 4)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        path.write_bytes(data[: drawn.randrange(len(data))] if number % 4 == 0 else data)
        try:
            load_model(path)
            opened += 1
        except InputError as error:
            told.append(str(error))
    assert all("\n" not in text and str(path) in text for text in told)
    assert opened + len(told) == 60 > opened
