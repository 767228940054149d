"""`synthesize` for tables: the Dataset that comes out, what it never holds, repetition, resuming, refusals, ledger."""

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy import ledger
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.segments import events_of, united
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
from synthetic.tables.settings import settings_for
from synthetic.tables.tuning import candidates, parts, tune
from synthetic.tables.usefulness import auroc, usefulness
from tests.forks import forked
from tests.synthetic.tables.conftest import BOUNDS, CATEGORIES, STATED

QUICK = {"epochs": 20, "count": 90}


def made(dataset, folder, resume=False, listener=None, **options) -> Dataset:
    config = SynthesizeConfig(**{**QUICK, **options})
    return Dataset.load(synthesize(dataset.root, folder, config, resume, listener=listener))


@pytest.mark.slow
def test_tables(small_clinic, tmp_path):
    for model in ("ctgan", "tvae", "marginals"):
        options = {"epochs": None} if model == "marginals" else {}
        out = made(small_clinic, tmp_path / model, model=model, **options)
        _nothing_unseen(small_clinic, out)
        assert yaml.safe_load((out.root / "dataset.yaml").read_text())["synthetic"] is True
        assert out.preparation["source_fingerprint"] == small_clinic.fingerprint()
        assert out.preparation["privacy"] == "no formal guarantee"
        assert not (out.root / "checkpoints").exists()


def _nothing_unseen(source: Dataset, out: Dataset) -> None:
    rows, real = out.manifest, source.rows("train")
    assert len(rows) == 90
    assert set(rows["split"]) == {"train"}
    assert rows["patient"].tolist()[:2] == ["synthetic-000001", "synthetic-000002"]
    # As many of a class as it has of the training rows.
    share = (real["label"] == "ill").mean()
    assert abs((rows["label"] == "ill").sum() - 90 * share) < 1
    assert [f.name for f in out.features] == [f.name for f in source.inputs]
    assert "note" not in rows
    for feature in source.inputs:
        ours, theirs = rows[feature.name], real[feature.name]
        if feature.name in ("age", "pressure", "seen"):
            known = ours.dropna()
            assert known.between(theirs.min(), theirs.max()).all()
            assert ours.isna().any() <= theirs.isna().any()
        else:
            assert set(ours.fillna("missing")) <= set(theirs.fillna("missing"))
    assert rows["never"].isna().all()
    assert (rows["device"] == "mark 2").all()
    assert set(rows["site"]) <= {"north", "south"}


@pytest.mark.parametrize("names", [("age", "pressure"), ("pain", "stage")])
def test_numbers_alone_and_categories_alone(small_clinic, tmp_path, names):
    manifest = small_clinic.manifest.copy()
    manifest.loc[manifest["age"] > 65, "label"] = "old"
    manifest.loc[manifest.index[:5], "label"] = ""
    features = tuple(f for f in small_clinic.features if f.name in names)
    (tmp_path / "data").mkdir()
    other = replace(
        small_clinic,
        root=tmp_path / "data",
        task="multiclass",
        classes=("well", "ill", "old"),
        manifest=manifest.assign(site=""),
        features=features,
    )
    other.save()
    for model in ("ctgan", "tvae"):
        out = made(other, tmp_path / model, model=model, epochs=2)
        assert set(out.manifest["label"]) == {"well", "ill", "old"}
        assert [f.name for f in out.features] == list(names)
        assert any("without a label" in note for note in out.preparation["notes"])


@pytest.mark.slow
def test_same_seed_same_rows(small_clinic, tmp_path):
    rows = [made(small_clinic, tmp_path / str(i), model="tvae", seed=seed).manifest for i, seed in enumerate((3, 3, 4))]
    pd.testing.assert_frame_equal(rows[0], rows[1])
    assert not rows[0].equals(rows[2])


def test_only_the_training_part_is_seen(small_clinic, tmp_path):
    changed = small_clinic.manifest.copy()
    elsewhere = changed["split"] == "test"
    changed.loc[elsewhere, ["age", "pressure"]] = 1e6
    changed.loc[elsewhere, "pain"] = "never seen"
    (tmp_path / "data").mkdir()
    other = replace(small_clinic, root=tmp_path / "data", manifest=changed)
    other.save()
    rows = [made(d, tmp_path / f"out-{i}", model="tvae").manifest for i, d in enumerate((small_clinic, other))]
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ctgan", "tvae"])
def test_resumed_is_uninterrupted(small_clinic, tmp_path, model):
    whole = made(small_clinic, tmp_path / "whole", model=model).manifest

    def stop(what, done, total):
        if done == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(small_clinic, tmp_path / "cut", model=model, listener=stop)
    seen = []
    resumed = made(small_clinic, tmp_path / "cut", True, lambda what, done, total: seen.append(done), model=model)
    assert min(seen) == 12
    pd.testing.assert_frame_equal(resumed.manifest, whole)
    (tmp_path / "cut" / "dataset.yaml").unlink()
    with pytest.raises(InputError, match="other options"):
        made(small_clinic, tmp_path / "cut", True, model=model, seed=9)


