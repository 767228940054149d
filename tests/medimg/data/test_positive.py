"""Which of two classes is positive: by name, by option for every source, and wherever it is spoken of."""

import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.positive import NORMAL, positive_last
from medimg.errors import InputError
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare
from medimg.sources import SOURCES
from tests import clinical_sources
from tests.command import medimg
from tests.datasets import write_dataset


@pytest.mark.parametrize(
    "names",
    [
        # The normal one, then the positive one.
        ("Normal", "COVID"),
        ("NORMAL", "PNEUMONIA"),
        ("normal, benign", "malignant"),
        ("Benign ", "Malignant"),
        ("No_Finding", "Nodule"),
        ("no", "yes"),
        ("0", "1"),
        ("false", "true"),
        ("healthy-control", "Alzheimer"),
        ("non-COVID", "COVID"),
        ("nonCOVID", "COVID"),
        ("notumor", "glioma"),
        ("Uninfected", "Parasitized"),
        ("unstable angina absent", "unstable angina"),
        ("normal", "abnormal"),
        ("normal", "not normal"),
        ("NEGATIVE", "positive"),
        ("class_0", "class_1"),
        ("without stone", "stone"),
        ("None", "Caries"),
        ("Healthy", "Unhealthy"),
        ("benign", "nonbenign"),
    ],
)
def test_the_class_that_is_not_called_normal_is_positive(names):
    for listed in (names, names[::-1]):
        assert positive_last("binary", listed, None) == (names, [])
        assert positive_last("binary", listed, names[0])[0] == names[::-1]


@pytest.mark.parametrize("names", [("a", "b"), ("benign", "normal"), ("COVID", "Pneumonia"), ("Noise", "Nodule")])
def test_names_that_do_not_tell_leave_the_order_and_say_so(names):
    classes, notes = positive_last("binary", names, None)
    assert classes == names
    assert f"'{names[1]}' counts as positive" in notes[0]
    assert "--positive" in notes[0]


def test_more_classes_have_no_positive_one():
    for task in ("multiclass", "multilabel"):
        assert positive_last(task, ("b", "Normal", "a"), None) == (("b", "Normal", "a"), [])
        with pytest.raises(InputError, match=f"--positive a: the labels are 3 classes .{task}.; only one of two"):
            positive_last(task, ("b", "Normal", "a"), "a")


def test_names_are_found_however_they_are_written_but_never_guessed():
    assert positive_last("binary", ("1", "2"), "1.0")[0] == ("2", "1")
    assert positive_last("binary", ("Lung_Mass", "x"), "lung-mass")[0] == ("x", "Lung_Mass")
    for name in ("ma", "", "mass x"):
        with pytest.raises(InputError, match="is no class; there are mass and Mass"):
            positive_last("binary", ("mass", "Mass"), name)
    assert positive_last("binary", ("mass", "Mass"), "mass")[0] == ("Mass", "mass")
    with pytest.raises(InputError, match="MASS: is no class"):
        positive_last("binary", ("mass", "Mass"), "MASS")


def test_the_words_are_those_of_the_docs(request):
    text = (request.config.rootpath / "docs" / "data.md").read_text()
    told = re.search(r"called normal \(([^)]+)\)", text)[1]
    assert set(re.findall(r"\w+", told)) == NORMAL


# --- every source


def _pictures(root, names=("Malignant", "Normal"), suffix="png"):
    for i in range(12):
        path = root / names[i % 2] / f"ISIC_{i:07d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(i).integers(0, 256, (6, 6), np.uint8))
    return root


def _csv(root):
    _pictures(root)
    files = sorted(root.rglob("*.png"))
    rows = [(file.relative_to(root), file.parent.name) for file in files]
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(root / "table.csv", index=False)
    return root / "table.csv"


def _medmnist(root):
    images = np.random.default_rng(0).integers(0, 256, (18, 5, 5), np.uint8)
    parts = {}
    for i, part in enumerate(("train", "val", "test")):
        parts |= {f"{part}_images": images[6 * i : 6 * i + 6], f"{part}_labels": np.array([[0], [1]] * 3, np.uint8)}
    np.savez_compressed(root / "breastmnist.npz", **parts)
    return root / "breastmnist.npz"


