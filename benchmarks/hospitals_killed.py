"""kill -9 of coordinator, SuperLink and a site's process at random moments of trainings of four hospitals.

Heart Disease, by the commands themselves: who was killed is started anew on the same folder, the coordinator with
`--resume` where it has a Run, else by the same words. A site's process is its node (Flower's SuperNode) as well. A
kill falls within seconds of the start, of a round or of the end, so that it finds whatever stage there is. In one
training a site stays away until two rounds have ended without it. Masked: the weights are the simulation's, unless a
site was left out of a round, which is told. With privacy: each site's ledger has every round
of which the coordinator has its update, and the coordinator's account each that it asked.
`python -m benchmarks.hospitals_killed 17 "masked, dp"`: other moments, one of the trainings.
"""

import json
import random
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.heart import DATA
from benchmarks.material import rounds_done, table

ROUNDS, SEED = 8, 16
# After how many rounds, who, and after how many more it is started again.
KILLS = (
    *((0, "coordinator", 0), (0, "site", 0), (1, "SuperLink", 0), (2, "site", 0), (3, "coordinator", 0)),
    *((4, "SuperLink", 0), (5, "site", 0), (ROUNDS - 1, "coordinator", 0), (ROUNDS, "site", 0)),
)
AWAY = ((2, "site", 2),)
_LATEST = 4.0  # seconds after a round's end
_LONGEST = 1500.0


