"""The ledger on real files: killed processes, several Runs, folders that can't be written."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.events import from_dict
from medimg.privacy.ledger import Ledger, read, segments_of
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, united
from medimg.privacy.statement import summary
from medimg.privacy.terms import Terms

MECHANISM = Mechanism.poisson(0.1, 2.0)


def terms(draw: str = "d1", delta: float = 1e-5, unit: str = "patient") -> Terms:
    return Terms(delta, 3.0, 1.0, 10, draw, unit)


def ledger(folder: Path, dataset: Path | None, **changes) -> Ledger:
    return Ledger.of(folder, terms(**changes), Circumstances(), dataset)


def poisson_epsilon(*steps: int, mechanism: Mechanism = MECHANISM) -> dict:
    return epsilon_of([mechanism.event([(0, count)]) for count in steps], 1e-5)


def test_privacy_json_is_what_the_command_line_promises(tmp_path):
    (tmp_path / "data").mkdir()
    run = ledger(tmp_path / "run", tmp_path / "data")
    run.record("train", 0, 30, MECHANISM)
    assert read(run.folder)["status"] == "running"
    run.record("train", 30, 50, MECHANISM)
    epsilon = run.complete()
    content = read(run.folder)
    assert content["unit"] == "patient"
    assert content["delta"] == 1e-5
    assert content["epsilon"] == epsilon == poisson_epsilon(50)
    assert {"pld", "rdp", "pld_without_amplification"} <= set(content["epsilon"])
    (event,) = content["events"]
    assert event["ranges"] == [[0, 50]]
    assert from_dict(event["event"]) == MECHANISM.event([(0, 50)])
    assert (content["steps"], content["status"]) == (50, "complete")
    # Exact numbers of patients and hashes of their rows carry no noise.
    assert not {"units", "rows_per_unit", "data_fingerprint"} & set(content)
    assert content["dataset"] == {"runs": 1, "epsilon": epsilon}


def test_replayed_steps_count_once_and_other_draws_again(tmp_path):
    (tmp_path / "data").mkdir()
    folder = tmp_path / "run"
    ledger(folder, tmp_path / "data").record("train", 0, 30, MECHANISM)
    again = ledger(folder, tmp_path / "data")
    again.record("train", 10, 40, MECHANISM)
    again.record("train", 0, 40, MECHANISM)
    assert read(folder)["steps"] == 40
    # Another seed or option: the same step numbers are new releases.
    other = ledger(folder, tmp_path / "data", draw="d2")
    assert other.record("train", 0, 40, MECHANISM) == poisson_epsilon(40, 40)
    assert read(folder)["steps"] == 80
    # Other noise and another phase too.
    other.record("train", 0, 5, Mechanism.poisson(0.1, 1.0))
    other.record("fine-tune", 0, 5, MECHANISM)
    assert read(folder)["steps"] == 90
    assert united(DatasetLedger(tmp_path / "data").entries().recorded) == segments_of(read(folder))
    lines = (tmp_path / "data/privacy_ledger.jsonl").read_text().splitlines()
    # What was known is not written again.
    assert len(lines) == 5


def test_ranges_unite_in_any_order():
    def segment(*ranges):
        return Segment("r", "train", "d", MECHANISM, ranges)

    pieces = [segment((20, 30)), segment((0, 10), (40, 50)), segment((5, 20)), segment((41, 44))]
    for order in (pieces, pieces[::-1]):
        (whole,) = united(order)
        assert whole.ranges == ((0, 30), (40, 50))
        assert whole.steps == 40


def test_runs_on_one_dataset_compose(tmp_path):
    (tmp_path / "data").mkdir()
    other_noise = Mechanism.poisson(0.05, 1.2)
    first = ledger(tmp_path / "one", tmp_path / "data")
    first.record("train", 0, 50, MECHANISM)
    first.complete()
    second = ledger(tmp_path / "two", tmp_path / "data", draw="d2")
    second.record("train", 0, 80, other_noise)
    second.complete()
    content = read(second.folder)
    both = epsilon_of([MECHANISM.event([(0, 50)]), other_noise.event([(0, 80)])], 1e-5)
    assert content["dataset"] == {"runs": 2, "epsilon": both}
    assert content["epsilon"] == poisson_epsilon(80, mechanism=other_noise)
    assert content["epsilon"]["pld"] < both["pld"]
    # For a budget over the Dataset: what the others spent.
    shared = DatasetLedger(tmp_path / "data")
    assert shared.events(but=second.run) == (MECHANISM.event([(0, 50)]),)
    # A Run that is deleted stays counted; a patient is inside a client, a client is no patient.
    (first.folder / "privacy.json").unlink()
    assert len(shared.events()) == 2
    ledger(tmp_path / "three", tmp_path / "data", unit="client").record("rounds", 0, 3, MECHANISM)
    assert len(shared.events()) == 3
    assert len(shared.events("client")) == 1


TRAINING = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from medimg import atomic
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.ledger import Ledger
from medimg.privacy.terms import Terms
from medimg.privacy.sampling import PoissonSampling
from medimg.privacy.draws.noise_seed import secret_of
from medimg.privacy.units import Units

folder, dataset, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def reached(point):
    if point == at:
        os.kill(os.getpid(), signal.SIGKILL)

# A mean, released by clipped and noisy steps; a checkpoint every 5.
values = np.random.default_rng(0).normal(1.0, 2.0, 200)
units = Units.of([f"p{i // 2}" for i in range(200)])
fixed = 7 if len(sys.argv) > 4 else None
secret = secret_of(folder / "checkpoints", {}, "abc", fixed)
sampling = PoissonSampling(units, 10, secret)
terms = Terms(1e-5, None, 1.0, 10, secret.draw())
ledger = Ledger.of(folder, terms, Circumstances(), dataset)
state = folder / "checkpoints/state.json"
mean, done = json.loads(state.read_text()) if state.is_file() else (0.0, 0)
while done < 20:
    ledger.record("train", done, done + 5, sampling.mechanism(2.0))
    reached(f"recorded {done}")
    for step in sampling.steps(done, done + 5):
        reached(f"in {step.number}")
        sums = np.bincount(step.groups, values[step.rows] - mean, minlength=len(step.units))
        noise = secret.generator("noise", step.number).normal(0.0, 2.0)
        mean += 0.1 * (np.clip(sums, -1.0, 1.0).sum() + noise) / 10
    done += 5
    atomic.write_json(state, [mean, done])
    reached(f"saved {done}")
ledger.complete()
print(mean)
"""


