"""What a private training brings along with its first weights: refused, counted once, or told."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from federated.config import FederateConfig
from federated.federate import federate
from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.accounting import pld_epsilon
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.ledger import Ledger, read, segments_of
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.statement import summary
from medimg.privacy.terms import Terms
from medimg.run import Run, environment
from medimg.training.lineage import lineage_of
from medimg.training.train import train
from tests.datasets import write_dataset

DELTA = 1e-3
TINY = {
    "model": "baseline_cnn",
    "model_arg": {"width": "4", "stages": "1"},
    "norm": "group",
    "image_size": 16,
    "epochs": 1,
    "batch_size": 8,
}
PRIVATE = {**TINY, "dp_epsilon": 2.0, "dp_delta": DELTA}


def renamed(root: Path, prefix: str, **options) -> Dataset:
    """A Dataset of patients of other names."""
    dataset = write_dataset(root, size=16, **options)
    manifest = dataset.manifest.assign(patient=prefix + dataset.manifest["patient"])
    dataclasses.replace(dataset, manifest=manifest).save()
    return Dataset.load(root)


@pytest.fixture
def data(tmp_path) -> Dataset:
    return renamed(tmp_path / "data", "a", n=32)


@pytest.fixture
def others(tmp_path) -> Dataset:
    return renamed(tmp_path / "others", "b", n=32, seed=1)


def finished(root: Path, dataset: Dataset, private: bool = False, weights: str = "none", **options) -> str:
    """A Run's files as a training leaves them, the model left out."""
    config = TrainConfig(**{**TINY, **options}, weights=weights)
    run = Run.create(root, dataset.root, "train", config.to_dict())
    lineage = lineage_of(dataset, config)
    atomic.write_json(root / "environment.json", {**environment(dataset, 0), **lineage.to_dict()})
    if private:
        terms = Terms(DELTA, None, 1.0, 10, root.name)
        ledger = Ledger.of(run.root, terms, Circumstances(), dataset.root)
        ledger.record("train", 0, 20, Mechanism.poisson(0.25, 2.0))
        ledger.complete()
    return str(root)


def lineage(dataset: Dataset, weights: str, unit: str = "patient", **options):
    return lineage_of(dataset, TrainConfig(**PRIVATE, weights=weights, **options), unit)


@pytest.mark.slow
def test_weights_made_without_privacy_from_the_same_patients_are_refused(tmp_path, data):
    plain = train(data.root, tmp_path / "plain", TrainConfig(**TINY))
    for weights in (plain.root, plain.root / "model.keras"):
        with pytest.raises(InputError, match="made without privacy from patients of this Dataset"):
            train(data.root, tmp_path / "out", TrainConfig(**PRIVATE, weights=str(weights)))
    federated = FederateConfig(
        **{k: v for k, v in PRIVATE.items() if k != "epochs"}, dp="patient", weights=str(plain.root)
    )
    with pytest.raises(InputError, match="made without privacy from patients of this Dataset"):
        federate(data.root, tmp_path / "out", federated)
    with pytest.raises(InputError, match="made without privacy from patients of this Dataset"):
        federate(data.root, tmp_path / "out", dataclasses.replace(federated, dp="client"))
    assert not (tmp_path / "out").exists()
    # Without privacy nothing is promised.
    train(data.root, tmp_path / "out", TrainConfig(**TINY, weights=str(plain.root)))
    # No patient's name is kept to tell this by.
    for path in tmp_path.glob("*/*.json"):
        assert "ap1" not in path.read_text()


