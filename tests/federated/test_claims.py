"""What a federated Run says of privacy is held against what its own files and messages contain."""

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.report.printed import printed
from federated.report.words import shared, summed
from federated.statistics import counts_disclosed
from medimg.data.dataset import Dataset
from tests.datasets import write_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]

QUICK = FederateConfig(model="logistic", rounds=2, batch_size=16, comparison=False)
PUBLIC = {
    "bound": {"age": "18:110", "noise": "-4:4", "visits": "0:8", "day": "2020-01-01:2020-12-31"},
    "categories": {"pain": "none,typical,atypical"},
}
KINDS = {
    "plain": {},
    "masking": {"secure": "masking"},
    "ckks": {"secure": "ckks"},
    "masked and private": {**PUBLIC, "secure": "masking", "dp": "patient", "dp_epsilon": 6.0, "dp_delta": 1e-2},
    "private": {**PUBLIC, "dp": "patient", "dp_epsilon": 6.0, "dp_delta": 1e-2},
    "clients": {**PUBLIC, "dp": "client", "dp_epsilon": 6.0, "dp_delta": 1e-2},
}
# Column of rounds.csv -> how a sentence names it.
NAMED = {
    "examples": "number of examples",
    "loss": "training loss and accuracy",
    "accuracy": "training loss and accuracy",
    "val_loss": "loss and AUROC on its own validation part",
    "val_auroc": "loss and AUROC on its own validation part",
    "bytes_up": "its bytes",
    "seconds": "its times",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("claims") / "data", n=240).root


@pytest.fixture(scope="module", params=KINDS)
def run(request, data, execution, tmp_path_factory):
    from federated.federate import federate

    config = dataclasses.replace(QUICK, **KINDS[request.param])
    out = tmp_path_factory.mktemp("runs") / "run"
    return federate(data, out, config, execution=execution).root


@pytest.fixture
def federation(run):
    return json.loads((run / "federation.json").read_text())


@pytest.fixture
def rounds(run):
    return pd.read_csv(run / "rounds.csv")


def records(run):
    return [json.loads(line)["record"] for line in (run / "audit.jsonl").open()]


@pytest.fixture
def told(run, federation, rounds):
    """Every sentence on who knows what, as the page has them."""
    page = (run / "federation.html").read_text()
    sentences = [*shared(federation, rounds), summed(federation["secure"]), *federation["secure"]["sentences"]]
    from markupsafe import escape

    assert all(str(escape(sentence)) in page for sentence in sentences)
    return sentences


def test_what_rounds_csv_has_is_said_to_be_known_and_nothing_else(told, rounds):
    """A sentence on what is kept names each quantity that is there, and none that is not."""
    (kept,) = [one for one in told if "of each client and round" in one]
    for column, words in NAMED.items():
        assert (words in kept) == bool(rounds[column].notna().any()), column


def test_no_number_of_examples_is_called_hidden(told, federation, rounds, run):
    if federation["privacy"]:
        return
    known = {client["name"]: client["examples"] for client in federation["clients"]}
    # The number is in the Run's files, whatever sums the updates: so no sentence may say otherwise.
    assert dict(zip(rounds["client"], rounds["examples"], strict=True)) == known
    assert records(run)[0]["clients"] == known
    for sentence in told:
        assert not re.search(r"examples[^.]*\b(hidden|secret|not (known|revealed|told))", sentence)
    if federation["secure"]["kind"] != "none":
        assert any("knows each client's number of examples (audit.jsonl, rounds.csv)" in one for one in told)


def test_of_protected_patients_nothing_is_counted_or_timed(told, federation, rounds, run):
    """What sentences say of a private Run is held against every file that could say otherwise."""
    history = pd.read_csv(run / "history.csv")
    private = federation["privacy"] is not None
    for table, columns in (
        (rounds, ("examples", "loss", "accuracy", "seconds")),
        (history, ("loss", "accuracy", "seconds")),
        (pd.read_csv(run / "partition.csv"), ("patients", "train", "total_variation")),
    ):
        for name in columns:
            assert table[name].isna().all() == private, name
    assert any("Not in this Run, since they carry no noise" in one for one in told) == private
    start = records(run)[0]
    assert (set(start["clients"].values()) == {None}) == private
    assert start["data"].startswith("withheld") == private
    times = [json.loads(line)["at"] for line in (run / "audit.jsonl").open()]
    assert all((len(time) == len("2026-01-01")) == private for time in times)
    counts = pd.read_csv(run / "partition_counts.csv")
    assert set(counts["split"]) == ({"val", "test"} if private else {"train", "val", "test"})
    assert ("majority" in federation["comparison"]["gain"]["models"]) != private
    assert (run / "figures" / "partition.png").is_file() != private
    if not private:
        return
    if federation["secure"]["kind"] != "none":
        assert any("numbers of examples, seconds and the client's" in one for one in told)
        assert not any("knows each client's number of examples" in one for one in told)
    assert set(federation["seconds"].values()) == {None}
    for client in federation["clients"]:
        assert client["examples"] is client["patients"] is None
        assert not client["notes"]
    assert json.loads((run / "environment.json").read_text())["data_fingerprint"] is None
    page = (run / "federation.html").read_text()
    assert "withheld" in page
    assert "training examples" not in page.split("<h2>")[0]


