"""`medimg federate key|link|site|policy`: what they print, and bad input in one line."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from federated.flower import keys
from federated.flower import serve as serving
from federated.flower.fleet import LinkLostError
from medimg.errors import InputError
from tests.command import medimg
from tests.datasets import write_dataset


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder with keys and a policy."""
    root = tmp_path_factory.mktemp("there")
    for name in ("coordinator", "paris"):
        keys.make(name, root)
    (root / "policy.yaml").write_text("coordinators: [coordinator.pub]\nmax_rounds: 7\n")
    (root / "bad.yaml").write_text("coordinators: [coordinator.pub]\nmax_round: 7\n")
    (root / "file").write_text("")
    (root / "open.key").write_bytes((root / "paris.key").read_bytes())
    (root / "open.key").chmod(0o644)
    return root


def refused(*words):
    """The one line of a command that is refused."""
    done = medimg("federate", *words)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    lines = [line for line in done.output.strip().splitlines() if "error: " in line.lower()]
    assert len(lines) == 1, done.output
    return " ".join(done.output.split())


def test_key_makes_two_files_and_says_where(tmp_path):
    done = medimg("federate", "key", "paris", "--out", tmp_path)
    assert done.exit_code == 0
    assert done.output.split() == ["secret:", f"{tmp_path}/paris.key", "public:", f"{tmp_path}/paris.pub"]
    assert keys.load(tmp_path / "paris.key").name == "paris"


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb"])
def test_key_refuses_names(tmp_path, name):
    assert "must have 1 to 100 characters" in refused("key", name, "--out", tmp_path)


def test_key_refuses_a_folder_that_is_none(there):
    assert "file" in refused("key", "x", "--out", there / "file")


def test_policy_check_says_it_in_words(there):
    done = medimg("federate", "policy", "check", there / "policy.yaml")
    assert done.exit_code == 0
    assert "At most 7 rounds a run." in done.output
    assert "'max_round' is no entry" in refused("policy", "check", there / "bad.yaml")
    assert "nowhere" in refused("policy", "check", there / "nowhere")


