"""medimg federate from end to end on a small table: the Run it leaves, secure sums, rejected updates, resume."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from medimg.errors import InputError
from medimg.listener import Listener
from tests.command import medimg
from tests.datasets import write_table
from tests.forks import forked

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]

QUICK = FederateConfig(model="logistic", rounds=3, batch_size=16, comparison=False)
# What is publicly known of the table's columns, which private training does not learn from the rows.
PUBLIC = {
    "bound": {"age": "18:110", "noise": "-4:4", "visits": "0:8", "day": "2020-01-01:2020-12-31"},
    "categories": {"pain": "none,typical,atypical"},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("sites") / "data", n=240).root


@pytest.fixture(scope="module")
def trained(table, execution, tmp_path_factory):
    """(config) -> Run, each config trained once."""
    from federated.federate import federate

    known = {}

    def run(config=QUICK):
        key = json.dumps(config.to_dict(), sort_keys=True)
        if key not in known:
            out = tmp_path_factory.mktemp("runs") / "run"
            known[key] = federate(table, out, config, execution=execution)
        return known[key]

    return run


def weights(run):
    return run.model().get_weights()


def largest(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(weights(one), weights(other), strict=True))


def statuses(run):
    return pd.read_csv(run.root / "rounds.csv")["status"]


@pytest.fixture(scope="module")
def compared(trained):
    return trained(replace(QUICK, comparison=True, personalize_epochs=2))


def test_the_end_is_an_ordinary_run(compared, tmp_path):
    from medimg.evaluation.config import EvaluateConfig
    from medimg.evaluation.evaluate import evaluate
    from medimg.report.write import write
    from medimg.run import Run
    from medimg.serving.config import ExportConfig
    from medimg.serving.export import export

    run = Run.load(compared.root)
    assert (run.root / "report.html").is_file()
    before = json.loads((run.root / "metrics.json").read_text())
    again = evaluate(run, EvaluateConfig())
    assert again["metrics"]["auroc"]["value"] == before["metrics"]["auroc"]["value"]
    assert set(again["sites"]) == {"s0", "s1", "s2"}
    write(run)
    shown = set(re.findall(r'<th scope="row">(\w+)</th>', (run.root / "report.html").read_text()))
    assert {"partition", "strategy", "rounds", "local_epochs"} <= shown
    assert not {"shards", "alpha", "clients", "secure_bits", "straggler_pace", "byzantine", "dp", "dp_clip"} & shown
    assert export(run, tmp_path / "served", ExportConfig()).is_dir()
    history = run.history()
    assert list(history["round"]) == [1, 2, 3]
    rounds = pd.read_csv(run.root / "rounds.csv")
    assert len(rounds) == 9
    assert set(rounds["client"]) == {"s0", "s1", "s2"}
    assert (rounds["bytes_up"] == 4 * sum(w.size for w in weights(run))).all()
    assert not (run.root / "records").exists()
    # The state stays, for more rounds; clients' rows and answers go.
    left = [path.relative_to(run.root / "checkpoints").as_posix() for path in (run.root / "checkpoints").rglob("*")]
    assert "federated/progress.json" in left
    assert all(name.startswith("federated") and "answers" not in name for name in left)


def test_more_rounds_give_what_all_at_once_give(trained, table, execution, tmp_path):
    from federated.audit_log import verify
    from federated.federate import federate

    run = shutil.copytree(trained().root, tmp_path / "run")
    done = medimg("federate", table, "--out", run, "--resume")
    assert done.exit_code == 0, done.output
    told = "had ended already, nothing is left to resume; to go on, give more: --rounds"
    assert " ".join(done.output.split()) == f"{run}: {told}"
    longer = federate(table, run, replace(QUICK, rounds=5), resume=True, execution=execution)
    straight = trained(replace(QUICK, rounds=5))
    assert largest(longer, straight) == 0
    assert longer.config["options"]["rounds"] == 5
    assert longer.history()["val_loss"].equals(straight.history()["val_loss"])
    assert verify(run / "audit.jsonl").ok
    earlier = {path.name for path in (run / "earlier" / "rounds-3").iterdir()}
    assert {"federation.json", "metrics.json", "model.keras"} <= earlier
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(InputError, match=r"--rounds 9: .* kept nothing"):
        federate(table, run, replace(QUICK, rounds=9), resume=True, execution=execution)


def test_models_are_compared_on_the_same_rows(compared):
    federation = json.loads((compared.root / "federation.json").read_text())
    gain = federation["comparison"]["gain"]
    assert gain["models"] == ["majority", "local", "federated", "personalised", "centralised"]
    pooled = next(place for place in gain["places"] if place["kind"] == "pooled")
    metrics = json.loads((compared.root / "metrics.json").read_text())
    measured = pooled["values"]["federated"]["value"]
    assert measured == pytest.approx(metrics["metrics"]["auroc"]["value"], abs=1e-6)
    assert pooled["values"]["majority"]["value"] == 0.5
    assert (compared.root / "federation.html").stat().st_size > 10_000
    assert len(list((compared.root / "sites").glob("*.keras"))) == 3


def test_centralised_is_the_pooled_training(trained, compared, table, execution, tmp_path):
    """One client that holds everything, by rounds, is what the comparison calls centralised."""
    from federated.federate import federate

    one = replace(QUICK, partition="iid", clients=1)
    run = federate(table, tmp_path / "one", one, execution=execution)
    federation = json.loads((compared.root / "federation.json").read_text())
    history = federation["baseline_histories"]["centralised"]
    # The same rows in another order, so other batches: alike, not equal.
    assert run.history()["val_loss"].iloc[-1] == pytest.approx(history[-1]["val_loss"], abs=0.05)


@pytest.mark.parametrize("secure", ["masking", "ckks"])
def test_secure_sums_train_the_same_model(trained, secure):
    config = replace(QUICK, secure=secure, client_dropout=0.3, seed=3)
    run, plain = trained(config), trained(replace(config, secure="none"))
    found = statuses(run)
    assert (found == "dropped").any()
    assert (found == "ok").any()
    # Where too few were left, the sum failed closed and the plain mean did not: compare the others.
    if not found.str.startswith("unused").any():
        assert largest(run, plain) < 1e-4
    told = json.loads((run.root / "federation.json").read_text())["secure"]
    assert told["kind"] == secure
    assert told["sentences"]
    records = (run.root / "audit.jsonl").read_text().splitlines()
    assert all(not json.loads(line)["record"].get("updates") for line in records)


def test_below_the_threshold_nothing_is_learnt_and_that_is_an_error(table, execution, tmp_path):
    from federated.federate import federate

    config = replace(QUICK, secure="masking", secure_threshold=3, client_dropout=0.95)
    for resume in (False, True):
        with pytest.raises(InputError, match="no round of 3 used any update"):
            federate(table, tmp_path / "run", config, resume=resume, execution=execution)
    status = pd.read_csv(tmp_path / "run" / "rounds.csv")["status"]
    assert len(status) == 9
    assert status.str.startswith(("unused", "dropped")).all()
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.fixture(scope="module")
def small_sites(table, tmp_path_factory):
    """The table with three sites of a patient to learn from, which lack validation rows, test rows, or both."""
    from medimg.data.dataset import Dataset

    dataset = Dataset.load(table)
    manifest = dataset.manifest.copy()
    for site, patients in {"no val": ("p6", "p9"), "no test": ("p12", "p18"), "one": ("p0",)}.items():
        manifest.loc[manifest["patient"].isin(patients), "site"] = site
    other = replace(dataset, root=tmp_path_factory.mktemp("small") / "data", manifest=manifest)
    other.save()
    return other.root


def test_sites_that_lack_a_part_are_left_out_of_the_comparison_alone(small_sites, execution, tmp_path):
    from federated.federate import federate
    from medimg.listener import Listener

    config = replace(QUICK, rounds=2, comparison=True, personalize_epochs=1, patience=2)

    def interrupt(what, done, total):
        if what == "alone: no val":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        federate(small_sites, tmp_path / "run", config, execution=execution, listener=Listener(step=interrupt))
    said = []
    run = federate(
        small_sites, tmp_path / "run", config, True, execution=execution, listener=Listener(note=said.append)
    )
    gain = json.loads((run.root / "federation.json").read_text())["comparison"]["gain"]
    assert [place["name"] for place in gain["places"] if place["kind"] == "site"] == ["no val", "s0", "s1", "s2"]
    assert all(set(place["values"]) == set(gain["models"]) for place in gain["places"])
    assert "local" in gain["models"]
    page = (run.root / "federation.html").read_text()
    left_out = "{}: no row in test, so it is not among the sites that are compared."
    for sentence in (left_out.format("no test"), left_out.format("one")):
        assert sentence in said
        assert sentence in page
    judged = "no val: no row in validation; its model was judged by all sites' rows."
    assert judged in said
    assert judged in gain["notes"]
    assert set(json.loads((run.root / "metrics.json").read_text())["sites"]) == {"no val", "s0", "s1", "s2"}
    assert (run.history()["participants"] == 6).all()


def test_a_sum_that_no_client_fits_into_is_one_line_and_notes_are_said(small_sites, tmp_path):
    options = ["--model", "logistic", "--rounds", "3", "--secure", "masking", "--secure-limit", "0.0001"]
    out = tmp_path / "run"
    found = medimg("federate", small_sites, *options, "--no-comparison", "--out", out)
    assert found.exit_code == 2
    assert "note: one: no labelled row in val" in found.output
    error = found.output.strip().splitlines()[-1]
    assert "error: round 1 learnt nothing" in error
    assert "beyond the public limit of 0.0001" in error
    assert "--secure-limit" in error
    assert set(pd.read_csv(out / "rounds.csv")["round"]) == {1}
    assert not (out / "model.keras").exists()


def test_a_reference_that_learns_nothing_costs_no_run(table, execution, tmp_path):
    """Alone or pooled a training may diverge where the federation, here by tiny steps of its server, does not.

    Each step multiplies the weights by some -2000: those of a round are finite, those of four in a row are not.
    """
    from federated.federate import federate

    config = replace(
        QUICK,
        rounds=6,
        comparison=True,
        client_optimizer="sgd",
        learning_rate=1.0,
        model_arg={"l2": "1000"},
        local_steps=3,
        server_learning_rate=1e-10,
    )
    run = federate(table, tmp_path / "run", config, execution=execution)
    told = json.loads((run.root / "federation.json").read_text())["comparison"]["gain"]
    for name in ("pooled", "s0", "s1", "s2"):
        assert any(note.startswith(f"{name}, trained alone: round ") for note in told["notes"])
    assert (run.history()["participants"] == 3).all()


@pytest.mark.parametrize("unit", ["patient", "client"])
def test_private_training_keeps_its_account(trained, unit):
    config = replace(QUICK, **PUBLIC, rounds=2, dp=unit, dp_epsilon=6.0, dp_delta=1e-2)
    run = trained(config)
    told = json.loads((run.root / "privacy.json").read_text())
    assert told["unit"] == unit
    assert told["epsilon"]["pld"] <= 6.0 + 1e-9
    assert set(told["sites"]) == {"s0", "s1", "s2"}
    if unit == "patient":
        largest = max(site["epsilon"]["pld"] for site in told["sites"].values())
        assert told["epsilon"]["pld"] == pytest.approx(largest)
    records = [json.loads(line)["record"] for line in (run.root / "audit.jsonl").open()]
    rounds = [record for record in records if record["event"] == "round"]
    assert all(record["privacy"]["events"] for record in rounds)
    # Nothing is trained without noise beside it.
    federation = json.loads((run.root / "federation.json").read_text())
    assert set(federation["comparison"]["gain"]["models"]) == {"federated"}
    assert set(federation["comparison"]["left_out"]) == {"majority", "local", "centralised"}


def test_robust_rules_and_the_mean_differ(trained):
    assert largest(trained(replace(QUICK, aggregation="median")), trained()) > 1e-4


def test_fedbn_keeps_a_model_for_each_site(phantom_data, execution, tmp_path):
    from federated.federate import federate

    config = FederateConfig(
        strategy="fedbn",
        rounds=1,
        local_steps=2,
        image_size=16,
        model_arg={"width": "4", "stages": "1"},
        comparison=False,
    )
    run = federate(phantom_data.root, tmp_path / "run", config, execution=execution)
    assert len(list((run.root / "sites").glob("*.keras"))) == 5


@pytest.fixture
def combining(execution, table):
    """How a server combines updates, what it makes of them, and honest updates of three clients."""
    from federated.algorithms.strategy import Strategy
    from federated.engine import records
    from federated.engine.local_training import LocalTraining
    from federated.rounds.combining import Combining
    from federated.tff.engine import Engine
    from federated.tff.local_model import LocalModel
    from medimg.models.tabular import build_tabular

    generator = np.random.default_rng(0)
    folder = table.parent / "records"
    clients = [
        records.write(
            folder / name, name, generator.normal(size=(8, 4)).astype(np.float32), generator.integers(0, 2, 8)
        )
        for name in ("north", "south", "west")
    ]
    layout = records.Layout((4,), "float32", (), "int64")
    model = LocalModel(build_tabular("logistic", 4, 2, 0.0, {}), "binary")
    engine = Engine(execution, model, layout, Strategy(), LocalTraining())
    state = engine.initialize()
    names = [client.name for client in clients]
    mean_of = partial(engine.aggregate, state)
    return Combining(QUICK, names, 8), mean_of, engine.client_updates(state, clients)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(lambda v: [np.full_like(v[0], np.nan), *v[1:]], "NaN"), (lambda v: [v[0][:-1], *v[1:]], "shape")],
)
def test_a_broken_update_is_rejected_by_name(combining, spoil, told):
    server, mean_of, updates = combining
    honest = {name: updates[name] for name in ("north", "south")}
    west = replace(updates["west"], vectors=spoil(updates["west"].vectors))
    found = server.combine({**honest, "west": west}, 1, mean_of)
    assert list(found.rejected) == ["west"]
    assert told in found.rejected["west"]
    assert found.included == ("north", "south")
    without = server.combine(honest, 1, mean_of)
    assert all(np.array_equal(a, b) for a, b in zip(found.arrays, without.arrays, strict=True))


def test_a_protected_clients_broken_update_is_none_and_not_told(combining):
    """That it was rejected would be a word on the client without noise."""
    from federated.rounds.combining import Combining

    _, mean_of, updates = combining
    server = Combining(replace(QUICK, dp="client", dp_epsilon=6.0), list(updates), 1)
    west = replace(updates["west"], vectors=[np.full_like(v, np.nan) for v in updates["west"].vectors])
    found = server.combine({**updates, "west": west}, 1, mean_of)
    assert not found.rejected
    assert found.included == ("north", "south", "west")
    absent = replace(updates["west"], vectors=[np.zeros_like(v) for v in updates["west"].vectors])
    same = server.combine({**updates, "west": absent}, 1, mean_of)
    assert all(map(np.array_equal, found.arrays, same.arrays))


@pytest.mark.parametrize("secure", ["masking", "ckks"])
def test_a_resumed_coordinator_gets_no_second_sum_over_other_clients(combining, tmp_path, secure):
    """The difference of the two sums would be one client's update."""
    from federated.rounds.combining import Combining

    _, _, updates = combining
    names = list(updates)

    def started():
        config = replace(QUICK, secure=secure)
        return Combining(config, names, 8, tmp_path / "answers")

    first = started().combine(updates, 1)
    assert first.included == ("north", "south", "west")
    # Killed before its checkpoint; the round is repeated with fresh keys and gives the same.
    resumed = started()
    again = resumed.combine(updates, 1)
    assert not again.failure
    assert all(map(np.array_equal, first.arrays, again.arrays))
    assert "answered in this session" in resumed.combine(updates, 1).failure
    fewer = {name: updates[name] for name in ("north", "south")}
    refused = started().combine(fewer, 1, absent=["west"])
    assert refused.failure
    assert not refused.included
    assert not refused.arrays
    assert not started().combine(fewer, 2, absent=["west"]).failure