def test_counts_outlive_the_counting(small_clinic, tmp_path):
    options = {"model": "marginals", "epochs": None}
    whole = made(small_clinic, tmp_path / "whole", **options).manifest

    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(small_clinic, tmp_path / "cut", listener=stop, **options)
    resumed = made(small_clinic, tmp_path / "cut", True, **options).manifest
    pd.testing.assert_frame_equal(resumed, whole)


@pytest.mark.slow
def test_killed_is_uninterrupted(small_clinic, tmp_path):
    options = {"model": "ctgan", "epochs": 60}
    whole = made(small_clinic, tmp_path / "whole", **options).manifest
    config = SynthesizeConfig(**{**QUICK, **options})
    process = forked(synthesize, small_clinic.root, tmp_path / "cut", config)
    checkpoint = tmp_path / "cut" / "checkpoints" / "all.npz"
    deadline = time.monotonic() + 120
    while not checkpoint.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "dataset.yaml").exists()
    pd.testing.assert_frame_equal(made(small_clinic, tmp_path / "cut", True, **options).manifest, whole)


def test_per_site(small_clinic, tmp_path):
    out = made(small_clinic, tmp_path / "out", model="tvae", per_site=True, class_mix="equal")
    real = small_clinic.rows("train")
    assert set(out.preparation["settings"]) == {"site-1", "site-2"}
    for site, rows in out.manifest.groupby("site"):
        theirs = real[real["site"] == site]
        assert len(rows) == pytest.approx(90 * len(theirs) / len(real), abs=1)
        assert abs(rows["label"].value_counts().diff().iloc[1]) <= 1
        assert rows["age"].between(theirs["age"].min(), theirs["age"].max()).all()


@pytest.mark.slow
def test_private(small_clinic, tmp_path):
    for model in ("ctgan", "tvae", "marginals"):
        steps = {} if model == "marginals" else {"epochs": 3}
        root = tmp_path / model
        options = {"dp_epsilon": 4.0, "dp_delta": 1e-3, "dp_seed": 1, "dp_budget": "run", **STATED}
        out = made(small_clinic, root, model=model, **{"epochs": None, **steps, **options})
        _nothing_unseen_in_private(small_clinic, out)
        content = ledger.read(root)
        assert content["status"] == "complete"
        # 56 patients in batches of at most 50 on average are two steps a pass.
        assert content["steps"] == 1 + (1 if model == "marginals" else 6)
        assert content["mechanism"].startswith("DP-SGD") == (model != "marginals")
        assert {event["phase"] for event in content["events"]} == {"train", "class counts"}
        again = epsilon_of(events_of(united(ledger.segments_of(content)), "patient"), 1e-3)
        assert content["epsilon"]["pld"] == pytest.approx(again["pld"])
        assert 3.5 < again["pld"] <= 4.0
        assert not any("ranges or categories" in text for text in content["assumptions"])
        assert "epsilon, delta) = (4, 0.001)" in out.preparation["privacy"]
        assert "critic_loss" not in pd.read_csv(root / "training" / "history.csv")
    lines = (small_clinic.root / "privacy_ledger.jsonl").read_text().splitlines()
    told = {json.loads(line)["run"] for line in lines}
    assert told >= {ledger.read(tmp_path / m)["run"] for m in ("ctgan", "tvae", "marginals")}


def _nothing_unseen_in_private(source: Dataset, out: Dataset) -> None:
    """Nothing but what was stated, and nothing of the rows but through noise."""
    rows = out.manifest
    assert set(rows["label"]) == {"ill", "well"}
    assert rows["age"].dropna().between(0, 120).all()
    assert rows["seen"][rows["seen"] != ""].between("2019-01-01", "2024-12-31").all()
    for name, text in CATEGORIES.items():
        assert set(rows[name]) <= {"", *text.split(",")}
    assert set(rows["grade"].dropna()) <= {0, 1, 2, 3, 4}
    assert (rows["site"] == "").all()
    assert not {"training_rows", "source_fingerprint"} & set(out.preparation)
    told = (out.root / "environment.json").read_text() + (out.root / "dataset.yaml").read_text()
    assert source.fingerprint() not in told


