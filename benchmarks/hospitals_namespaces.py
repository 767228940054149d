"""Sites with users, folders and network namespaces of their own: what a training comes to, and what can be seen of it.

Four hospitals of Heart Disease, three of phantom radiographs, TLS and keys on, by the commands `federate key`, `link`,
`site` and `--engine flower`. Marks are planted in training rows (a row's name, a patient, a number), and taken of an
image (its file, its pixels) and of each site's first update (as a plain training sends it). They are looked for in all
that passed the switch (TLS), in all that passed the link's loopback between coordinator and SuperLink (no TLS: what
the coordinator is given), and in the memory of both after the first round. So that the search is known to find: a plain
update's marks are on the loopback, and a site's memory has its own rows' marks.

Root alone, and tcpdump: `sudo .venv/bin/python -m benchmarks.hospitals_namespaces`; with `heart` or `phantom` these
sites alone, and with names of MODES behind it these trainings alone.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from benchmarks import namespaces
from benchmarks.marks import of_updates, planted, seen
from benchmarks.material import table
from benchmarks.namespaces import LINK, Parties, memory, payloads

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
MODES = {
    "plain": {},
    "masked": {"secure": "masking"},
    "ckks": {"secure": "ckks"},
    "dp": {"dp": "patient", "dp_epsilon": 6.0, "dp_delta": 1e-3},
    "masked, dp": {"secure": "masking", "dp": "patient", "dp_epsilon": 6.0, "dp_delta": 1e-3},
}
ALIKE = 1e-5
# A coordinator that keeps what a plain training sends it anyway.
KEEPS = """
import runpy, sys
import numpy as np
from federated.flower.pool import FlowerPool
target, real = sys.argv.pop(1), FlowerPool.updates
def updates(self, state, names, number, work):
    found = real(self, state, names, number, work)
    if number == 1:
        np.savez(target, **{name: np.concatenate([v.ravel() for v in u.vectors]) for name, u in found[0].items()})
    return found
