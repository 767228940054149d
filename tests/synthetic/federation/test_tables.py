"""Tables across clients: they agree on what all rows tell, a round is the central training, the ledger is right."""

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from federated.audit_log import verify
from federated.engine.records import ClientData
from federated.engine.updates import Aggregate
from federated.rounds.averaging import options_of_rounds
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy import ledger
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.defaults import coarse
from medimg.privacy.segments import events_of, united
from synthetic.config import SynthesizeConfig
from synthetic.federation.tables import arrays
from synthetic.federation.tables.agreement import HEAVY, agree
from synthetic.federation.tables.engine import TableEngine
from synthetic.federation.tables.privacy import ClientsPrivacy
from synthetic.federation.tables.sums import TableSums
from synthetic.synthesize import synthesize
from synthetic.tables import columns as learnt
from synthetic.tables import frames
from synthetic.tables.encoding import Encoding
from synthetic.tables.fitting import MODELS
from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.mix import votes
from synthetic.tables.settings import Settings
from synthetic.tables.training import one_thread, randomness
from tests.forks import forked
from tests.synthetic.tables.conftest import BOUNDS, CATEGORIES, clinic

SMALL = Settings(20, 1, 1, width=16, latent_size=4)
QUICK = {"model": "tvae", "partition": "site", "rounds": 3, "local_steps": 4, "count": 90}


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> Dataset:
    """Sites that differ: 'far' has one row, 'south' lacks pressure and a category, and sees one class."""
    dataset = clinic(tmp_path_factory.mktemp("hospitals"))
    manifest = dataset.manifest.copy()
    south = manifest["site"] == "south"
    manifest.loc[south & (manifest["label"] == "ill"), "site"] = "north"
    south &= manifest["site"] == "south"
    # A patient's rows stay at one site.
    moved = manifest.loc[manifest["site"] == "north", "patient"].unique()
    manifest.loc[manifest["patient"].isin(moved), "site"] = "north"
    south = manifest["site"] == "south"
    manifest.loc[south, "pressure"] = np.nan
    manifest.loc[south & (manifest["pain"] == "typical"), "pain"] = "none"
    manifest.loc[south, "device"] = "mark 3"
    lone = manifest.loc[~manifest["patient"].duplicated(keep=False) & (manifest["split"] == "train")]
    manifest.loc[lone.index[0], "site"] = "far"
    replace(dataset, manifest=manifest).save()
    return Dataset.load(dataset.root)


@pytest.fixture(scope="module")
def rows(hospitals):
    return hospitals.rows("train", labelled=True)


@pytest.fixture(scope="module")
def sites(rows):
    return {name: own.reset_index(drop=True) for name, own in rows.groupby("site")}


def plain_sums(sites, **options) -> TableSums:
    config = options_of_rounds(SynthesizeConfig(**{**QUICK, **options}), 1)
    return TableSums(config, {name: len(own) for name, own in sites.items()})


@pytest.mark.parametrize("secure", ["none", "masking", "ckks"])
def test_stand_ins_are_as_frequent_as_the_rows(hospitals, rows, sites, secure):
    # Of a skewed column most values lie in the first of even intervals.
    heavy = {name: own.assign(pressure=np.exp(own["age"] / 5)) for name, own in sites.items()}
    pooled = pd.concat(heavy.values())
    columns = learnt.learn(pooled, hospitals.inputs, {})
    found = agree(heavy, columns, ("well", "ill"), plain_sums(sites, secure=secure), 0)
    real = frames.to_frame(pooled, columns, np.random.default_rng(0))
    targets = (pooled["label"] == "ill").to_numpy(int)
    assert found.class_weights.tolist() == np.bincount(targets).tolist()
    for name in frames.discrete(real):
        pd.testing.assert_frame_equal(
            pd.crosstab(found.targets, found.stand_ins[name].to_numpy()), pd.crosstab(targets, real[name].to_numpy())
        )
    for i in (i for i, column in enumerate(columns) if column.kind == "number"):
        ours = np.sort(found.stand_ins[f"number {i}"])
        theirs = np.sort(frames.known_numbers(pooled, columns[i]))
        at = np.concatenate([ours, theirs])
        shares = [np.searchsorted(v, at, side="right") / len(v) for v in (ours, theirs)]
        # Within an interval values are spread evenly, and none of more than that share is left whole.
        assert np.abs(shares[0] - shares[1]).max() < HEAVY + 1 / len(rows)


