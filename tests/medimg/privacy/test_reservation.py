"""A budget of a Dataset under processes that train at the same time, are killed, resumed and given up."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medimg.errors import InputError
from medimg.privacy.accounting import pld_epsilon
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.budget import Budget
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.ledger import Ledger, read
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, united
from medimg.privacy.terms import Terms
from medimg.run import Run

DELTA = 1e-3
BUDGET = 2.0

# A training that keeps the budget of the Dataset; it says when it has planned, and goes on when it is told.
TRAINING = """
import os, signal, sys
from pathlib import Path
from medimg.errors import InputError
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.budget import Budget
from medimg.privacy.ledger import Ledger
from medimg.privacy.terms import Terms
from medimg.privacy.mechanism import Mechanism

folder, data, noise, killed_at = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
terms = Terms(1e-3, 2.0, 1.0, 10, "draw of " + folder.name)
ledger = Ledger.of(folder, terms, Circumstances(), data)
print("ready", flush=True)
sys.stdin.readline()
plans = []

def settle(kept, previous):
    plan = Budget(2.0, 1e-3, previous).plan(Mechanism.poisson(0.2), 60, kept("train") or noise or None)
    plans.append(plan)
    return [("train", plan.mechanism, plan.steps)]

try:
    ledger.reserve(settle, whole_dataset=True)
except InputError as error:
    print("refused", error, flush=True)
    sys.exit(2)
print("planned", plans[-1].steps, plans[-1].mechanism.noise_multiplier, flush=True)
sys.stdin.readline()
for step in range(0, plans[-1].steps, 5):
    if step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    ledger.record("train", step, min(step + 5, plans[-1].steps), plans[-1].mechanism)
