"""`medimg predict` of images: what it says is what `evaluate` says, and what is unlike training is told."""

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

import cli
from explain.config import ExplainConfig
from explain.explain import explain
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.imaging import write_png
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.prediction import predict as predicting
from medimg.prediction.config import PredictConfig
from medimg.prediction.familiarity import FILE, Familiarity
from medimg.prediction.predict import predict
from medimg.preparation.prepare import prepare
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.train import train
from medimg.untrusted.csv_cells import read_csv
from medimg.validation.config import ValidateConfig
from medimg.validation.validate import validate
from tests.command import medimg
from tests.medimg.evaluation.test_evaluate import write_data, write_run

COLUMNS = ["decision", "threshold", "positive_class", "warnings"]
TINY = {"width": "4", "stages": "1"}


def picture(draw, label: int, height: int, width: int, channels: int = 3, dtype=np.uint8) -> np.ndarray:
    image = draw.integers(0, 90, (height, width, 3)) + np.linspace(0, 40, width)[None, :, None].astype(int)
    image = np.repeat(image[:, :, :1], 3, 2) if channels == 1 else image
    image = (image + 90 * label).astype(np.uint16)
    image = image.astype(np.uint8) if dtype is np.uint8 else image * 257
    return image[:, :, 0] if channels == 1 else image


