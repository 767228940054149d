"""A Run with a model whose answer is known in closed form, evaluated through files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.metrics import METRICS
from medimg.report.write import write
from medimg.run import Run, environment
from tests.command import medimg

SIZE = 16
FIGURES = {"roc", "precision_recall", "confusion_matrix", "reliability", "training_curves", "worst_mistakes"}


def write_data(root, task="binary", classes=("normal", "ill"), n=120, seed=0, negative=""):
    """Grey images of one level each, brighter the higher the class; two images a patient."""
    draw = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(n):
        index = int(draw.integers(len(classes)))
        level = int(np.clip(draw.normal(80 + 60 * index, 40), 0, 255))
        name = f"images/{seed}-{i:04d}.png"
        cv2.imwrite(str(root / name), np.full((SIZE, SIZE), level, np.uint8))
        split = ("train", "val", "test", "test")[i // 2 % 4]
        label = classes[index]
        if task == "multilabel":
            label = "|".join(classes[:index]) or negative
        rows.append((name, label, f"{seed}-{i // 2}", f"site {i % 2}", split))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    return Dataset(root, "levels", task, tuple(classes), manifest, negative=negative)


def write_run(root, dataset, weights, biases):
    """A Run whose logits are weights * (grey level / 255) + biases."""
    import tensorflow as tf

    dataset.save()
    run = Run.create(root, dataset.root, "train", {"model": "grey_level", "image_size": SIZE})
    pixels = tf.keras.Input((SIZE, SIZE, 1))
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pool")(pixels / 255.0)
    dense = tf.keras.layers.Dense(len(weights), name="logits")
    model = tf.keras.Model(pixels, dense(pooled))
    dense.set_weights([np.array([weights], np.float32), np.array(biases, np.float32)])
    model.save(root / "model.keras", save_format="keras")
    description = {
        "name": "grey_level",
        "task": dataset.task,
        "classes": list(dataset.classes),
        "image_size": SIZE,
        "channels": 1,
    }
    atomic.write_json(root / "model.json", description)
    atomic.write_json(root / "environment.json", environment(dataset, 0))
    history = {
        "epoch": [1, 2, 3],
        "phase": ["head", "head", "fine-tune"],
        "loss": [0.7, 0.5, 0.4],
        "val_loss": [0.7, 0.6, 0.5],
        "val_auroc": [0.6, 0.7, 0.8],
        "learning_rate": [1e-3, 1e-3, 1e-4],
    }
    atomic.write_csv(root / "history.csv", pd.DataFrame(history))
    return run


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    root = tmp_path_factory.mktemp("binary")
    return write_run(root / "run", write_data(root / "data"), [-10, 10], [4.4, -4.4])


@pytest.fixture(scope="module")
def evaluated(binary):
    seen = []
    metrics = evaluate(binary, EvaluateConfig(bootstrap=200), lambda *done: seen.append(done))
    return binary, metrics, seen


@pytest.mark.slow
def test_what_has_to_be_known_is_printed_too(binary, tmp_path):
    """Whose rows they are, which class is positive, and that the parts are not the official ones."""
    shutil.copytree(binary.dataset().root, tmp_path / "data")
    again = Dataset.load(tmp_path / "data")
    drawn = {"split": "drawn anew", "options": {"split": "70/15/15"}}
    replace(again, classes=("ill", "normal"), preparation=drawn).save()
    for split, words in (("all", ("too good", "the Dataset says 'normal'")), ("test", ("not the official test part",))):
        told = medimg("evaluate", binary.root, "--data", again.root, "--split", split, "--bootstrap", 20)
        assert told.exit_code == 0, told.output
        printed = " ".join(told.output.split())
        notes = json.loads((Path(printed.split("report: ")[-1]).parent / "metrics.json").read_text())["notes"]
        assert all(f"note: {' '.join(note.split())}" in printed for note in notes)
        for word in words:
            assert any(word in note for note in notes), notes


def levels(dataset, rows):
    return np.array([float(cv2.imread(str(path), 0)[0, 0]) for path in dataset.paths(rows)])


def test_probabilities_are_those_of_the_closed_form(evaluated):
    run, _, _ = evaluated
    dataset = run.dataset()
    table = pd.read_csv(run.root / "predictions.csv", dtype={"patient": str})
    names = ["image", "patient", "site", "label", "predicted", "p_normal", "p_ill"]
    assert list(table) == names
    rows = dataset.rows("test")
    assert table["image"].tolist() == rows["image"].tolist()
    assert table["label"].tolist() == rows["label"].tolist()
    expected = 1 / (1 + np.exp(-(20 * levels(dataset, rows) / 255 - 8.8)))
    assert table["p_ill"].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_metrics_follow_from_the_files_alone(evaluated):
    run, metrics, _ = evaluated
    stored = json.loads((run.root / "metrics.json").read_text())
    assert {**stored, "report": str(run.root / "report.html")} == json.loads(json.dumps(metrics))
    table = pd.read_csv(run.root / "predictions.csv")
    called = table["p_ill"] >= stored["threshold"]["value"]
    assert (called == (table["predicted"] == "ill")).all()
    ill = table["label"] == "ill"
    assert stored["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(ill, table["p_ill"]))
    assert stored["metrics"]["sensitivity"]["value"] == pytest.approx(called[ill].mean())
    assert set(stored["metrics"]) == set(METRICS)
    assert set(stored["per_class"]) == {"normal", "ill"}
    assert np.sum(stored["confusion_matrix"]) == stored["n"] == len(table)
    assert stored["positive_class"] == "ill"
    assert stored["patients"] == table["patient"].nunique()
    for name, measured in stored["metrics"].items():
        if name == "ece":
            assert (measured["low"], measured["interval"]) == (None, "none")
        else:
            assert measured["low"] <= measured["value"] <= measured["high"]


def test_the_threshold_is_the_best_of_the_validation_part(evaluated):
    run, metrics, _ = evaluated
    dataset = run.dataset()
    rows = dataset.rows("val")
    p = 1 / (1 + np.exp(-(20 * levels(dataset, rows) / 255 - 8.8)))
    ill = dataset.targets(rows) == 1

    def youden(threshold):
        return (p >= threshold)[ill].mean() + (p < threshold)[~ill].mean()

    best = max(youden(t) for t in p)
    assert metrics["threshold"]["chosen_on"] == "val"
    assert metrics["threshold"]["rule"] == "youden"
    assert youden(metrics["threshold"]["value"]) == pytest.approx(best)


def test_progress_counts_validation_and_test_images(evaluated):
    run, _, seen = evaluated
    total = len(run.dataset().rows("val")) + len(run.dataset().rows("test"))
    assert seen[-1] == (total, total)
    assert {images for _, images in seen} == {total}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(evaluated):
    run, _, _ = evaluated
    write(run)
    before = {name: (run.root / name).read_bytes() for name in ("metrics.json", "report.html", "report.json")}
    evaluate(run, EvaluateConfig(bootstrap=200))
    # A page of other numbers does not stay beside new ones.
    assert not (run.root / "report.html").exists()
    write(run)
    assert before == {name: (run.root / name).read_bytes() for name in before}


def test_other_parts_go_to_their_own_folder_and_say_they_were_seen(evaluated):
    run, _, _ = evaluated
    before = (run.root / "metrics.json").read_bytes()
    metrics = evaluate(run, EvaluateConfig(split="train", bootstrap=0, threshold="0.25"))
    folder = run.root / "evaluations" / "levels-train"
    assert write(run, folder) == folder / "report.html"
    assert (run.root / "metrics.json").read_bytes() == before
    assert metrics["threshold"]["value"] == 0.25
    assert metrics["threshold"]["chosen_on"] is None
    assert metrics["metrics"]["auroc"]["low"] is None
    n = metrics["n"]
    assert any(note.startswith(f"{n} of {n} images overlap") for note in metrics["notes"])


def test_classes_of_other_data_are_matched_by_name_and_reordered(evaluated, tmp_path):
    run, _, _ = evaluated
    own = run.dataset()
    labels = own.manifest["label"].map({"normal": "Nor mal", "ill": "ILL"})
    other = Dataset(own.root, "elsewhere", "binary", ("ILL", "Nor mal"), own.manifest.assign(label=labels))
    shutil.copytree(own.root / "images", tmp_path / "images")
    replace(other, root=tmp_path).save()
    config = EvaluateConfig(data=str(tmp_path), bootstrap=0)
    metrics = evaluate(run, config)
    mine = json.loads((run.root / "metrics.json").read_text())
    assert metrics["classes"] == ["normal", "ill"]
    assert metrics["confusion_matrix"] == mine["confusion_matrix"]
    assert metrics["metrics"]["auroc"]["value"] == mine["metrics"]["auroc"]["value"]
    folder = run.root / "evaluations" / "elsewhere-test"
    assert pd.read_csv(folder / "predictions.csv")["label"].isin(["normal", "ill"]).all()


def test_other_classes_are_refused_with_both_lists(evaluated, tmp_path):
    run, _, _ = evaluated
    write_data(tmp_path, classes=("cat", "dog"), n=8).save()
    with pytest.raises(InputError, match=r"the model has normal, ill; the data have cat, dog"):
        evaluate(run, EvaluateConfig(data=str(tmp_path)))


def test_unlabelled_images_are_left_out_and_counted(binary, tmp_path):
    own = binary.dataset()
    manifest = own.manifest.copy()
    manifest.loc[manifest.index[manifest["split"] == "test"][:5], "label"] = ""
    manifest["patient"] = "new " + manifest["patient"]
    shutil.copytree(own.root / "images", tmp_path / "images")
    replace(own, root=tmp_path, name="gaps", manifest=manifest).save()
    metrics = evaluate(binary, EvaluateConfig(data=str(tmp_path), bootstrap=0))
    assert metrics["unlabelled"] == 5
    assert metrics["n"] == (manifest["split"] == "test").sum() - 5
    assert any("5 images without a label" in note for note in metrics["notes"])


def test_an_empty_part_is_refused(binary, tmp_path):
    own = binary.dataset()
    manifest = own.manifest.assign(split="train")
    replace(own, root=tmp_path, manifest=manifest).save()
    with pytest.raises(InputError, match=r"--split test: no labelled image .* choose another split"):
        evaluate(binary, EvaluateConfig(data=str(tmp_path)))


@pytest.mark.slow
def test_away_from_its_data_a_run_uses_the_threshold_it_has_stored(evaluated, tmp_path):
    run, metrics, _ = evaluated
    absent = Run(run.root, {**run.config, "data": str(tmp_path / "gone")})
    other = write_data(tmp_path / "other", seed=1)
    manifest = other.manifest.copy()
    manifest.loc[manifest.index[manifest["split"] == "test"][:5], "label"] = ""
    replace(other, name="other", manifest=manifest).save()
    config = EvaluateConfig(data=str(tmp_path / "other"), bootstrap=0)
    away = evaluate(absent, config)
    assert away["threshold"]["value"] == metrics["threshold"]["value"]
    assert "taken from metrics.json" in away["threshold"]["note"]
    assert any("is not checked" in note for note in away["notes"])
    assert any("5 images without a label" in note for note in away["notes"])
    unknown = evaluate(absent, replace(config, threshold="sensitivity=0.9"))
    assert unknown["threshold"]["value"] == 0.5


def test_multiclass_takes_the_most_probable_and_says_so(tmp_path):
    data = write_data(tmp_path / "data", "multiclass", ("dark", "grey", "bright"), n=160)
    run = write_run(tmp_path / "run", data, [0, 12, 24], [0, -5, -14])
    metrics = evaluate(run, EvaluateConfig(bootstrap=50))
    assert metrics["threshold"]["rule"] == "argmax"
    assert metrics["threshold"]["value"] is None
    assert "positive_class" not in metrics
    table = pd.read_csv(run.root / "predictions.csv")
    columns = ["p_dark", "p_grey", "p_bright"]
    best = table[columns].to_numpy().argmax(axis=1)
    assert table["predicted"].tolist() == [("dark", "grey", "bright")[i] for i in best]
    assert np.shape(metrics["confusion_matrix"]) == (3, 3)
    accuracy = (table["label"] == table["predicted"]).mean()
    assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_multilabel_has_a_threshold_per_class(tmp_path):
    classes = ("edema", "mass", "never")
    data = write_data(tmp_path / "data", "multilabel", classes, n=160, negative="none")
    run = write_run(tmp_path / "run", data, [20, 20, 1], [-8, -12, 0])
    metrics = evaluate(run, EvaluateConfig(bootstrap=50))
    value = metrics["threshold"]["value"]
    assert list(value) == list(classes)
    assert value["never"] == 0.5
    assert "never: 0.5: the validation part holds one class only" in metrics["threshold"]["note"]
    assert np.shape(metrics["confusion_matrix"]) == (3, 2, 2)
    assert metrics["per_class"]["never"]["auroc"]["value"] is None
    table = pd.read_csv(run.root / "predictions.csv")
    assert "none" in set(table["label"])
    for name in classes:
        called = table["predicted"].str.split("|").map(lambda parts, n=name: n in parts)
        assert (called == (table[f"p_{name}"] >= value[name])).all()


def test_a_diverged_model_is_refused(tmp_path):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data", n=16), [np.nan, 1], [0, 0])
    with pytest.raises(InputError, match=r"gives no number for .* the training has diverged"):
        evaluate(run, EvaluateConfig())


@pytest.mark.parametrize("what", ["gone", "a folder", "cut off"])
def test_a_run_whose_environment_cannot_be_read_is_refused_before_a_file_is_written(what, tmp_path):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data", n=16), [-10, 10], [4.4, -4.4])
    place = run.root / "environment.json"
    place.unlink()
    if what == "a folder":
        place.mkdir()
    elif what == "cut off":
        place.write_text("{")
    before = sorted(run.root.rglob("*"))
    with pytest.raises(InputError, match=r"environment\.json"):
        evaluate(run, EvaluateConfig(bootstrap=20))
    assert sorted(run.root.rglob("*")) == before


def test_a_wrong_threshold_is_refused_before_any_work(binary):
    with pytest.raises(InputError, match="--threshold best"):
        evaluate(binary, EvaluateConfig(threshold="best"))
