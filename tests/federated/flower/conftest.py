"""Sites in this process, and a stand-in for the grid between them and the coordinator.

`Loopback` stands in for Flower's link alone: coordinator and sites are the product's, and so is every byte between
them. Tests of the link itself are in `test_rehearse`.
"""

import json
import struct
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from federated.config import FederateConfig

# One small training; the comparison would train twice more.
QUICK = FederateConfig(model="logistic", rounds=3, batch_size=16, comparison=False)
MASKED = replace(QUICK, secure="masking")
CKKS = replace(QUICK, secure="ckks")
PRIVATE = replace(MASKED, rounds=2, dp="patient", dp_epsilon=6.0, dp_delta=1e-2)
# What must leave no site.
MARKED = {"row": "MARK-ROW-5d1c", "patient": "MARK-PATIENT-77ae", "mrn": "MARK-MRN-0b2f", "age": 61.283746501}


class AwayError(Exception):
    """On the wire: the site is gone, with the request."""


class SilentError(Exception):
    """On the wire: the site is connected, and the time for its answer is over."""


def header(raw: bytes) -> dict:
    """What a message says of itself."""
    (size,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + size])


def rounds(run, name):
    """A site's status by round."""
    table = pd.read_csv(run.root / "rounds.csv").fillna("")
    return table[table["client"] == name].set_index("round")["status"].to_dict()


class Loopback:
    """Stands in for `Grid`: the same three methods, but bytes go straight to Sites of this process.

    Attributes:
        sites: name -> its Site.
        away: names of those that are not connected.
        wire: (name, header of the request, deliver) -> the answer; a test's own to look, change or lose.
        carried: (name, request, answer) of all that went by.
    """

    def __init__(self, parties):
        self._parties = {party.name: party for party in parties}
        self._count = count()
        self._started = {}
        self.sites, self.away, self.carried = {}, set(), []
        self.wire = lambda name, head, deliver: deliver()

    def connect(self, name, site):
        self.sites[name], self._started[name] = site, str(next(self._count))

    def online(self):
        from federated.flower.control import Node

        return {
            party.node: Node(number, self._started[name])
            for number, (name, party) in enumerate(self._parties.items())
            if name in self.sites and name not in self.away
        }

    def ask(self, requests, patience, timeout):
        from federated.flower.grid import Replies

        names, answers, silent = list(self._parties), {}, set()
        for node, raw in requests.items():
            name = names[node.number]
            if name in self.away or node.started != self._started[name]:
                continue
            try:
                answer = self.wire(name, header(raw), lambda name=name, raw=raw: self.deliver(name, raw))
            except AwayError:
                continue
            except SilentError:
                silent.add(node)
                continue
            self.carried.append((name, raw, answer))
            answers[node] = answer
        return Replies(answers, silent)

    def deliver(self, name, raw):
        """As `serve` does."""
        from federated.flower.envelope import WireError

        try:
            return self.sites[name].answer(raw)
        except WireError as error:
            self.sites[name]._say(f"not answered: {error}")
            return b""

    def close(self):
        pass

    @property
    def bytes(self) -> bytes:
        """All that went either way."""
        return b"".join(raw + (answer or b"") for _, raw, answer in self.carried)


class Apart:
    """A Dataset's sites, each with a folder, a key, a policy and a `Site` of its own in this process.

    Attributes:
        data: the coordinator's own Dataset.
        folders: name -> the site's folder.
        said: lines of all sites.
    """

    def __init__(self, dataset, config, root, **policy):
        from federated.flower import rehearse
        from federated.flower.link_folder import LinkFolder
        from federated.partition import partition

        self.root, self.said = root, []
        clients = partition(dataset, config)
        self.place = LinkFolder.make(root / "link", 9092)
        made = {c.name: rehearse._prepared(c, n, root, self.place) for n, c in enumerate(clients)}
        self.folders = {name: folder for name, (folder, _) in made.items()}
        self.parties = [party for _, party in made.values()]
        for name, (folder, party) in made.items():
            self.place.add(party)
            rehearse._policy(folder, config, root)
            self.allow(name, **policy)
        held_out = replace(dataset, root=root / "coordinator", manifest=rehearse._held_out(dataset, clients))
        rehearse._copy(dataset, held_out)
        self.data, self.link = held_out.root, Loopback(self.parties)
        for name in self.folders:
            self.start(name)

    def allow(self, name, **entries):
        """Change a site's policy; a Site that is started then has it."""
        path = self.folders[name] / "policy.yaml"
        content = {**yaml.safe_load(path.read_text()), **entries}
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))

    def start(self, name):
        """A process of the site is started, or started anew, on the same folder."""
        from federated.flower import keys
        from federated.flower.policy import Policy
        from federated.flower.site import Site
        from medimg.data.dataset import Dataset

        folder = self.folders[name]
        if name in self.link.sites:
            self.link.sites[name].close()
        secret, policy = keys.load(folder / f"{name}.key"), Policy.read(folder / "policy.yaml")
        site = Site(Dataset.load(folder / "data"), secret, policy, folder, self.said.append)
        self.link.connect(name, site)

    def federate(self, out, config, execution, **more):
        """A training from the coordinator's side."""
        from federated.federate import federate
        from federated.flower.link_folder import LinkFolder

        config = replace(config, engine="flower", link=str(self.place.root))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(LinkFolder, "grid", lambda _: self.link)
            return federate(self.data, out, config, execution=execution, **more)

    def log(self, name):
        """Records of the site's own log."""
        return [json.loads(line)["record"] for line in (self.folders[name] / "audit.jsonl").open()]

    def close(self):
        for site in self.link.sites.values():
            site.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """160 rows of 80 patients at 3 sites, in which a training row, its patient and its age are marked."""
    from tests.datasets import write_table

    dataset = write_table(tmp_path_factory.mktemp("table") / "data")
    manifest = dataset.manifest.copy()
    for column, mark in MARKED.items():
        manifest.loc[0, column] = mark
    manifest.loc[1, "patient"] = MARKED["patient"]
    replace(dataset, manifest=manifest).save()
    return dataset.load(dataset.root)


@pytest.fixture(scope="module")
def apart(tmp_path_factory, table):
    """(config, dataset=the table, **entries of the policies) -> Apart."""
    made = []

    def make(config=QUICK, dataset=None, **policy):
        made.append(Apart(dataset or table, config, tmp_path_factory.mktemp("apart"), **policy))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def simulated(table, execution, tmp_path_factory):
    """(config) -> Run of the same training in one process, each config trained once."""
    from federated.federate import federate

    known = {}

    def run(config=QUICK, data=None):
        key = (str(data), json.dumps(config.to_dict(), sort_keys=True))
        if key not in known:
            out = tmp_path_factory.mktemp("simulated") / "run"
            known[key] = federate(data or table.root, out, config, execution=execution)
        return known[key]

    return run


def weights(run):
    return run.model().get_weights()


def largest(one, other) -> float:
    """Largest difference of two Runs' weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(weights(one), weights(other), strict=True))


def told(run: object, name: str = "federation.json") -> dict:
    """A JSON file of a Run."""
    return json.loads((Path(run.root) / name).read_text())