def test_files_that_sentences_name_are_there(told, run):
    named = {name for one in told for name in re.findall(r"\b\w+\.(?:csv|jsonl|json)\b", one)}
    assert {"rounds.csv", "audit.jsonl", "partition_counts.csv"} <= named
    assert all((run / name).is_file() for name in named)


def test_one_process_is_called_a_simulation_wherever_a_secure_sum_is_named(told, federation):
    kind = federation["secure"]["kind"]
    assert "simulated in one process" in federation["secure"]["sentences"][0]
    if kind != "none":
        assert "in a simulation" in summed(federation["secure"])
        (_, _, cost) = printed(federation)[-1]
        assert ["secure sum", f"{kind} (simulated)"] in cost
        assert any("a signature proves nothing" in one for one in told)


def test_no_row_or_name_of_a_patient_is_in_what_travels(run, data, told):
    """Neither in the records of the rounds nor, by its type, in what a client hands over."""
    assert "No image, table row, label or patient's name is in any of these messages." in told
    manifest = Dataset.load(data).manifest
    names = {*manifest["patient"], *manifest["row"]}
    for name in ("rounds.csv", "history.csv", "audit.jsonl", "federation.json"):
        words = set(re.findall(r"\w+", (run / name).read_text()))
        assert not words & names, name
    from federated.engine.updates import ClientRound, ClientUpdate

    assert [f.name for f in dataclasses.fields(ClientUpdate)] == ["vectors", "weight", "client_state", "measures"]
    # Beside numbers of one name each, those of losses that the work has named.
    kinds = {f.name: f.type for f in dataclasses.fields(ClientRound)}
    assert kinds.pop("also") == dict[str, float]
    assert set(kinds.values()) <= {int, float, "int", "float"}


def test_with_patients_protected_no_training_loss_leaves_a_site(run, federation, rounds):
    """What privacy.json says, and what the secure sum's sentence makes an exception of."""
    told = json.loads((run / "privacy.json").read_text()) if federation["privacy"] else {}
    protected = bool(told)
    unit = told.get("unit")
    claims = {"patient": "training loss and accuracy of a site are not written", "client": "are not written"}
    assumed = " ".join(told.get("assumptions", []))
    assert not protected or claims[unit] in assumed
    history = pd.read_csv(run / "history.csv")
    logged = pd.DataFrame(
        [row for record in records(run) for row in record.get("rounds_csv", {}).get("rows", [])], columns=list(rounds)
    )
    for name in ("loss", "accuracy"):
        for table in (rounds, history, logged.mask(logged.isin(["nan", ""]))):
            assert table[name].isna().all() == protected


def test_digests_of_updates_are_kept_of_those_alone_that_the_coordinator_may_see(run, federation):
    private = federation["privacy"] and federation["privacy"]["unit"] == "client"
    kept = federation["secure"]["kind"] == "none" and not private
    for record in records(run):
        if record["event"] == "round":
            assert bool(record["updates"]) == bool(kept)


def test_what_was_told_before_the_first_round_is_all_counted(run, federation, data):
    if federation["privacy"]:
        (sentence,) = federation["statistics"]
        assert re.match(r"Before the first round no (site|client) told anything of its training", sentence)
        assert not (run / "feature_shift.csv").exists()
        return
    assert counts_disclosed(apart=False, table=True) in federation["statistics"]
    assert not any("nothing else" in sentence for sentence in federation["statistics"])
    # Here one process had all answers, whatever was masked.
    for words in ("added up in masked sums", "In the simulation one process had every site's answers"):
        assert any(words in sentence for sentence in federation["statistics"]) == (
            federation["secure"]["kind"] != "none"
        )
    partition = pd.read_csv(run / "partition.csv").set_index("client")
    assert {"patients", "train", "val", "test"} <= set(partition)
    for client in federation["clients"]:
        assert partition.loc[client["name"], "patients"] == client["patients"]
    assert "class" in pd.read_csv(run / "partition_counts.csv")
    assert not pd.read_csv(run / "feature_shift.csv").empty


def test_no_document_promises_what_one_process_can_not_keep():
    root = Path(__file__).parents[2]
    texts = {path: path.read_text() for path in (root / "docs").glob("federation*.md")}
    for path in (root / "federated").rglob("*.py"):
        texts[path] = path.read_text()
    # Keys of draws are derived by it: nothing is sealed with it that the same process opens.
    del texts[root / "federated" / "private" / "site_key.py"]
    for path, text in texts.items():
        assert not re.search(r"\bHMAC\b|\bhmac\b|\bseals?\b|\bsealed\b|unseal", text), path
    document = " ".join(texts[root / "docs" / "federation.md"].split())
    assert "each client's number of examples, loss and accuracy are in `rounds.csv`" in document
    assert "of a simulation it is not: whoever can write RUN can make log, head and files anew" in document
