"""ONNX exports: ONNX Runtime, which shares nothing with TensorFlow, answers what the Run does, from files and rows."""

import base64
import dataclasses
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.prediction import predict
from medimg.models.build import build
from medimg.models.registry import FAMILIES
from medimg.serving.config import ExportConfig
from medimg.serving.drawn_images import drawn_images, drawn_pixels
from medimg.serving.export import CHECKS, SCRIPT, export, serving_commands
from medimg.serving.images import NO_IMAGE, Served, decode
from medimg.serving.onnx_client import OnnxModel
from medimg.serving.onnx_model import MODEL, PREPARE, save
from medimg.serving.requests import Request, raw_requests, sample
from medimg.training.any_model import train_any
from medimg.training.train import train

CNN = {"model": "baseline_cnn", "image_size": 32, "model_arg": {"width": "4", "stages": "1"}, "epochs": 1}


@pytest.fixture(scope="module")
def exported(noise, tmp_path_factory):
    """A Run with calibrated probabilities, and its export."""
    root = tmp_path_factory.mktemp("onnx")
    run = train(noise.root, root / "run", TrainConfig(**CNN, learning_rate=0.01))
    evaluate(run, EvaluateConfig(bootstrap=20, calibrate="platt"))
    return run, export(run, root / "models" / "noise", ExportConfig(samples=4, format="onnx"))


def ask(model: OnnxModel, images: list[bytes]) -> list[dict]:
    return model.answers(Request("serving_default", {"image_bytes": images}).to_dict())


def check(folder, *files: str) -> subprocess.CompletedProcess:
    """The script, where medimg is not."""
    command = [sys.executable, "-I", str(folder / SCRIPT), *files]
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.modules['tensorflow'] = sys.modules['medimg'] = None; "
    )
    code += f"sys.argv = {command[2:]!r}; import runpy; runpy.run_path({command[2]!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.slow
def test_files_get_the_runs_calibrated_probabilities_and_decisions(exported, noise):
    run, folder = exported
    rows, description = noise.rows("test"), run.description()
    assert description["calibrator"]["method"] == "platt"
    expected = predict(run.model(), noise, rows, description)
    answers = ask(OnnxModel(folder), [path.read_bytes() for path in noise.paths(rows)])
    np.testing.assert_allclose([one["probabilities"] for one in answers], expected, atol=1e-5)
    threshold = json.loads((run.root / "metrics.json").read_text())["threshold"]["value"]
    labels = ["bright" if p >= np.float32(threshold) else "dark" for p in expected[:, 1]]
    assert [one["label"] for one in answers] == labels
    assert len({*labels}) == 2


def test_a_file_that_cannot_be_read_fails_alone(exported):
    model, good = OnnxModel(exported[1]), drawn_images(1, 32)[0]
    answers = ask(model, [good, b"", b"\x89PNG\r\n\x1a\n broken", good[:60]])
    assert [one["error"] for one in answers] == ["", NO_IMAGE, NO_IMAGE, NO_IMAGE]
    assert (answers[1]["label"], answers[1]["probabilities"]) == ("", [-1.0, -1.0])


def test_the_script_that_travels_asks_the_model_without_medimg(exported, noise):
    _, folder = exported
    image = str(noise.paths(noise.rows("test"))[0])
    done = check(folder.parent, image)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ONNX Runtime serving_default: 5 examples" in done.stdout
    assert image in done.stdout
    assert serving_commands(folder.parent, "noise") == [f"python {folder.parent / SCRIPT}"]
    path = folder / CHECKS
    before = path.read_text()
    path.write_text(before.replace('"probabilities": [', '"probabilities": [[0.5, 0.5], ', 1))
    changed = check(folder.parent)
    path.write_text(before)
    assert changed.returncode == 1, changed.stdout


def test_what_is_written_and_what_is_told(exported):
    run, folder = exported
    assert {p.name for p in folder.iterdir()} == {MODEL, PREPARE, "model_card.md", "assets.extra"}
    card = (folder / "model_card.md").read_text()
    assert "fresh process with ONNX Runtime alone" in card
    assert "itself takes `pixels` float32" in card
    assert "`serving_default`" not in card
    with pytest.raises(InputError, match="holds versions of another format"):
        export(run, folder.parent, ExportConfig(samples=1))


