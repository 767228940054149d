"""Two Datasets that differ in one patient, the same secret seed: a step's sum differs by no more than the clip.

Whatever is drawn (patients, their images, dropout, augmentation, class weights) by place instead of by patient shifts
for everybody behind the one who is left out, and the sum moves by many times the clip.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.listener import Listener
from medimg.privacy.clipping import clipped_sum
from medimg.run import Run
from medimg.training.private import PrivateTraining
from medimg.training.train import built, kind_of, train

CLIP = 0.5
# Patients of one, two and three rows: the first, one in the middle, the last of the manifest.
PATIENTS = [f"p{i:02d}" for i in range(25)]
LEFT_OUT = ("p00", "p13", "p24")


def rows_of(patients) -> pd.DataFrame:
    """Patient i has 1 + i % 3 rows, classes in turn; five patients of validation."""
    rows = [
        {"patient": name, "place": place, "split": "train", "label": ("dark", "bright")[i % 2]}
        for i, name in enumerate(PATIENTS)
        for place in range(1 + i % 3)
        if name in patients
    ]
    rows += [{"patient": f"v{i}", "place": 0, "split": "val", "label": ("dark", "bright")[i % 2]} for i in range(6)]
    return pd.DataFrame(rows).assign(site="")


def draw_of(name: str, place: int) -> np.random.Generator:
    """A patient's data are their own, whoever else is there."""
    return np.random.default_rng([place, *name.encode()])


def table(root: Path, patients) -> Dataset:
    rows = rows_of(patients)
    columns = np.stack([draw_of(*row).normal(size=8) for row in zip(rows.patient, rows.place, strict=True)])
    rows.insert(0, "row", rows.patient + "-" + rows.place.astype(str))
    for j in range(8):
        rows[f"x{j}"] = columns[:, j]
    features = tuple(Feature(f"x{j}", "continuous", bound=(-3.0, 3.0)) for j in range(8))
    return saved(root, rows.drop(columns="place"), features)


def images(root: Path, patients) -> Dataset:
    rows = rows_of(patients)
    # Numbered through, as a source may do: leaving a patient out renames the others' files.
    rows.insert(0, "image", [f"images/{i:03d}.png" for i in range(len(rows))])
    (root / "images").mkdir(parents=True)
    for row in rows.itertuples():
        image = draw_of(row.patient, row.place).integers(0, 255, (16, 16), np.uint8)
        cv2.imwrite(str(root / row.image), image)
    return saved(root, rows.drop(columns="place"))


def saved(root: Path, rows: pd.DataFrame, features=()) -> Dataset:
    classes = ("dark", "bright")
    root.mkdir(parents=True, exist_ok=True)
    Dataset(root, "t", "binary", classes, rows.reset_index(drop=True), features=features).save()
    return Dataset.load(root)


def step_sums(dataset: Dataset, root: Path, config: TrainConfig) -> list[np.ndarray]:
    """The noiseless sum of each step of the first epoch, all at the first weights."""
    config = config.resolved(dataset.unit)
    kind = kind_of(dataset)
    description = kind.describe(dataset, config)
    model = built(kind, config, description)
    run = Run.create(root, dataset.root, "train", config.to_dict())
    material = kind.gather(dataset, config, description, root / "cache", lambda *_: None)
    privately = PrivateTraining(run, dataset, config, material, kind.plan(config, model))
    (phase,) = privately.phases
    kind.prepare(model, phase)
    stage = kind.stage(model, phase, material, config, Listener())
    stage = privately.stage(stage, phase, 0, 0)

    def summed(x, y, extra):
        weight = extra.get("weight")
        loss = stage.loss
        return clipped_sum(stage.model, loss, x, y, extra["unit"], CLIP, weight, extra["key"]).gradients

    if not dataset.is_table:
        # Tracing pays where a step is of many parts with convolutions.
        summed = tf.function(summed)
    sums, total = [], 0.0
    for x, y, extra in stage.batches((0, 1)):
        parts = [np.ravel(g) for g in summed(x, y, extra)]
        total = total + np.concatenate(parts).astype(np.float64)
        if extra["last"]:
            sums.append(total)
            total = 0.0
    return sums