@pytest.mark.slow
def test_private_weights_of_the_same_patients_are_counted_and_once(tmp_path, data):
    first = train(data.root, tmp_path / "first", TrainConfig(**{**PRIVATE, "dp_epsilon": 1.0}))
    config = TrainConfig(**PRIVATE, weights=str(first.root))
    second = train(data.root, tmp_path / "second", config)
    one, two = read(first.root), read(second.root)
    assert one["epsilon"]["pld"] <= 1.0 < two["epsilon"]["pld"] <= 2.0
    both = pld_epsilon([s.event() for s in segments_of(two)], DELTA)
    assert two["epsilon"]["pld"] == both
    assert {s.run for s in segments_of(two)} == {one["run"], two["run"]}
    # The Dataset's ledger has had the first one's steps all along.
    assert two["dataset"] == {"runs": 2, "epsilon": two["epsilon"]}
    assert pld_epsilon(DatasetLedger(data.root).events(), DELTA) == both
    text = summary(two, "image")
    assert f"({two['epsilon']['pld']:.3g}, 0.001)" in text
    assert "come from 1 private Run, whose steps are counted" in text
    assert any("their steps count in this epsilon" in t for t in two["assumptions"])
    assert not any("another data set" in t for t in two["assumptions"])
    # The budget covers both.
    little = dataclasses.replace(config, dp_epsilon=0.9)
    with pytest.raises(InputError, match="already spent"):
        train(data.root, tmp_path / "third", little)


def test_a_chain_is_followed_to_its_end(tmp_path, data, others):
    plain = finished(tmp_path / "plain", data)
    middle = finished(tmp_path / "middle", others, weights=plain)
    with pytest.raises(InputError, match="plain was made without privacy from patients of this"):
        lineage(data, middle)
    # What the middle keeps is enough, wherever its own source went.
    shutil.rmtree(plain)
    with pytest.raises(InputError, match="plain was made without privacy from patients of this"):
        lineage(data, middle)
    # A Run from before Runs kept it is followed by its options.
    plain = finished(tmp_path / "plain", data)
    kept = json.loads((Path(middle) / "environment.json").read_text())
    del kept["ancestors"]
    atomic.write_json(Path(middle) / "environment.json", kept)
    with pytest.raises(InputError, match="plain was made without privacy from patients of this"):
        lineage(data, middle)
    private = finished(tmp_path / "private", data, private=True)
    last = finished(tmp_path / "last", others, weights=private)
    found = lineage(data, last)
    assert [s.run for s in found.inherited] == [read(Path(private))["run"]]
    assert found.others


def test_a_dataset_prepared_anew_is_known_by_its_patients(tmp_path, data):
    plain = finished(tmp_path / "plain", data)
    moved = dataclasses.replace(data, root=tmp_path / "anew")
    shutil.copytree(data.root, moved.root)
    manifest = data.manifest.assign(split=data.manifest["split"].to_numpy()[::-1])
    anew = dataclasses.replace(moved, manifest=manifest)
    anew.save()
    assert anew.fingerprint() != data.fingerprint()
    with pytest.raises(InputError, match="from patients of this Dataset"):
        lineage(anew, plain)
    # In place: what the Run's Dataset was is not known, who is in it now is.
    shutil.rmtree(data.root)
    shutil.copytree(anew.root, data.root)
    with pytest.raises(InputError, match="from patients of this Dataset"):
        lineage(Dataset.load(data.root), plain)


def test_a_fold_of_the_same_dataset_shares_patients(tmp_path, data):
    from medimg.data.folds import in_fold

    first = in_fold(data, 4, 1, 0)
    plain = finished(tmp_path / "plain", first, folds=4, fold=1)
    with pytest.raises(InputError, match="from patients of this Dataset"):
        lineage(in_fold(data, 4, 2, 0), plain)


def test_other_patients_are_told_and_not_counted(tmp_path, data, others):
    for private in (False, True):
        found = lineage(data, finished(tmp_path / f"run{private}", others, private))
        assert not found.inherited
        assert found.others
        assert not found.vouched
        assert not found.unknown


