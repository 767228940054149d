"""A dossier says what Run and sites' logs say, and its signature is of every file in it."""

import hashlib
import shutil
from pathlib import Path

import pytest

from federated.audit_log import AuditLog
from federated.flower import keys
from federated.report.dossier import DIGESTS, SIGNATURE, _own, _row, dossier
from federated.report.reading import read_federation, read_tables
from federated.secure.keys import signed_by
from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.json_file import read_json
from tests.federated.ledgers import write_ledger

OLD = Path(__file__).parents[2] / "old" / "federated-run"


def digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256, as a shell's `sha256sum` would have it."""
    lines = (folder / DIGESTS).read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def test_every_file_is_listed_and_the_list_is_signed(tmp_path):
    secret = keys.make("coordinator", tmp_path)
    made = dossier(OLD, tmp_path / "out", secret)
    folder = made.parent
    listed = digests(folder)
    assert set(listed) == {path.name for path in folder.iterdir()} - {DIGESTS, SIGNATURE}
    assert {"dossier.md", "dossier.json", "federation.json", "audit.jsonl"} <= set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    public, signature = keys.load(secret).identity().public, (folder / SIGNATURE).read_bytes()
    content = (folder / DIGESTS).read_bytes()
    assert signed_by(public, signature, content)
    assert not signed_by(public, signature, content + b"\n")
    text = made.read_text()
    assert public.hex() in text
    assert "all of this is the coordinator's word" in text


def test_without_a_key_it_says_that_it_is_not_signed(tmp_path):
    made = dossier(OLD, tmp_path / "out")
    assert "not signed" in made.read_text()
    assert not (made.parent / SIGNATURE).exists()


def test_a_changed_log_is_told(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    log = run / "audit.jsonl"
    log.write_text(log.read_text().replace('"round":1', '"round":7', 1))
    text = dossier(run, tmp_path / "out").read_text()
    assert "The audit log is CHANGED" in text
    assert "problem: " in text


def site_log(path, *records):
    """As a site keeps one, of its answers in the given runs by the given policies."""
    with AuditLog(path) as log:
        log.append({"event": "start", "site": "a\n# b", "identity": "", "policy": "old"})
        for record in records:
            log.append({"event": "message", "kind": "train", "bytes": {"in": 1, "out": 10}, **record})
    return path


def test_a_site_tells_of_this_training_alone_and_by_which_policies(tmp_path):
    """Its log is of all its trainings, and of all policies that it had."""
    lines = [{"run": "other", "policy": "p1"}, {"run": "mine", "policy": "p2"}, {"run": "mine", "policy": "p3"}]
    log = site_log(tmp_path / "site.jsonl", *lines, {"run": "mine", "policy": "p3", "refused": "no"})
    (site,) = _own(log, "site-0.jsonl", "mine").values()
    assert site["policies_sha256"] == ["p2", "p3"]
    assert site["messages"] == {"train": {"answered": 2, "refused": 1, "bytes_out": 30}}
    made = dossier(OLD, tmp_path / "out", site_logs=[log])
    assert "no message of this training" in made.read_text()
    assert "\n# b" not in made.read_text()


@pytest.mark.parametrize("broken", [{"bytes": 5}, {"bytes": {}}, {"bytes": {"out": "x"}}])
def test_a_site_log_of_another_form_is_refused_in_a_line(tmp_path, broken):
    log = site_log(tmp_path / "site.jsonl", {"run": None, **broken})
    with pytest.raises(InputError, match="another form"):
        dossier(OLD, tmp_path / "out", site_logs=[log])
    assert not (tmp_path / "out").exists()


def test_a_site_log_without_its_start_is_refused_in_a_line(tmp_path):
    with AuditLog(tmp_path / "site.jsonl") as log:
        log.append({"event": "message", "kind": "train", "run": None, "bytes": {"in": 1, "out": 10}})
    with pytest.raises(InputError, match=r"site\.jsonl"):
        dossier(OLD, tmp_path / "out", site_logs=[tmp_path / "site.jsonl"])
    assert not (tmp_path / "out").exists()


def test_what_a_killed_writer_has_left_is_no_file_of_others(tmp_path):
    # Before its first file was in its place.
    left = tmp_path / "out" / ".writing-unfinished-abc"
    left.mkdir(parents=True)
    (left / "file").write_text("")
    made = dossier(OLD, tmp_path / "out")
    assert made.is_file()
    assert not left.exists()


def private(folder: Path, **privacy) -> Path:
    """The old Run with a ledger of two clients, and what federation.json makes of it."""
    shutil.copytree(OLD, folder)
    summary = write_ledger(folder, "ab", "client", 1e-2)
    federation = read_json(folder / "federation.json")
    atomic.write_json(folder / "federation.json", federation | {"privacy": summary | privacy})
    return folder


def test_epsilons_are_those_of_the_ledger_alone(tmp_path):
    run = private(tmp_path / "run")
    promised = read_json(run / "privacy.json")
    text = dossier(run, tmp_path / "out").read_text()
    assert f"epsilon {promised['epsilon']['pld']:.3g} at delta 0.01 for the whole federation" in text
    little = {"pld": 0.1, "rdp": 0.1}
    for number, privacy in enumerate(
        ({"total": {"epsilon": little}}, {"sites": {}}, {"delta": 0.001}, {"unit": "patient"}, {"total": None})
    ):
        other = private(tmp_path / f"other-{number}", **privacy)
        with pytest.raises(InputError, match=r"federation\.json: its 'privacy' is not what privacy\.json says"):
            read_federation(other)
    (run / "privacy.json").unlink()
    with pytest.raises(InputError, match=r"is not what privacy\.json says"):
        dossier(run, tmp_path / "again")


def test_an_infinite_epsilon_is_told(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    site = dict.fromkeys(("pld", "rdp"), "infinite")
    client = read_federation(run)["clients"][0]["name"]
    told = read_federation(run) | {"privacy": {"sites": {client: {"epsilon": site}}}}
    assert "| infinite |" in _row(told, read_tables(run).rounds, client)


def test_what_is_there_stays(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(InputError, match="already holds files"):
        dossier(OLD, tmp_path / "out")
    with pytest.raises(InputError, match=r"federation\.json"):
        dossier(tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()