LIGHT = """
import sys
import cli
sys.argv[0] = "medimg"
try:
    cli.main()
except SystemExit as ended:
    print(ended.code, [name for name in ("tensorflow", "tensorflow_federated", "pandas") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [("policy check models.yaml", 0), ("link --out link --port 65534 --bind 192.0.2.1 --site paris.pub", 2)],
)
def test_what_no_tensor_is_needed_for_starts_without_tensorflow(there, words, code):
    (there / "models.yaml").write_text("coordinators: [coordinator.pub]\nmodels: [logistic]\n")
    command = [sys.executable, "-W", "ignore", "-c", LIGHT, "federate", *words.split()]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{code} []", done.stdout + done.stderr
    assert code == 0 or "192.0.2.1:65534 is taken or not of this machine" in " ".join(done.stderr.split())


def test_policy_approve_puts_it_down(there, tmp_path):
    assert medimg("federate", "policy", "approve", "abc", "--folder", tmp_path).exit_code == 0
    assert json.loads((tmp_path / "runs.json").read_text())["approved"] == ["abc"]
    (tmp_path / "runs.json").write_text("{")
    assert "damaged" in refused("policy", "approve", "abc", "--folder", tmp_path)
    assert "file" in refused("policy", "approve", "abc", "--folder", there / "file")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--data": "nowhere"}, "nowhere"),
        ({"--policy": "{there}/bad.yaml"}, "'max_round' is no entry"),
        ({"--policy": "{there}/nowhere"}, "nowhere"),
        ({"--key": "{there}/paris.pub"}, "no secret key of medimg"),
        ({"--key": "{there}/open.key"}, "others can read this secret key; chmod 600"),
        ({"--root-certificate": "{there}/nowhere"}, "--root-certificate"),
        ({"--folder": "{there}/file"}, "file"),
    ],
)
def test_site_refuses_what_it_can_not_use(there, small_table, tmp_path, changes, told):
    options = {
        "--data": small_table.root,
        "--policy": there / "policy.yaml",
        "--key": there / "paris.key",
        "--superlink": "127.0.0.1:9",
        "--root-certificate": there / "paris.pub",
        "--folder": tmp_path,
        **{name: value.format(there=there) for name, value in changes.items()},
    }
    assert told in refused("site", *(word for pair in options.items() for word in pair))


@pytest.mark.parametrize(("refusals", "cause"), [(2, None), (2, InputError("another certificate")), (99, None)])
def test_a_site_is_patient_with_a_link_that_refuses_it(there, small_table, tmp_path, monkeypatch, refusals, cause):
    """The link holds a key for connected for a minute after its process was killed; another certificate stays one."""
    tried, said = [], []

    @contextmanager
    def connected(*_):
        tried.append(1)
        if len(tried) <= refusals:
            raise LinkLostError("refused") from cause
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(serving, "connected", connected)
    monkeypatch.setattr(serving, "_AGAIN", 0.01)
    files = (there / name for name in ("policy.yaml", "paris.key"))
    given = (small_table.root, *files, "127.0.0.1:9092", there / "ca.pem", tmp_path / "state", said.append, 0.3)
    if cause or refusals > 2:
        with pytest.raises(InputError, match="refused"):
            serving.serve(*given)
        assert len(tried) == 1 if cause else len(tried) > 2
    else:
        serving.serve(*given)
        assert len(tried) == 3
        assert sum("link lost (refused); trying again" in line for line in said) == 2


@pytest.mark.parametrize("address", ["nonsense", "host:", ":9092", "host:0", "host:99999", "host:x"])
def test_site_refuses_an_address_that_is_none(there, small_table, tmp_path, address):
    options = ("--policy", there / "policy.yaml", "--key", there / "paris.key", "--folder", tmp_path)
    words = (*options, "--data", small_table.root, "--root-certificate", there / "paris.pub")
    assert f"--superlink {address}: must be HOST:PORT" in refused("site", *words, "--superlink", address)


def test_link_refuses_what_it_can_not_use(there, tmp_path):
    assert "file" in refused("link", "--out", there / "file")
    assert "no public key of medimg" in refused("link", "--out", tmp_path / "a", "--site", there / "paris.key")
    assert "1 is not in the range" in refused("link", "--out", tmp_path / "a", "--port", "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ("link", "--out", tmp_path / "b", "--site", there / "paris.pub", "--port", port)
        assert f"127.0.0.1:{port} is taken" in refused(*words)


def test_link_refuses_another_key_of_a_known_site(there, tmp_path):
    from federated.flower.link_folder import LinkFolder

    LinkFolder.make(tmp_path, 9092).add(keys.Party.read(there / "paris.pub"))
    keys.make("paris", tmp_path / "other")
    assert "another key of this name is known" in refused(
        "link", "--out", tmp_path, "--site", tmp_path / "other" / "paris.pub"
    )


def test_link_without_any_site_says_so_before_it_starts(tmp_path):
    assert "knows no site" in refused("link", "--out", tmp_path)
    assert not (tmp_path / "link.log").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "needs --link DIR"),
        (("--link", "nowhere"), "no folder of 'medimg federate link'"),
        (("--link", "{link}", "--site", "rome"), "--site rome: not known"),
        (("--link", "{link}", "--superlink", "nonsense"), "must be HOST:PORT"),
        (("--link", "{link}", "--partition", "iid"), "--partition"),
        (("--link", "{link}", "--secure", "masking", "--strategy", "scaffold"), "--strategy scaffold"),
        (("--link", "{link}", "--personalize-epochs", "1"), "--personalize-epochs"),
    ],
)
def test_a_federation_apart_refuses_what_it_can_not_use(there, small_table, tmp_path, given, told):
    from federated.flower.link_folder import LinkFolder

    LinkFolder.make(tmp_path / "link", 9092).add(keys.Party.read(there / "paris.pub"))
    words = [word.format(link=tmp_path / "link") for word in given]
    line = refused(small_table.root, "--model", "logistic", "--engine", "flower", *words, "--out", tmp_path / "run")
    assert told in line
    assert not (tmp_path / "run").exists()


def test_the_old_worker_says_where_to_go():
    assert "use 'medimg federate site'" in refused("worker")


def test_a_run_is_approved_in_the_sites_own_folder(there, tmp_path):
    assert "no such folder" in refused("policy", "approve", "run", "--folder", tmp_path / "nowhere")
    done = medimg("federate", "policy", "approve", "run\x1b[31m", "--folder", tmp_path)
    assert (done.exit_code, done.output) == (0, "run\\x1b[31m is allowed\n")


@pytest.fixture
def siteless(tmp_path):
    """A Dataset that can't be rehearsed on."""
    dataset = write_dataset(tmp_path / "data")
    replace(dataset, manifest=dataset.manifest.drop(columns="site")).save()
    return dataset.root


@pytest.fixture
def left(tmp_path):
    """What a rehearsal keeps that ends before there is a Run, at a full disk for one."""
    (tmp_path / "out" / "rehearsal" / "paris").mkdir(parents=True)
    (tmp_path / "out" / "rehearsal" / "link.log").write_text("")
    (tmp_path / "out" / "rehearsal" / "paris" / "site.log").write_text("")
    return tmp_path / "out"


def test_what_a_rehearsal_without_a_run_left_is_overwritten(left, siteless):
    words = ("rehearse", siteless, "--out", left)
    assert "already holds files; give another folder, --resume or --overwrite" in refused(*words)
    assert (left / "rehearsal").is_dir()
    # What is wrong next is the Dataset.
    assert "site" in refused(*words, "--overwrite")
    assert not (left / "rehearsal").exists()


@pytest.mark.parametrize("name", ["thesis.txt", "rehearsal/thesis.txt", "rehearsal/paris/thesis.txt"])
def test_with_anything_else_there_nothing_is(left, siteless, name):
    (left / name).write_text("mine")
    words = ("rehearse", siteless, "--out", left, "--overwrite")
    assert "is not a Run, so --overwrite" in refused(*words)
    assert (left / name).read_text() == "mine"
    assert (left / "rehearsal" / "link.log").is_file()
