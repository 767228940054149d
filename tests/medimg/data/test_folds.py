"""Folds: every patient tested once, never learnt from in that fold; sites and classes in every fold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medimg.data.folds import in_fold
from medimg.data.parts import parts_of
from medimg.errors import InputError
from tests.datasets import write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("folds") / "data", n=300)


def test_every_patient_is_tested_once_and_only_there(table):
    tested = []
    for fold in range(1, 6):
        part = in_fold(table, 5, fold, seed=3)
        assert part.manifest.groupby("patient")["split"].nunique().max() == 1
        assert set(part.manifest["split"]) == {"train", "val", "test"}
        tested += part.rows("test")["row"].tolist()
    assert sorted(tested) == sorted(table.manifest["row"])


def test_sites_and_classes_are_spread_over_the_folds(table):
    strata = table.manifest["site"] + table.manifest["label"]
    expected = strata.value_counts() / 5
    for fold in range(1, 6):
        found = strata[in_fold(table, 5, fold, seed=0).manifest["split"] == "test"].value_counts()
        # Patients of two rows may carry both classes, so a stratum can be off by a patient or two.
        assert (found - expected).abs().max() <= 4


def test_folds_depend_on_the_seed_alone(table):
    splits = [in_fold(table, 4, 2, seed).manifest["split"] for seed in (7, 7, 8)]
    assert splits[0].equals(splits[1])
    assert not splits[0].equals(splits[2])


def test_rows_of_a_tested_patient_without_label_are_not_learnt_from(tmp_path):
    table = write_table(tmp_path / "data", n=120)
    first = table.manifest["patient"] == "p0"
    table.manifest.loc[table.manifest.index[first][0], "label"] = ""
    for fold in range(1, 4):
        part = in_fold(table, 3, fold, 0).manifest
        assert part.loc[first, "split"].nunique() == 1


@pytest.mark.parametrize(("folds", "fold", "words"), [(1, 1, "--folds 1"), (3, 4, "--fold 4"), (200, 1, "use fewer")])
def test_impossible_folds_are_refused(table, folds, fold, words):
    with pytest.raises(InputError, match=words):
        in_fold(table, folds, fold, 0)


def test_no_fold_is_the_dataset_itself(table):
    assert in_fold(table, 0, 0, 0) is table
    assert in_fold(table, 5, 0, 0) is table


def test_a_class_of_few_patients_is_in_every_fold():
    from medimg.data.splits import assign_groups

    labels = ["rare"] * 4 + ["common"] * 60
    where = assign_groups(labels, np.arange(64), np.full(4, 0.25), range(4), seed=1)
    counts = pd.crosstab(pd.Series(labels), pd.Series(where))
    assert counts.loc["rare"].tolist() == [1, 1, 1, 1]
    assert counts.loc["common"].tolist() == [15, 15, 15, 15]


def test_folds_of_a_private_training_are_no_other_patients_matter(table):
    options = {"folds": 3, "seed": 1, "dp_epsilon": 2.0}
    patients = table.manifest["patient"]
    tested = []
    for fold in (1, 2, 3):
        whole = parts_of(table, {**options, "fold": fold}).manifest
        tested.append(set(whole.loc[whole["split"] == "test", "patient"]))
        for left_out in patients.unique()[::9]:
            rest = dataclasses.replace(table, manifest=table.manifest[patients != left_out])
            alone = parts_of(rest, {**options, "fold": fold}).manifest
            assert (alone["split"] == whole.loc[alone.index, "split"]).all()
        assert set(whole["split"]) == {"train", "val", "test"}
        assert whole.groupby("patient")["split"].nunique().max() == 1
    assert set().union(*tested) == set(patients)
    assert sum(map(len, tested)) == patients.nunique()
