"""Patients held out for the audit: drawn each for itself, and nothing is learnt from them by any kind of training."""

import dataclasses
import json

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from medimg.audit.members import subject
from medimg.comparison.baselines import parts, training_data
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.holdout import HELD_OUT, hold_out, strata
from medimg.data.parts import parts_of
from medimg.data.splits import own_numbers
from medimg.errors import InputError
from medimg.privacy.ledger import read
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.datasets import write_dataset, write_table
from tests.killing import Killed, killed_after

TABLE = TrainConfig(model="mlp", epochs=3, audit_holdout=0.3, select="anova", select_count=3, balance="class-weight")
IMAGES = TrainConfig(
    image_size=16,
    model_arg={"width": "4", "stages": "1"},
    epochs=2,
    batch_size=8,
    audit_holdout=0.3,
    balance="class-weight",
    normalize="pca",
)

PRIVATE = {"dp_epsilon": 3.0, "dp_delta": 1e-3, "dp_seed": 0, "norm": "group", "normalize": "none", "balance": "none"}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Dataset:
    return write_table(tmp_path_factory.mktemp("holdout") / "data", n=300)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Dataset:
    return write_dataset(tmp_path_factory.mktemp("holdout") / "images", n=120, size=16)


def learnt(run: Run) -> tuple:
    """All that a training leaves but times."""
    history = run.history().drop(columns=["seconds", "val_seconds"], errors="ignore")
    weights = [array.tobytes() for array in run.model().get_weights()]
    return weights, run.description(), history.to_csv()