def run_training(folder: Path, dataset: Path, at: str = "", fixed: bool = True):
    arguments = [sys.executable, "-c", TRAINING, str(folder), str(dataset), at]
    done = subprocess.run(arguments + (["fixed"] if fixed else []), capture_output=True, text=True, check=False)
    if at:
        assert done.returncode == -signal.SIGKILL, done.stderr
        return None
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.slow
def test_kill_and_resume_neither_lose_nor_double_count(tmp_path):
    (tmp_path / "data").mkdir()
    whole = run_training(tmp_path / "whole", tmp_path / "data")
    killed = tmp_path / "killed"
    for at, counted in (("in 7", 10), ("saved 10", 10), ("recorded 15", 20)):
        run_training(killed, tmp_path / "data", at)
        # Never fewer than were run.
        assert read(killed)["steps"] == counted
        assert read(killed)["status"] == "running"
    assert run_training(killed, tmp_path / "data") == whole
    content, reference = read(killed), read(tmp_path / "whole")
    assert content["steps"] == reference["steps"] == 20
    assert content["epsilon"] == reference["epsilon"] == poisson_epsilon(20)
    counted = DatasetLedger(tmp_path / "data").entries().recorded
    assert [(segment.run, segment.steps) for segment in counted] == [(reference["run"], 20), (content["run"], 20)]


def test_a_secret_seed_survives_a_kill(tmp_path):
    (tmp_path / "data").mkdir()
    killed = tmp_path / "killed"
    run_training(killed, tmp_path / "data", "in 12", fixed=False)
    seed = (killed / "checkpoints/noise_seed.json").read_text()
    run_training(killed, tmp_path / "data", fixed=False)
    assert (killed / "checkpoints/noise_seed.json").read_text() == seed
    # One draw: had the seed changed, steps 10 to 14 would count twice.
    assert read(killed)["steps"] == 20


