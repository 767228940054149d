"""What a client has answered of a training's rounds, so that it answers none of them in two ways.

Two sums of one round over different clients differ by the vectors of those who are in one of them alone; where that is
one client, its vector is known. A training that is resumed has to repeat a round, though: it opens a new session, with
fresh keys and masks, and gets the same sum over the same clients again, or none.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from federated.secure.errors import RefusedError
from federated.secure.terms import SumTerms
from medimg import atomic
from medimg.untrusted.json_file import parse_json


@dataclass(frozen=True)
class KeptAnswer:
    """One step of a round that a client has taken.

    Attributes:
        round: number of the training round.
        session: of the coordinator's process.
        clients: SHA-256 of the names that were asked, in order.
        settled: SHA-256 of what the client agreed to have revealed; empty of a round that was begun.
        terms: SHA-256 of what else decides the sum; empty in records of older versions.
    """

    round: int
    session: str
    clients: str
    settled: str = ""
    terms: str = ""


class AnswerRecord:
    """A client's own record; it lasts as long as the client's identity.

    Args:
        client: whose it is.
        path: file that keeps it over restarts; None: in memory alone.

    Raises:
        RefusedError: the file is damaged, so that the client doesn't know what it has answered.
    """

    def __init__(self, client: str, path: Path | None = None):
        self.client, self.path = client, path
        self._known: list[KeptAnswer] = []
        if path is not None and path.is_file():
            with self._alone():
                pass

    def begin(self, terms: SumTerms) -> None:
        """Put on record that a round is answered, before anything of it is sent.

        Raises:
            RefusedError: it was answered in this session, or was asked of other clients or on other terms before.
        """
        with self._alone() as add:
            for known in self._of(terms.round):
                if known.session == terms.session:
                    raise RefusedError(
                        self.client,
                        f"round {terms.round} was answered in this session: a second sum of it over other clients "
                        "would show a single vector; go on with the next round",
                    )
                if known.clients != _print(terms.clients):
                    raise RefusedError(
                        self.client,
                        f"round {terms.round} was asked of other clients before; repeat it with the same ones",
                    )
                if known.terms not in ("", _print(terms.lasting())):
                    raise RefusedError(
                        self.client,
                        f"round {terms.round} was asked on other terms before: by another limit or another step two "
                        "answers tell more than one sum; repeat it on the same ones",
                    )
            add(KeptAnswer(terms.round, terms.session, _print(terms.clients), terms=_print(terms.lasting())))

    def settle(self, terms: SumTerms, what: object) -> None:
        """Put on record what the client agrees to have revealed, before it says so.

        Args:
            terms: of the round.
            what: JSON content; of a masked sum the clients that are in it.

        Raises:
            RefusedError: it agreed to something else in an earlier session of the same round.
        """
        settled = _print(what)
        with self._alone() as add:
            for known in self._of(terms.round):
                if known.settled and known.settled != settled:
                    raise RefusedError(
                        self.client,
                        f"round {terms.round} was answered before with another list of clients in the sum: the two "
                        "sums would show single vectors; go on with the next round",
                    )
            add(KeptAnswer(terms.round, terms.session, _print(terms.clients), settled))

    def _of(self, number: int) -> list[KeptAnswer]:
        return [known for known in self._known if known.round == number]

    @contextmanager
    def _alone(self) -> Iterator[Callable[[KeptAnswer], None]]:
        """How to put an answer on record, while no other process does and all that others have put there is known."""
        if self.path is None:
            yield self._known.append
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._read(file)

                def add(answer: KeptAnswer) -> None:
                    file.write(json.dumps(asdict(answer)).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                    self._known.append(answer)

                yield add
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error

    def _read(self, file: BinaryIO) -> None:
        file.seek(0)
        # What stands behind the last newline was never answered: the client was killed while writing it.
        *whole, _ = file.read().split(b"\n")
        try:
            self._known = [KeptAnswer(**parse_json(line)) for line in whole]
        except (ValueError, TypeError) as error:
            raise RefusedError(
                self.client, f"{self.path} is damaged; start the training anew with --overwrite"
            ) from error
        file.truncate(sum(len(line) + 1 for line in whole))


def _print(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