def copied(dataset: Dataset, root) -> Dataset:
    moved = dataclasses.replace(dataset, root=root)
    if not dataset.is_table:
        for source, target in zip(dataset.paths(dataset.manifest), moved.paths(moved.manifest), strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    moved.save()
    return moved


def spoiled(dataset: Dataset, patients: set, root) -> Dataset:
    """The same Dataset, where the rows or images of these patients hold nonsense."""
    dataset = copied(dataset, root)
    theirs = dataset.manifest["patient"].isin(patients)
    draw = np.random.default_rng(5)
    if not dataset.is_table:
        for path in dataset.paths(dataset.manifest[theirs]):
            cv2.imwrite(str(path), draw.integers(0, 256, (16, 16, 3), np.uint8))
        return dataset
    manifest = dataset.manifest.copy()
    for feature in dataset.features:
        if feature.type == "continuous":
            manifest.loc[theirs, feature.name] = 1e4 * draw.normal(size=theirs.sum())
    dataset = dataclasses.replace(dataset, manifest=manifest)
    dataset.save()
    return Dataset.load(root)


def held(run: Run) -> set:
    return set(run.dataset().rows(HELD_OUT)["patient"])


def test_whole_patients_of_train_and_nobody_else(table):
    found = hold_out(table, 0.2, 3)
    before, after = table.manifest, found.manifest
    moved = after["split"] == HELD_OUT
    assert (before.loc[moved, "split"] == "train").all()
    assert after[~moved].equals(before[~moved])
    assert not set(after.loc[moved, "patient"]) & set(after.loc[~moved, "patient"])
    patients = before.loc[before["split"] == "train", "patient"].nunique()
    count = after.loc[moved, "patient"].nunique()
    assert abs(count - 0.2 * patients) < 4 * np.sqrt(0.16 * patients)
    assert hold_out(table, 0.2, 3).fingerprint() == found.fingerprint()
    assert hold_out(table, 0.2, 4).fingerprint() != found.fingerprint()


def test_a_patient_moves_nobody_else_in_or_out(table):
    whole = hold_out(table, 0.2, 0).manifest.set_index("row")["split"]
    for patient in table.rows("train")["patient"].unique()[:40]:
        rest = table.manifest[table.manifest["patient"] != patient]
        without = hold_out(dataclasses.replace(table, manifest=rest), 0.2, 0)
        alone = without.manifest.set_index("row")["split"]
        assert (alone == whole[alone.index]).all()


def test_each_patient_has_the_same_chance():
    names = np.array([f"p{i}" for i in range(200)])
    drawn = np.array([own_numbers(names, seed, "audit-holdout") for seed in range(400)])
    assert abs((drawn < 0.1).mean() - 0.1) < 0.005
    # No patient is favoured, and no two go together: 400 draws of chance 0.1 have a deviation of 0.015.
    assert abs((drawn < 0.1).mean(axis=0) - 0.1).max() < 0.075
    assert abs(np.corrcoef(drawn.T) - np.eye(200)).max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("private", [False, True])
def test_nothing_is_learnt_from_images_held_out(images, tmp_path, private):
    config = dataclasses.replace(IMAGES, **PRIVATE) if private else IMAGES
    run = train(images.root, tmp_path / "run", config)
    patients = held(run)
    assert 8 <= len(patients) < 30
    other = spoiled(images, patients, tmp_path / "spoiled")
    again = train(other.root, tmp_path / "again", config)
    assert held(again) == patients
    assert learnt(again) == learnt(run)
    if private:
        trained_on = run.dataset().rows("train", labelled=True)["patient"].nunique()
        assert trained_on == 60 - len(patients)
        # A pass is of those alone.
        assert read(run.root)["steps"] == config.epochs * -(-trained_on // config.batch_size)
        return
    # The same nonsense in those who are learnt from shows at once.
    everybody = dataclasses.replace(config, audit_holdout=0.0)
    assert learnt(train(images.root, tmp_path / "all", everybody)) != learnt(
        train(other.root, tmp_path / "all-spoiled", everybody)
    )


@pytest.mark.slow
@pytest.mark.parametrize("folds", [{}, {"folds": 3, "fold": 2}])
def test_nothing_is_learnt_from_rows_held_out(table, tmp_path, folds):
    config = dataclasses.replace(TABLE, **folds)
    run = train(table.root, tmp_path / "run", config)
    other = spoiled(table, held(run), tmp_path / "spoiled")
    again = train(other.root, tmp_path / "again", config)
    assert held(again) == held(run)
    assert learnt(again) == learnt(run)


@pytest.mark.slow
def test_frozen_features_are_of_the_others(images, tmp_path):
    config = TrainConfig(
        model="mobilenet", model_arg={"alpha": "0.25"}, image_size=32, freeze="backbone", epochs=2, audit_holdout=0.3
    )
    run = train(images.root, tmp_path / "run", config)
    other = spoiled(images, held(run), tmp_path / "spoiled")
    assert learnt(train(other.root, tmp_path / "again", config)) == learnt(run)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_draw(table, tmp_path):
    whole = train(table.root, tmp_path / "whole", TABLE)
    with pytest.raises(Killed):
        train(table.root, tmp_path / "run", TABLE, listener=killed_after(2))
    run = train(table.root, tmp_path / "run", TABLE, resume=True)
    assert held(run) == held(whole)
    assert learnt(run) == learnt(whole)
    with pytest.raises(InputError, match="has changed since this Run began"):
        train(table.root, tmp_path / "run", dataclasses.replace(TABLE, audit_holdout=0.2), resume=True)


@pytest.mark.slow
def test_every_fold_holds_out_its_own(table, tmp_path):
    config = dataclasses.replace(TABLE, folds=3, epochs=1)
    cross_validate(table.root, tmp_path / "cv", config)
    for number in (1, 2, 3):
        run = Run.load(tmp_path / "cv" / f"fold-{number}")
        dataset = run.dataset()
        assert run.environment()["data_fingerprint"] == dataset.fingerprint()
        assert len(held(run)) >= 8
        assert not held(run) & set(dataset.rows("test")["patient"])
    # What the Run is compared with learns from the same rows.
    whole = Run.load(tmp_path / "cv")
    for run, dataset in parts(whole, training_data(whole)):
        assert dataset.fingerprint() == run.environment()["data_fingerprint"]
    single = Run.load(tmp_path / "cv" / "fold-1")
    (only,) = parts(single, training_data(single))
    assert only[1].fingerprint() == single.environment()["data_fingerprint"]


def test_older_runs_hold_nobody_out(table):
    assert parts_of(table, {}) is table
    assert parts_of(table, {"folds": 3, "audit_holdout": 0.2}) is table


def test_an_image_of_two_patients_is_no_leak(images, tmp_path):
    dataset = copied(images, tmp_path / "data")
    drawn = set(hold_out(dataset, 0.3, 0).rows(HELD_OUT)["patient"])
    rows = dataset.rows("train")
    rows = rows[rows["label"] == "dark"]
    one, two = (rows[rows["patient"].isin(drawn) == inside].iloc[0] for inside in (True, False))
    (dataset.root / one["image"]).write_bytes((dataset.root / two["image"]).read_bytes())
    run = train(dataset.root, tmp_path / "run", IMAGES)
    assert one["patient"] in held(run)
    found = subject(run)
    assert not {one["patient"], two["patient"]} & set(found.patients)
    assert any("2 patients share an image" in note for note in found.notes)


def test_strata_are_all_labels_of_a_patient():
    rows = pd.DataFrame({"patient": ["a", "a", "b", "a"], "label": ["y", "x", "x", "y"]})
    assert strata(rows).to_dict() == {"a": "x + y", "b": "x"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audit_holdout": 0.01}, r"--audit-holdout 0.01: holds out \d of the .*give about"),
        ({"extra": "anything"}, "--audit-holdout: not with --extra"),
    ],
)
def test_what_can_not_be(table, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train(table.root, tmp_path / "run", dataclasses.replace(TABLE, **options))
    assert not (tmp_path / "run").exists()


def test_a_class_is_not_held_out_as_a_whole(table, tmp_path):
    manifest = table.manifest.copy()
    drawn = hold_out(table, 0.3, 0).rows(HELD_OUT)["patient"].unique()
    rows = manifest["patient"].isin(drawn[:2]) & (manifest["split"] == "train")
    manifest.loc[rows, "label"] = "rare"
    three = dataclasses.replace(table, task="multiclass", classes=(*table.classes, "rare"), manifest=manifest)
    with pytest.raises(InputError, match="holds out every training patient of class 'rare'"):
        hold_out(three, 0.3, 0)


@pytest.mark.slow
def test_weights_that_have_seen_the_held_out(images, tmp_path):
    small = dataclasses.replace(IMAGES, normalize="none", epochs=1)
    seen = train(images.root, tmp_path / "seen", dataclasses.replace(small, audit_holdout=0.0))
    middle = train(
        images.root, tmp_path / "middle", dataclasses.replace(small, audit_holdout=0.0, weights=str(seen.root))
    )
    for start in (seen, middle):
        with pytest.raises(InputError, match=r"--weights .* learnt from \d+ of the \d+ patients"):
            train(images.root, tmp_path / "no", dataclasses.replace(small, weights=str(start.root)))
    clean = train(images.root, tmp_path / "clean", small)
    config = dataclasses.replace(small, weights=str(clean.root))
    run = train(images.root, tmp_path / "yes", config)
    assert held(run) == held(clean)
    # A chain is followed to its beginning.
    config = json.loads(json.dumps(clean.config))
    config["options"]["weights"] = str(seen.root)
    (clean.root / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="learnt from"):
        train(images.root, tmp_path / "no", dataclasses.replace(small, weights=str(clean.root)))


def test_options_of_privacy_do_not_change_who_is_held_out(table):
    options = TABLE.to_dict()
    private = dataclasses.replace(TABLE, dp_epsilon=1.0).to_dict()
    assert parts_of(table, private).fingerprint() == parts_of(table, options).fingerprint()
