"""Fifty sites at one SuperLink: seconds of a masked round, and memory over a hundred rounds.

Heart Disease dealt to fifty, a logistic regression, TLS and keys on. Each site is a process of `medimg federate site`;
so that fifty are on one machine, they are forked from one that has imported TensorFlow and computed nothing, and share
what it imported. Link and coordinator are processes of their own. `python -m benchmarks.fifty_sites 10 10,20`: ten
sites, looked at after rounds 10 and 20.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.heart import DATA
from benchmarks.material import rounds_done, table

_GIVEN = dict(enumerate(sys.argv[1:]))
SITES = int(_GIVEN.get(0, 50))
ROUNDS = [int(number) for number in _GIVEN.get(1, "10,50,100").split(",")]
PROMISE = 1.05


def forked(words: list, log: Path) -> int:
    """A process that runs a command of medimg's with what is imported here; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        import cli

        sys.argv = ["medimg", *map(str, words)]
        cli.main()
    finally:
        os._exit(1)


def ended(pid: int) -> None:
    os.kill(pid, 15)
    os.waitpid(pid, 0)


def mib(pid: int) -> float:
    """Of a process' own and its share of what it has in common with others."""
    return psutil.Process(pid).memory_full_info().pss / 2**20


def prepared(root: Path, config, place) -> list[tuple[Path, str]]:
    """The sites' folders and names; the coordinator's Dataset is at root / "coordinator"."""
    from federated.flower import rehearse
    from federated.partition import partition
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    dataset = prepare("heart", DATA / "heart_disease", root / "data", PrepareConfig())
    clients = partition(dataset, replace(config, partition="iid", clients=SITES))
    sites = [rehearse._prepared(client, number, root, place) for number, client in enumerate(clients)]
    rehearse._copy(dataset, replace(dataset, root=root / "coordinator", manifest=rehearse._held_out(dataset, clients)))
    for folder, _ in sites:
        rehearse._policy(folder, config, root)
    return [(folder, party.name) for folder, party in sites]


def started(root: Path, sites: list[tuple[Path, str]], address: str, stack: ExitStack) -> list[int]:
    """Numbers of the sites' processes."""
    from federated.flower import certificates, keys

    pids = []
    for folder, name in sites:
        words = ["federate", "site", "--data", folder / "data", "--policy", folder / "policy.yaml", "--folder", folder]
        words += ["--key", folder / f"{name}{keys.SECRET}", "--superlink", address]
        pids.append(forked([*words, "--root-certificate", root / "link" / certificates.AUTHORITY], root / "sites.log"))
        stack.callback(ended, pids[-1])
    return pids


def main() -> None:
    # Before the first fork; no operation, so that no thread of TensorFlow's is there yet.
    import tensorflow  # noqa: F401

    import cli  # noqa: F401
    import federated.flower.site  # noqa: F401
    from federated.config import FederateConfig
    from federated.flower import child
    from federated.flower.link import free_ports
    from federated.flower.link_folder import LinkFolder

    config = FederateConfig(model="logistic", rounds=max(ROUNDS), batch_size=8, secure="masking", comparison=False)
    lines = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root, port = Path(folder), free_ports()
        place = LinkFolder.make(root / "link", port)
        sites = prepared(root, config, place)
        site_options = [word for path in sorted(root.glob("*.pub")) for word in ("--site", path)]
        words = ["-m", "cli", "federate", "link", "--out", root / "link", "--port", port, *site_options]
        link = child.start(words, root / "link.log")
        stack.callback(child.stop, link)
        while "for" not in (root / "link.log").read_text():
            time.sleep(0.2)
        superlink = psutil.Process(link.pid).children()[0].pid
        pids = started(root, sites, place.superlink, stack)
        words = ["-m", "cli", "federate", root / "coordinator", "--engine", "flower", "--link", root / "link"]
        words += ["--model", "logistic", "--rounds", config.rounds, "--batch-size", config.batch_size]
        words += ["--secure", "masking", "--no-comparison", "--site-patience", 300, "--out", root / "run"]
        coordinator = child.start(words, root / "coordinator.log")
        stack.callback(child.stop, coordinator)
        first = None
        for number in ROUNDS:
            while len(rows := rounds_done(root / "run")) < number:
                if coordinator.poll() is not None:
                    sys.exit((root / "coordinator.log").read_text() + (root / "sites.log").read_text())
                time.sleep(0.5)
            took = rows[:number]
            seconds = statistics.median(row["seconds"] for row in took[1:] or took)
            taking = {row["participants"] for row in took}
            state = sum(path.stat().st_size for path in (root / "link").glob("state.db*")) / 2**20
            memory = [mib(superlink), mib(coordinator.pid), statistics.median(map(mib, pids))]
            first = first or memory
            ratios = [now / then for now, then in zip(memory, first, strict=True)]
            ratio_text = " / ".join(f"{ratio:.3f}" for ratio in ratios)
            lines.append([number, f"{min(taking)} to {max(taking)}", seconds, *memory, ratio_text, state])
            print(lines[-1], file=sys.stderr, flush=True)
    columns = ["round", "sites in a round", "median seconds", "SuperLink MiB", "coordinator MiB", "a site MiB (median)"]
    table([*columns, f"each over round {ROUNDS[0]} (promise < {PROMISE})", "link's state on disk MiB"], lines)


if __name__ == "__main__":
    main()
