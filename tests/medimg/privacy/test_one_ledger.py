"""One Ledger writes what two wrote: privacy.json of central and federated trainings, as it was before they were one."""

import itertools
import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from medimg.errors import InputError
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.ledger import Ledger
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment
from medimg.privacy.spending import Spending, Stretch
from medimg.privacy.terms import Account, Terms

# Written by the two ledgers of version 0.1, on these very steps.
BEFORE = json.loads((Path(__file__).parent / "ledgers_before.json").read_text(encoding="utf-8"))
OFTEN, SELDOM = Mechanism.poisson(0.1, 2.0), Mechanism.poisson(0.2, 1.5)
INHERITED = (Segment("f" * 32, "train", "d0", SELDOM, ((0, 5),)),)


def sentences(told: Circumstances) -> list[str]:
    return [f"unwritten {told.dataset_ledger!r}, inherited {told.inherited}"]


def central(root: Path, text) -> dict[str, str]:
    terms = Terms(1e-5, 3.0, 1.0, 10, "d1")
    run = Ledger.of(root / "central", terms, Circumstances(search=True), root / "data", INHERITED)
    run.reserve(lambda noise, previous: [("train", OFTEN, 50), ("counts", SELDOM, 1)])
    run.record("counts", 0, 1, SELDOM)
    run.record("train", 0, 30, OFTEN)
    running = text(run)
    run.record("train", 30, 50, OFTEN)
    run.complete()
    return {"central_running": running, "central_complete": text(run)}


def built_in(root: Path, text) -> dict[str, str]:
    """Without noise, on data that have no folder."""
    run = Ledger.of(
        root / "built_in", Terms(1e-5, None, 1.0, 10, "d1", mechanism="counts"), Circumstances(poisson=False)
    )
    run.record("train", 0, 3, Mechanism.poisson(0.1, 0.0))
    run.complete()
    return {"built_in": text(run)}


def sites(root: Path, text) -> dict[str, str]:
    """Patients at sites that are simulated on one Dataset."""
    accounts = {
        "a": Account(OFTEN, "da", {"expected_patients": 4}),
        "b": Account(SELDOM, "db", {"expected_patients": 7}),
    }
    spending = Spending(root / "sites", "patient", root / "data", None, INHERITED)
    spending.reserve(lambda spent: [Stretch("a", "da", OFTEN, ((0, 8),)), Stretch("b", "db", SELDOM, ((0, 4),))])
    terms = Terms(1e-5, 3.0, 1.0, 7, mechanism="at each site", composition="the largest")
    run = Ledger(spending, terms, Circumstances(), accounts, sentences)
    told = json.dumps(run.record_sites({"a": (0, 4), "b": (0, 2)}))
    running = text(run)
    later = json.dumps(run.record_sites({"a": (4, 8)}))
    run.complete()
    written = {"sites_running": running, "sites_complete": text(run), "sites_summary": json.dumps(run.summary())}
    return {"sites_told": told, "sites_told_later": later, **written}


def clients(root: Path, text) -> dict[str, str]:
    """Clients elsewhere, of whom no Dataset's ledger is known here."""
    mechanism = Mechanism.shuffle(1, 2.0)
    spending = Spending(root / "clients", "client", None)
    spending.reserve(lambda spent: [Stretch(name, "dc", mechanism, ((0, 3),)) for name in "ab"])
    terms = Terms(1e-2, None, 0.5, 2, unit="client", mechanism="of updates", composition="the largest")
    accounts = dict.fromkeys("ab", Account(mechanism, "dc", {}))
    run = Ledger(spending, terms, Circumstances(), accounts, sentences)
    run.record_sites({"a": (0, 1), "b": (0, 1)})
    run.record_sites({"a": (2, 3)})
    run.complete()
    return {"clients": text(run), "clients_summary": json.dumps(run.summary())}


def rounded(text: str) -> str:
    """Another machine's logarithms may differ in their last bits."""
    return json.dumps(json.loads(text, parse_float=lambda value: float(f"{float(value):.9g}")), indent=2)


def test_what_is_written_is_what_was_written(tmp_path, monkeypatch):
    numbers = itertools.count(1)
    monkeypatch.setattr("medimg.privacy.spending.uuid.uuid4", lambda: SimpleNamespace(hex=f"{next(numbers):032x}"))
    (tmp_path / "data").mkdir()

    def text(run: Ledger) -> str:
        return (run.folder / "privacy.json").read_text()

    found = {}
    for training in (central, built_in, sites, clients):
        found |= training(tmp_path, text)
    assert sorted([*found, "dataset"]) == sorted(BEFORE)
    for name, written in found.items():
        before = BEFORE[name].replace("dp-accounting 0.4.3", f"dp-accounting {metadata.version('dp-accounting')}")
        # Keys in their order, one space and all.
        assert rounded(written) == rounded(before), name
        assert len(written.splitlines()) == len(before.splitlines())
    lines = (tmp_path / "data" / "privacy_ledger.jsonl").read_text().replace(str(tmp_path), "ROOT")
    assert lines == BEFORE["dataset"]


def test_sites_cannot_record_nothing(tmp_path):
    spending = Spending(tmp_path / "run", "client", None)
    account = Account(OFTEN, "d", {})
    run = Ledger(spending, Terms(1e-2, None, 1.0, 2, unit="client"), Circumstances(), {"a": account}, sentences)
    with pytest.raises(InputError, match="client a: steps 2 to 2: nothing to record"):
        run.record_sites({"a": (2, 2)})
