"""What a site answers its coordinator: what it holds in numbers, statistics, and where its records are."""

import hashlib
import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

from federated.clients.client import Client
from federated.partition import partition
from federated.remote import messages
from federated.remote.spool import own_folder
from medimg.data import schema
from medimg.data.dataset import SPLITS, Dataset
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_MOST_SEEDS = 4  # whose divisions are kept


class Site:
    """The clients that one worker serves from one Dataset.

    Args:
        dataset: at the site.
        spool: the worker's working folder; records are written below it.
        sites: of the Dataset's, those to serve; (): all.
        client: name of the only client, which has all rows; None: each site is a client.

    Raises:
        InputError: sites that the Dataset does not have, or none and no name.
    """

    def __init__(self, dataset: Dataset, spool: Path, sites: tuple[str, ...] = (), client: str | None = None):
        self._dataset, self._spool, self._sites, self._name = dataset, spool, sites, client
        self._clients: dict[int, dict[str, Client]] = {}
        self._plan, self._records = "", {}
        if sites and client:
            raise InputError("--client: names the whole of --data; not with --site")
        if client is None and not dataset.manifest["site"].any():
            raise InputError(f"{dataset.root}/manifest.csv: no row has a site; name the one client with --client")
        known = set(dataset.manifest["site"]) - {""}
        for site in sites:
            if site not in known:
                raise InputError(
                    f"--site {site}: not in {dataset.root}/manifest.csv, which has {', '.join(sorted(known))}"
                )

    def clients(self, seed: int) -> dict[str, Client]:
        """The clients by name.

        Args:
            seed: of the federation: which patients a client without val or test takes from its train.
        """
        if seed not in self._clients:
            kind = "site" if self._name is None else "iid"
            options = SimpleNamespace(partition=kind, clients=1, seed=seed)
            found = partition(self._dataset, options)
            if self._name is not None:
                found = [Client(self._name, found[0].dataset)]
            wanted = {client.name: client for client in found}
            if self._sites:
                wanted = {name: wanted[name] for name in sorted(set(self._sites))}
            # A coordinator has one seed; whoever asks with all of them must not fill the memory.
            while len(self._clients) >= _MOST_SEEDS:
                del self._clients[next(iter(self._clients))]
            self._clients[seed] = wanted
        return self._clients[seed]

    def answer(self, request: dict) -> dict:
        """The answer to a request of `federated.remote.messages`.

        Raises:
            InputError: a request of another kind, for clients that are not here, or one that these data can't meet.
        """
        clients = self.clients(request.get("seed", 0))
        kind = request.get("kind")
        if kind == messages.DESCRIBE:
            return self._describe(clients)
        asked = request.get("clients", [])
        for name in asked:
            if name not in clients:
                raise InputError(f"client {printable(name)}: not served here; {', '.join(clients)} are")
        if kind == messages.STATISTICS:
            from federated.statistics import answer

            return {name: answer(clients[name].dataset, request["request"]) for name in asked}
        if kind == messages.PREPARE:
            return self._prepare({name: clients[name] for name in asked}, request["plan"])
        raise InputError(f"request {printable(kind)}: not known here; the coordinator's medimg is another one")

    def _describe(self, clients: dict[str, Client]) -> dict:
        """Numbers and names; nothing of any one row but through a digest over all of them."""
        data = self._dataset
        return {
            "version": version("tensorflow-federated"),
            "task": data.task,
            "classes": list(data.classes),
            "negative": data.negative,
            "features": schema.describe(data.features),
            "clients": {
                name: {
                    **counts(client.dataset),
                    "fingerprint": client.dataset.fingerprint(),
                    "notes": list(client.notes),
                }
                for name, client in clients.items()
            },
        }

    def _prepare(self, clients: dict[str, Client], plan: dict) -> dict:
        """Write the clients' records, or find them written; those of another plan go."""
        from federated.clients.examples import prepare
        from federated.clients.plan import ClientPlan

        named = json.dumps(plan, sort_keys=True)
        if self._plan != named:
            shutil.rmtree(self._spool / messages.RECORDS, ignore_errors=True)
            self._plan, self._records = named, {}
        told = {}
        for name, client in clients.items():
            # Names of sites are free text, those of folders are not; another seed may cut other parts.
            named = f"{name}\n{client.dataset.fingerprint()}"
            place = f"{messages.RECORDS}/{hashlib.sha256(named.encode()).hexdigest()[:16]}"
            if place not in self._records:
                own_folder(self._spool / messages.RECORDS)
                own_folder(self._spool / place)
                data = prepare(client.dataset, ClientPlan.from_dict(plan), self._spool / place, name)
                # As the worker sees it, whose working folder is the spool.
                self._records[place] = {**asdict(data), "folder": place}
            told[name] = self._records[place]
        return told


def counts(dataset: Dataset) -> dict:
    """Labelled rows by part, patients to learn from, and how deep and colourful the images are."""
    train = dataset.rows("train", labelled=True)
    counts = {
        "examples": {part: len(dataset.rows(part, labelled=True)) for part in SPLITS},
        "patients": int(train["patient"].nunique()),
    }
    if not dataset.is_table:
        from medimg.pipeline.pixels import image_form

        form = image_form(dataset.paths(dataset.rows("train")))
        counts.update(channels=form.channels, bits=form.bits)
    return counts