def test_sums(sites):
    counts = {name: np.array([len(own), 0, 1]) for name, own in sites.items()}
    total = sum(len(own) for own in sites.values())
    for secure in ("none", "masking"):
        assert plain_sums(sites, secure=secure)(counts).tolist() == [total, 0, len(sites)]


@pytest.fixture(scope="module")
def encoding(hospitals, rows):
    with randomness(0, "test"):
        return Encoding.fit(rows, hospitals.inputs, seed=0)


def built(encoding, targets, model, seed=0):
    with randomness(seed, "networks"):
        return MODELS[model](GeneratorInputs(encoding, targets, 2, SMALL))


def one_round(engine, clients, weights, number):
    state = engine.initialize(weights)
    updates = engine.client_updates(state, clients, number, {})
    mean = engine.aggregate(state, updates).arrays
    return engine.weights(engine.apply(state, Aggregate(mean, updates), number))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ctgan", "tvae"])
def test_one_client_is_the_central_training(encoding, hospitals, rows, model):
    targets = hospitals.targets(rows)
    central, own = (built(encoding, targets, model, seed) for seed in (0, 1))
    engine, clients = TableEngine({"all": own}, 4, 5), [ClientData("all", "", len(rows))]
    for number in range(1, 4):
        before = arrays.read(central)
        found = one_round(engine, clients, before, number)
        with randomness(5, "round of all", number) as random:
            for step in range(4):
                central.step(4 * (number - 1) + step, random)
        after = arrays.read(central)
        moved = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
        assert max(moved) > 3
        for ours, theirs in zip(found, after, strict=True):
            # Adam makes steps of rounding errors where a gradient is 0: of biases before a normalisation, and of them
            # alone.
            if ours.ndim == 1:
                np.testing.assert_allclose(ours, theirs, atol=3e-4)
                continue
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
            assert np.abs(ours - theirs).mean() < 5e-6