FlowerPool.updates = updates
sys.argv[0] = "medimg"
runpy.run_module("cli", run_name="__main__")
"""


def heart(folder: Path):
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    return prepare("heart", DATA / "heart_disease", folder, PrepareConfig())


def radiographs(folder: Path):
    from medimg.config import PrepareConfig
    from medimg.phantom.config import PhantomConfig
    from medimg.preparation.prepare import prepare

    drawing = PhantomConfig(patients=60, sites=3, phantom_size=64)
    return prepare("phantom", None, folder, PrepareConfig(image_size=32), drawing)


class Walled:
    """A link and sites that run; `train` is a coordinator's command."""

    def __init__(self, parties: Parties, dataset, config):
        from federated.flower import rehearse
        from federated.partition import partition

        self.parties, self.config, clients = parties, config, partition(dataset, config)
        names = [client.name for client in clients]
        for name in names:
            parties.run(name, "-m", "cli", "federate", "key", name)
        parties.run(LINK, "-m", "cli", "federate", "key", "coordinator", "--out", "link")
        public = {name: (parties.folders[name] / f"{name}.pub").read_bytes() for name in names}
        public["coordinator"] = (parties.folders[LINK] / "link" / "coordinator.pub").read_bytes()
        for name, folder in parties.folders.items():
            for party, content in public.items():
                (folder / f"{party}.pub").write_bytes(content)
            if name != LINK:
                client = next(client for client in clients if client.name == name)
                rehearse._copy(client.dataset, replace(client.dataset, root=folder / "data"))
            parties.own(name)
        link = parties.folders[LINK]
        rehearse._copy(dataset, replace(dataset, root=link / "data", manifest=rehearse._held_out(dataset, clients)))
        parties.own(LINK)
        self.names, self.sites, self.link = names, {}, None
        self.linked()
        for name in names:
            (parties.folders[name] / "ca.pem").write_bytes((link / "link" / "ca.pem").read_bytes())

    def linked(self) -> None:
        """Start the link, anew where it runs: what an earlier training left in its memory is no finding of this one."""
        if self.link:
            self.link.terminate()
            self.link.wait()
        parties, address, log = self.parties, self.parties.address(LINK), self.parties.root / "link.log"
        site_options = [word for name in self.names for word in ("--site", f"{name}.pub")]
        words = ["-m", "cli", "federate", "link", "--out", "link", "--bind", address, "--host", address, *site_options]
        self.link = parties.start(LINK, *words, stderr=log.open("w"))
        self._until(lambda: "lasts until" in log.read_text(), self.link)

    def _until(self, condition, process, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("".join(path.read_text() for path in self.parties.root.glob("*.log")))
            time.sleep(0.1)

    def policy(self, private: bool) -> None:
        """Have the sites run under a policy for private trainings, or for others."""
        config, names = self.config, self.names
        policy = {
            **{"coordinators": ["coordinator.pub"], "sites": [f"{name}.pub" for name in names], "secure": "optional"},
            **{"max_rounds": config.rounds, "min_batch": config.batch_size, "statistics": not private},
            **({"dp": {"unit": "patient", "epsilon": 6.0, "delta": 1e-3}} if private else {}),
        }
        for process in self.sites.values():
            process.terminate()
            process.wait()
        address = f"{self.parties.address(LINK)}:9092"
        for name in names:
            (self.parties.folders[name] / "policy.yaml").write_text(yaml.safe_dump(policy))
            self.parties.own(name)
            words = ["-m", "cli", "federate", "site", "--data", "data", "--policy", "policy.yaml"]
            words += [
                "--key",
                f"{name}.key",
                "--superlink",
                address,
                "--root-certificate",
                "ca.pem",
                "--folder",
                "state",
            ]
            log = (self.parties.root / f"{name}.log").open("w")
            self.sites[name] = self.parties.start(name, *words, stderr=log)

    def train(self, mode: str, config, keep: Path | None = None) -> tuple[Path, dict[str, list[bytes]]]:
        """A Run, and what was seen on the way: place -> what was there."""
        from federated.config import FederateConfig

        self.linked()
        parties, run = self.parties, f"run-{mode.replace(', ', '-')}"
        options, usual = config.to_dict(), FederateConfig().to_dict()
        words = []
        for name, value in options.items():
            texts = [f"{key}={of}" for key, of in value.items()] if isinstance(value, dict) else [value]
            if value != usual[name] and name != "comparison":
                words += [word for text in texts for word in (f"--{name.replace('_', '-')}", str(text))]
        words = ["federate", "data", "--engine", "flower", "--link", "link", "--out", run, "--no-comparison", *words]
        captures = {name: parties.root / f"{run}-{name}.pcap" for name in ("switch", "lo")}
        listening = [parties.capture(name, path) for name, path in captures.items()]
        started = ["-c", KEEPS, str(keep), *words] if keep else ["-m", "cli", *words]
        process = parties.start(LINK, *started, stdout=sys.stderr, stderr=(parties.root / f"{run}.log").open("w"))
        rounds = parties.folders[LINK] / run / "rounds.csv"
        self._until(lambda: rounds.is_file() and "\n1," in rounds.read_text(), process)
        pids = {"coordinator": process.pid, "SuperLink": _child(self.link.pid), "a site": self.sites[self.names[0]].pid}
        contents = {place: memory(pid) for place, pid in pids.items()}
        if process.wait():
            raise RuntimeError((parties.root / f"{run}.log").read_text())
        for capture in listening:
            capture.terminate()
            capture.wait()
        return parties.folders[LINK] / run, contents | {name: [payloads(path)] for name, path in captures.items()}


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def compared(run: Path, simulated, private: bool) -> tuple[float | str, str]:
    """Largest difference of weights, where no secret noise is in them, and whether epsilon is the same."""
    from medimg.run import Run

    ours, theirs = simulated.model().get_weights(), Run.load(run).model().get_weights()
    difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    if not private:
        return difference, "none"
    ours, theirs = (json.loads((Path(root) / "privacy.json").read_text())["epsilon"] for root in (simulated.root, run))
    return "secret noise", f"{theirs['pld']:.6g}, {'equal' if ours == theirs else f'NOT {ours}'}"


def trained(name: str, dataset, config, root: Path) -> list[list]:
    """A line for each mode."""
    from federated.federate import federate

    dataset, marks = planted(dataset)
    lines, updates, updates_file = [], {}, root / "updates.npz"
    places = ("switch", "lo", "coordinator", "SuperLink")
    (root / "parties").mkdir()
    with Parties(root / "parties", sorted(dataset.manifest["site"].unique())) as parties:
        walled, last_private = Walled(parties, dataset, config), None
        for mode in sys.argv[2:] or MODES:
            more = MODES[mode]
            options, private = replace(config, **more), "dp" in more
            if private != last_private:
                walled.policy(private)
                last_private = private
            keep = parties.folders[LINK] / "updates.npz" if mode == "plain" else None
            run, contents = walled.train(mode, options, keep)
            if keep:
                keep.rename(updates_file)
                updates = of_updates(updates_file)
            sought = marks | ({} if private else updates)
            marks_seen = {place: seen(sought, contents[place]) for place in places}
            first = {mark: of for mark, of in marks.items() if mark.startswith(f"{walled.names[0]}:")}
            control = f"{len(seen(first, contents['a site']))} of {len(first)}"
            alike, epsilon = compared(run, federate(dataset.root, root / f"here-{mode}", options), private)
            lines.append(
                [
                    f"{name}, {len(walled.names)} sites",
                    mode,
                    alike,
                    epsilon,
                    len(sought),
                    *(len(marks_seen[p]) for p in places),
                    control,
                ]
            )
            print(lines[-1], {place: of for place, of in marks_seen.items() if of}, file=sys.stderr, flush=True)
    return lines


def main() -> None:
    namespaces.require()
    from federated.config import FederateConfig

    small = FederateConfig(rounds=3, comparison=False, batch_size=16)
    settings = {
        "heart": (heart, replace(small, model="logistic")),
        "phantom": (radiographs, replace(small, image_size=32, model_arg={"width": "4", "stages": "2"})),
    }
    lines = []
    with tempfile.TemporaryDirectory(prefix="medimg-namespaces-") as folder:
        for name in sys.argv[1:2] or settings:
            maker, config = settings[name]
            root = Path(folder) / maker.__name__
            root.mkdir()
            Path(folder).chmod(0o755)
            root.chmod(0o755)
            lines += trained(name, maker(root / "data"), config, root)
    columns = ["sites", "training", f"weights' difference from simulation (<= {ALIKE:g})", "epsilon", "marks"]
    columns += ["seen on the switch", "on the link's loopback", "in the coordinator's memory", "in the SuperLink's"]
    table([*columns, "a site's own rows in its memory (control)"], lines)


if __name__ == "__main__":
    main()
