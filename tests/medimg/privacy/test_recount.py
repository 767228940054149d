"""A privacy.json is told only as far as its events go, and whatever numbers it holds, counting them ends."""

import json
import math
from pathlib import Path

import pytest

from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.folds import composed, together
from medimg.privacy.ledger import Ledger, read
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.recount import TOLERANCE, promise_of, promised
from medimg.privacy.statement import summary
from medimg.privacy.terms import Terms

# Written by the versions before `medimg.privacy.recount`.
BEFORE = json.loads((Path(__file__).parent / "ledgers_before.json").read_text())
WRITTEN = [name for name, text in BEFORE.items() if name != "dataset" and "events" in text and '"run"' in text]


def one(folder: Path, noise: float = 2.0, steps: int = 20) -> dict:
    run = Ledger.of(folder, Terms(1e-5, 3.0, 1.0, 10, "draw"), Circumstances(), None)
    run.record("train", 0, steps, Mechanism.poisson(0.1, noise))
    run.complete()
    return read(folder)


def kinds(tmp_path: Path) -> dict[str, dict]:
    trainings = [one(tmp_path / f"{n}", noise) for n, noise in enumerate((1.5, 2.0, 3.0))]
    sites = json.loads(BEFORE["sites_complete"])
    return {
        "central": trainings[0],
        "sites": sites,
        "folds": together(trainings),
        "members": composed(trainings),
    }