def test_arrays_there_and_back(encoding, hospitals, rows):
    targets = hospitals.targets(rows)
    for name in MODELS:
        model, other = (built(encoding, targets, name, seed) for seed in (0, 1))
        with randomness(0, "steps") as random:
            model.step(0, random)
            arrays.assign(other, arrays.read(model))
        for ours, theirs in zip(arrays.read(other), arrays.read(model), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        # The optimizer goes on from there as well.
        for each in (model, other):
            with randomness(0, "more") as random:
                each.step(1, random)
        for ours, theirs in zip(arrays.read(other), arrays.read(model), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_marginals_of_clients_are_those_of_all_rows(encoding, hospitals, rows):
    targets, site = hospitals.targets(rows), rows["site"].to_numpy()
    names = sorted(set(site))
    models = {
        name: built(replace(encoding, matrix=encoding.matrix[site == name]), targets[site == name], "marginals")
        for name in names
    }
    clients = [ClientData(name, "", int((site == name).sum())) for name in names]
    whole = built(encoding, targets, "marginals")
    start = arrays.read(whole)
    whole.step(0, np.random.default_rng(0))
    found = one_round(TableEngine(models, 1, 0), clients, start, 1)
    np.testing.assert_allclose(found[0], arrays.read(whole)[0], atol=1e-6)


def test_a_slow_client_does_fewer_steps_and_rows_are_weights(encoding, hospitals, rows):
    targets = hospitals.targets(rows)
    models = {name: built(encoding, targets, "tvae") for name in ("a", "b")}
    engine = TableEngine(models, 4, 0)
    state = engine.initialize(arrays.read(models["a"]))
    clients = [ClientData("a", "", 30), ClientData("b", "", 10)]
    updates = engine.client_updates(state, clients, 1, {"b": 0.5})
    mean = engine.aggregate(state, updates).arrays
    counts = [update.vectors[_steps_at(models["a"])][0] for update in updates.values()]
    assert counts == [-4, -2]
    for i, found in enumerate(mean):
        a, b = (updates[name].vectors[i] for name in "ab")
        np.testing.assert_allclose(found, 0.75 * a + 0.25 * b, atol=1e-6)


def _steps_at(model) -> int:
    """Where the arrays have the number of steps."""
    return sum(
        tensor.is_floating_point() for network in model.networks.values() for tensor in network.state_dict().values()
    )


def made(dataset, folder, resume=False, listener=None, **options) -> Dataset:
    given = {**QUICK, **options}
    if given.get("model") == "marginals":
        # They are counted, in no steps.
        del given["local_steps"]
    config = SynthesizeConfig(**given)
    return Dataset.load(synthesize(dataset.root, folder, config, resume, listener=listener))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model": "ctgan", "secure": "masking"},
        {"partition": "iid", "clients": 3, "aggregation": "median", "class_mix": "equal"},
        {"model": "marginals", "rounds": None, "secure": "ckks"},
    ],
)
def test_made(hospitals, rows, tmp_path, options):
    out = made(hospitals, tmp_path / "out", **options)
    assert yaml.safe_load((out.root / "dataset.yaml").read_text())["synthetic"] is True
    assert len(out.manifest) == 90
    for feature in hospitals.inputs:
        ours, theirs = out.manifest[feature.name], rows[feature.name]
        if feature.name in ("age", "pressure", "seen"):
            assert ours.dropna().between(theirs.min(), theirs.max()).all()
        else:
            assert set(ours.fillna("missing")) <= set(theirs.fillna("missing"))
    assert set(out.manifest["site"]) <= {"north", "south", "far"}
    share = 0.5 if "class_mix" in options else (rows["label"] == "ill").mean()
    assert abs((out.manifest["label"] == "ill").sum() - 90 * share) < 1
    about = out.preparation["federation"]
    assert sum(about["clients"].values()) == len(rows)
    if options.get("partition") != "iid":
        assert about["clients"]["far"] == 1
        assert any("few training patients" in note for note in out.preparation["notes"])
    assert any("each client told" in note for note in out.preparation["notes"])
    _check_training(out.root / "training", about)
    assert not (out.root / "checkpoints").exists()


def _check_training(folder, about):
    table = pd.read_csv(folder / "rounds.csv")
    assert len(table) == about["rounds"] * len(about["clients"])
    assert set(table["status"]) == {"ok"}
    assert pd.read_csv(folder / "history.csv")["round"].tolist() == [*range(1, about["rounds"] + 1)]
    records = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    # A start, the rounds, and an end with the digest of history.csv.
    assert len(records) == about["rounds"] + 2
    assert verify(folder / "audit.jsonl").compared == (f"rounds.csv ({len(table)} rows)", "history.csv")


