"""What a private training leaves behind tells nothing of a patient but by its noise.

Two Datasets differ in one patient who has everything that gives a patient away, and whom no step happens to draw: then
the weights are the same, and whatever else differs in any file that is left has come another way.
"""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.preparation.prepare import prepare
from medimg.privacy.ledger import read
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from medimg.training.train import train

# Every pixel that is left is compared.
pytestmark = pytest.mark.final_figures

ODD = "patient-zq"
# Not secret and not of a patient: who ran it when, and how long validation took.
TIMES_AND_NAMES = ("run", "seconds", "val_seconds", "created", "date", "trace")
WORDS = ("lighthouse", "104.7", ODD)


def table(root: Path, odd: bool) -> Dataset:
    """A CSV of sixty patients, prepared; the odd one has a category, an extreme and a missing value alone."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "patient": [f"p{i:02d}" for i in range(60)],
            "split": ["train"] * 38 + ["val"] * 12 + ["test"] * 10,
            "label": [("ill", "well")[i % 2] for i in range(60)],
            "age": draw.normal(50, 10, 60).round(1),
            "job": draw.choice(["nurse", "clerk"], 60),
            "marker": draw.normal(0, 1, 60).round(2),
            "grade": draw.integers(1, 4, 60),
        }
    )
    if odd:
        rows.loc[60] = [ODD, "train", "ill", 104.7, "lighthouse keeper", np.nan, 2]
    root.mkdir(parents=True, exist_ok=True)
    rows.to_csv(root / "rows.csv", index=False)
    options = PrepareConfig(split="official", column_type={"grade": "continuous"})
    return prepare("table", root / "rows.csv", root / "data", options)


def images(root: Path, odd: bool) -> Dataset:
    """Small grey images; the odd patient has five, large, of colour and sixteen bits."""
    draw = np.random.default_rng(0)
    (root / "data/images").mkdir(parents=True)
    rows = []
    for i in range(36):
        name = f"images/{i:02d}.png"
        cv2.imwrite(str(root / "data" / name), draw.integers(0, 255, (16, 16), np.uint8))
        split = "train" if i < 24 else "val" if i < 30 else "test"
        rows.append((name, ("ill", "well")[i % 2], f"p{i:02d}", "", split))
    for i in range(5 if odd else 0):
        name = f"images/odd-{i}.png"
        cv2.imwrite(str(root / "data" / name), draw.integers(0, 2**16, (24, 30, 3), np.uint16))
        rows.append((name, "ill", ODD, "", "train"))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    Dataset(root / "data", "scan", "binary", ("ill", "well"), manifest).save()
    return Dataset.load(root / "data")


PRIVATE = {"dp_epsilon": 2.0, "dp_delta": 1e-3, "epochs": 1}
TABLE = TrainConfig(
    optimizer="adam",
    **PRIVATE,
    model="mlp",
    batch_size=8,
    balance="none",
    dp_seed=0,
    bound={"age": "18:110", "marker": "-4:4", "grade": "1:3"},
    categories={"job": "nurse,clerk"},
)
IMAGES = TrainConfig(
    optimizer="adam",
    **PRIVATE,
    model="baseline_cnn",
    model_arg={"width": "4", "stages": "2"},
    norm="group",
    image_size=16,
    batch_size=5,
    augment="light",
    dp_seed=0,
)


def without_the_odd_one(make, config: TrainConfig, root: Path):
    """The same options with a secret seed by which the odd patient is in no step."""
    from dataclasses import replace

    from medimg.privacy.draws.noise_seed import Secret
    from medimg.privacy.sampling import sampling
    from medimg.privacy.units import Units
    from medimg.training.private import keyed_by

    dataset = make(root / "looked-at", True)
    units = Units.of(dataset.rows("train")["patient"].to_numpy())
    resolved = config.resolved(dataset.unit)
    for seed in range(100):
        given = replace(resolved, dp_seed=seed)
        drawn = sampling("poisson", units, config.batch_size, Secret.fixed(seed, keyed_by(given)))
        steps = drawn.steps(0, drawn.steps_per_pass)
        if all(units.names.index(ODD) not in step.units for step in steps):
            return replace(config, dp_seed=seed)
    raise AssertionError("the odd patient is drawn whatever the seed")


def everything(make, odd: bool, config: TrainConfig, root: Path) -> dict[str, bytes]:
    """Every file of the Run and of its export."""
    dataset = make(root, odd)
    run = train(dataset.root, root / "run", config)
    evaluate(run, EvaluateConfig(bootstrap=20))
    export(Run.load(run.root), root / "saved", ExportConfig(samples=2))
    files = [path for name in ("run", "saved") for path in sorted((root / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def comparable(name: str, content: bytes, root: Path) -> bytes:
    """Without times, the Run's random name, and where it lies."""
    content = content.replace(str(root).encode(), b"ROOT")
    if name.endswith(".json"):
        return json.dumps(_scrubbed(json.loads(content)), sort_keys=True).encode()
    if name.endswith("history.csv"):
        table = pd.read_csv(Path(root) / name)
        return table.drop(columns=["seconds", "val_seconds"]).to_csv().encode()
    if name.endswith((".html", ".md")):
        return re.sub(rb"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}[:\d.+]*", b"TIME", content)
    return content


