"""The gate, against brute force over the files."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.data.leakage import find_leakage, require_no_leakage
from medimg.errors import InputError
from medimg.preparation.prepare import prepare


@pytest.fixture
def dataset(tmp_path):
    """No leakage: 40 different images of 20 patients."""
    draw = np.random.default_rng(0)
    rows = []
    for i in range(40):
        cv2.imwrite(str(tmp_path / f"{i:02d}.png"), draw.integers(0, 256, (6, 6), np.uint8))
        rows.append((f"{i:02d}.png", "ab"[i // 2 % 2], f"p{i // 2}"))
    pd.DataFrame(rows, columns=["image", "label", "patient"]).to_csv(tmp_path / "t.csv", index=False)
    return prepare("csv", tmp_path / "t.csv", tmp_path / "data", PrepareConfig())


def changed(dataset: Dataset, column: str, row: int, value: str) -> Dataset:
    dataset.manifest.loc[row, column] = value
    dataset.save()
    return Dataset.load(dataset.root)


def copied(dataset: Dataset, source: int, target: int) -> None:
    """Put the image of one row in the place of another's, as a user's script might."""
    paths = dataset.paths(dataset.manifest)
    paths[target].write_bytes(paths[source].read_bytes())


def row_of(dataset: Dataset, split: str, label: str) -> int:
    rows = dataset.manifest
    return int(rows.index[(rows["split"] == split) & (rows["label"] == label)][0])


def brute_force(dataset: Dataset) -> tuple[set, set]:
    images = [read_image(path) for path in dataset.paths(dataset.manifest)]
    rows = dataset.manifest
    across, conflicts = set(), set()
    for i, j in itertools.combinations(range(len(rows)), 2):
        if np.array_equal(images[i], images[j]):
            if rows["split"][i] != rows["split"][j]:
                across.add((rows["image"][i], rows["image"][j]))
            if rows["label"][i] != rows["label"][j]:
                conflicts.add((rows["image"][i], rows["image"][j]))
    return across, conflicts


def test_a_prepared_dataset_has_none(dataset):
    assert not find_leakage(dataset)
    assert find_leakage(dataset).problems() == []
    require_no_leakage(dataset)


def test_a_patient_in_two_parts_is_named(dataset):
    train, test = row_of(dataset, "train", "a"), row_of(dataset, "test", "a")
    leaky = changed(dataset, "patient", test, dataset.manifest["patient"][train])
    found = find_leakage(leaky)
    assert [leak.name for leak in found.patients] == [dataset.manifest["patient"][train]]
    assert set(found.patients[0].splits) == {"train", "test"}
    assert not found.images
    with pytest.raises(InputError, match=r"1 patients are in more than one part: p[0-9]+ .*data inspect"):
        require_no_leakage(leaky)


@pytest.mark.parametrize("hashes", [True, False])
def test_copies_are_found_in_the_files_whatever_the_manifest_says(dataset, hashes):
    copied(dataset, row_of(dataset, "train", "a"), row_of(dataset, "test", "a"))
    copied(dataset, row_of(dataset, "train", "b"), row_of(dataset, "val", "a"))
    if not hashes:
        dataset.manifest.drop(columns=["pixels", "bytes"], inplace=True)
    found = find_leakage(dataset)
    across, conflicts = brute_force(dataset)
    assert {leak.files for leak in found.images} == across
    assert len(across) == 2
    assert {leak.files for leak in found.conflicts} == conflicts
    assert len(conflicts) == 1
    with pytest.raises(InputError, match=r"2 groups of identical images are in more than one part.*1 groups .*labels"):
        require_no_leakage(dataset)


def test_the_same_pixels_in_another_file_format_are_identical(dataset):
    train, test = row_of(dataset, "train", "a"), row_of(dataset, "test", "a")
    paths = dataset.paths(dataset.manifest)
    image = read_image(paths[train])
    cv2.imwrite(str(paths[test]), np.repeat(image[:, :, None], 3, 2), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert len(find_leakage(dataset).images) == 1


def test_conflicts_within_one_part_count_and_unlabelled_images_do_not(dataset):
    first, second = row_of(dataset, "train", "a"), row_of(dataset, "train", "b")
    copied(dataset, first, second)
    assert len(find_leakage(dataset).conflicts) == 1
    assert not find_leakage(dataset).images
    assert not find_leakage(changed(dataset, "label", second, ""))


def test_missing_and_broken_files_are_named_by_row(dataset):
    paths = dataset.paths(dataset.manifest)
    paths[3].unlink()
    paths[7].write_bytes(b"")
    with pytest.raises(InputError, match=r"manifest\.csv row 5: .*03\.png.*and 1 more files"):
        require_no_leakage(dataset)


def test_leakage_of_a_table_is_by_patients(small_table):
    assert not find_leakage(small_table)
    require_no_leakage(small_table)
    manifest = small_table.manifest.copy()
    manifest.loc[0, "split"] = "test"
    leaky = replace(small_table, manifest=manifest)
    found = find_leakage(leaky)
    assert [leak.name for leak in found.patients] == ["p0"]
    assert not found.images
    with pytest.raises(InputError, match=r"1 patients are in more than one part: p0 \(r0 in test = r1 in train\)"):
        require_no_leakage(leaky)
