"""Dataset: its fingerprint, and how a synthetic one says so."""

import hashlib
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from medimg.data.dataset import Dataset


@pytest.fixture
def dataset(tmp_path):
    rows = [("a.png", "ill", "p1", "s1", "train"), ("b.png", "well", "p2", "s1", "test")]
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    return Dataset(tmp_path, "small", "binary", ("well", "ill"), manifest)


def test_the_fingerprint_is_of_task_classes_and_manifest_alone(dataset):
    text = "image,label,patient,site,split\na.png,ill,p1,s1,train\nb.png,well,p2,s1,test\n"
    expected = hashlib.sha256(b"binary|well|ill" + text.encode()).hexdigest()
    for same in (dataset, replace(dataset, synthetic=True), replace(dataset, name="other")):
        assert same.fingerprint() == expected
    assert replace(dataset, classes=("ill", "well")).fingerprint() != expected


def test_a_synthetic_dataset_says_so_first_and_a_real_one_says_nothing(dataset):
    dataset.save()
    assert "synthetic" not in yaml.safe_load((dataset.root / "dataset.yaml").read_text())
    assert not Dataset.load(dataset.root).synthetic
    replace(dataset, synthetic=True).save()
    assert (dataset.root / "dataset.yaml").read_text().startswith("synthetic: true\nname: small\n")
    assert Dataset.load(dataset.root).synthetic


@pytest.mark.parametrize(("preparation", "told"), [(True, True), (False, False), (None, False)])
def test_older_folders_say_it_in_their_preparation(dataset, preparation, told):
    known = {} if preparation is None else {"synthetic": preparation}
    replace(dataset, preparation=known).save()
    loaded = Dataset.load(dataset.root)
    assert loaded.synthetic is told
    assert loaded.preparation == known
