"""Heat maps against closed forms and planted truth; the pointing game against brute force."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from explain.config import ExplainConfig
from explain.explain import explain
from explain.methods.catalogue import METHODS
from explain.methods.evidence import Evidence, blurred
from explain.methods.score import class_score, last_map
from explain.scores import findings
from explain.scores.localisation import hit
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from tests.explain.toys import SIZE, bright_spot_model, heat_maps, spots


def test_gradcam_is_its_definition():
    model, (x, _) = bright_spot_model(), spots()
    inner = tf.keras.Model(model.input, [model.get_layer("maps").output, model.output])
    with tf.GradientTape() as tape:
        maps, logits = inner(x)
        score = logits[:, 1] - logits[:, 0]
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    expected /= expected.max(axis=(1, 2), keepdims=True)
    ours = heat_maps(model, x, np.ones(len(x), int), "gradcam")
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_planted_spot(method):
    x, region = spots()
    maps = heat_maps(bright_spot_model(), x, np.ones(len(x), int), method, samples=400, background=0 * x[:2])
    assert maps.shape == x.shape[:3]
    if not METHODS[method].signed:
        assert maps.min() >= 0
        np.testing.assert_allclose(maps.max(axis=(1, 2)), 1.0, atol=1e-6)
    # Regions of SHAP are halved as long as evaluations last: the hottest one may reach beyond the spot.
    least = 0.7 if method == "shap" else 1.0
    assert np.mean([hit(m, r) for m, r in zip(maps, region, strict=True)]) >= least


@pytest.mark.parametrize("method", ["shap", "shap-gradient", "integrated-gradients"])
@pytest.mark.parametrize("relu6", [False, True])
def test_what_a_map_adds_up_to(method, relu6):
    """SHAP and integrated gradients share out the score's difference from where they start, to 1%."""
    model, (x, region) = bright_spot_model(relu6), spots(n=3)
    background = np.random.default_rng(1).uniform(0, 255, (4, SIZE, SIZE, 1)).astype(np.float32)
    maps = heat_maps(model, x, np.ones(3, int), method, samples=100, background=background)
    evidence, ones = Evidence(model, "binary"), np.ones(4, int)
    base = evidence.scores([background], ones).mean() if method == "shap-gradient" else None
    base = evidence.scores([blurred(x)], ones[:3]) if base is None else base
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), evidence.scores([x], ones[:3]) - base, rtol=1e-2)
    assert all(hit(m, r) > 0 for m, r in zip(maps, region, strict=True))


def test_a_dead_map_is_flat_and_finite():
    x, _ = spots()
    maps = heat_maps(bright_spot_model(), x * 0, np.ones(len(x), int), "gradcam")
    assert np.all(maps == 0)
    assert hit(maps[0], np.eye(SIZE, dtype=bool)) == pytest.approx(1 / SIZE)


def test_the_score_of_a_binary_model_is_its_log_odds():
    logits = tf.constant([[1.0, 3.0], [2.0, -1.0]])
    np.testing.assert_allclose(class_score(logits, tf.constant([1, 0]), "binary"), [2.0, 3.0])
    np.testing.assert_allclose(class_score(logits, tf.constant([1, 0]), "multiclass"), [3.0, 2.0])
    assert last_map(bright_spot_model()) == "maps"


def boxed(tmp_path, **columns) -> tuple[Dataset, pd.Series]:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((100, 200), np.uint8))
    row = {"image": "image.png", "label": "a|b", "patient": "p", "split": "test", **columns}
    manifest = pd.DataFrame([row])
    return Dataset(tmp_path, "boxed", "multilabel", ("a", "b"), manifest), manifest.iloc[0]


def test_boxes_are_scaled_and_kept_apart_by_class(tmp_path):
    dataset, row = boxed(tmp_path, x="0|100|190", y="0|50|90", width="100|20|10", height="50|10|10", finding="a|b|b")
    found = findings.regions(dataset, row, 50)
    expected_a = np.zeros((50, 50), bool)
    expected_a[:25, :25] = True
    np.testing.assert_array_equal(found["a"], expected_a)
    expected_b = np.zeros((50, 50), bool)
    expected_b[25:30, 25:30] = True
    expected_b[45:, 47:] = True
    np.testing.assert_array_equal(found["b"], expected_b)


def test_a_small_mask_never_vanishes(tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[40, 80] = 3
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    dataset, row = boxed(tmp_path, mask="mask.png")
    assert findings.regions(dataset, row, 10)["a|b"].sum() >= 1


def test_broken_boxes_are_named(tmp_path):
    dataset, row = boxed(tmp_path, x="1|2", y="1", width="3", height="4", finding="a")
    with pytest.raises(InputError, match=r"manifest\.csv: boxes of image\.png"):
        findings.regions(dataset, row, 10)


@pytest.mark.slow
def test_a_run_is_explained_by_several_methods_and_scored(phantom_run):
    methods = ("gradcam", "gradcam++", "occlusion")
    config = ExplainConfig(method=methods, count=4, mistakes=0, samples=50, localisation_count=10, score_count=16)
    result = explain(phantom_run, config)
    for method in methods:
        folder = result["folder"] / method.replace("+", "p")
        assert (folder / "contact_sheet.png").stat().st_size > 10_000
        assert len(result["images"][method]) == 4
        entry = result["images"][method][0]
        raw = np.load(folder.parent / entry["heatmap"])
        assert raw["heatmap"].shape == (64, 64)
        assert float(raw["probability"]) == pytest.approx(entry["probability"])
        assert cv2.imread(str(folder.parent / entry["overlay"])) is not None
    scores = json.loads((result["folder"] / "scores.json").read_text())
    for method in methods:
        its = scores[method]
        assert its["n"]["patients"] <= its["n"]["images"]
        assert set(its["agreement"]["with"]) == set(methods) - {method}
        for one in (its, *its["controls"].values()):
            for name in ("pointing_game", "energy_in_box", "iou", "deletion", "insertion", "faithfulness"):
                assert 0 <= one[name]["low"] <= one[name]["value"] <= one[name]["high"] <= 1 or name == "faithfulness"
        assert its["controls"]["edges"]["randomisation"]["value"] == pytest.approx(1.0)
        assert its["randomisation"]["value"] < 0.9
    pointing = {name: its["pointing_game"]["value"] for name, its in scores["gradcam"]["controls"].items()}
    assert scores["gradcam"]["pointing_game"]["value"] > max(pointing.values()) + 0.2
    shortcuts = json.loads((result["folder"] / "shortcuts.json").read_text())
    assert shortcuts["findings"] == []
    assert (result["folder"] / "class_means.png").is_file()


def test_files_are_explained_without_a_dataset(phantom_run, tmp_path):
    cv2.imwrite(str(tmp_path / "mine.jpg"), np.full((90, 50, 3), 99, np.uint8))
    result = explain(phantom_run, ExplainConfig(image=(str(tmp_path / "mine.jpg"),)))
    assert [e["file"] for e in result["images"]["gradcam"]] == [str(tmp_path / "mine.jpg")]
    assert result["scores"] == {}
    with pytest.raises(InputError, match=r"absent\.png"):
        explain(phantom_run, ExplainConfig(image=("absent.png",)))
    with pytest.raises(InputError, match="--method lime"):
        explain(phantom_run, ExplainConfig(method=("lime",)))