def federate_until_killed(data, out, config, rounds):
    """In a process of its own, which ends when so many rounds are done."""
    from federated.federate import federate

    def kill(row):
        if row["round"] == rounds:
            os.kill(os.getpid(), signal.SIGKILL)

    federate(data, out, config, listener=Listener(round=kill))


def test_killed_at_a_round_and_resumed_is_the_same_run(table, execution, tmp_path):
    from federated.audit_log import verify
    from federated.federate import federate

    options = {
        "model": "mlp",
        "model_arg": {"width": "8"},
        "rounds": 4,
        "strategy": "fedadam",
        "batch_size": 16,
        "client_fraction": 0.7,
        "stragglers": 0.3,
        "comparison": False,
    }
    config = FederateConfig(**options)
    whole = federate(table, tmp_path / "whole", config, execution=execution)
    out = tmp_path / "killed"
    process = forked(federate_until_killed, table, out, config, 2)
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "model.keras").exists()
    run = federate(table, out, config, resume=True, execution=execution)
    assert largest(whole, run) == 0
    told = verify(out / "audit.jsonl")
    assert told.ok
    assert told.rounds == (1, 2, 3, 4)
    drop = ["seconds"]
    pd.testing.assert_frame_equal(run.history().drop(columns=drop), whole.history().drop(columns=drop))
    one, other = (pd.read_csv(r.root / "rounds.csv").drop(columns=drop) for r in (run, whole))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"aggregation": "median", "secure": "masking"}, "--aggregation median with --secure masking"),
        ({"aggregation": "krum"}, "--byzantine 1"),
        ({"secure": "ckks", "secure_threshold": 1}, "--secure-threshold 1"),
        ({"dp_epsilon": 3.0}, "--dp-epsilon"),
        ({"dp": "patient"}, "--dp patient: give --dp-epsilon"),
        ({"dp": "client", "dp_epsilon": 3.0, "secure": "masking"}, "--dp client"),
        ({"strategy": "scaffold", "client_optimizer": "momentum"}, "--client-optimizer momentum"),
        ({"strategy": "fedbn"}, "--strategy fedbn"),
        ({"partition": "iid", "clients": 1, "secure": "masking"}, "needs 2 or more"),
        ({"image_size": 32, "freeze": "backbone"}, "--freeze"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_written(table, tmp_path, given, told):
    from federated.federate import federate

    with pytest.raises(InputError, match=told):
        federate(table, tmp_path / "run", replace(QUICK, **given))
    assert not (tmp_path / "run").exists()


def test_clients_hold_out_patients_for_the_audit(table, execution, tmp_path):
    from federated.federate import federate
    from medimg.audit.audit import audit
    from medimg.audit.config import AuditConfig
    from medimg.data.dataset import Dataset
    from medimg.run import Run

    config = replace(QUICK, partition="iid", clients=3, audit_holdout=0.3)
    run = federate(table, tmp_path / "run", config, execution=execution)
    dataset = run.dataset()
    held = set(dataset.rows("audit")["patient"])
    assert len(held) >= 8
    assert run.environment()["data_fingerprint"] == dataset.fingerprint()
    # Nonsense in who is held out changes nothing that is learnt.
    manifest = Dataset.load(table).manifest
    column = dataset.inputs[0].name
    manifest.loc[manifest["patient"].isin(held), column] = 1e5
    other = replace(dataset, root=tmp_path / "spoiled", manifest=manifest)
    other.save()
    again = federate(other.root, tmp_path / "again", config, execution=execution)
    assert run.description() == again.description()
    assert largest(run, again) == 0
    result = audit(Run.load(run.root), AuditConfig(attack=("threshold",), bootstrap=50))
    assert result["non_members_from"] == "audit"
    assert result["member_patients"] == result["non_member_patients"] >= 8
    assert result["epsilon_lower_bound"] < 0.5
    with pytest.raises(InputError, match="--audit-holdout: not with sites apart"):
        federate(table, tmp_path / "no", replace(QUICK, audit_holdout=0.3, engine="flower"))