@pytest.mark.slow
def test_same_seed_same_rows_and_resumed_is_uninterrupted(hospitals, tmp_path):
    options = {"model": "ctgan", "client_dropout": 0.3}
    whole = made(hospitals, tmp_path / "whole", **options).manifest

    def stop(what, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(hospitals, tmp_path / "cut", listener=stop, **options)
    seen = []
    resumed = made(hospitals, tmp_path / "cut", True, lambda what, done, total: seen.append(done), **options)
    assert seen == [3]
    pd.testing.assert_frame_equal(resumed.manifest, whole)
    other = made(hospitals, tmp_path / "other", seed=1, **options).manifest
    assert not other.equals(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_site": True}, "--per-site: not with --partition"),
        ({"tune": 2}, "--tune: not with --partition"),
        ({"aggregation": "robust-clip"}, "--aggregation robust-clip: not for a generator"),
        ({"aggregation": "median", "secure": "masking"}, "has only their sum"),
        ({"model": "marginals"}, "--rounds: marginals are counted once"),
        ({"partition": "iid", "clients": 1000}, "--clients 1000"),
        ({"bound": {"age": "9"}}, "--bound age=9: a bound is two numbers"),
    ],
)
def test_refused(hospitals, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        made(hospitals, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_site_of_a_class_left_out_is_refused(hospitals, tmp_path):
    manifest = hospitals.manifest.copy()
    far = manifest["site"] == "far"
    manifest.loc[far, "label"] = "rare"
    (tmp_path / "data").mkdir()
    other = replace(
        hospitals, root=tmp_path / "data", manifest=manifest, task="multiclass", classes=("well", "ill", "rare")
    )
    other.save()
    with pytest.raises(InputError, match="class 'rare' has one training patient"):
        made(other, tmp_path / "out")
    with pytest.raises(InputError, match="'far' has no training row of the classes that are left"):
        made(other, tmp_path / "out", rare_classes="leave-out")


def test_rounds_that_teach_nothing_are_said(hospitals, tmp_path):
    with pytest.raises(InputError, match=r"round 1 learnt nothing, .*beyond the public limit of 1e-06"):
        made(hospitals, tmp_path / "none", secure="masking", secure_limit=1e-6)
    out = made(hospitals, tmp_path / "some", client_dropout=0.85, rounds=6, local_steps=1)
    lost = (pd.read_csv(out.root / "training" / "history.csv")["participants"] == 0).sum()
    assert 0 < lost < 6
    assert any(f"{lost} of 6 rounds taught nothing" in n for n in out.preparation["notes"])


STATED = {"bound": BOUNDS, "categories": {**CATEGORIES, "device": "mark 2,mark 3"}}
PRIVATE = {"dp_epsilon": 6.0, "dp_delta": 1e-3, "dp_seed": 1, "dp_budget": "run", "local_steps": 3, **STATED}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ctgan", "tvae", "marginals"])
def test_private(hospitals, rows, tmp_path, model):
    counted = model == "marginals"
    options = {**PRIVATE, "model": model, "rounds": None if counted else 4, "client_dropout": 0.2}
    out = made(hospitals, tmp_path / "out", secure="none" if counted else "masking", **options)
    content = ledger.read(out.root)
    assert content["status"] == "complete"
    patients = rows.groupby("site")["patient"].nunique()
    # No more of their numbers is told than coarse steps.
    sizes = {name: coarse(number) for name, number in patients.items()}
    assert not any("patients" in site for site in content["sites"].values())
    assert out.preparation["federation"]["clients"] == sizes
    segments = ledger.segments_of(content)
    for name, site in content["sites"].items():
        # 1 step for the class counts, whether or not an update arrived.
        assert site["steps"] == (1 if counted else 1 + 4 * 3)
        own = epsilon_of(events_of(united([s for s in segments if s.phase == name]), "patient"), 1e-3)
        assert site["epsilon"]["pld"] == pytest.approx(own["pld"])
        assert 5.0 < own["pld"] <= 6.0
    largest = max(site["epsilon"]["pld"] for site in content["sites"].values())
    assert content["epsilon"]["pld"] == largest == out.preparation["epsilon"]["epsilon"]
    assert any("1, 2 or 5 times a power of ten" in text for text in content["assumptions"])
    assert "epsilon, delta) = (6, 0.001)" in out.preparation["privacy"]
    table = pd.read_csv(out.root / "training" / "rounds.csv")
    assert table["loss"].isna().all()
    assert table["seconds"].isna().all()
    assert table["examples"].isna().all()
    assert set(table["client"]) == set(sizes)
    records = (out.root / "training" / "audit.jsonl").read_text().splitlines()
    assert "privacy" in json.loads(records[-2])["record"]
    # What the coordinator has of the patients is noisy: neither counts nor columns without noise.
    assert not any("without noise" in note for note in out.preparation["notes"])
    assert out.manifest["age"].dropna().between(0, 120).all()
    assert set(out.manifest["device"]) <= {"", "mark 2", "mark 3"}


@pytest.mark.slow
def test_private_resumed_is_uninterrupted(hospitals, tmp_path):
    options = {**PRIVATE, "model": "ctgan", "rounds": 3}
    whole = made(hospitals, tmp_path / "whole", **options)

    def stop(what, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(hospitals, tmp_path / "cut", listener=stop, **options)
    cut = made(hospitals, tmp_path / "cut", True, **options)
    pd.testing.assert_frame_equal(cut.manifest, whole.manifest)
    told = [ledger.read(out.root) for out in (whole, cut)]
    assert told[0]["epsilon"] == told[1]["epsilon"]
    assert [site["steps"] for site in told[1]["sites"].values()] == [1 + 3 * 3] * 3


def test_class_counts_are_those_of_the_patients(hospitals, rows, sites, tmp_path):
    def weights(noise, batch_size=1000):
        config = SynthesizeConfig(**{**QUICK, "model": "ctgan"}, dp_noise_multiplier=noise, dp_delta=1e-3, dp_seed=3)
        privacy = ClientsPrivacy(hospitals, sites, tmp_path / str(noise), config, batch_size, 40, 10)
        assert privacy.first == 40
        return privacy.class_weights(("well", "ill"))

    targets = (rows["label"] == "ill").to_numpy(int)
    expected = votes(targets, rows["patient"].to_numpy(), 2)
    # Of half of each client's patients on average, 40 times: unbiased.
    np.testing.assert_allclose(weights(1e-6), expected, rtol=0.15)
    np.testing.assert_allclose(weights(1e-5, 10), expected, rtol=0.2)
    noisy = weights(5.0) - expected
    # The deviation of the mean of 40 draws, at two clients of half their patients, at one of its only one; added once.
    deviation = 5.0 * np.sqrt((2**2 + 2**2 + 1) / 40)
    assert np.abs(noisy - deviation).max() < 4 * deviation


def test_private_marginals_of_much_budget_count_right(hospitals, rows, tmp_path):
    options = {"model": "marginals", "rounds": None, "dp_noise_multiplier": 1e-6, "dp_delta": 1e-3}
    options |= STATED
    out = made(hospitals, tmp_path / "out", count=2000, dp_budget="run", **options)
    share = votes((rows["label"] == "ill").to_numpy(int), rows["patient"].to_numpy(), 2)
    found = (out.manifest["label"] == "ill").mean()
    assert found == pytest.approx(share[1] / share.sum(), abs=1e-3)
    for level, real in rows[rows["label"] == "ill"]["stage"].value_counts(normalize=True).items():
        made_share = (out.manifest.loc[out.manifest["label"] == "ill", "stage"] == level).mean()
        assert made_share == pytest.approx(real, abs=0.08)


def test_private_refusals(hospitals, tmp_path):
    options = {**PRIVATE, "model": "ctgan"}
    with pytest.raises(InputError, match="--dp-sampling shuffle: not with --partition"):
        made(hospitals, tmp_path / "out", dp_sampling="shuffle", **options)
    with pytest.raises(InputError, match="not enough for one round"):
        made(hospitals, tmp_path / "small", dp_noise_multiplier=1.0, **options)


@pytest.mark.slow
def test_killed_is_uninterrupted(hospitals, tmp_path):
    options = {**QUICK, "model": "ctgan", "rounds": 12}
    whole = made(hospitals, tmp_path / "whole", **options).manifest
    process = forked(synthesize, hospitals.root, tmp_path / "cut", SynthesizeConfig(**options))
    progress = tmp_path / "cut" / "checkpoints" / "federated" / "progress.json"
    deadline = time.monotonic() + 120
    while not progress.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "dataset.yaml").exists()
    resumed = made(hospitals, tmp_path / "cut", True, **options)
    pd.testing.assert_frame_equal(resumed.manifest, whole)
    rounds = pd.read_csv(resumed.root / "training" / "rounds.csv")["round"]
    assert rounds.tolist() == np.repeat(np.arange(1, 13), 3).tolist()
    assert not verify(resumed.root / "training" / "audit.jsonl").problems