def _heart(root):
    rows = [f"{40 + i},1,{1 + i % 4},{120 + i},{200 + i},0,2,150,0,2.3,3,0,6,{i % 2}" for i in range(24)]
    (root / "processed.va.data").write_text("\n".join(rows) + "\n")
    return root


def _table(root):
    rows = {"age": np.arange(24) + 0.5, "label": ["ill", "healthy"] * 12}
    pd.DataFrame(rows).to_csv(root / "t.csv", index=False)
    return root / "t.csv"


def _nih(root):
    cv2.imwrite(str(root / "1_0.png"), np.zeros((4, 4), np.uint8))
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    (root / "Data_Entry_2017.csv").write_text(f"{head}\n1_0.png,Mass,0,1,58,M,PA\n")
    return root


def _clinical(write):
    """Of the words of `prepare` the path, and the options that go with it."""

    def build(root):
        options = write(root)
        return [root, *(word for name, value in options.items() for word in (f"--{name}", value))]

    return build


# Source -> its small files, and its classes (negative, positive); None where it has more than two.
BUILT = {
    "folder": (_pictures, ("Normal", "Malignant")),
    "csv": (_csv, ("Normal", "Malignant")),
    "medmnist": (_medmnist, ("normal, benign", "malignant")),
    "chestxray14": (_nih, None),
    "isic": (lambda root: _pictures(root, suffix="jpg"), ("Normal", "Malignant")),
    "heart": (_heart, ("healthy", "disease")),
    "table": (_table, ("healthy", "ill")),
    "phantom": (lambda root: [], ("normal", "opacity")),
    "dicom": (_clinical(clinical_sources.dicom), ("a", "b")),
    "nifti": (_clinical(clinical_sources.nifti), ("a", "b")),
    "brats": (_clinical(clinical_sources.brats), ("no tumour", "tumour")),
    "deeplesion": (_clinical(clinical_sources.deeplesion), ("liver", "lung")),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_takes_a_positive_class_and_refuses_an_unknown_one(source, tmp_path):
    build, names = BUILT[source]
    (tmp_path / "in").mkdir()
    built = build(tmp_path / "in")
    drawing = ["--patients", "16", "--phantom-size", "32", "--opacity-size", "0.15"] if source == "phantom" else []
    words = [
        "data",
        "prepare",
        source,
        *(built if isinstance(built, list) else [built]),
        *drawing,
        "--on-duplicates",
        "group",
    ]
    refused = medimg(*words, "--out", tmp_path / "no", "--positive", "zebra")
    assert refused.exit_code == 2
    assert "--positive zebra: " in refused.output
    assert not (tmp_path / "no").exists()
    if names is None:
        assert "only one of two can be positive" in refused.output
        return
    listed = None
    for number, (given, wanted) in enumerate([([], names), (names[:1], names[::-1]), (names[1:], names)]):
        out = tmp_path / str(number)
        prepared = medimg(*words, "--out", out, *(["--positive", *given] if given else []))
        assert prepared.exit_code == 0, prepared.output
        assert f"positive class: {wanted[1]}\n" in prepared.output
        stored = yaml.safe_load((out / "dataset.yaml").read_text())
        assert stored["positive"] == wanted[1]
        # The file's order is the source's, whatever is positive.
        listed = listed or stored["classes"]
        assert stored["classes"] == listed
        dataset = Dataset.load(out)
        assert (dataset.classes, dataset.positive) == (wanted, wanted[1])
        rows = dataset.rows()
        assert ((dataset.targets(rows) == 1) == (rows["label"] == wanted[1])).all()


def test_the_walk_is_over_all_sources():
    assert set(BUILT) == set(SOURCES)


def test_another_positive_class_is_another_dataset(tmp_path):
    drawing = PhantomConfig(patients=16, phantom_size=32, opacity_size=0.15)
    prepare("phantom", None, tmp_path / "d", PrepareConfig(), drawing)
    with pytest.raises(InputError, match="holds another Dataset"):
        prepare("phantom", None, tmp_path / "d", PrepareConfig(positive="normal"), drawing)
    changed = prepare("phantom", None, tmp_path / "d", PrepareConfig(positive="normal"), drawing, overwrite=True)
    assert changed.classes == ("opacity", "normal")


def test_old_datasets_keep_theirs_and_a_wrong_field_is_named(tmp_path):
    write_dataset(tmp_path / "old", n=8, size=4, classes=("COVID", "Normal"))
    path = tmp_path / "old" / "dataset.yaml"
    content = yaml.safe_load(path.read_text())
    assert content.pop("positive") == "Normal"
    path.write_text(yaml.safe_dump(content))
    old = Dataset.load(path.parent)
    assert (old.classes, old.positive) == (("COVID", "Normal"), "Normal")
    path.write_text(yaml.safe_dump({**content, "positive": "COVID"}))
    assert Dataset.load(path.parent).classes == ("Normal", "COVID")
    assert Dataset.load(path.parent).fingerprint() != old.fingerprint()
    path.write_text(yaml.safe_dump({**content, "positive": "flu"}))
    with pytest.raises(InputError, match=r"dataset.yaml: positive 'flu' is not one of two classes"):
        Dataset.load(path.parent)


# --- from prepare to export


def covid_folders(root):
    """Class folders whose abnormal class is the first by name; the brighter images are Normal."""
    for i in range(48):
        name = ("COVID", "Normal")[i % 2]
        draw = np.random.default_rng(i).normal(90 + 60 * (i % 2), 40, (24, 24)).clip(0, 255)
        (root / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name / f"{i:02d}.png"), draw.astype(np.uint8))
    return root