TABLE = TrainConfig(
    model="mlp", dropout=0.5, batch_size=23, epochs=1, dp_clip=CLIP, dp_noise_multiplier=1.0, dp_delta=1e-3, dp_seed=3
)
IMAGES = dataclasses.replace(
    TABLE, model="baseline_cnn", model_arg={"width": "4", "stages": "2"}, image_size=16, norm="group"
)
FROZEN = dataclasses.replace(
    IMAGES,
    model="mobilenet",
    model_arg={"alpha": "0.25"},
    norm="batch",
    image_size=32,
    freeze="backbone",
    augment="standard",
    views=2,
)
# A batch of 23 of 25 patients makes two steps a pass, of 5 five, of 24 of 24 one with everybody.
CASES = {
    "dropout": (table, TABLE, {}),
    "shuffled": (table, TABLE, {"dp_sampling": "shuffle", "batch_size": 5}),
    "some rows": (table, TABLE, {"dp_images_per_patient": 1}),
    "class weights": (table, TABLE, {"balance": "class-weight"}),
    "everyone": (table, TABLE, {"batch_size": 24}),
    "light": (images, IMAGES, {"augment": "light", "batch_size": 5}),
    "views": (images, IMAGES, {"augment": "standard", "views": 2, "dp_images_per_patient": 2}),
    "frozen": (images, FROZEN, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_patient_moves_a_steps_sum_by_at_most_the_clip(case, tmp_path):
    make, config, options = CASES[case]
    config = dataclasses.replace(config, **options)
    everyone = PATIENTS[:24] if case == "everyone" else PATIENTS
    reference = step_sums(make(tmp_path / "all", everyone), tmp_path / "run", config)
    moved = []
    for name in [one for one in LEFT_OUT if one in everyone][: 3 if make is table else 2]:
        rest = [other for other in everyone if other != name]
        sizes = {"batch_size": 23} if case == "everyone" else {}
        without = step_sums(make(tmp_path / name, rest), tmp_path / f"run-{name}", dataclasses.replace(config, **sizes))
        assert len(without) == len(reference)
        for one, other in zip(reference, without, strict=True):
            moved.append(np.linalg.norm(one - other) / CLIP)
    # The noisy counts by which classes weigh are private numbers: here of one patient less, with the same noise.
    slack = 0.02 if case == "class weights" else 1e-5
    assert max(moved) <= 1 + slack, moved
    # They were there, and the rest is more than rounding: without this the test could not fail.
    assert max(moved) > 0.2, moved
    assert max(np.linalg.norm(one) for one in reference) > 0.5 * CLIP


def test_an_infinite_value_is_an_absent_patient(tmp_path):
    """A NaN in the sum would be everybody's and tell that the patient was there."""
    dataset = table(tmp_path / "all", PATIENTS)
    broken = dataset.manifest.copy()
    # Within float32, and beyond it once it is scaled and squared.
    broken.loc[broken.patient == "p13", "x3"] = 3e38
    given = dataclasses.replace(dataset, root=tmp_path / "broken", manifest=broken)
    given.root.mkdir()
    given.save()
    config = dataclasses.replace(TABLE, dropout=0.0)
    reference = step_sums(dataset, tmp_path / "a", config)
    for one, other in zip(reference, step_sums(given, tmp_path / "b", config), strict=True):
        assert np.isfinite(other).all()
        assert np.linalg.norm(one - other) <= CLIP * (1 + 1e-5)


def weights_moved(dataset: Dataset, root: Path, config: TrainConfig) -> np.ndarray:
    """What one step of SGD took from the weights, in units of the sum."""
    run = train(dataset.root, root, config)
    resolved = config.resolved(dataset.unit)
    first = built(kind_of(dataset), resolved, run.description()).get_weights()
    moved = zip(first, run.model().get_weights(), strict=True)
    return np.concatenate([np.ravel(a - b) for a, b in moved]) * config.batch_size


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_medimg_train_as_a_whole_keeps_the_bound(dropout, tmp_path):
    """One step of everybody through `train()`, hardly any noise: the sum can be read off the weights."""
    config = dataclasses.replace(TABLE, dropout=dropout, optimizer="sgd", learning_rate=1.0, dp_noise_multiplier=1e-7)
    config = dataclasses.replace(config, batch_size=24)
    dataset = table(tmp_path / "all", PATIENTS[:24])
    found = weights_moved(dataset, tmp_path / "run", config)
    for name in LEFT_OUT[:2]:
        rest = [other for other in PATIENTS[:24] if other != name]
        fewer = dataclasses.replace(config, batch_size=23)
        other = weights_moved(table(tmp_path / name, rest), tmp_path / f"run-{name}", fewer)
        assert 0.2 * CLIP < np.linalg.norm(found - other) <= CLIP * (1 + 1e-4)
