"""What a site tells, what it refuses, and its folder; without TensorFlow."""

import json
import signal
import stat

import pytest

from federated.remote import messages
from federated.remote.site import Site
from federated.remote.spool import Spool, sweep
from medimg.data.dataset import Dataset
from medimg.errors import InputError


@pytest.fixture(scope="module")
def dataset(table_data):
    return Dataset.load(table_data)


def test_describes_in_numbers(dataset, tmp_path):
    told = Site(dataset, tmp_path).answer({"kind": "describe", "seed": 0})
    assert list(told["clients"]) == ["s0", "s1", "s2"]
    rows = dataset.rows("train", labelled=True)
    assert told["clients"]["s1"]["examples"]["train"] == (rows["site"] == "s1").sum()
    text = json.dumps(told)
    for column in ("row", "patient"):
        assert not any(f'"{value}"' in text for value in dataset.manifest[column])


def test_serves_the_sites_that_were_named(dataset, tmp_path):
    told = Site(dataset, tmp_path, ("s2", "s0")).answer({"kind": "describe"})
    assert list(told["clients"]) == ["s0", "s2"]
    whole = Site(dataset, tmp_path, client="clinic").answer({"kind": "describe"})
    assert list(whole["clients"]) == ["clinic"]
    counted = sum(whole["clients"]["clinic"]["examples"].values())
    assert counted == (dataset.manifest["label"] != "").sum()


def test_statistics_are_those_of_the_client(dataset, tmp_path):
    from federated.statistics import Schema, answer

    site = Site(dataset, tmp_path)
    asked = {"kind": "missing", "schema": Schema.of(dataset).to_dict()}
    told = site.answer({"kind": "statistics", "clients": ["s1"], "request": asked})
    assert told == {"s1": answer(site.clients(0)["s1"].dataset, asked)}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"kind": "rows"}, "request rows: not known"),
        ({"kind": "prepare", "clients": ["s9"], "plan": {}}, "client s9: not served here"),
    ],
)
def test_refuses(dataset, tmp_path, request_, reason):
    with pytest.raises(InputError, match=reason):
        Site(dataset, tmp_path).answer(request_)


def test_sites_that_are_not_there(dataset, tmp_path):
    with pytest.raises(InputError, match="--site s7"):
        Site(dataset, tmp_path, ("s7",))
    with pytest.raises(InputError, match="--client"):
        Site(dataset, tmp_path, ("s0",), "clinic")


def test_spool_is_private_and_takes_whole_requests_only():
    name, raw = messages.encode("describe", seed=3)
    with Spool() as spool:
        assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
        path = spool.path / messages.request_path(name)
        path.write_bytes(raw[:-5])
        (path.parent / "other.json").write_text("{}")
        (path.parent / f"{'0' * 64}.json").symlink_to(path)
        assert list(spool.requests()) == []
        path.write_bytes(raw)
        taken = [(found, messages.decode(content)["seed"]) for found, content in spool.requests()]
        assert taken == [(name, 3)]
        assert list(spool.requests()) == []
        spool.answer(name, {"answer": 1})
        assert json.loads((spool.path / messages.answer_path(name)).read_text()) == {"answer": 1}
        # Another process' sweep leaves a folder in use.
        sweep()
        assert path.parent.is_dir()
    assert not spool.folder.exists()


@pytest.mark.slow
def test_killed_worker_leaves_nothing_that_the_next_does_not_remove(serve, tmp_path):
    killed = serve(spool=tmp_path / "spool")
    killed.end(signal.SIGKILL)
    assert not killed.leftovers()
    (left,) = killed.temporary.iterdir()
    following = serve(spool=tmp_path / "spool")
    assert not left.exists()
    third = serve(spool=tmp_path / "spool", port=following.port)
    assert f"--port {following.port}: can't listen at 127.0.0.1" in third.first
    third.process.wait(10)
    assert len(list(following.temporary.iterdir())) == 1
    said = following.end(signal.SIGINT)
    assert said.splitlines()[-1].endswith("stopped")
    assert not following.leftovers()
    assert not list(following.temporary.iterdir())


def serving(features=None, classes=("a", "b"), **examples):
    from federated.remote.description import Description

    clients = {name: {"examples": {"train": n}, "fingerprint": name} for name, n in examples.items()}
    return Description("binary", list(classes), "", features or {}, "0.87", clients)


def test_client_that_two_workers_serve_goes_to_the_less_loaded():
    from federated.remote.description import assigned

    served = assigned({"x:1": serving(a=50, b=20, c=30), "y:1": serving(b=20, c=30)})
    assert served == {"x:1": ["a"], "y:1": ["b", "c"]}
    other = serving(b=20)
    other.clients["b"]["fingerprint"] = "else"
    with pytest.raises(InputError, match="x:1, y:1: serve different data as client 'b'"):
        assigned({"x:1": serving(b=20), "y:1": other})


def test_workers_that_do_not_fit_together_are_named():
    from federated.remote.description import together

    one, other = {"age": "continuous", "sex": "categorical"}, {"age": "continuous", "ca": "integer"}
    merged = together({"x:1": serving(one, a=3), "y:1": serving(other, b=4)})
    assert merged.features == {"age": "continuous", "sex": "categorical", "ca": "integer"}
    assert list(merged.clients) == ["a", "b"]
    with pytest.raises(InputError, match="y:1: its column 'age'"):
        together({"x:1": serving(one), "y:1": serving({"age": "categorical"})})
    with pytest.raises(InputError, match="y:1: its classes"):
        together({"x:1": serving(one), "y:1": serving(one, classes=("b", "a"))})
    with pytest.raises(InputError, match="y:1: serves images, x:1 rows"):
        together({"x:1": serving(one), "y:1": serving()})