@pytest.mark.slow
@pytest.mark.parametrize("white", [None, 4095, 0])
@pytest.mark.parametrize("channels", [1, 3])
def test_prepared_pixels_are_those_of_the_served_model(channels, white, tmp_path):
    """Grey, colour, alpha, 8 and 16 bits, JPEG turned by EXIF, of other sizes: TensorFlow's pixels to the last bit."""
    model = tf.keras.Sequential([tf.keras.Input((32, 32, channels)), tf.keras.layers.Flatten()])
    description = {"image_size": 32, "channels": channels, "white": white, "prepared_size": 40, "task": "multiclass"}
    description["classes"] = [str(i) for i in range(32 * 32 * channels)]
    save(Served(model, description, [0.5]), description, tmp_path)
    draw = np.random.default_rng(0)
    files = drawn_images(6, 48)
    files.append(cv2.imencode(".png", draw.integers(0, 256, (20, 50, 4), np.uint8))[1].tobytes())
    turned = cv2.imencode(".jpg", draw.integers(0, 256, (40, 24, 3), np.uint8))[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    files.append(turned[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + turned[2:])
    found = OnnxModel(tmp_path)._pixels([base64.b64encode(data).decode() for data in files], [""] * len(files))
    for pixels, data in zip(found, files, strict=True):
        np.testing.assert_allclose(pixels, decode(tf.constant(data), 32, channels, white, 40), atol=1e-4)


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.slow
def test_rows_get_the_runs_probabilities(model, small_table, tmp_path):
    run = train(small_table.root, tmp_path / "run", TrainConfig(model=model, epochs=3))
    evaluate(run, EvaluateConfig(bootstrap=20, calibrate="temperature"))
    folder = export(run, tmp_path / "models", ExportConfig(samples=4, format="onnx"))
    description, dataset = run.description(), run.dataset()
    # All rows, and those that preprocessing finds hard: missing, never seen, untidy.
    rows = sample(dataset, description, 1000)
    expected = predict(run.model(), dataset, rows, description)
    found = OnnxModel(folder)
    answers = [found.answers(request.to_dict())[0] for request in raw_requests(dataset, rows, description)]
    assert len(answers) > 30
    np.testing.assert_allclose([one["probabilities"] for one in answers], expected, atol=1e-5)
    request = next(raw_requests(dataset, rows, description)).to_dict()
    request["inputs"]["day"]["values"] = ["2020-02-30"]
    assert "date" in found.answers(request)[0]["error"]
    done = check(folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "columns` float64" in (folder / "model_card.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_several_labels_and_classes_with_isotonic_calibration(task, tmp_path):
    classes = ["a", "b", "c"]
    pixels = tf.keras.Input((8, 8, 1))
    outputs = tf.keras.layers.Dense(3, kernel_initializer="random_normal")(tf.keras.layers.Flatten()(pixels / 255.0))
    one = {"log_odds": [-1.0, 0.0, 1.0], "probability": [0.1, 0.4, 0.9]}
    calibrator = {"method": "isotonic", "classes": dict.fromkeys(classes, one)}
    description = {"image_size": 8, "channels": 1, "task": task, "classes": classes, "calibrator": calibrator}
    served = Served(tf.keras.Model(pixels, outputs), description, [0.3, 0.5, 0.7])
    save(served, description, tmp_path)
    images = drawn_images(8, 8)
    expected = served.signatures()["serving_default"](tf.constant(images))
    answers = ask(OnnxModel(tmp_path), images)
    np.testing.assert_allclose([a["probabilities"] for a in answers], expected["probabilities"], atol=1e-6)
    assert [a["label"] for a in answers] == [label.decode() for label in expected["label"].numpy()]


# Of layers that the smallest has, too; building and converting each takes a minute.
SAME_LAYERS = tuple(f"efficientnet_b{i}" for i in range(1, 8))


NORMS = [(name, "batch") for name in FAMILIES if name not in SAME_LAYERS]
NORMS += [("baseline_cnn", "group"), ("mobilenet_v2", "group")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "norm"), NORMS)
def test_every_family_converts(name, norm, tmp_path):
    size = FAMILIES[name].minimum_size
    tf.keras.utils.set_random_seed(0)
    model = build(name, size, 3, 2, norm=norm)
    description = {"image_size": size, "channels": 3, "task": "binary", "classes": ["no", "yes"]}
    served = Served(model, description, [0.5, 0.5])
    save(served, description, tmp_path)
    pixels = drawn_pixels(3, size, 3)
    session = OnnxModel(tmp_path)._model
    probabilities, decided, threshold = session.run(["probabilities", "decided", "threshold"], {"pixels": pixels})
    expected = served.from_pixels(tf.constant(pixels))["probabilities"].numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert (decided[:, 1] == (expected[:, 1] >= threshold[1])).all()
    tf.keras.backend.clear_session()


@pytest.mark.slow
def test_ensembles_and_models_of_images_and_columns_export(noise, tmp_path):
    manifest = noise.manifest.assign(age=np.arange(48.0), sex=["F", "M", ""] * 16)
    dataset = dataclasses.replace(noise, root=tmp_path / "data", manifest=manifest)
    shutil.copytree(noise.root / "images", dataset.root / "images")
    dataset.save()
    runs = [train(noise.root, tmp_path / f"run{i}", TrainConfig(**CNN, seed=i)) for i in range(2)]
    members = tuple(str(run.root) for run in runs)
    voted = train_any(noise.root, tmp_path / "voted", TrainConfig(model="ensemble", member=members))
    both = train_any(dataset.root, tmp_path / "both", TrainConfig(**CNN, metadata="age,sex"))
    for run in (voted, both):
        folder = export(run, tmp_path / "models" / run.root.name, ExportConfig(samples=3, format="onnx"))
        done = subprocess.run(
            [sys.executable, str(folder.parent / SCRIPT)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