def put(folder: Path, content: dict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "privacy.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_what_medimg_has_written_is_told(name, tmp_path):
    content = json.loads(BEFORE[name])
    assert promised(put(tmp_path / "run", content)) == content


@pytest.mark.parametrize("kind", ["central", "sites", "folds", "members"])
def test_an_epsilon_below_its_events_is_refused_and_one_above_is_not(kind, tmp_path):
    content = kinds(tmp_path)[kind]
    folder = put(tmp_path / "run", content)
    assert promise_of(folder, {}) == content
    for figure in content["epsilon"]:
        for share, refused in ((0.5, True), (1 - 2 * TOLERANCE, True), (2.0, False)):
            put(folder, content | {"epsilon": content["epsilon"] | {figure: share * content["epsilon"][figure]}})
            if refused:
                with pytest.raises(InputError, match=rf"privacy.json: epsilon .*\({figure}\) is less than the .* give"):
                    promised(folder)
            else:
                promised(folder)


def test_each_sites_epsilon_is_counted(tmp_path):
    content = json.loads(BEFORE["sites_complete"])
    site = next(iter(content["sites"]))
    content["sites"][site]["epsilon"]["pld"] *= 0.9
    with pytest.raises(InputError, match=rf"site {site}: epsilon .* is less than"):
        promised(put(tmp_path / "run", content))


def test_a_site_that_is_left_out_is_missed(tmp_path):
    content = json.loads(BEFORE["sites_complete"])
    dearest = max(content["sites"], key=lambda name: content["sites"][name]["epsilon"]["pld"])
    del content["sites"][dearest]
    with pytest.raises(InputError, match=f"steps of {dearest} are in no site's account"):
        promised(put(tmp_path / "run", content))


@pytest.mark.parametrize("runs", [1, 2])
def test_all_runs_together_have_spent_no_less_than_one(runs, tmp_path):
    content = one(tmp_path / "run") | {"dataset": {"runs": runs, "epsilon": dict.fromkeys(("pld", "rdp"), 0.1)}}
    with pytest.raises(InputError, match="all Runs on the Dataset together: epsilon"):
        promised(put(tmp_path / "run", content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": {}}, "'events' is no list"),
        ({"events": [1]}, "not a record of private steps"),
        ({"delta": "small"}, "delta small is no number between 0 and 1"),
        ({"delta": 0}, "delta 0 is no number"),
        ({"unit": "hospital"}, "unit 'hospital' is neither"),
        ({"epsilon": 0.1}, "epsilon 'pld' is missing or no number"),
        ({"epsilon": None}, "epsilon 'pld' is missing"),
        ({"epsilon": {"pld": True}}, "epsilon 'pld' is missing or no number"),
        ({"sites": {}}, "'sites' names no accounts"),
        ({"sites": {"a": 1}}, "'sites' names no accounts"),
        ({"folds": []}, "'folds' names no accounts"),
        ({"folds": [{}]}, "'folds' names no accounts"),
        ({"dataset": [1]}, "'dataset' is no account"),
        ({"sites": {"train": {}}, "folds": [{"run": "a"}, {"run": "b"}]}, "of one of these alone"),
        ({"steps": 1}, "'steps' is 1, and its events have others"),
        ({"steps": "20"}, "'steps' is 20, and its events have others"),
        ({"l2_norm_clip": -1.0}, "'l2_norm_clip' is no number of at least 0"),
        ({"expected_units": -5}, "'expected_units' is no number of at least 0"),
        ({"budget_epsilon": "0.1"}, "'budget_epsilon' is no number of at least 0"),
        ({"assumptions": []}, "'assumptions' names none"),
        ({"assumptions": "none"}, "'assumptions' names none"),
        ({"assumptions": [1]}, "'1' is no text of one line"),
        ({"neighbouring": "add\nor"}, "is no text of one line"),
        ({"composition": ["all"]}, "is no text of one line"),
    ],
)
def test_what_is_no_account_is_refused_in_one_line(change, message, tmp_path):
    folder = put(tmp_path / "run", one(tmp_path / "run") | change)
    with pytest.raises(InputError, match=message) as found:
        promised(folder)
    assert "\n" not in str(found.value)


def test_steps_that_protect_others_are_none_of_its_own(tmp_path):
    """Of patients' steps a client's account counts none; of an earlier Run's, a file with nothing of its own tells."""
    content = one(tmp_path / "run")
    little = content["epsilon"] | dict.fromkeys(content["epsilon"], 0.1)
    other = [event | {"run": "another"} for event in content["events"]]
    for change in ({"unit": "client"}, {"unit": "client", "events": other}, {"events": other}, {"events": []}):
        with pytest.raises(InputError, match="no step of its own protects a"):
            promised(put(tmp_path / "run", content | {"epsilon": little} | change))


def test_an_ensemble_on_built_in_data_tells_nothing_of_all_runs(tmp_path):
    assert kinds(tmp_path)["members"]["dataset"] is None


@pytest.mark.parametrize("of_runs", [lambda run: [run], lambda run: [run, run], lambda run: [run, [1]]])
def test_a_run_is_no_fold_of_itself(of_runs, tmp_path):
    """The only fold's steps would be left out for everybody, and epsilon 0 would be told."""
    content = one(tmp_path / "run")
    nothing = dict.fromkeys(content["epsilon"], 0.0)
    parts = [{"run": run, "epsilon": nothing, "steps": 1} for run in of_runs(content["run"])]
    with pytest.raises(InputError, match="'folds' names fewer than two different Runs"):
        promised(put(tmp_path / "run", content | {"epsilon": nothing, "folds": parts}))


def test_sites_that_are_null_are_refused(tmp_path):
    content = one(tmp_path / "run") | {"sites": None}
    with pytest.raises(InputError, match="'sites' names no accounts"):
        promised(put(tmp_path / "run", content))


def test_more_mechanisms_than_a_training_has_are_not_counted(tmp_path):
    content = one(tmp_path / "run")
    (event,) = content["events"]
    many = [event | {"mechanism": event["mechanism"] | {"noise_multiplier": 1.0 + n / 1e4}} for n in range(2100)]
    with pytest.raises(InputError, match="more than 2048 accounts and mechanisms"):
        promised(put(tmp_path / "run", content | {"events": many, "steps": 2100 * content["steps"]}))


def test_a_training_that_has_only_begun_promises_nothing_yet(tmp_path):
    begun = {"run": "x", "status": "running", "unit": "patient", "events": []}
    assert promised(put(tmp_path / "run", begun)) == begun


def test_members_of_an_ensemble_are_no_earlier_runs(tmp_path):
    content = kinds(tmp_path)["members"]
    assert "first weights" not in summary(content, "image")
    assert "noise multiplier 1.5, 2, 3." in summary(content, "image")


# Numbers that no training has: with each, dp-accounting alone ran for minutes, filled the memory or ended in an error.
BEYOND = [
    (1e-9, 0.3, 10**9),
    (1e-300, 5.0, 10**15),
    (1e-300, 1e300, 10**15),
    (1e-9, 1e7, 10**9),
    (1e-9, 1e5, 10**6),
    (0.5, 1e7, 10**15),
    (0.1, 1e-160, 10),
    (1.0, 1e-160, 3),
    (1e-8, 1.0, 10**12),
]


@pytest.mark.parametrize(("probability", "noise", "steps"), BEYOND)
def test_numbers_that_no_training_has_are_counted_high_or_refused(probability, noise, steps):
    event = Mechanism.poisson(probability, noise).event([(0, steps)])
    try:
        found = epsilon_of([event], 1e-5)
    except InputError as error:
        assert "numbers that no training has" in str(error)  # noqa: PT017  either is right
        return
    assert not math.isnan(found["pld"])
    if noise < 1e-4:
        assert found["pld"] == math.inf
    # Nobody gains by sampling more than all.
    assert found["pld"] <= found["rdp"]


def test_a_coarser_count_is_never_below_the_tight_one(monkeypatch):
    event = Mechanism.poisson(0.05, 1.2).event([(0, 400)])
    tight = epsilon_of([event], 1.1e-5)["pld"]
    monkeypatch.setattr("medimg.privacy.loss_distribution.MOST_CELLS", 10.0)
    assert epsilon_of([event], 1.1e-5 * (1 + 1e-12))["pld"] > tight
    monkeypatch.setattr("medimg.privacy.renyi._MOST_TERMS", 0.0)
    other = Mechanism.poisson(0.05, 1.2000001).event([(0, 400)])
    assert epsilon_of([other], 1.1e-5)["rdp"] >= epsilon_of([event], 1.1e-5)["rdp"] * (1 - 1e-6)
