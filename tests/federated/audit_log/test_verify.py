"""`medimg federate verify` names each file, row and field that no longer says what the log says, and its own limits."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from federated.audit_log import AuditLog, verify
from federated.audit_log.files import end_record
from federated.audit_log.head import Head, read_head, write_head
from federated.commands import federate as command
from federated.config import FederateConfig
from medimg.errors import InputError
from tests.datasets import write_table
from tests.federated.audit_log.chains import forged_chain

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, execution):
    from federated.federate import federate

    folder = tmp_path_factory.mktemp("verify")
    data = write_table(folder / "data", n=240).root
    config = FederateConfig(model="logistic", rounds=2, batch_size=16, client_dropout=0.3, seed=3, comparison=False)
    return federate(data, folder / "run", config, execution=execution).root


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def found(run, *options):
    result = CliRunner().invoke(command, ["verify", str(run), *options])
    return result.exit_code, result.output


def records(run):
    return [json.loads(line)["record"] for line in (run / "audit.jsonl").open()]


def test_an_untouched_run_says_what_was_compared_and_what_can_not_be_shown(run):
    code, output = found(run)
    assert code == 0
    assert "problem" not in output
    assert "intact in itself" in output
    rows = len((run / "rounds.csv").read_text().splitlines()) - 1
    assert f"rounds.csv ({rows} rows)" in output
    assert rows == 6
    for name in ("model.keras", "federation.json", "history.csv", "partition.csv"):
        assert name in output
    assert "can't be shown: That nobody made log, head and files anew" in output
    noted = read_head(run / "audit.jsonl").hash
    code, output = found(run, "--head", noted)
    assert code == 0
    assert "made log, head and files anew" not in output
    # The page names the head that --head wants.
    assert noted in (run / "federation.html").read_text()


def test_any_changed_byte_of_a_model_or_table_is_found_and_the_file_named(run):
    draw = np.random.default_rng(0)
    described = ("model.json", "config.yaml", "environment.json", "partition_counts.csv")
    for name in ("model.keras", "history.csv", "partition.csv", *described):
        content = (run / name).read_bytes()
        for place in draw.integers(len(content), size=10):
            changed = bytearray(content)
            changed[place] ^= 1 << int(draw.integers(8))
            (run / name).write_bytes(bytes(changed))
            code, output = found(run)
            assert code == 1
            assert f"problem: {name}: is not the file" in output
        (run / name).unlink()
        assert f"problem: {name}: missing" in found(run)[1]
        (run / name).write_bytes(content)
    assert found(run)[0] == 0


def test_classes_that_were_swapped_are_found(run):
    """The model stays as it is, and every answer of it turns into its contrary."""
    content = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(content | {"classes": content["classes"][::-1]}))
    code, output = found(run)
    assert code == 1
    assert "problem: model.json: is not the file" in output


def test_models_that_were_put_in_are_found(run):
    (run / "sites").mkdir(exist_ok=True)
    for name in ("sites/9-new.keras", "better.keras"):
        shutil.copy(run / "model.keras", run / name)
        code, output = found(run)
        assert code == 1
        assert f"problem: {name}: is not among the files of the log's end" in output
        (run / name).unlink()
    assert found(run)[0] == 0


def test_of_an_end_without_a_description_it_is_said(run):
    content = records(run)
    del content[-1]["files"]["model.json"]
    forged_chain(run / "audit.jsonl", content)
    code, output = found(run)
    assert code == 0
    assert "note: model.json: can't be compared" in output


def test_a_known_seed_of_the_noise_can_not_be_guessed_from_the_log(run):
    from federated.conclusion import Conclusion

    told = type("Told", (), {"run": type("Folder", (), {"root": run})})()
    told.config = FederateConfig(dp_seed=5)
    assert "config.yaml" not in Conclusion._final_files(told)
    told.config = FederateConfig()
    assert "config.yaml" in Conclusion._final_files(told)


def test_every_changed_cell_of_rounds_csv_is_named(run):
    path = run / "rounds.csv"
    lines = path.read_text().splitlines()
    columns = lines[0].split(",")
    for number in range(1, len(lines)):
        for place, column in enumerate(columns):
            cells = lines[number].split(",")
            cells[place] = f"{cells[place]}1"
            path.write_text("\n".join([*lines[:number], ",".join(cells), *lines[number + 1 :], ""]))
            result = verify(run / "audit.jsonl")
            assert len(result.problems) == 1
            assert result.problems[0].startswith(f"rounds.csv line {number + 1}: {column} is ")


def test_rows_that_were_removed_added_or_swapped_are_found(run):
    path = run / "rounds.csv"
    lines = path.read_text().splitlines(keepends=True)
    for changed, told in (
        (lines[:-1], "rows were removed"),
        (lines[:1] + lines[2:], "rounds.csv line 2: client"),
        ([*lines, lines[-1]], "rows were added"),
        ([lines[0], lines[2], lines[1], *lines[3:]], "rounds.csv line 3: client"),
        ([lines[0].replace("loss,accuracy", "accuracy,loss"), *lines[1:]], "other columns"),
        (['"', *lines], "not readable as CSV"),
    ):
        path.write_text("".join(changed))
        code, output = found(run)
        assert code == 1
        assert told in output
    path.unlink()
    assert "rounds.csv: missing" in found(run)[1]


def test_every_changed_field_of_federation_json_is_named(run):
    path = run / "federation.json"
    text = path.read_text()
    content = json.loads(text)
    for name in content:
        for changed in (content | {name: "x"}, {k: v for k, v in content.items() if k != name}):
            path.write_text(json.dumps(changed, indent=2))
            code, output = found(run)
            assert code == 1
            assert output.count("problem") == 1
            assert f"federation.json: field '{name}'" in output
    # Deep inside, and by the last digit of a number.
    content["seconds"]["rounds"] = np.nextafter(content["seconds"]["rounds"], 9e9)
    path.write_text(json.dumps(content))
    assert "field 'seconds'" in found(run)[1]
    path.write_text(json.dumps(json.loads(text)))
    assert "in another form" in found(run)[1]
    path.write_text("{")
    assert "federation.json: not readable" in found(run)[1]


def test_a_dropped_last_record_is_found_with_and_without_its_head(run):
    log = run / "audit.jsonl"
    *kept, _ = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(kept))
    assert "lines were removed" in found(run)[1]
    last = json.loads(kept[-1])
    write_head(log, Head(last["number"], last["hash"]))
    code, output = found(run)
    assert code == 1
    assert "has no end record although federation.json is there" in output


def test_a_forged_whole_is_stated_as_undetectable_and_found_by_the_noted_head(run):
    noted = read_head(run / "audit.jsonl").hash
    (run / "model.keras").write_bytes(b"another model")
    content = records(run)
    content[-1] = end_record(run, content[-1]["files"], run / "federation.json")
    forged_chain(run / "audit.jsonl", content)
    code, output = found(run)
    assert code == 0
    assert "That nobody made log, head and files anew" in output
    code, output = found(run, "--head", noted)
    assert code == 1
    assert "holds no record with the noted hash" in output


def test_an_older_state_put_back_whole_is_found_by_the_noted_head_alone(run):
    noted = read_head(run / "audit.jsonl").hash
    content = records(run)
    (run / "federation.json").unlink()
    forged_chain(run / "audit.jsonl", content[:-1])
    code, output = found(run)
    assert code == 0
    assert "the training is not finished" in output
    assert found(run, "--head", noted)[0] == 1


def older(run):
    """The log as versions wrote it that kept no rows and no end."""
    content = [record for record in records(run) if record["event"] != "end"]
    for record in content:
        record.pop("rounds_csv", None)
    forged_chain(run / "audit.jsonl", content)


def test_of_an_older_log_it_is_said_what_can_not_be_compared(run):
    older(run)
    code, output = found(run)
    assert code == 0
    for name in ("model.keras: can't be compared", "federation.json: only rounds, bytes"):
        assert f"note: {name}" in output
    assert "note: rounds.csv: only its clients and the sums of bytes" in output
    content = json.loads((run / "federation.json").read_text())
    for name, value in {
        "rounds": 3,
        "bytes": {"up": 1, "down": 1},
        "strategy": "scaffold",
        "clients": [],
        "secure": {"kind": "masking"},
    }.items():
        (run / "federation.json").write_text(json.dumps(content | {name: value}))
        assert f"problem: federation.json: field '{name}'" in found(run)[1]
    (run / "federation.json").write_text(json.dumps(content))
    path = run / "rounds.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    assert "round 1 has other clients" in found(run)[1]


@pytest.mark.parametrize(
    "spoil",
    [
        {"files": {"../../outside": "x"}},
        {"files": {"/etc/hostname": "x"}},
        {"files": {"federation.json": 1}, "fields": [3]},
        {"files": ["x"]},
    ],
)
def test_a_forged_end_reads_nothing_outside_and_breaks_nothing(run, spoil):
    content = records(run)
    content[-1] = {"event": "end", **spoil}
    forged_chain(run / "audit.jsonl", content)
    code, output = found(run)
    assert "Traceback" not in output
    assert code in (0, 1)
    if "files" in spoil and isinstance(spoil["files"], dict):
        assert code == 1
        assert "problem" in output


def test_a_log_of_rounds_alone_ends_too(tmp_path):
    """As a generator's across clients: history.csv is under the log, there is no federation.json."""
    (tmp_path / "history.csv").write_text("round\n1\n")
    with AuditLog(tmp_path / "audit.jsonl") as log:
        log.append({"event": "start"})
        log.append(end_record(tmp_path, ["history.csv"]))
    assert verify(tmp_path / "audit.jsonl").compared == ("history.csv",)
    (tmp_path / "history.csv").write_text("round\n2\n")
    assert not verify(tmp_path / "audit.jsonl").ok


def test_a_run_without_a_log_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no audit log"):
        verify(tmp_path / "audit.jsonl")
