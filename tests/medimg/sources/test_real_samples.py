"""Every real sample to the end, a few files of each: prepared, trained, evaluated, explained, exported with parity."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from explain.config import ExplainConfig
from explain.explain import explain
from medimg.config import PrepareConfig, TrainConfig
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.preparation.prepare import prepare
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.train import train

KERMANY = r"(person\d+|.*IM-\d+)"
HALVES = {"split": "50/25/25"}


def some(source: Path, target: Path, count: int) -> None:
    """The first files of each folder, spread over it, where they would lie."""
    for folder in {path.parent for path in source.rglob("*") if path.is_file()}:
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".txt")
        for path in files[:: max(1, len(files) // count)][:count]:
            copied(path, target / path.relative_to(source))


def copied(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def kermany(data, folder):
    some(data / "kermany_chest_xray_224" / "chest_xray", folder, 12)
    return "folder", {"split": "official", "patient_pattern": KERMANY}


def kermany_native(data, folder):
    some(data / "kermany_chest_xray_native" / "chest_xray" / "train", folder, 8)
    return "folder", {**HALVES, "patient_pattern": KERMANY, "image_size": 64}


def brain_mri(data, folder):
    some(data / "brain_mri" / "brain_tumor_dataset", folder, 12)
    return "folder", {**HALVES, "image_size": 64}


def brain_mri_of_four_classes(data, folder):
    some(data / "brain_mri" / "brain_tumor_mri_4class", folder, 6)
    return "folder", {"split": "official", "on_duplicates": "drop"}


def pocus_ultrasound(data, folder):
    for path in sorted((data / "pocus_ultrasound").rglob("*.*g")):
        copied(path, folder / path.name.split("_")[0] / path.name)
    return "folder", {**HALVES, "image_size": 64}


def covid_cxr(data, folder):
    """Against the one set of healthy chests that is there."""
    for path in sorted((data / "covid_cxr").rglob("*.jp*g"))[::2]:
        copied(path, folder / "COVID-19" / path.name)
    some(data / "kermany_chest_xray_224" / "chest_xray" / "train" / "NORMAL", folder / "normal", 16)
    return "folder", {**HALVES, "image_size": 64}


def brats(data, folder):
    """Of the one patient four, whose volumes are every fourth slice of hers."""
    for path in sorted((data / "brats").rglob("*.nii.gz")):
        volume = nibabel.load(path)
        kind = {"fla": "flair", "t1c": "t1ce", "seg": "seg"}.get(path.name.split("_")[1], path.name.split("_")[1])
        for i in range(4):
            name = f"BraTS2021_{i:05d}"
            (folder / name).mkdir(exist_ok=True)
            part = volume.slicer[:, :, i::4]
            nibabel.save(part, folder / name / f"{name}_{kind}.nii.gz")
    return "brats", {**HALVES, "slices": "every:4"}


def deeplesion(data, folder):
    shutil.copytree(data / "deeplesion", folder, dirs_exist_ok=True)
    return "deeplesion", {**HALVES, "image_size": 64}


def dicom(data, folder):
    some(data / "dicom", folder, 99)
    files = sorted(path.name for path in folder.iterdir())
    rows = "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(files))
    (folder.parent / "labels.csv").write_text("path,label\n" + rows)
    return "dicom", {"split": "40/30/30", "labels": str(folder.parent / "labels.csv"), "image_size": 64}


def isic(data, folder):
    some(data / "isic_9class_180", folder, 5)
    return "isic", {"split": "official", "on_duplicates": "drop"}


def nih_chestxray14(data, folder):
    table = pd.read_csv(data / "nih_chestxray14" / "Data_Entry_2017_images_64px.csv", dtype=str)
    table = table.iloc[::6]
    for name in table["Image Index"]:
        copied(data / "nih_chestxray14" / "images_64px" / name, folder / "images" / name)
    table.to_csv(folder / "Data_Entry_2017.csv", index=False)
    return "chestxray14", {}


def medmnist(name: str):
    def sample(data, folder):
        with np.load(data / "medmnist" / f"{name}.npz") as arrays:
            np.savez(folder / f"{name}.npz", **{part: values[:40] for part, values in arrays.items()})
        return "medmnist", {}

    sample.__name__ = name
    return sample


def heart_disease(data, folder):
    some(data / "heart_disease", folder, 99)
    return "heart", {}


SAMPLES = [
    kermany, kermany_native, brain_mri, brain_mri_of_four_classes, pocus_ultrasound, covid_cxr, brats, deeplesion,
    dicom, isic, nih_chestxray14, medmnist("pneumoniamnist"), medmnist("breastmnist"), heart_disease,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_to_the_end(medical_data, tmp_path, sample):
    folder = tmp_path / "source"
    folder.mkdir()
    source, options = sample(medical_data, folder)
    place = next(folder.glob("*.npz"), folder)
    dataset = prepare(source, place, tmp_path / "data", PrepareConfig(**options))
    counts = dataset.manifest[dataset.manifest["label"] != ""]["split"].value_counts()
    assert set(counts.index) == {"train", "val", "test"}
    assert dataset.manifest.groupby("patient")["split"].nunique().max() == 1
    tiny = {"model": "logistic"} if dataset.is_table else {"image_size": 32, "model_arg": {"width": "4", "stages": "1"}}
    run = train(dataset.root, tmp_path / "run", TrainConfig(epochs=1, **tiny))
    metrics = evaluate(run, EvaluateConfig(bootstrap=5))
    assert metrics["n"] == counts["test"]
    assert 0 <= metrics["metrics"]["brier"]["value"] <= 2
    quick = {} if dataset.is_table else {"score_count": 4, "mistakes": 0, "appearance_count": 0}
    explained = explain(run, ExplainConfig(count=1, **quick))
    assert explained["images"] if not dataset.is_table else explained
    # Refused where reloaded, its probabilities differ.
    version = export(run, tmp_path / "served", ExportConfig(samples=2))
    assert "Parity" in (version / "model_card.md").read_text()