def write_source(root, n: int = 64):
    """Class folders of all forms: JPEG turned by EXIF, palette, alpha, 16 bits, grey and colour, 24 to 60 pixels."""
    draw = np.random.default_rng(0)
    for i in range(n):
        label, form = i % 2, (i // 2) % 5
        folder = root / ("bad", "good")[label] if i else root / "bad"
        folder.mkdir(parents=True, exist_ok=True)
        height, width = draw.integers(24, 60, 2)
        if form == 0:
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(picture(draw, label, height, width)).save(folder / f"{i}.jpg", exif=exif)
        elif form == 1:
            write_png(folder / f"{i}.png", picture(draw, label, height, width, 1, np.uint16))
        elif form == 2:
            Image.fromarray(picture(draw, label, height, width)).quantize(64).save(folder / f"{i}.png")
        elif form == 3:
            write_png(folder / f"{i}.png", np.repeat(picture(draw, label, height, width, 1)[:, :, None], 3, 2))
        else:
            colour = picture(draw, label, height, width)
            alpha = draw.integers(200, 256, (height, width, 1)).astype(np.uint8)
            Image.fromarray(np.concatenate([colour, alpha], 2)).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    """Class folders, the Dataset made of them at some --image-size and an evaluated Run of it."""
    folder = tmp_path_factory.mktemp("world")
    source = write_source(folder / "source")
    dataset = prepare("folder", source, folder / "data", PrepareConfig(image_size=request.param, split="40/30/30"))
    config = TrainConfig(image_size=28, epochs=2, model_arg=TINY, learning_rate=0.01)
    run = train(dataset.root, folder / "run", config)
    evaluate(run, EvaluateConfig(bootstrap=0))
    return source, dataset, run


def results(path) -> pd.DataFrame:
    return read_csv(path, keep_default_na=False, dtype={"image": str})


def run_predict(run, out, *paths, **options):
    done = predict(run, tuple(map(str, paths)), out, PredictConfig(**options))
    return results(out), done


@pytest.mark.parametrize("world", [None, 20], indirect=True)
def test_a_dataset_its_files_and_their_sources_get_what_evaluate_said(world, tmp_path):
    source, dataset, run = world
    expected = read_csv(run.root / "predictions.csv").set_index("image")
    threshold = json.loads((run.root / "metrics.json").read_text())["threshold"]["value"]
    rows = dataset.manifest.set_index("image").loc[expected.index]
    for kind, paths, names in (
        ("dataset", [dataset.root], list(expected.index)),
        ("files", dataset.paths(rows.reset_index()), [str(dataset.root / name) for name in expected.index]),
        ("sources", [source], [str(source / name) for name in rows["source_file"]]),
    ):
        found, done = run_predict(run, tmp_path / f"{kind}.csv", *paths)
        assert list(found) == ["image", "p_bad", "p_good", *COLUMNS]
        assert done.broken == []
        if kind != "files":
            assert len(found) == len(dataset.manifest)
        found = found.set_index("image").loc[names]
        for column in ("p_bad", "p_good"):
            np.testing.assert_allclose(found[column].astype(float), expected[column], atol=1e-6)
        assert found["decision"].tolist() == expected["predicted"].tolist()
        assert set(found["positive_class"]) == {"good"}
        assert set(found["threshold"].astype(float)) == {threshold}
        # Training's own kind of images: neither size nor colour nor depth is unlike.
        assert not found["warnings"].str.contains("pixels|colour|grey|12-bit").any()


@pytest.mark.slow
@pytest.mark.parametrize("world", [None, 20], indirect=True)
def test_others_read_a_file_as_predict_does(world, tmp_path):
    source, dataset, run = world
    found, _ = run_predict(run, tmp_path / "found.csv", source)
    expected = found.set_index("image")["p_good"].astype(float)
    files = dataset.rows("test")["source_file"].head(12).tolist()
    wanted = expected[[str(source / name) for name in files]].to_numpy()
    maps = explain(run, ExplainConfig(image=tuple(str(source / name) for name in files), method=("smoothgrad",)))
    told = [entry["positive_probability"] for entry in maps["images"]["smoothgrad"]]
    np.testing.assert_allclose(told, wanted, atol=1e-6)
    result, folder = validate(run, source, ValidateConfig(bootstrap=10))
    assert result["n"] >= len(files)
    validated = results(folder / "predictions.csv")
    names = [str(source / name) for name in validated["image"]]
    np.testing.assert_allclose(validated["p_good"].astype(float), expected[names], atol=1e-6)
    exported = export(run, tmp_path / "model", ExportConfig(samples=2))
    size = dataset.preparation["options"]["image_size"]
    assert ("stretched to 20 px" in (exported / "model_card.md").read_text()) == (size == 20)
    served = tf.saved_model.load(str(exported)).signatures
    answer = served["serving_default"](tf.constant([(source / name).read_bytes() for name in files]))
    # Resized in integers by OpenCV and by TensorFlow, values may differ by one grey level.
    np.testing.assert_allclose(answer["positive_probability"].numpy(), wanted, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("world", [20], indirect=True)
def test_batches_of_any_size_say_the_same(world, tmp_path):
    source, _, run = world
    for size in (1, 7, 64):
        run_predict(run, tmp_path / f"{size}.csv", source, batch_size=size)
    whole = results(tmp_path / "64.csv")
    for size in (1, 7):
        part = results(tmp_path / f"{size}.csv")
        np.testing.assert_allclose(part["p_good"].astype(float), whole["p_good"].astype(float), atol=1e-6)
        names = ["image", "decision", "threshold"]
        pd.testing.assert_frame_equal(part[names], whole[names])


@pytest.mark.parametrize("world", [20], indirect=True)
def test_size_colour_and_far_are_told(world, tmp_path):
    _, _, run = world
    draw = np.random.default_rng(3)
    write_png(tmp_path / "in/large.png", picture(draw, 0, 90, 40))
    # Values that no training image is near.
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::2] = 255
    write_png(tmp_path / "in/stripes.png", stripes[:, :, ::-1])
    write_png(tmp_path / "in/usual.png", picture(draw, 0, 40, 41))
    found, done = run_predict(run, tmp_path / "out.csv", tmp_path / "in")
    told = dict(zip([name.split("/")[-1] for name in found["image"]], found["warnings"], strict=True))
    assert "90 pixels high, training images" in told["large.png"]
    assert "wide" not in told["large.png"]
    assert "far from the training set: distance" in told["stripes.png"]
    assert told["usual.png"] == ""
    assert done.warned == 2
    assert any(note.startswith("far from training: farther than") for note in done.notes)


@pytest.mark.parametrize("world", [20], indirect=True)
def test_what_is_kept_in_the_run_is_of_its_model_and_needs_no_dataset(world, tmp_path):
    source, _, run = world
    moved = Run(tmp_path / "run", {**run.config, "data": str(tmp_path / "gone")})
    shutil.copytree(run.root, moved.root)
    first, _ = run_predict(run, tmp_path / "first.csv", source)
    kept, done = run_predict(moved, tmp_path / "kept.csv", source)
    assert (run.root / FILE).is_file()
    if (moved.root / FILE).is_file():
        pd.testing.assert_frame_equal(first, kept)
    (moved.root / FILE).write_bytes(b"cut off")
    _, done = run_predict(moved, tmp_path / "nothing.csv", source)
    assert any("not compared with training" in note for note in done.notes)
    shutil.copy(run.root / FILE, moved.root / FILE)
    other = run.model()
    other.layers[-1].bias.assign_add([1.0, 0.0])
    other.save(moved.root / "model.keras", save_format="keras_v3")
    _, done = run_predict(moved, tmp_path / "other.csv", source)
    assert any("not compared with training" in note for note in done.notes)


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """A Run of grey 8-bit images of 16 pixels whose answer is known: sigmoid of the level's weight."""
    folder = tmp_path_factory.mktemp("levels")
    dataset = write_data(folder / "data")
    return write_run(folder / "run", dataset, [0.0, 6.0], [3.0, 0.0]), dataset


def test_twelve_bits_in_sixteen_and_colour_where_training_was_grey(levels, tmp_path):
    run, _ = levels
    folder = tmp_path / "in"
    write_png(folder / "deep.png", np.full((16, 16), 60000, np.uint16))
    write_png(folder / "twelve.png", np.full((16, 16), 4095, np.uint16))
    colour = np.full((16, 16, 3), 90, np.uint8)
    write_png(folder / "idle.png", colour)
    colour[..., 0] = 200
    write_png(folder / "colour.png", colour)
    found, _ = run_predict(run, tmp_path / "out.csv", folder)
    told = {name.split("/")[-1]: warning for name, warning in zip(found["image"], found["warnings"], strict=True)}
    assert "12-bit values in a 16-bit file" in told["twelve.png"]
    assert "12-bit" not in told["deep.png"]
    assert "in colour, training images grey" in told["colour.png"]
    assert "colour" not in told["idle.png"]


def test_twelve_bits_are_nothing_new_where_training_had_them(tmp_path):
    dataset = write_data(tmp_path / "data")
    for path in dataset.paths(dataset.manifest):
        write_png(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 16)
    run = write_run(tmp_path / "run", dataset, [0.0, 6.0], [3.0, 0.0])
    found, _ = run_predict(run, tmp_path / "out.csv", dataset.root)
    assert not found["warnings"].str.contains("12-bit").any()


def test_broken_files_are_rows_and_lines_and_exit_code_1(levels, tmp_path):
    run, dataset = levels
    good = dataset.root / dataset.manifest["image"][0]
    bad, empty = tmp_path / "bad.png", tmp_path / "empty.png"
    bad.write_bytes(good.read_bytes()[:-20])
    empty.touch()
    result = medimg("predict", run.root, bad, good, empty, "--out", tmp_path / "out.csv", "--batch-size", 1)
    assert result.exit_code == 1, result.output
    found = results(tmp_path / "out.csv")
    assert found["image"].tolist() == [str(bad), str(good), str(empty)]
    assert (found["p_ill"] == "").tolist() == [True, False, True]
    assert (found["decision"] == "").tolist() == [True, False, True]
    assert "zero bytes" in found["warnings"][2]
    assert len([line for line in result.stderr.splitlines() if line.startswith("medimg: broken: ")]) == 2
    assert "3 images, 0 with warnings, 2 broken" in result.stdout
    alone = medimg("predict", run.root, good, "--out", tmp_path / "good.csv")
    assert alone.exit_code == 0, alone.output
    assert "medimg: broken" not in alone.stderr


def test_a_csv_of_paths(levels, tmp_path):
    run, dataset = levels
    names = dataset.manifest["image"].tolist()[:3]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(dataset.root / name, tmp_path / name)
    (tmp_path / "list.csv").write_bytes(
        "\ufefffile;größe\n".encode() + "".join(f"{n};1\n" for n in [*names, "", "../x.png", "no.png"]).encode()
    )
    found, done = run_predict(run, tmp_path / "out.csv", tmp_path / "list.csv", image_column="file")
    assert found["image"].tolist() == [*names, "", "../x.png", "no.png"]
    direct, _ = run_predict(run, tmp_path / "direct.csv", dataset.root)
    assert found["p_ill"].tolist()[:3] == direct["p_ill"].astype(str).tolist()[:3]
    reasons = [why for _, why in done.broken]
    assert "row 5 of list.csv: file is empty" in reasons[0]
    assert "leads out of" in reasons[1]
    assert "No such file" in reasons[2]
    with pytest.raises(InputError, match="column 'image' is missing; it has file, größe"):
        run_predict(run, tmp_path / "b.csv", tmp_path / "list.csv")
    with pytest.raises(InputError, match="--image-column file: no PATH is a CSV"):
        run_predict(run, tmp_path / "b.csv", dataset.root, image_column="file")


def test_folders_are_searched_but_for_what_systems_leave_there(levels, tmp_path):
    run, dataset = levels
    image = dataset.root / dataset.manifest["image"][0]
    for name in ("a/b/1.png", "2.PNG", ".hidden/3.png", "a/.4.png", "__MACOSX/5.png", "notes.docx"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, tmp_path / "in" / name)
    found, done = run_predict(run, tmp_path / "out.csv", tmp_path / "in")
    assert found["image"].tolist() == [str(tmp_path / "in/2.PNG"), str(tmp_path / "in/a/b/1.png")]
    assert any("4 left out, hidden or no images by their extension" in note for note in done.notes)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        run_predict(run, tmp_path / "b.csv", tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "nowhere: does not exist; give files, folders, a Dataset or a CSV"),
        (["{data}", "--out", "{taken}"], "taken.csv is there already; give another file or --overwrite"),
        (["{data}", "--out", "{folder}"], "is a folder; give a file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(levels, tmp_path, words, error):
    run, dataset = levels
    (tmp_path / "taken.csv").write_text("mine")
    names = {"{data}": dataset.root, "{taken}": tmp_path / "taken.csv", "{folder}": tmp_path}
    words = [names.get(word, word) for word in words]
    result = medimg("predict", run.root, *words, *([] if "--out" in words else ["--out", tmp_path / "out.csv"]))
    assert result.exit_code == 2
    assert error in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken.csv"]
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_overwrite_replaces_what_predict_has_made_alone(levels, tmp_path):
    run, dataset = levels
    image = dataset.root / dataset.manifest["image"][0]
    shutil.copy(image, tmp_path / "in.png")
    for mine in (tmp_path / "in.png", dataset.root / "manifest.csv"):
        before = mine.read_bytes()
        result = medimg("predict", run.root, tmp_path / "in.png", "--out", mine, "--overwrite")
        assert result.exit_code == 2
        assert "is no result of predict, so --overwrite leaves it alone" in result.stderr
        assert mine.read_bytes() == before


def test_a_failure_leaves_the_earlier_file(levels, tmp_path, monkeypatch):
    run, dataset = levels
    run_predict(run, tmp_path / "out.csv", dataset.root)
    before = (tmp_path / "out.csv").read_bytes()

    def fail(*_):
        raise InputError("in the middle")

    monkeypatch.setattr(predicting, "_answered", fail)
    with pytest.raises(InputError, match="in the middle"):
        predict(run, (str(dataset.root),), tmp_path / "out.csv", PredictConfig(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == before


def test_classes_in_another_order_than_they_were_evaluated_in_are_refused(levels, tmp_path):
    run = Run.load(shutil.copytree(levels[0].root, tmp_path / "run"))
    evaluate(run, EvaluateConfig(bootstrap=0))
    path, description = run.root / "model.json", run.description()
    for classes in (description["classes"][::-1], [description["classes"][0], "other"]):
        path.write_text(json.dumps(description | {"classes": classes}))
        result = medimg("predict", run.root, levels[1].root, "--out", tmp_path / "out.csv")
        assert result.exit_code == 2
        assert f"{path}: names other classes than metrics.json" in result.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": 5}, "its classes are no list of names"),
        ({"classes": "ab"}, "its classes are no list of names"),
        ({"classes": ["a", "a"]}, "its classes are no list of names, each once"),
        ({"classes": ["a", {}]}, "its classes are no list of names"),
        ({"task": "binary", "classes": ["a", "b", "c"]}, "names 3 classes, a binary model has 2"),
        ({"task": "x\ny"}, r"task 'x\\ny' is not one of binary, multiclass, multilabel"),
        ({"task": []}, r"task '\[\]' is not one of"),
    ],
)
def test_a_description_of_no_task_or_classes_is_told_by_its_file(levels, tmp_path, change, words):
    run = Run.load(shutil.copytree(levels[0].root, tmp_path / "run"))
    path = run.root / "model.json"
    path.write_text(json.dumps(run.description() | change))
    with pytest.raises(InputError, match=rf"model\.json: {words}"):
        run.description()


def test_two_at_once_leave_the_file_of_one(levels, tmp_path, monkeypatch):
    run, dataset = levels
    answered, refused = predicting._answered, []

    def again():
        with pytest.raises(InputError, match=r"out\.csv: is being written by"):
            predict(run, (str(dataset.root),), tmp_path / "out.csv", PredictConfig())

    def slow(*arguments):
        # The second is another thread, as it could be another process.
        with ThreadPoolExecutor(1) as other:
            refused.append(other.submit(again).result())
        return answered(*arguments)

    monkeypatch.setattr(predicting, "_answered", slow)
    predict(run, (str(dataset.root),), tmp_path / "out.csv", PredictConfig())
    assert refused
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_what_another_wrote_meanwhile_is_not_replaced(levels, tmp_path, monkeypatch):
    run, dataset = levels
    looked = predicting.familiarity

    def slow(*arguments):
        (tmp_path / "out.csv").write_text("another's")
        return looked(*arguments)

    monkeypatch.setattr(predicting, "familiarity", slow)
    with pytest.raises(InputError, match=r"out\.csv is there already"):
        predict(run, (str(dataset.root),), tmp_path / "out.csv", PredictConfig())
    assert (tmp_path / "out.csv").read_text() == "another's"


@pytest.mark.parametrize(
    ("task", "classes"), [("multiclass", ("a", "b", "c")), ("multilabel", ("a", "b", "c")), ("binary", ("a", "b"))]
)
def test_decisions_are_those_of_evaluate_also_before_it(task, classes, tmp_path):
    dataset = write_data(tmp_path / "data", task, classes, negative="none" if task == "multilabel" else "")
    # Of class c, which no label has, no threshold can be chosen.
    run = write_run(tmp_path / "run", dataset, [6.0, 4.0, 8.0][: len(classes)], [-3.0, -2.5, -4.5][: len(classes)])
    before, told = run_predict(run, tmp_path / "before.csv", dataset.root)
    assert any("The Run has not been evaluated" in note for note in told.notes) == (task != "multiclass")
    evaluate(run, EvaluateConfig(bootstrap=0))
    found, told = run_predict(run, tmp_path / "after.csv", dataset.root)
    assert not any("The Run has not been evaluated" in note for note in told.notes)
    pd.testing.assert_frame_equal(before, found)
    threshold = json.loads((run.root / "metrics.json").read_text())["threshold"]["value"]
    expected = read_csv(run.root / "predictions.csv", keep_default_na=False).set_index("image")
    found = found.set_index("image").loc[expected.index]
    assert found["decision"].tolist() == expected["predicted"].tolist()
    if task == "multilabel":
        assert {"none"} < set(found["decision"])
        assert found["decision"].str.contains("|", regex=False).any()
        assert set(found["threshold"]) == {"|".join(repr(threshold[name]) for name in classes)}
    else:
        assert set(found["threshold"]) == {"" if threshold is None else threshold}
    assert set(found["positive_class"]) == {"b" if task == "binary" else ""}


def test_a_private_run_is_silent_about_those_it_protects(tmp_path):
    dataset = write_data(tmp_path / "data")
    run = write_run(tmp_path / "run", dataset, [0.0, 6.0], [3.0, 0.0])
    run = dataclasses.replace(run, config={**run.config, "options": {**run.config["options"], "dp_epsilon": 3.0}})
    found, done = run_predict(run, tmp_path / "out.csv", dataset.root)
    hidden = found["p_ill"] == ""
    levels = [int(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[0, 0]) for path in dataset.paths(dataset.manifest)]
    trained = set(np.array(levels)[dataset.manifest["split"] == "train"])
    assert hidden.tolist() == [level in trained for level in levels]
    assert len(done.broken) == hidden.sum() > 0
    assert found["warnings"][hidden].str.contains("whom the Run protects").all()
    kept = Familiarity.load(run.root / FILE)
    val = dataset.rows("val")
    assert kept.facts.part == "val"
    assert kept.facts.rows + kept.facts.calibrated_on == len(val)
    # Not one number of it would be another with other training patients.
    for path in dataset.paths(dataset.rows("train")):
        write_png(path, np.full((9, 9, 3), (1, 2, 3), np.uint8))
    (run.root / FILE).unlink()
    run_predict(run, tmp_path / "again.csv", *dataset.paths(val))
    again = Familiarity.load(run.root / FILE)
    assert again.facts == kept.facts
    np.testing.assert_array_equal(again.whitening, kept.whitening)


@pytest.mark.parametrize("world", [20], indirect=True)
def test_maps_lie_beside_the_csv(world, tmp_path):
    source, _, run = world
    files = sorted((source / "bad").iterdir())[:2]
    words = ["predict", run.root, *files, "--out", tmp_path / "out.csv", "--save-maps"]
    result = medimg(*words)
    assert result.exit_code == 0, result.output
    maps = sorted(path.name for path in (tmp_path / "out-maps").iterdir())
    assert maps == [f"00{i}-{file.stem}.{end}" for i, file in enumerate(files) for end in ("npz", "png")]
    with np.load(tmp_path / "out-maps" / maps[0]) as held:
        assert held["heatmap"].shape == (28, 28)
        assert str(held["image"]) == str(files[0])
        assert str(held["class_name"]) == results(tmp_path / "out.csv")["positive_class"][0]
    assert medimg(*words).exit_code == 2
    assert medimg(*words, "--overwrite").exit_code == 0
    (tmp_path / "out-maps" / "mine.txt").touch()
    assert "holds other things than maps" in medimg(*words, "--overwrite").stderr


def test_every_option_is_one_of_the_command():
    names = {parameter.name for parameter in cli.medimg.commands["predict"].params}
    assert {field.name for field in dataclasses.fields(PredictConfig)} | {"out", "overwrite"} <= names
