"""`medimg federate rehearse`: link, a process and a folder for each site, keys and TLS on this machine, a training.

Nothing is simulated: the sites are processes with their own data that answer signed messages by Flower's link, as they
would at hospitals. Keys and data of the rehearsal are thrown away; logs and policies stay in RUN/rehearsal.
"""

import glob
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from federated.clients.client import Client, pooled
from federated.config import FederateConfig
from federated.flower import certificates, child, keys
from federated.flower.control import control
from federated.flower.keys import Party
from federated.flower.link import Link, free_ports
from federated.flower.link_folder import COORDINATOR, LinkFolder
from federated.partition import partition
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import content, scratch
from medimg.untrusted.printable import printable

FOLDER = "rehearsal"
_PAUSE = 0.2  # seconds between two looks for who is connected
_KEPT = ("audit.jsonl", "audit_head.json", "policy.yaml", "site.log")
_LOG = "link.log"  # of the link


@contextmanager
def rehearsal(data: Path, config: FederateConfig, kept: Path) -> Iterator[tuple[Path, FederateConfig]]:
    """Sites that run as long as the context lasts.

    Args:
        data: a Dataset with sites.
        config: options of the training.
        kept: folder that logs and policies are copied to at the end.

    Yields:
        The coordinator's own Dataset, of held-out rows alone, and the options that reach the sites.

    Raises:
        InputError: the Dataset has no sites, or a process did not start: its log is named.
    """
    dataset = Dataset.load(data, joins_copies=not config.is_private)
    clients = partition(dataset, config)
    with scratch("rehearsal") as root, ExitStack() as stack:
        stack.callback(_keep, root, kept, [client.name for client in clients])
        port = free_ports()
        place = LinkFolder.make(root / "link", port)
        made = {client.name: _prepared(client, number, root, place) for number, client in enumerate(clients)}
        for _, party in made.values():
            place.add(party)
        link = stack.enter_context(Link(root / "link", port))
        link.register(place.parties())
        running = {}
        for name, (of_site, _) in made.items():
            _policy(of_site, config.settled(dataset.is_table)[0], root)
            running[name] = _started(of_site, name, link, stack)
        _wait(running, place)
        held_out = replace(dataset, root=root / "coordinator", manifest=_held_out(dataset, clients))
        _copy(dataset, held_out)
        yield held_out.root, replace(config, engine="flower", link=str(place.root))


def _prepared(client: Client, number: int, root: Path, place: LinkFolder) -> tuple[Path, Party]:
    """A site's folder: its rows and its key."""
    keys.checked_name(client.name)
    folder = root / f"site-{number}"
    _copy(client.dataset, replace(client.dataset, root=folder / "data"))
    secret = keys.make(client.name, folder)
    public = Party.read(secret.with_suffix(keys.PUBLIC))
    shutil.copy(secret.with_suffix(keys.PUBLIC), place.root.parent / f"{number}{keys.PUBLIC}")
    return folder, public


def _policy(folder: Path, config: FederateConfig, root: Path) -> None:
    """What a cautious site would allow of this training."""
    policy = {
        "coordinators": [f"../link/{COORDINATOR}{keys.PUBLIC}"],
        "sites": [f"../{path.name}" for path in sorted(root.glob(f"*{keys.PUBLIC}"))],
        "models": [config.model],
        "strategies": [config.strategy],
        "max_rounds": config.rounds,
        "max_runs": 1,
        # Nothing leaves this machine.
        "min_patients": 1,
        "min_batch": config.batch_size,
        "statistics": not config.is_private,
        "secure": "optional" if config.secure == "none" else "required",
    }
    if config.dp == "patient":
        limits = {"epsilon": config.dp_epsilon, "delta": config.dp_delta}
        policy["dp"] = {"unit": "patient", **{name: value for name, value in limits.items() if value is not None}}
        if config.shares_noise:
            policy["dp"]["noise"] = "distributed"
    atomic.write_text(folder / "policy.yaml", yaml.safe_dump(policy, sort_keys=False))


def _started(folder: Path, name: str, link: Link, stack: ExitStack) -> subprocess.Popen:
    words = [
        *("-m", "cli", "federate", "site", "--data", folder / "data", "--policy", folder / "policy.yaml"),
        *("--key", folder / f"{name}{keys.SECRET}", "--superlink", link.address),
        *("--root-certificate", link.certificate, "--folder", folder),
    ]
    process = child.start(words, folder / "site.log", {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"})
    stack.callback(child.stop, process)
    return process


def _wait(running: dict[str, subprocess.Popen], place: LinkFolder) -> None:
    """Until all sites are connected."""
    keys_of = {party.node: party.name for party in place.parties()}
    with control(place.superlink, place.root / certificates.AUTHORITY) as superlink:
        while missing := running.keys() - {keys_of.get(key) for key in superlink.online()}:
            ended = [name for name in missing if running[name].poll() is not None]
            if ended:
                raise InputError(f"site {ended[0]}: its process ended ({_last_line(place.root.parent, ended[0])})")
            time.sleep(_PAUSE)


def _last_line(root: Path, name: str) -> str:
    log = next(path.parent / "site.log" for path in root.glob(f"site-*/{glob.escape(name)}{keys.SECRET}"))
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return printable(lines[-1]) if lines else "it said nothing"


def _held_out(dataset: Dataset, clients: list[Client]):
    rows = pooled(dataset, clients).manifest
    return rows[rows["split"].isin(["val", "test"])]


def _copy(source: Dataset, made: Dataset) -> None:
    """A Dataset of its own folder, with the files of its rows alone."""
    if not source.is_table:
        for name in made.manifest["image"]:
            target = made.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source.root / name, target)
            except OSError:
                # Another disk, or one that knows no links.
                atomic.copy(source.root / name, target)
    made.save()


def clear(out: Path) -> None:
    """Remove what a rehearsal has kept that ended before there was a Run, where the folder holds nothing else."""
    kept = out / FOLDER
    files = [path for path in kept.rglob("*") if not path.is_dir()]
    if content(out) == [kept] and all(path.name in (*_KEPT, _LOG) for path in files):
        shutil.rmtree(kept)


def _keep(root: Path, kept: Path, names: list[str]) -> None:
    """Logs and policies of the sites, and the link's log."""
    if not kept.parent.is_dir():
        return
    for number, name in enumerate(names):
        for file in _KEPT:
            path = root / f"site-{number}" / file
            if path.is_file():
                atomic.copy(path, kept / name / file)
    log = root / "link" / _LOG
    if log.is_file():
        atomic.copy(log, kept / _LOG)
