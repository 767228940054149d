"""Calls: the sites of a federation, asked by signed messages over Flower's link; who is there, what each answers."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from federated.flower import protocol
from federated.flower.control import Node
from federated.flower.envelope import Envelope, WireError, opened, signed
from federated.flower.grid import Grid
from federated.flower.keys import Keys, Party
from medimg.errors import InputError
from medimg.untrusted.printable import printable

# Times that a site is asked, when it comes back.
TRIES = 3
_GLANCE = 0.2  # seconds between two looks for who is connected
# What a site answers may quote its own words; so many characters of them are shown.
_LONGEST = 500


class SiteRefusedError(InputError):
    """A site won't, and says why."""


class SiteAwayError(RuntimeError):
    """A site is not connected, or was started anew before it answered."""


class SiteSilentError(InputError):
    """A site is connected and does not answer in time: it is not asked again, for it may be at work still."""


class SiteUnplannedError(RuntimeError):
    """A site was started anew and has to be given the plan again."""


# It may be asked anew, once it is there again.
GONE = (SiteAwayError, SiteUnplannedError)


@dataclass(frozen=True)
class Asked:
    """What a site is asked, and what it answered.

    Attributes:
        request, answer: SHA-256 of the messages as they travelled.
        bytes_down, bytes_up: of them.
        envelope: of the answer.
    """

    request: str
    answer: str
    bytes_down: int
    bytes_up: int
    envelope: Envelope


class Calls:
    """The sites, as a coordinator reaches them.

    Args:
        grid: of the link.
        keys: of the coordinator.
        parties: the sites.
        patience: seconds for which one that is not connected is waited for.
        timeout: seconds that one that is connected may take for an answer.
        run: name of the training.

    Attributes:
        parties: by name.
        run: name of the training.
        session: of this process.

    Raises:
        InputError: a site is not there.
    """

    def __init__(self, grid: Grid, keys: Keys, parties: list[Party], patience: float, timeout: float, run: str):
        self._grid, self._keys, self._identity = grid, keys, keys.identity()
        self._patience, self._timeout = patience, timeout
        self.parties = {party.name: party for party in sorted(parties, key=lambda party: party.name)}
        self.run, self.session, self._number = run, secrets.token_hex(16), 0
        self._nodes: dict[str, Node] = {}
        self.find()

    def all(
        self,
        kind: str,
        fields: dict[str, dict],
        arrays: dict[str, dict] | None = None,
        again: Callable[[str], None] | None = None,
    ) -> dict[str, Asked]:
        """Before the first round: all must answer.

        Args:
            kind: of the requests.
            fields: of them, by site.
            arrays: of them, by site.
            again: has a site that was started anew in between begin again; None: it is not waited for.

        Raises:
            InputError: one does not answer, or refuses.
        """
        answered: dict[str, Asked] = {}
        for last in (False,) * (TRIES - 1) + (True,):
            answers = self.ask(kind, {name: of for name, of in fields.items() if name not in answered}, arrays or {})
            for name, answer in answers.items():
                if isinstance(answer, Asked):
                    answered[name] = answer
                elif last or not isinstance(answer, (SiteAwayError, *([SiteUnplannedError] if again else []))):
                    message = f"site {name}: {answer}; when it is there, start this training again"
                    raise answer if isinstance(answer, InputError) else InputError(message)
            if len(answered) == len(fields):
                break
            self.find()
            for name, answer in answers.items():
                if isinstance(answer, SiteUnplannedError):
                    again(name)
        return {name: answered[name] for name in fields}

    def ask(self, kind: str, fields: dict[str, dict], arrays: dict[str, dict]) -> dict[str, Asked | Exception]:
        """Every site's answer, or why there is none."""
        self._number += 1
        sent, names = {}, {}
        for name, of_site in fields.items():
            request = Envelope(kind, self._keys.name, name, self.session, self._number, of_site, arrays.get(name, {}))
            node = self._nodes[name]
            sent[node], names[node] = signed(request, self._identity), name
        answers, silent = self._grid.ask(sent, self._patience, self._timeout)
        outcomes: dict[str, Asked | Exception] = {}
        for node, name in names.items():
            if node not in answers:
                outcomes[name] = self._silent(name) if node in silent else SiteAwayError("is away")
                continue
            try:
                outcomes[name] = self._opened(kind, name, sent[node], answers[node])
            except (InputError, SiteUnplannedError) as error:
                outcomes[name] = error
        return outcomes

    def found_again(self, name: str) -> bool:
        """Whether a site is connected, perhaps started anew."""
        online = self._grid.online()
        node = online.get(self.parties[name].node)
        if node is None:
            return False
        self._nodes[name] = node
        return True

    def close(self) -> None:
        """End the run at the link; the sites stay."""
        self._grid.close()

    def find(self) -> None:
        """Wait for all sites to be connected.

        Raises:
            InputError: one is not.
        """
        end = time.monotonic() + self._patience
        while True:
            online = self._grid.online()
            self._nodes = {n: online[party.node] for n, party in self.parties.items() if party.node in online}
            missing = sorted(self.parties.keys() - self._nodes.keys())
            if not missing:
                return
            if time.monotonic() > end:
                raise InputError(
                    f"--site {', '.join(missing)}: not connected to the link; is 'medimg federate site' running there "
                    "with the key that the link knows?"
                )
            time.sleep(_GLANCE)

    def _silent(self, name: str) -> SiteSilentError:
        return SiteSilentError(
            f"site {name}: connected, but without an answer for {self._timeout:g} s (--site-timeout)"
        )

    def _opened(self, kind: str, name: str, request: bytes, raw: bytes | None) -> Asked:
        if not raw:
            raise WireError(f"site {name}: does not answer this coordinator; its own log says why")
        answer = opened(raw, name, self.parties[name].identity, self._keys.name)
        if (answer.session, answer.number, answer.kind) != (self.session, self._number, kind):
            raise WireError(f"site {name}: its answer is to another request (a replay?)")
        if protocol.REFUSED in answer.fields:
            raise SiteRefusedError(f"site {name}: {printable(answer.fields[protocol.REFUSED], _LONGEST)}")
        if answer.fields.get(protocol.UNPLANNED):
            raise SiteUnplannedError("was started anew")
        digests = (hashlib.sha256(message).hexdigest() for message in (request, raw))
        return Asked(*digests, len(request), len(raw), answer)


def whole(answer: Asked | Exception) -> Asked:
    """The answer, where there is one."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def waited_for(name: str, why: Exception | str) -> InputError:
    """How a training ends that goes on without no site (`--when-lost wait`).

    Args:
        name: of the site that is lost.
        why: it is.
    """
    words = str(why).removeprefix(f"site {name}: ")
    return InputError(f"site {name}: {words}; start it again and resume with --resume, or use --when-lost skip")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What a site says in another form than agreed on is its own fault, and ends nobody else's work."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise WireError(f"site {name}: its answer has another form; is its medimg this one?") from error