@pytest.mark.slow
def test_covid_is_positive_in_every_command_and_file(tmp_path):
    import tensorflow as tf

    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "served"
    said = "positive class: COVID\n"
    assert said in medimg("data", "prepare", "folder", covid_folders(tmp_path / "in"), "--out", data).output
    small = ["--image-size", "24", "--model-arg", "width=4", "--model-arg", "stages=2", "--epochs", "6"]
    assert said in medimg("train", data, "--out", run, *small).output
    evaluated = medimg("evaluate", run, "--split", "test", "--bootstrap", "50", "--prevalence", "0.1")
    assert said in evaluated.output
    assert "ppv at prevalence 0.1" in evaluated.output
    assert said in medimg("explain", run, "--count", "2", "--score-count", "0").output
    exported = medimg("export", run, "--out", out, "--samples", "2")
    assert said in exported.output
    assert "COVID is called from a probability of" in exported.output

    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "predictions.csv")
    assert metrics["positive_class"] == "COVID"
    threshold = metrics["threshold"]["value"]
    assert ((table["p_COVID"] >= threshold) == (table["predicted"] == "COVID")).all()
    ill = table["label"] == "COVID"
    assert metrics["metrics"]["sensitivity"]["value"] == pytest.approx((table["predicted"] == "COVID")[ill].mean())
    assert metrics["metrics"]["brier"]["value"] == pytest.approx(((table["p_COVID"] - ill) ** 2).mean())
    assert metrics["metrics"] == metrics["per_class"]["COVID"]
    page = (run / "report.html").read_text()
    assert "PPV at a prevalence of 0.1" in page
    assert "COVID (the positive class" in page

    (entry, *_) = json.loads((run / "explanations/test/explanations.json").read_text())["gradcam"]
    assert (entry["positive_class"], entry["threshold"]) == ("COVID", threshold)
    kept = np.load(run / "explanations/test" / entry["heatmap"])
    assert str(kept["class_name"]) == "COVID"
    assert float(kept["probability"]) == pytest.approx(entry["positive_probability"])
    assert (entry["predicted"] == "COVID") == (entry["positive_probability"] >= threshold)

    card = (out / "1" / "model_card.md").read_text()
    assert "- Positive class: COVID." in card
    served = tf.saved_model.load(str(out / "1")).signatures["serving_default"]
    files = [(data / name).read_bytes() for name in table["image"]]
    answer = {name: value.numpy() for name, value in served(image_bytes=tf.constant(files)).items()}
    assert set(answer["positive_class"].tolist()) == {b"COVID"}
    np.testing.assert_allclose(answer["positive_probability"], table["p_COVID"], atol=1e-5)
    np.testing.assert_allclose(answer["threshold"], np.full(len(files), threshold), rtol=1e-6)
    assert [name.decode() for name in answer["label"]] == table["predicted"].tolist()
