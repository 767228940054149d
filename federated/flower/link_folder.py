"""The folder of `medimg federate link`: what the coordinator finds in it."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from federated.config import FederateConfig
from federated.flower import certificates, keys, record
from federated.flower.grid import Grid
from federated.flower.keys import Keys, Party
from medimg import atomic
from medimg.errors import InputError
from medimg.lock import in_turn
from medimg.untrusted.json_file import parse_json

COORDINATOR = "coordinator"
_PORT, _SITES, _ASKED = "link.json", "sites", "asked.json"


@dataclass(frozen=True)
class LinkFolder:
    """One link.

    Attributes:
        root: the folder.
        superlink: HOST:PORT for the coordinator.
    """

    root: Path
    superlink: str

    @classmethod
    def make(cls, root: Path, port: int) -> "LinkFolder":
        """The folder of a link on this machine, with the coordinator's key.

        Raises:
            InputError: it can't be written.
        """
        keys.make(COORDINATOR, root)
        atomic.write_json(root / _PORT, {"port": port})
        return cls(root, f"127.0.0.1:{port}")

    @classmethod
    def of(cls, config: FederateConfig) -> "LinkFolder":
        """Of a coordinator's options.

        Raises:
            InputError: there is none.
        """
        if not config.link:
            raise InputError("--engine flower: needs --link DIR, the folder of 'medimg federate link'")
        root = Path(config.link)
        try:
            port = int(parse_json((root / _PORT).read_text(encoding="utf-8"))["port"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"--link {root}: no folder of 'medimg federate link'") from error
        return cls(root, config.superlink or f"127.0.0.1:{port}")

    def add(self, party: Party) -> None:
        """Put down a site.

        Raises:
            InputError: another of its name is known.
        """
        path = self.root / _SITES / f"{party.name}{keys.PUBLIC}"
        if path.is_file() and Party.read(path) != party:
            raise InputError(f"--site {party.name}: another key of this name is known; delete {path} to take this one")
        atomic.write_json(path, party.to_dict())

    def parties(self, names: tuple[str, ...] = ()) -> list[Party]:
        """The sites.

        Args:
            names: of those that are meant; (): all.

        Raises:
            InputError: one is not known, or there is none.
        """
        known = {party.name: party for party in map(Party.read, sorted((self.root / _SITES).glob(f"*{keys.PUBLIC}")))}
        for name in names:
            if name not in known:
                raise InputError(f"--site {name}: not known at {self.root}, which has {', '.join(known) or 'none'}")
        if not known:
            raise InputError(f"--link {self.root}: knows no site; 'medimg federate link --site NAME.pub' adds one")
        return [known[name] for name in dict.fromkeys(names or known)]

    def coordinator(self) -> Keys:
        """The coordinator's key."""
        return keys.load(self.root / f"{COORDINATOR}{keys.SECRET}")

    def name_of(self, out: Path, config: FederateConfig) -> str:
        """What a training is called at its sites: the same when it is started again before there is a Run.

        Args:
            out: the Run's folder.
            config: options of the training.
        """
        with self._asked() as names:
            return names.setdefault(_key(out, config), secrets.token_hex(16))

    def forget(self, out: Path, config: FederateConfig) -> None:
        """There is a Run, which knows its name."""
        with self._asked() as names:
            names.pop(_key(out, config), None)

    @contextmanager
    def _asked(self) -> Iterator[dict[str, str]]:
        """The names, written down as they are at the end; of two trainings at once none loses the other's."""
        path = self.root / _ASKED
        try:
            with in_turn(self.root):
                names = record.read(path, str, "; delete it")
                before = dict(names)
                yield names
                if names != before or not path.is_file():
                    atomic.write_json(path, names)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error

    def grid(self) -> Grid:
        """A run at the link.

        Raises:
            InputError: the link can't be reached.
        """
        return Grid(self.superlink, self.root / certificates.AUTHORITY)


def _key(out: Path, config: FederateConfig) -> str:
    return hashlib.sha256(json.dumps([str(out.resolve()), config.to_dict()], sort_keys=True).encode()).hexdigest()
