"""Each clinical source to the end: prepared, trained, evaluated, explained, exported; DICOM predicted as prepared."""

import importlib
import json
import re
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from explain.config import ExplainConfig
from explain.explain import explain
from medimg.config import PrepareConfig, TrainConfig
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.prediction.config import PredictConfig
from medimg.prediction.predict import predict
from medimg.preparation.prepare import prepare
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.train import train
from tests.clinical_sources import PATIENTS, brats, deeplesion, dicom, nifti
from tests.volumes import write_dicom


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Source -> its folder, Dataset and Run, made when it is asked for."""
    made = {}

    def run_of(source):
        if source.__name__ not in made:
            root = tmp_path_factory.mktemp(source.__name__)
            (root / "src").mkdir()
            options = source(root / "src")
            dataset = prepare(source.__name__, root / "src", root / "data", PrepareConfig(**options))
            config = TrainConfig(image_size=16, epochs=1, model_arg={"width": "4", "stages": "1"})
            made[source.__name__] = root, dataset, train(dataset.root, root / "run", config)
        return made[source.__name__]

    return run_of


@pytest.mark.slow
@pytest.mark.parametrize("source", [dicom, nifti, brats, deeplesion])
def test_to_the_end(runs, source):
    root, dataset, run = runs(source)
    assert {"train", "val", "test"} == set(dataset.manifest["split"])
    assert dataset.manifest.groupby("patient")["split"].nunique().max() == 1
    metrics = evaluate(run, EvaluateConfig(bootstrap=5))
    assert metrics
    found = explain(run, ExplainConfig(count=2, mistakes=0, score_count=4, appearance_count=0))
    assert len(found["images"]["gradcam"]) == 2
    assert ("pointing_game" in found["scores"]["gradcam"]) == (source in (brats, deeplesion))
    version = export(run, root / "served", ExportConfig(samples=2))
    assert (version / "saved_model.pb").is_file()


@pytest.mark.slow
def test_dicom_files_are_predicted_and_explained_as_they_were_prepared(runs):
    root, dataset, run = runs(dicom)
    assert run.description()["dicom"] == {"window": "0,900", "slices": "every:2", "neighbours": 1}
    predict(run, (str(dataset.root),), root / "prepared.csv", PredictConfig())
    predict(run, (str(root / "src"),), root / "files.csv", PredictConfig())
    prepared, files = (pd.read_csv(root / name) for name in ("prepared.csv", "files.csv"))
    assert len(files) == len(prepared) == 2 * PATIENTS
    np.testing.assert_array_equal(np.sort(files["p_b"]), np.sort(prepared["p_b"]))
    # One slice alone has other neighbours, and text is no image.
    (root / "src" / "s0" / "broken.dcm").write_text("broken")
    result = predict(run, (str(root / "src" / "s0" / "broken.dcm"),), root / "broken.csv", PredictConfig())
    assert result.broken[0][1] == "no DICOM file"
    (root / "src" / "s0" / "broken.dcm").unlink()
    found = explain(run, ExplainConfig(image=tuple(str(root / "src" / "s0" / name) for name in ("001", "002", "003"))))
    told = files.set_index("image")
    assert len(found["images"]["gradcam"]) == 2
    for entry in found["images"]["gradcam"]:
        assert abs(told.loc[entry["file"], f"p_{entry['predicted']}"] - entry["probability"]) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("mask", [False, True])
def test_the_client_of_an_export_sends_what_training_saw(tmp_path, monkeypatch, capsys, mask):
    """Also of text that is burned in: `prepare`, `predict` and the client tell of the same files."""
    draw = np.random.default_rng(0)
    for i in range(PATIENTS):
        frames = cv2.GaussianBlur(draw.normal(0, 4000, (300, 320, 3)), (0, 0), 5).clip(-300, 300)
        if i == 1:
            frames = cv2.putText(frames, "ROE JANE", (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (3000,) * 3, 2)
        frames = (1000 + frames).astype(np.uint16)
        header = {"WindowCenter": 1000, "WindowWidth": 900, "Modality": "US"}
        header["BurnedInAnnotation"] = "YES" if i == 2 else "NO"
        write_dicom(tmp_path / "src" / f"{i}.dcm", frames.transpose(2, 0, 1), **header)
    rows = "".join(f"{i}.dcm,{'ab'[i % 2]}\n" for i in range(PATIENTS))
    (tmp_path / "l.csv").write_text("path,label\n" + rows)
    config = PrepareConfig(labels=str(tmp_path / "l.csv"), window="2000,4000", neighbours=1, mask_text=mask)
    dataset = prepare("dicom", tmp_path / "src", tmp_path / "data", config)
    options = TrainConfig(image_size=16, epochs=1, model_arg={"width": "4", "stages": "1"})
    run = train(dataset.root, tmp_path / "run", options)
    version = export(run, tmp_path / "served", ExportConfig(samples=2))
    predict(run, (str(tmp_path / "src"),), tmp_path / "files.csv", PredictConfig())
    files = pd.read_csv(tmp_path / "files.csv").set_index("image")
    expected = files["p_b"]
    monkeypatch.syspath_prepend(str(tmp_path / "served"))
    for name in ("check", "dicom_pixels", "dicom_text"):
        sys.modules.pop(name, None)
    check = importlib.import_module("check")
    look = json.loads((version / "assets.extra" / "check.json").read_text())["dicom"]
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    text = "may show burned-in text at its border, " + ("made black" if mask else "not made black")
    told = {0: [], 1: [text], 2: ["burned-in annotation, by its header"]}
    prepared = pd.read_csv(dataset.root / "warnings.csv")["warning"]
    assert [prepared.str.startswith(words).sum() for _, (words,) in list(told.items())[1:]] == [3, 3]
    for number, words in told.items():
        path = tmp_path / "src" / f"{number}.dcm"
        answers = served(image_bytes=tf.constant(check.sent(path, look)))["probabilities"].numpy()
        assert len(answers) == 3
        for i, answer in enumerate(answers):
            assert abs(answer[1] - expected[f"{path}#{i}"]) < 1e-5
        printed = capsys.readouterr().out
        seen = [printed, *(files["warnings"].fillna("")[f"{path}#{i}"] for i in range(3))]
        for each in seen:
            assert [word for word in (text, "burned-in annotation, by its header") if word in each] == words
    monkeypatch.setitem(sys.modules, "dicom_text", None)
    if mask:
        with pytest.raises(ValueError, match="training made text black, which needs OpenCV here"):
            check.sent(path, look)
    else:
        check.sent(path, look)
        assert "not looked at for burned-in text, which needs OpenCV" in capsys.readouterr().out
    for script in ("dicom_pixels.py", "dicom_text.py"):
        assert not re.search(r"(import|from) medimg", (tmp_path / "served" / script).read_text())
