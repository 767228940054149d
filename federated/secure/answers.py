"""What a client has answered of a training's rounds, so that it answers none of them in two ways.

Two sums of one round over different clients differ by the vectors of those who are in one of them alone; where that is
one client, its vector is known. A training that is resumed has to repeat a round, though: it opens a new session, with
fresh keys and masks, and gets the same sum over the same clients again, or none.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from federated.secure.errors import RefusedError
from federated.secure.terms import Terms
from medimg import atomic


@dataclass(frozen=True)
class Answer:
    """One step of a round that a client has taken.

    Attributes:
        round: number of the training round.
        session: of the coordinator's process.
        clients: SHA-256 of the names that were asked, in order.
        settled: SHA-256 of what the client agreed to have revealed; empty of a round that was begun.
    """

    round: int
    session: str
    clients: str
    settled: str = ""


class Answers:
    """A client's own record; it lasts as long as the client's identity.

    Args:
        client: whose it is.
        path: file that keeps it over restarts; None: in memory alone.

    Raises:
        RefusedError: the file is damaged, so that the client doesn't know what it has answered.
    """

    def __init__(self, client: str, path: Path | None = None):
        self.client, self.path = client, path
        self._known: list[Answer] = []
        if path is not None and path.is_file():
            self._load()

    def begin(self, terms: Terms) -> None:
        """Put on record that a round is answered, before anything of it is sent.

        Raises:
            RefusedError: it was answered in this session, or was asked of other clients before.
        """
        for known in self._of(terms.round):
            if known.session == terms.session:
                raise RefusedError(
                    self.client,
                    f"round {terms.round} was answered in this session: a second sum of it over other clients would "
                    "show a single vector; go on with the next round",
                )
            if known.clients != _print(terms.clients):
                raise RefusedError(
                    self.client, f"round {terms.round} was asked of other clients before; repeat it with the same ones"
                )
        self._add(Answer(terms.round, terms.session, _print(terms.clients)))

    def settle(self, terms: Terms, what: object) -> None:
        """Put on record what the client agrees to have revealed, before it says so.

        Args:
            terms: of the round.
            what: JSON content; of a masked sum the clients that are in it.

        Raises:
            RefusedError: it agreed to something else in an earlier session of the same round.
        """
        settled = _print(what)
        for known in self._of(terms.round):
            if known.settled and known.settled != settled:
                raise RefusedError(
                    self.client,
                    f"round {terms.round} was answered before with another list of clients in the sum: the two sums "
                    "would show single vectors; go on with the next round",
                )
        self._add(Answer(terms.round, terms.session, _print(terms.clients), settled))

    def _of(self, number: int) -> list[Answer]:
        return [known for known in self._known if known.round == number]

    def _load(self) -> None:
        # What stands behind the last newline was never answered: the client was killed while writing it.
        *whole, _ = self.path.read_bytes().split(b"\n")
        try:
            self._known = [Answer(**json.loads(line)) for line in whole]
        except (ValueError, TypeError) as error:
            raise RefusedError(
                self.client, f"{self.path} is damaged; start the training anew with --overwrite"
            ) from error
        with self.path.open("rb+") as file:
            file.truncate(sum(len(line) + 1 for line in whole))

    def _add(self, answer: Answer) -> None:
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab") as file:
                    file.write(json.dumps(asdict(answer)).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise atomic.cannot_write(self.path, error) from error
        self._known.append(answer)


def _print(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