MARGINALS = {"model": "marginals", "epochs": None, "dp_epsilon": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "dcgan"}, "holds a table; use ctgan, tvae or marginals"),
        ({"bound": {"age": "9"}}, "--bound age=9: a bound is two numbers"),
        ({"model": "marginals"}, "--epochs: marginals are counted once"),
        ({**MARGINALS, "dp_clip": 5.0}, "--dp-clip: marginals count every"),
        ({**MARGINALS, "dp_sampling": "shuffle"}, "--dp-sampling: marginals"),
        ({"dp_epsilon": 1.0, **STATED, "per_site": True}, "--per-site: is not private"),
        ({"dp_epsilon": 1.0, **STATED, "tune": 2}, "--tune: each try would cost"),
        ({"dp_epsilon": 1.0, **STATED, "dp_delta": 0.1}, "must be below 1 / "),
        (
            {"dp_epsilon": 1.0, "bound": BOUNDS, "categories": {"pain": "none,typical"}},
            "--categories COLUMN=a,b for 'device' ",
        ),
        ({"dp_epsilon": 1.0, "categories": CATEGORIES}, "for 'age', 'pressure', 'grade', 'seen', 'never' "),
        ({"categories": {"age": "1,2"}}, "--categories age=1,2: a integer column has no list of categories"),
    ],
)
def test_refused_options(small_clinic, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        made(small_clinic, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_refused_tables(small_clinic, tmp_path):
    def table(name, manifest):
        (tmp_path / name).mkdir()
        other = replace(small_clinic, root=tmp_path / name, manifest=manifest)
        other.save()
        return other

    train = small_clinic.rows("train").reset_index(drop=True)
    with pytest.raises(InputError, match="2 patients in split 'train'"):
        made(table("two", train.drop_duplicates("patient").head(2)), tmp_path / "out")
    lone = train.copy()
    lone["label"] = np.where(lone["patient"] == lone["patient"][0], "ill", "well")
    with pytest.raises(InputError, match="class 'ill' has one training patient"):
        made(table("lone", lone), tmp_path / "out")
    out = made(tmp_set := table("left", lone), tmp_path / "out", model="tvae", rare_classes="leave-out")
    assert set(out.manifest["label"]) == {"well"}
    assert any("left out: ill" in note for note in out.preparation["notes"])
    with pytest.raises(InputError, match="is the real Dataset itself"):
        made(tmp_set, tmp_set.root)
    with pytest.raises(InputError, match="is synthetic already"):
        made(out, tmp_path / "again")


def test_undertraining_is_said(small_clinic, tmp_path):
    real = small_clinic.rows("train", labelled=True)
    assert not usefulness(small_clinic, real, real, 0).undertrained
    shuffled = real.assign(label=np.random.default_rng(0).permutation(real["label"]))
    found = usefulness(small_clinic, shuffled, real, 0)
    assert "AUROC" in found.undertrained
    assert found.drift == 0.0
    drifted = real.assign(age=200.0, stage="low", seen="2020-01-01", pain="", grade=0.0)
    assert usefulness(small_clinic, drifted, real, 0).drift > 0.25
    out = made(small_clinic, tmp_path / "out", model="tvae", epochs=1)
    assert any(note.startswith("undertrained") for note in out.preparation["notes"])


def test_tuning_takes_what_is_useful_to_rows_unseen(small_clinic, tmp_path):
    rows = small_clinic.rows("train", labelled=True)
    seen, held_out = parts(small_clinic, rows, 0)
    assert not set(seen["patient"]) & set(held_out["patient"])
    assert not set(held_out.index) & set(small_clinic.rows("test").index)
    settings = settings_for("tvae", len(rows))
    calls = []

    def fit(seen, settings, name):
        calls.append(name)
        # Twice the epochs learns the label, the rest nothing.
        if settings.epochs > settings_for("tvae", len(rows)).epochs:
            return seen
        return seen.assign(label=np.random.default_rng(0).permutation(seen["label"]))

    file = tmp_path / "tries.csv"
    best, table = tune(small_clinic, rows, settings, 4, 0, fit, file)
    assert best.epochs == 2 * settings.epochs
    assert len(calls) == len(table) == 4
    # What was tried before a kill is not tried again.
    again, _ = tune(small_clinic, rows, settings, 4, 0, fit, file)
    assert (again, len(calls)) == (best, 4)
    assert candidates(9, 1) == candidates(9, 1)


def test_auroc_of_one_class_is_unknown(small_clinic):
    rows = small_clinic.rows("train", labelled=True)
    assert auroc(small_clinic, rows, rows[rows["label"] == "ill"]) is None