def test_a_line_cut_off_by_a_crash_is_left_out_and_others_are_errors(tmp_path):
    shared = DatasetLedger(tmp_path)
    segment = Segment("r1", "train", "d", MECHANISM, ((0, 10),))
    shared.append(segment)
    path = tmp_path / "privacy_ledger.jsonl"
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    assert shared.entries().recorded == (segment,)
    other = Segment("r2", "train", "d", MECHANISM, ((0, 7),))
    shared.append(other)
    assert shared.entries().recorded == (segment, other)
    assert shared.runs() == ["r1", "r2"]
    path.write_text(whole + "nonsense\n" + whole)
    with pytest.raises(InputError, match=r"privacy_ledger\.jsonl row 2: not JSON"):
        shared.entries()
    path.write_text(whole.replace('"draw"', '"drew"'))
    with pytest.raises(InputError, match="row 1: not a record of private steps"):
        shared.append(other)
    with pytest.raises(InputError, match="row 1"):
        ledger(tmp_path / "run", tmp_path)


def test_runs_at_the_same_time_lose_no_line(tmp_path):
    code = (
        "import sys; from pathlib import Path; from medimg.privacy.dataset_ledger import DatasetLedger;"
        "from medimg.privacy.mechanism import Mechanism; from medimg.privacy.segments import Segment\n"
        "for i in range(40): DatasetLedger(Path(sys.argv[1])).append(Segment(sys.argv[2], 'train', 'd',"
        " Mechanism.poisson(0.1, 2.0), ((i, i + 1),)))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), n]) for n in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    assert sorted((s.run, s.steps) for s in DatasetLedger(tmp_path).entries().recorded) == [("a", 40), ("b", 40)]


def test_a_dataset_that_cannot_be_written_is_an_assumption(tmp_path):
    (tmp_path / "file").write_text("")
    run = ledger(tmp_path / "run", tmp_path / "file")
    run.record("train", 0, 5, MECHANISM)
    assert run.complete() == poisson_epsilon(5)
    content = read(run.folder)
    assert any("could not be written (Not a directory)" in text for text in content["assumptions"])
    assert content["dataset"]["runs"] == 1
    built_in = ledger(tmp_path / "other", None)
    built_in.record("train", 0, 5, MECHANISM)
    assert any("the data are built in" in text for text in read(built_in.folder)["assumptions"])


def test_only_assumptions_that_apply():
    plain = assumptions(Circumstances())
    assert any("Poisson sampling" in text for text in plain)
    assert not any("shuffled" in text for text in plain)
    shuffled = assumptions(Circumstances(poisson=False, fixed_seed=True))
    assert not any("Poisson sampling" in text for text in shuffled)
    for words in ("shuffled batches", "seed of the noise was fixed"):
        assert any(words in text for text in shuffled)
    everything = dict.fromkeys(Circumstances.__dataclass_fields__, True) | {"dataset_ledger": "read-only"}
    assert len(assumptions(Circumstances(**everything))) == len(set(plain)) + 10


def test_summary_in_words(tmp_path):
    (tmp_path / "data").mkdir()
    run = ledger(tmp_path / "run", tmp_path / "data")
    run.complete()
    assert "No private step" in summary(read(run.folder))
    run.record("train", 0, 50, MECHANISM)
    epsilon = run.complete()
    text = summary(read(run.folder))
    assert f"({epsilon['pld']:.3g}, 1e-05)" in text
    assert f"epsilon would be {epsilon['pld_without_amplification']:.3g}" in text
    for words in ("one patient of split 'train'", "50 steps", "noise multiplier 2.", "budget was epsilon 3."):
        assert words in text
    assert "\n" not in text
    bare = ledger(tmp_path / "bare", tmp_path / "data", draw="d2")
    bare.record("train", 0, 5, Mechanism.poisson(0.1, 0.0))
    assert json.loads((bare.folder / "privacy.json").read_text())["epsilon"]["pld"] == "infinite"
    assert "Without noise there is no guarantee." in summary(read(bare.folder))


def test_a_broken_privacy_json_is_named(tmp_path):
    assert read(tmp_path) is None
    for content in ("{", "[]", '{"run": "x"}'):
        (tmp_path / "privacy.json").write_text(content)
        with pytest.raises(InputError, match=r"privacy\.json"):
            ledger(tmp_path, None)
    with pytest.raises(InputError, match="nothing to record"):
        ledger(tmp_path / "run", None).record("train", 5, 5, MECHANISM)


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": [[5, 3]]},
        {"ranges": [[-5, 3]]},
        {"ranges": [[0, 10**16]]},
        {"ranges": [[0, 2.5]]},
        {"ranges": [[0, True]]},
        {"ranges": [[0]]},
        {"run": ["x"]},
        {"phase": {}},
        {"mechanism": {"noise_multiplier": float("nan")}},
        {"mechanism": {"noise_multiplier": -1.0}},
        {"mechanism": {"noise_multiplier": "x"}},
        {"mechanism": {"steps_per_pass": 0}},
        {"mechanism": {"steps_per_pass": 1.5}},
        {"mechanism": {"sampling_probability": float("nan")}},
        {"mechanism": {"sampling": "none"}},
        {"mechanism": {"other": 1}},
    ],
    ids=str,
)
def test_a_record_that_nobody_wrote_is_refused(change):
    whole = Segment("r", "train", "d", MECHANISM, ((0, 3),)).to_dict()
    assert Segment.from_dict(whole).to_dict() == whole
    mechanism = {**whole["mechanism"], **change.get("mechanism", {})}
    with pytest.raises(InputError, match=r"must be|not a record|choose one"):
        Segment.from_dict({**whole, **change, "mechanism": mechanism})