ledger.complete()
print("done", flush=True)
"""


class Training:
    """A process of TRAINING."""

    def __init__(self, folder: Path, data: Path, noise: float = 0.0, killed_at: int = -1):
        folder.mkdir(exist_ok=True)
        arguments = [str(folder), str(data), str(noise), str(killed_at)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def run(self) -> tuple[str, int]:
        """From the start to the end: what it planned and how it ended."""
        assert self.says() == "ready"
        self.go()
        planned = self.says()
        if planned.startswith("planned"):
            self.go()
        return planned, self.process.wait()


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def spent(data: Path) -> float:
    return pld_epsilon(DatasetLedger(data).events(), DELTA)


def recorded(data: Path) -> float:
    return pld_epsilon([s.event() for s in DatasetLedger(data).entries().recorded], DELTA)


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_two_trainings_at_the_same_time_keep_the_budget(tmp_path, data, noise):
    """Both have read the ledger while it was empty; each alone would take (most of) the budget."""
    both = [Training(tmp_path / name, data, noise) for name in ("a", "b")]
    for training in both:
        assert training.says() == "ready"
    for training in both:
        training.go()
    answers = [training.says() for training in both]
    assert any(answer.startswith("planned") for answer in answers)
    for training, answer in zip(both, answers, strict=True):
        if answer.startswith("planned"):
            training.go()
        code = training.process.wait()
        assert code == (0 if answer.startswith("planned") else 2)
    assert 1.0 < recorded(data) <= BUDGET
    assert spent(data) == recorded(data)
    if not noise:
        # The first may take all of it; the other is told before its first step.
        (refused,) = [answer for answer in answers if answer.startswith("refused")]
        assert "already spent" in refused


@pytest.mark.slow
def test_killed_and_resumed_after_another_it_keeps_the_budget_and_its_noise(tmp_path, data):
    planned, code = Training(tmp_path / "a", data, noise=3.5, killed_at=20).run()
    assert (planned.split()[1], code) == ("60", -signal.SIGKILL)
    reserved, done = spent(data), recorded(data)
    assert 0 < done < reserved < BUDGET
    # Another takes what is left, not what the first has not used yet.
    between, code = Training(tmp_path / "b", data).run()
    assert code == 0
    assert reserved < spent(data) <= BUDGET
    # The first goes on as planned, to the last step.
    assert Training(tmp_path / "a", data, noise=3.5).run() == (planned, 0)
    assert read(tmp_path / "a")["steps"] == 60
    assert recorded(data) == spent(data) <= BUDGET
    assert between.split()[2] != planned.split()[2]


def test_killed_before_its_first_step_it_finds_its_reservation_again(tmp_path, data):
    first, code = Training(tmp_path / "a", data, killed_at=0).run()
    assert code == -signal.SIGKILL
    assert read(tmp_path / "a")["events"] == []
    refused, code = Training(tmp_path / "b", data).run()
    assert code == 2
    assert "already spent" in refused
    assert Training(tmp_path / "a", data).run() == (first, 0)


def plain(folder: Path, data: Path, draw: str = "d") -> Ledger:
    terms = Terms(DELTA, BUDGET, 1.0, 10, draw)
    return Ledger.of(folder, terms, Circumstances(), data)


def reserve(ledger: Ledger, steps: int = 40, noise: float = 4.0) -> Mechanism:
    mechanism = Mechanism.poisson(0.2, noise)
    ledger.reserve(lambda kept, previous: [("train", mechanism, steps)])
    return mechanism


def test_what_is_left_over_is_released_and_no_step_that_was_written_down(tmp_path, data):
    stopped = plain(tmp_path / "a", data)
    mechanism = reserve(stopped)
    stopped.record("train", 0, 10, mechanism)
    stopped.complete()
    entries = DatasetLedger(data).entries()
    assert [s.steps for s in entries.recorded] == [10]
    assert entries.reserved == ()
    # Killed and given up from elsewhere while it still runs: it may not go on with what it no longer has.
    alive = plain(tmp_path / "b", data, "e")
    mechanism = reserve(alive)
    alive.record("train", 0, 10, mechanism)
    assert DatasetLedger(data).release(alive.run) == 30
    alive.record("train", 0, 10, mechanism)
    with pytest.raises(InputError, match="was released, so no step may be run"):
        alive.record("train", 10, 20, mechanism)
    assert sum(s.steps for s in DatasetLedger(data).entries().recorded) == 20
    # Resumed it reserves what is left, with the noise that it had.
    again = plain(tmp_path / "b", data, "e")
    again.reserve(lambda kept, previous: [("train", Mechanism.poisson(0.2, kept("train")), 30)])
    again.record("train", 10, 30, mechanism)
    assert {s.mechanism for s in DatasetLedger(data).entries().all} == {mechanism}


def test_a_run_that_is_overwritten_gives_up_what_it_has_not_used(tmp_path, data):
    out = tmp_path / "run"
    Run.create(out, data, "train", {})
    unfinished = plain(out, data)
    mechanism = reserve(unfinished)
    unfinished.record("train", 0, 10, mechanism)
    Run.create(out, data, "train", {}, overwrite=True)
    entries = DatasetLedger(data).entries()
    assert [s.steps for s in entries.all] == [s.steps for s in entries.recorded] == [10]


def test_versions_without_reservations_count_them_as_spent(tmp_path, data):
    run = plain(tmp_path / "a", data)
    mechanism = reserve(run)
    run.record("train", 0, 10, mechanism)
    lines = (data / "privacy_ledger.jsonl").read_text().splitlines()
    # What such a version does: every line a segment, all of them united.
    (whole,) = united(Segment.from_dict(json.loads(line)) for line in lines)
    assert whole.steps == 40
    run.complete()
    lines = (data / "privacy_ledger.jsonl").read_text().splitlines()
    (whole,) = united(Segment.from_dict(json.loads(line)) for line in lines)
    assert whole.steps == 40


def test_a_budget_of_the_dataset_needs_a_ledger_that_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    run = plain(tmp_path / "run", tmp_path / "file")
    with pytest.raises(InputError, match=r"--dp-budget dataset: .* can't be written"):
        run.reserve(lambda kept, previous: [], whole_dataset=True)
    # A budget of the Run alone does not, and the Run says what is not known.
    reserve(run)
    run.record("train", 0, 5, Mechanism.poisson(0.2, 4.0))
    assert any("could not be written" in text for text in read(run.folder)["assumptions"])


def test_edited_options_pay_for_what_was_run_before_them(tmp_path, data):
    first = plain(tmp_path / "a", data)
    mechanism = reserve(first)
    first.record("train", 0, 30, mechanism)
    other = plain(tmp_path / "a", data, draw="another")
    seen = []
    other.reserve(lambda kept, previous: seen.append((kept("train"), previous)) or [])
    ((kept, previous),) = seen
    assert kept is None
    assert pld_epsilon(previous, DELTA) == pld_epsilon([mechanism.event([(0, 30)])], DELTA)


def test_steps_that_protect_clients_cost_their_patients(data):
    """A patient may turn their client's update into any other: twice the clip, so half of the noise."""
    shared = DatasetLedger(data)
    mechanism = Mechanism.shuffle(1, 8.0)
    for client, rounds in (("a", ((0, 10),)), ("b", ((0, 4), (6, 8)))):
        shared.append(Segment("r", client, "d", mechanism, rounds, "client"))
    # Of the client that was asked most often, since a patient is in one of them.
    assert shared.events("patient") == (Mechanism.shuffle(1, 4.0).event([(0, 10)]),)
    assert shared.events("client") == (mechanism.event([(0, 10)]),)
    assert shared.runs("patient") == ["r"]
    spent_by_clients = pld_epsilon(shared.events("patient"), DELTA)
    with pytest.raises(InputError, match="already spent"):
        Budget(spent_by_clients, DELTA, shared.events("patient")).plan(Mechanism.poisson(0.2), 10)
    shared.append(Segment("q", "train", "e", Mechanism.poisson(0.2, 4.0), ((0, 5),)))
    assert len(shared.events("client")) == 1