class Processes:
    """All that were started, by what they are; one that is killed can be started again by the same words."""

    def __init__(self):
        from federated.flower import child

        self._start, self._stop, self.running = child.start, child.stop, {}

    @contextmanager
    def watched(self):
        from federated.flower import child

        child.start = self.start
        try:
            yield self
        finally:
            child.start = self._start
            for process, _ in self.running.values():
                self._stop(process)

    def start(self, words, log, environment=None):
        name = next(
            (str(words[i + 1]) for i, word in enumerate(words) if word in ("--key", "--database")), "coordinator"
        )
        name = "SuperLink" if name.endswith("state.db") else Path(name).stem
        self.running[name] = self._start(words, log, environment), (words, log, environment)
        return self.running[name][0]

    def kill(self, name: str) -> None:
        process, _ = self.running[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def again(self, name: str) -> None:
        self.start(*self.running[name][1])


def killed(processes: Processes, words: list, run: Path, draw: random.Random, kills: tuple) -> list[str]:
    """Train to the end, killing on the way; what was killed, and after which round."""
    log, events, pending, back = run.parent / f"{run.name}.log", [], list(kills), {}
    names = [name for name in processes.running if name != "SuperLink"]
    end = time.monotonic() + _LONGEST
    processes.start(words, log)

    def reached() -> int:
        return len(rounds_done(run))

    while time.monotonic() < end:
        coordinator = processes.running["coordinator"][0]
        if coordinator.poll() is not None:
            if not coordinator.returncode:
                return events
            # What it ends for is in its log; a person would read it, and resume.
            begun = (run / "environment.json").is_file()
            events.append(f"{'resumed' if begun else 'started'} after {reached()}")
            processes.start([*words, "--resume"] if begun else words, log)
        for name in [name for name, number in back.items() if reached() >= number]:
            processes.again(name)
            del back[name]
        if pending and reached() >= pending[0][0]:
            time.sleep(draw.uniform(0, _LATEST))
            if processes.running["coordinator"][0].poll() is None:
                _, name, rounds = pending.pop(0)
                name = draw.choice(names) if name == "site" else name
                events.append(f"{name} after {reached()}")
                processes.kill(name)
                if name != "coordinator":
                    back[name] = reached() + rounds
        time.sleep(draw.uniform(0, 0.5))
    raise RuntimeError(log.read_text())


def line(name: str, dataset, config, root: Path, draw: random.Random, kills: tuple) -> list:
    """Of one training."""
    import pandas as pd

    from federated.audit_log import verify
    from federated.federate import federate
    from federated.flower.rehearse import rehearsal
    from medimg.privacy.dataset_ledger import DatasetLedger
    from medimg.run import Run

    with Processes().watched() as processes, rehearsal(dataset.root, config, root / f"kept-{name}") as (data, at_sites):
        run = root / f"run-{name}"
        words = ["-m", "cli", "federate", data, "--engine", "flower", "--link", at_sites.link, "--out", run]
        words += ["--model", "logistic", "--rounds", ROUNDS, "--no-comparison", "--secure", "masking"]
        words += ["--batch-size", config.batch_size, "--site-patience", config.site_patience]
        if config.is_private:
            words += ["--dp", "patient", "--dp-epsilon", config.dp_epsilon, "--dp-delta", config.dp_delta]
            words += ["--noise", config.noise]
        events = killed(processes, words, run, draw, kills)
        folders = {path.stem: path.parent for path in Path(at_sites.link).parent.glob("site-*/*.key")}
        verification = verify(run / "audit.jsonl", site_logs=[folder / "audit.jsonl" for folder in folders.values()])
        statuses = pd.read_csv(run / "rounds.csv")
        absent = [f"{row.client} of {row.round}" for row in statuses.itertuples() if row.status != "ok"]
        rounds = list(Run.load(run).history()["round"])
        texts = {"rounds": "each once" if rounds == list(range(1, ROUNDS + 1)) else str(rounds)}
        if config.is_private:
            # The coordinator's account is of all rounds that it asked, those that never reached the site among them.
            asked = {name: of["steps"] for name, of in json.loads((run / "privacy.json").read_text())["sites"].items()}
            arrived = statuses[statuses["status"] == "ok"].groupby("client")["round"].nunique()
            counted = {
                name: sum(segment.steps for segment in DatasetLedger(folder / "data").entries().recorded)
                for name, folder in folders.items()
            }
            short = [name for name in folders if counted[name] < asked[name] * arrived[name] / ROUNDS]
            told = ", ".join(f"{name} {counted[name]} of {asked[name]}" for name in sorted(folders))
            texts["promise"] = f"ledgers without a round that arrived: {', '.join(short) or 'none'} (steps: {told})"
        else:
            here = replace(config, site_patience=type(config)().site_patience)
            simulated = federate(dataset.root, root / f"here-{name}", here).model().get_weights()
            trained = Run.load(run).model().get_weights()
            apart_by = max(float(np.abs(a - b).max()) for a, b in zip(simulated, trained, strict=True))
            texts["promise"] = f"weights differ by {apart_by:.2g} (<= 1e-5 if none was left out)"
    logs = "agree" if verification.ok else "; ".join(verification.problems)
    return [name, ", ".join(events), texts["rounds"], ", ".join(absent) or "none", texts["promise"], logs]


def main() -> None:
    from federated.config import FederateConfig
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    masked = FederateConfig(model="logistic", rounds=ROUNDS, batch_size=16, secure="masking", comparison=False)
    private = replace(masked, dp="patient", dp_epsilon=6.0, dp_delta=1e-3)
    settings = {"masked": (masked, KILLS), "masked, dp": (private, KILLS)}
    settings["masked, dp, noise in shares"] = replace(private, noise="distributed"), KILLS
    settings["masked, a site away"] = replace(masked, site_patience=3.0), AWAY
    seed, *names = sys.argv[1:] or [SEED]
    lines, draw = [], random.Random(int(seed))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = prepare("heart", DATA / "heart_disease", root / "data", PrepareConfig())
        for name in names or settings:
            lines.append(line(name, dataset, settings[name][0], root, draw, settings[name][1]))
            print(lines[-1], file=sys.stderr, flush=True)
    table(["training", "killed (kill -9), after round", "rounds", "left out", "promise", "logs of all parties"], lines)


if __name__ == "__main__":
    main()