def test_passes_are_counted_without_making_them():
    draw = np.random.default_rng(0)
    for size in (1, 3, 7):
        mechanism = Mechanism.shuffle(size, 1.0)
        for _ in range(50):
            ranges = [tuple(sorted(draw.integers(0, 40, 2).tolist())) for _ in range(draw.integers(1, 5))]
            touched = {step // size for first, last in ranges for step in range(first, last)}
            assert mechanism.event(ranges).count == len(touched)
    # A stranger's, of which a set would fill the memory.
    assert Mechanism.shuffle(3, 1.0).event([(0, 10**15)]).count == (10**15 + 2) // 3


def test_a_ledger_older_than_the_checkpoint_counts_all_or_stops(tmp_path):
    """privacy.json put back from a copy is mended by the Dataset's ledger; without that, no step is run uncounted."""
    (tmp_path / "data").mkdir()
    run, begun = tmp_path / "run", tmp_path / "begun.json"
    made = reserved(run, tmp_path / "data")
    made.record("train", 0, 100, MECHANISM)
    begun.write_bytes((run / "privacy.json").read_bytes())
    made.record("train", 100, 200, MECHANISM)
    (run / "privacy.json").write_bytes(begun.read_bytes())
    again = reserved(run, tmp_path / "data")
    again.require_counted("train", 200)
    again.record("train", 200, 300, MECHANISM)
    assert again.complete() == poisson_epsilon(300)
    # Neither file knows of them.
    (tmp_path / "data" / "privacy_ledger.jsonl").unlink()
    (run / "privacy.json").write_bytes(begun.read_bytes())
    for lost in (False, True):
        if lost:
            (run / "privacy.json").unlink()
        older = reserved(run, tmp_path / "data")
        with pytest.raises(InputError, match=r"privacy\.json: does not count steps of 'train'.*put back"):
            older.require_counted("train", 300)
        with pytest.raises(InputError, match="does not count steps"):
            older.record("train", 200, 300, MECHANISM)


def reserved(folder: Path, dataset: Path) -> Ledger:
    made = ledger(folder, dataset)
    made.reserve(lambda noise, previous: [("train", MECHANISM, 300)])
    return made