def _scrubbed(value):
    if isinstance(value, dict):
        return {k: _scrubbed(v) for k, v in value.items() if k not in TIMES_AND_NAMES}
    return [_scrubbed(v) for v in value] if isinstance(value, list) else value


def weights(files: dict[str, bytes], root: Path) -> list[np.ndarray]:
    return Run.load(root / "run").model().get_weights()


@pytest.mark.slow
@pytest.mark.parametrize(("make", "config"), [(table, TABLE), (images, IMAGES)], ids=["table", "images"])
def test_a_patient_whom_no_step_draws_leaves_no_trace(make, config, tmp_path):
    config = without_the_odd_one(make, config, tmp_path)
    roots = {odd: tmp_path / f"odd-{odd}" for odd in (False, True)}
    files = {odd: everything(make, odd, config, root) for odd, root in roots.items()}
    assert set(files[False]) == set(files[True])
    assert read(roots[True] / "run")["steps"] == 5
    pairs = zip(weights(files[False], roots[False]), weights(files[True], roots[True]), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    # Archives with dates inside: their weights were compared above, and the served ones by the proof of the export.
    archives = ("model.keras", "saved_model.pb", "variables.data-00000-of-00001", "fingerprint.pb")
    different = [
        name
        for name in files[False]
        if not name.endswith(archives)
        and comparable(name, files[False][name], roots[False]) != comparable(name, files[True][name], roots[True])
    ]
    assert different == []
    told = b"".join(files[True].values())
    assert not [word for word in WORDS if word.encode() in told]
    # The patient really is there: the same comparison without privacy finds traces.
    assert ODD in set(Dataset.load(roots[True] / "data").rows("train")["patient"])


def test_shown_after_training_are_unprotected_patients_alone(tmp_path):
    dataset = table(tmp_path, odd=True)
    run = train(dataset.root, tmp_path / "run", TABLE)
    for split in ("train", "all"):
        with pytest.raises(InputError, match=f"--split {split}: the Run protects"):
            evaluate(run, EvaluateConfig(split=split))
    history = run.history()
    assert history[["loss", "accuracy", "seconds"]].isna().all(axis=None)
    assert history["val_loss"].notna().all()


def test_a_class_of_protected_patients_alone_is_refused(tmp_path):
    dataset = images(tmp_path, odd=True)
    manifest = dataset.manifest.copy()
    manifest.loc[manifest["patient"] == ODD, "label"] = "rare"
    Dataset(dataset.root, "scan", "multiclass", ("ill", "well", "rare"), manifest).save()
    with pytest.raises(InputError, match="class 'rare' occurs in split 'train' alone"):
        train(dataset.root, tmp_path / "run", IMAGES)
    assert not (tmp_path / "run").exists()


class Killed(BaseException):
    pass


def killed_before_its_first_step(data: Path, root: Path, config: TrainConfig, monkeypatch) -> None:
    def kill(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("medimg.privacy.ledger.Ledger.record", kill)
        with pytest.raises(Killed):
            train(data, root, config)


@pytest.mark.slow
def test_a_copied_run_never_meets_its_noise_on_other_pixels(tmp_path, monkeypatch):
    dataset = images(tmp_path, odd=False)
    killed_before_its_first_step(dataset.root, tmp_path / "run", IMAGES, monkeypatch)
    path = dataset.root / "images/03.png"
    before = path.read_bytes()
    cv2.imwrite(str(path), np.zeros((16, 16), np.uint8))
    with pytest.raises(InputError, match="have changed since it began"):
        train(dataset.root, tmp_path / "run", IMAGES, resume=True)
    path.write_bytes(before)
    train(dataset.root, tmp_path / "run", IMAGES, resume=True)


@pytest.mark.slow
def test_a_run_goes_on_from_what_it_began_with(tmp_path, monkeypatch):
    dataset = table(tmp_path, odd=False)
    killed_before_its_first_step(dataset.root, tmp_path / "run", TABLE, monkeypatch)
    path = tmp_path / "run/model.json"
    before = path.read_text()
    described = json.loads(before)
    described["preprocessing"]["columns"][0]["scale"] = 1e30
    path.write_text(json.dumps(described))
    with pytest.raises(InputError, match=r"--weights or model\.json are others"):
        train(dataset.root, tmp_path / "run", TABLE, resume=True)
    path.write_text(before)
    run = train(dataset.root, tmp_path / "run", TABLE, resume=True)
    (run.root / "parts.csv").write_text("position,split\n999999,train\n")
    with pytest.raises(InputError, match=r"parts\.csv: names rows or parts"):
        evaluate(run, EvaluateConfig(bootstrap=20))
