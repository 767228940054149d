"""A real rehearsal: the link, a process for each site, TLS and keys, masking and privacy in one run; all ended."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from federated.audit_log import verify
from medimg.errors import InputError
from medimg.listener import Listener
from tests.command import medimg
from tests.federated.flower.conftest import MARKED, PRIVATE, told


def hostile(marker: Path) -> bytes:
    """An app bundle whose code, wherever it is imported or run, leaves a file."""
    buffer = io.BytesIO()
    code = f"open({str(marker)!r}, 'w').close()\nclass _App:\n    pass\napp = _App()\n"
    project = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "hostile"
version = "1.0.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "hostile"
[tool.flwr.app.components]
serverapp = "hostile.app:app"
clientapp = "hostile.app:app"
"""
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("pyproject.toml", project)
        file.writestr("hostile/__init__.py", code)
        file.writestr("hostile/app.py", code)
        file.writestr("sitecustomize.py", code)
    return buffer.getvalue()


class Rehearsed:
    """What came of it: `run`, `processes`, and what the link and the sites did with strangers."""


@pytest.fixture(scope="module")
def rehearsed(table, sparing, execution, tmp_path_factory):
    from federated.federate import federate
    from federated.flower import child, control, grid
    from federated.flower.fleet import LinkLostError, connected
    from federated.flower.link import Link
    from federated.flower.link_folder import LinkFolder
    from federated.flower.rehearse import FOLDER, rehearsal

    root, found = tmp_path_factory.mktemp("rehearsed"), Rehearsed()
    found.processes, found.marker, found.apps = [], root / "hostile-code-ran", root / "flwr"
    start = child.start

    def recorded(*words):
        found.processes.append(start(*words))
        return found.processes[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(child, "start", recorded)
        patched.setenv("FLWR_HOME", str(found.apps))
        out = root / "run"
        (out.parent / "run").mkdir()
        with rehearsal(table.root, PRIVATE, out / FOLDER) as (held_out, config):
            place = LinkFolder.of(config)
            certificate = place.root / "ca.pem"
            found.held_out = Path(held_out / "manifest.csv").read_bytes()
            stranger = ec.generate_private_key(ec.SECP384R1())
            with pytest.raises(LinkLostError) as error, connected(place.superlink, certificate, stranger, 3.0):
                pass
            found.stranger = str(error.value)
            with pytest.MonkeyPatch.context() as bundled:
                bundled.setattr(control, "_bundle", lambda: hostile(found.marker))
                shipped = grid.Grid(place.superlink, certificate)
            nodes = list(shipped.online().values())
            found.answers = shipped.ask(
                dict.fromkeys(nodes, b"\x10\x00\x00\x00whatever it is, no message"), 20.0, 60.0
            ).contents
            found.nodes = nodes
            shipped.close()
            found.alive = [process.poll() is None for process in found.processes]
            found.restarted = []

            def kill(row):
                """SIGKILL the SuperLink between two rounds, and start the link anew on its folder."""
                if row["round"] == 1:
                    os.kill(found.processes[0].pid, signal.SIGKILL)
                    found.processes[0].wait()
                    port = grid.split(place.superlink)[1]
                    found.restarted.append(Link(place.root, port))

            killed = Listener(round=kill)
            found.run = federate(held_out, out, config, execution=execution, listener=killed)
            late = grid.Grid(place.superlink, certificate)
            node = next(iter(late.online().values()))
            found.restarted[0].register(place.parties()[:2])
            found.left = late.online().keys()
            with pytest.raises(InputError) as error:
                found.restarted[0].register(place.parties())
            found.taken_off, found.parties = str(error.value), place.parties()
            found.restarted[0].stop()
            started = time.monotonic()
            with pytest.raises(InputError) as error:
                late.ask({node: b"nobody carries it"}, 2.0, 60.0)
            late.close()
            found.lost, found.waited = str(error.value), time.monotonic() - started
    found.kept = out / FOLDER
    return found


@pytest.mark.slow
def test_it_is_the_simulations_account_and_every_log_says_so(rehearsed, simulated):
    here = simulated(PRIVATE)
    assert told(here, "privacy.json")["epsilon"] == told(rehearsed.run, "privacy.json")["epsilon"]
    assert list(rehearsed.run.history()["participants"]) == [3, 3]
    assert set(told(rehearsed.run)["measured_at_sites"]) == {"s0", "s1", "s2"}
    logs = [rehearsed.kept / name / "audit.jsonl" for name in ("s0", "s1", "s2")]
    found = verify(rehearsed.run.root / "audit.jsonl", site_logs=logs)
    assert found.ok, found.problems


@pytest.mark.slow
def test_everything_has_ended(rehearsed):
    assert len(rehearsed.processes) == 5
    assert rehearsed.alive == [True] * 4
    for process in rehearsed.processes:
        assert process.poll() is not None
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


@pytest.mark.slow
def test_a_killed_superlink_that_is_started_again_ends_no_training(rehearsed):
    """The coordinator waits, the sites come back, and no round is missing, lost at a site or counted twice."""
    assert len(rehearsed.restarted) == 1
    assert rehearsed.processes[0].returncode == -signal.SIGKILL
    assert list(rehearsed.run.history()["round"]) == [1, 2]
    assert list(rehearsed.run.history()["participants"]) == [3, 3]
    for name in ("s0", "s1", "s2"):
        records = [json.loads(line)["record"] for line in (rehearsed.kept / name / "audit.jsonl").open()]
        steps = [record["privacy"] for record in records if record.get("kind") == "train"]
        assert len(steps) == 2


@pytest.mark.slow
def test_a_superlink_that_stays_away_ends_the_coordinator_in_one_line(rehearsed):
    assert "the link was lost (UNAVAILABLE); start it again and resume with --resume" in rehearsed.lost
    assert "\n" not in rehearsed.lost
    assert rehearsed.waited < 20


@pytest.mark.slow
def test_a_site_that_the_link_is_no_longer_told_of_is_taken_off(rehearsed):
    assert rehearsed.left == {party.node for party in rehearsed.parties[:2]}
    assert rehearsed.taken_off == "--site s2: its key was taken off this link; it needs a new one"


@pytest.mark.slow
def test_an_unregistered_key_is_refused_by_the_link(rehearsed):
    assert "refused this node or can't be reached; is its key registered" in rehearsed.stranger
    assert "\n" not in rehearsed.stranger
    assert len(rehearsed.nodes) == 3


@pytest.mark.slow
def test_a_bundle_that_is_shipped_is_neither_fetched_nor_run(rehearsed):
    """The run that shipped it reached the sites: they answered that they do not answer."""
    assert list(rehearsed.answers.values()) == [b""] * 3
    assert not rehearsed.marker.exists()
    assert not rehearsed.apps.exists() or not any("hostile" in str(path) for path in rehearsed.apps.rglob("*"))
    for name in ("s0", "s1", "s2"):
        assert "not answered: message from coordinator" in (rehearsed.kept / name / "site.log").read_text()


@pytest.mark.slow
def test_no_row_is_at_the_coordinator_and_nothing_secret_is_kept(rehearsed):
    marks = [MARKED["row"].encode(), MARKED["patient"].encode(), b"PRIVATE KEY"]
    for path in rehearsed.run.root.rglob("*"):
        if path.is_file():
            assert not any(mark in path.read_bytes() for mark in marks), path
    assert not any(mark in rehearsed.held_out for mark in marks)
    assert b"val" in rehearsed.held_out


CHILD = """
import os, sys, time
from federated.flower.child import ends_with_parent
ends_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import sys, time
from pathlib import Path
from federated.flower import child
child.start(["-c", sys.argv[1]], Path(sys.argv[2]))
time.sleep(60)
"""


def test_a_child_ends_with_its_parent_however_that_ended(tmp_path):
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(log)], cwd=Path(__file__).parents[3])
    try:
        wait(lambda: log.is_file() and log.read_text().strip().isdigit())
        child = int(log.read_text())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait(lambda: not running(child))
    finally:
        parent.kill()


def running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_can_not_be_rehearsed_leaves_nothing(noise, small_table, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "x").write_text("")
    quick = ("--model", "logistic", "--rounds", "1")
    for words, told_ in (
        ((small_table.root, *quick, "--out", taken), f"--out {taken}: already holds files"),
        ((tmp_path / "nowhere", *quick, "--out", tmp_path / "a"), "nowhere"),
        ((small_table.root, *quick, "--out", tmp_path / "a", "--rounds", "0"), "--rounds"),
        ((small_table.root, *quick, "--out", tmp_path / "a", "--engine", "flower"), "--engine"),
    ):
        done = medimg("federate", "rehearse", *words)
        assert done.exit_code == 2, (words, done.output)
        assert told_ in done.output
        assert "Traceback" not in done.output
    assert json.loads(json.dumps(sorted(path.name for path in tmp_path.iterdir()))) == ["taken"]