def test_what_cannot_be_told_is_refused_with_what_would_settle_it(tmp_path, data, others):
    plain = finished(tmp_path / "plain", others)
    private = finished(tmp_path / "private", others, private=True)
    others.root.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"--weights-patients DATA, or --weights-patients others"):
        lineage(data, plain)
    # Counting what may not have been these patients' is safe.
    assert len(lineage(data, private).inherited) == 1
    assert lineage(data, plain, weights_patients=str(tmp_path / "elsewhere")).others
    with pytest.raises(InputError, match="is not the Dataset that the weights were trained on"):
        lineage(data, plain, weights_patients=str(data.root))
    vouched = lineage(data, plain, weights_patients="others")
    assert vouched.vouched
    (text,) = assumptions(Circumstances(vouched=True))[-1:]
    assert "--weights-patients others" in text
    # A word against what is known.
    same = finished(tmp_path / "same", data)
    with pytest.raises(InputError, match="trained on this very Dataset"):
        lineage(data, same, weights_patients="others")
    with pytest.raises(InputError, match="for a private training from --weights RUN"):
        lineage(data, "imagenet", weights_patients="others")


def test_a_file_of_weights_is_an_assumption_unless_it_lies_in_a_run(tmp_path, data):
    plain = finished(tmp_path / "plain", data)
    (tmp_path / "copied.h5").write_bytes(b"weights")
    found = lineage(data, str(tmp_path / "copied.h5"))
    assert found.unknown
    assert not found.others
    (Path(plain) / "sites").mkdir()
    (Path(plain) / "sites/0-a.keras").write_bytes(b"weights")
    with pytest.raises(InputError, match="from patients of this Dataset"):
        lineage(data, str(Path(plain) / "sites/0-a.keras"))


def test_clients_pay_for_weights_that_protect_clients_alone(tmp_path, data):
    private = finished(tmp_path / "private", data, private=True)
    with pytest.raises(InputError, match="protects patients, which --dp client can't count"):
        lineage(data, private, unit="client")


def synthetic(root: Path, source: Dataset, private: bool) -> Dataset:
    """As `medimg synthesize` leaves it, which `tests/synthetic` hold it to."""
    Run.create(root, source.root, "synthesize", {})
    if private:
        terms = Terms(DELTA, 1.0, 1.0, 10, "made")
        Ledger.of(root, terms, Circumstances(), source.root).record(
            "discriminator", 0, 10, Mechanism.poisson(0.25, 3.0)
        )
    names = [f"synthetic-{i}" for i in range(len(source.manifest))]
    shutil.copytree(source.root / "images", root / "images")
    files = source.manifest["image"]
    made = dataclasses.replace(
        source,
        root=root,
        manifest=source.manifest.assign(patient=names, image=files),
        preparation={"source": str(source.root.resolve()), "source_fingerprint": source.fingerprint()},
        synthetic=True,
    )
    made.save()
    return Dataset.load(root)


def test_rows_made_of_the_same_patients_count_as_weights_do(tmp_path, data):
    bare = synthetic(tmp_path / "bare", data, private=False)
    guarded = synthetic(tmp_path / "guarded", data, private=True)
    on_bare, on_guarded = (finished(tmp_path / f"on-{d.root.name}", d) for d in (bare, guarded))
    with pytest.raises(InputError, match="bare was made without privacy from patients of this"):
        lineage(bare, "none")
    with pytest.raises(InputError, match="bare was made without privacy from patients of this"):
        lineage(data, on_bare)
    # Trained on private rows without more noise the model is as private as the rows were, but that is not its claim.
    made = read(guarded.root)["run"]
    assert [s.run for s in lineage(guarded, "none").inherited] == [made]
    whole = lineage(data, on_guarded)
    assert [s.run for s in whole.inherited] == [made]
    with pytest.raises(InputError, match="--extra: not with --dp-epsilon"):
        train(data.root, tmp_path / "x", TrainConfig(**PRIVATE, extra=str(guarded.root)))
    assert not (tmp_path / "x").exists()
