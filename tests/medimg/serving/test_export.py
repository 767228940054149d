"""The served model: decoding, resizing, signatures, warm-up, parity, and nothing left behind on failure."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from medimg.data.imaging import encode_png, write_png
from medimg.data.intensity import to_full_scale
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.prediction import predict
from medimg.pipeline.pixels import as_pixels, at_model_size, load_image
from medimg.preparation.decoding import as_prepared
from medimg.serving import export as exporting
from medimg.serving.config import ExportConfig
from medimg.serving.drawn_images import drawn_pixels
from medimg.serving.export import export, serving_commands
from medimg.serving.frozen import frozen
from medimg.serving.images import Served, decode
from medimg.serving.requests import WARMUP


@pytest.fixture(scope="module")
def exported(phantom_run, tmp_path_factory):
    evaluate(phantom_run, EvaluateConfig(bootstrap=20))
    return export(phantom_run, tmp_path_factory.mktemp("models") / "phantom", ExportConfig(samples=4))


def served_pixels(path, size, channels):
    return decode(tf.constant(path.read_bytes()), size, channels).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [(64, 64), (96, 96), (80, 96), (31, 47), (200, 320), (20, 200)])
@pytest.mark.parametrize("form", ["grey", "rgb", "rgba", "grey16", "rgb16", "jpeg"])
def test_served_pixels_are_the_training_pixels(form, stored, channels, tmp_path):
    draw = np.random.default_rng(1)
    depth = np.uint16 if form.endswith("16") else np.uint8
    planes = {"grey": (), "grey16": (), "rgba": (4,)}.get(form, (3,))
    image = draw.integers(0, np.iinfo(depth).max, (*stored, *planes), depth, endpoint=True)
    path = tmp_path / ("image.jpg" if form == "jpeg" else "image.png")
    cv2.imwrite(str(path), image)
    ours, theirs = load_image(path, 64, channels), served_pixels(path, 64, channels)
    # One step of a 16-bit image is 1/257 grey level; float sums of large values may differ by one.
    np.testing.assert_allclose(theirs, ours, atol=1 / 128 if form.endswith("16") else 0)


@pytest.mark.parametrize("high", [4095, 3000, 65535])
@pytest.mark.parametrize("white", [4095, 0])
def test_values_of_a_detector_are_served_as_they_were_prepared(white, high, tmp_path):
    image = np.random.default_rng(1).integers(0, high, (96, 96), np.uint16, endpoint=True)
    image[0, 0] = high
    prepared = image if high == 65535 else to_full_scale(image, white)
    write_png(tmp_path / "source.png", image)
    write_png(tmp_path / "prepared.png", prepared)
    expected = load_image(tmp_path / "prepared.png", 64, 1)
    for name in ("source.png", "prepared.png"):
        served = decode(tf.constant((tmp_path / name).read_bytes()), 64, 1, white).numpy()
        np.testing.assert_allclose(served, expected, atol=1 / 128)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(160, 160), (20, 20), (20, 200, 3), (41, 39)])
def test_files_of_any_size_are_served_as_predict_reads_them(shape, kind):
    image = np.random.default_rng(3).integers(0, np.iinfo(kind).max, shape).astype(kind)
    expected = at_model_size(as_prepared(image, 40), 32, 1)
    served = decode(tf.constant(encode_png(image)), 32, 1, None, 40).numpy()
    np.testing.assert_allclose(served, as_pixels(expected), atol=1e-4 if kind == np.uint8 else 1 / 128)


def test_training_resize_is_opencv_to_rounding(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    ours = load_image(tmp_path / "image.png", 75, 1)[..., 0]
    reference = cv2.resize(image, (75, 75), interpolation=cv2.INTER_AREA)
    assert np.abs(ours - reference).max() <= 1


@pytest.mark.slow
def test_signatures_give_probabilities_classes_and_label(exported, phantom_run, phantom_data):
    served = tf.saved_model.load(str(exported))
    rows = phantom_data.rows("test").head(6)
    files = [path.read_bytes() for path in phantom_data.paths(rows)]
    answer = served.signatures["serving_default"](image_bytes=tf.constant(files))
    expected = predict(phantom_run.model(), phantom_data, rows, phantom_run.description())
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    assert answer["classes"].numpy().tolist() == [[b"normal", b"opacity"]] * 6
    threshold = json.loads((phantom_run.root / "metrics.json").read_text())["threshold"]["value"]
    wanted = [b"opacity" if p >= threshold else b"normal" for p in expected[:, 1]]
    assert answer["label"].numpy().tolist() == wanted
    pixels = np.stack([load_image(path, 64, 1) for path in phantom_data.paths(rows)])
    direct = served.signatures["pixels"](pixels=tf.constant(pixels))
    np.testing.assert_allclose(direct["probabilities"], expected, atol=1e-5)


def test_multilabel_and_multiclass_labels():
    def fixed(values):
        pixels = tf.keras.Input((8, 8, 1))
        zero = tf.keras.layers.Dense(3, kernel_initializer="zeros")(tf.keras.layers.Flatten()(pixels))
        return tf.keras.Model(pixels, tf.keras.layers.Rescaling(1.0, offset=values)(zero))

    about = {"image_size": 8, "channels": 1, "classes": ["a", "b", "c"]}
    x = tf.zeros((2, 8, 8, 1))
    many = Served(fixed([2.0, -2.0, 0.1]), {**about, "task": "multilabel"}, [0.5, 0.5, 0.6])
    assert many.from_pixels(x)["label"].numpy().tolist() == [b"a", b"a"]
    low = Served(fixed([2.0, -2.0, 0.1]), {**about, "task": "multilabel"}, [0.5, 0.1, 0.5])
    assert low.from_pixels(x)["label"].numpy().tolist() == [b"a|b|c"] * 2
    one = Served(fixed([2.0, -2.0, 3.0]), {**about, "task": "multiclass"}, [0.5] * 3)
    assert one.from_pixels(x)["label"].numpy().tolist() == [b"c", b"c"]


@pytest.mark.slow
def test_warmup_requests_are_real_and_run(exported, phantom_data):
    from tensorflow_serving.apis import prediction_log_pb2

    served = tf.saved_model.load(str(exported))
    names = []
    for record in tf.data.TFRecordDataset(str(exported / WARMUP)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        names.append(request.model_spec.signature_name)
        assert request.model_spec.name == "phantom"
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        answer = served.signatures[request.model_spec.signature_name](**inputs)
        np.testing.assert_allclose(tf.reduce_sum(answer["probabilities"], 1), 1.0, atol=1e-5)
    assert names == ["serving_default"] * 4 + ["pixels"]


@pytest.mark.slow
def test_the_graph_holds_no_python(exported):
    content = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    # Its weights are constants: nothing is restored or read.
    assert "ReadVariableOp" not in operations
    stored = tf.train.list_variables(str(exported / "variables" / "variables"))
    assert stored == [("_CHECKPOINTABLE_OBJECT_GRAPH", [])]
    assert not operations & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
    assert b"medimg" not in (exported / "saved_model.pb").read_bytes()


def test_a_depthwise_convolution_needs_no_normalization():
    layers, pixels = tf.keras.layers, tf.keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(layers.Rescaling(1 / 255)(pixels))
    x = layers.ReLU(6.0)(layers.BatchNormalization(scale=False)(x))
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.BatchNormalization(center=False)(x)
    shared = layers.DepthwiseConv2D(3, padding="same")(x)
    # Read by two: its normalization stays.
    x = layers.Add()([shared, layers.BatchNormalization()(shared)])
    model = tf.keras.Model(pixels, layers.Dense(2)(layers.Flatten()(x)))
    draw = np.random.default_rng(0)
    model.set_weights([draw.uniform(0.1, 1.0, weight.shape) for weight in model.get_weights()])
    constants = frozen(model)
    operations = [node.op for node in constants.graph.as_graph_def().node]
    assert (operations.count("DepthwiseConv2dNative"), operations.count("FusedBatchNormV3")) == (3, 1)
    assert not {"ReadVariableOp", "VarHandleOp"} & {*operations}
    pixels = tf.constant(drawn_pixels(3, 8, 3))
    np.testing.assert_allclose(constants(pixels)[0], model(pixels, training=False), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_proofs")
def test_versions_count_up_and_the_card_tells_the_numbers(exported, phantom_run):
    (exported.parent / "0009.png").touch()
    again = export(phantom_run, exported.parent, ExportConfig(samples=2))
    assert len(serving_commands(exported.parent, "name")) == 3
    assert [exported.name, again.name] == ["1", "2"]
    card = (again / "model_card.md").read_text()
    metrics = json.loads((phantom_run.root / "metrics.json").read_text())["metrics"]
    assert f"{metrics['auroc']['value']:.3f}" in card
    assert "not a medical device" in card
    assert "BMP, TIFF, WebP, GIF, JPEG 2000 and PNM" in card
    assert phantom_run.environment()["data_fingerprint"] in card
    assert str(phantom_run.root.parent) not in card


@pytest.mark.slow
def test_an_export_without_parity_fails_and_leaves_nothing(phantom_run, tmp_path, monkeypatch):
    class Wrong(Served):
        def _from_pixels(self, pixels, error=None):
            return super()._from_pixels(255.0 - pixels, error)

    monkeypatch.setattr(exporting, "Served", Wrong)
    with pytest.raises(InputError, match=r"not exported: .* differ by"):
        export(phantom_run, tmp_path / "saved" / "wrong", ExportConfig(samples=2))
    assert not (tmp_path / "saved" / "wrong").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_proofs")
def test_an_export_that_needs_our_code_fails(phantom_run, tmp_path, monkeypatch):
    def unloadable(served, folder):
        (folder / "saved_model.pb").write_bytes(b"broken")

    monkeypatch.setattr(exporting, "_save", unloadable)
    with pytest.raises(InputError, match="TensorFlow alone can't load"):
        export(phantom_run, tmp_path / "broken", ExportConfig(samples=1))
    assert list(tmp_path.iterdir()) == []


def test_missing_images_are_named(phantom_run, tmp_path, monkeypatch):
    dataset = phantom_run.dataset()
    manifest = dataset.manifest.assign(image=lambda m: "gone/" + m["image"])
    moved = dataclasses.replace(dataset, manifest=manifest)
    monkeypatch.setattr(type(phantom_run), "dataset", lambda self: moved)
    with pytest.raises(InputError, match=r"gone/.*missing"):
        export(phantom_run, tmp_path / "x", ExportConfig())
