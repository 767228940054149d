"""Session: what a site has told a coordinator of itself, from `describe` on, and the statistics that it answers."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from federated.flower.description import client_of, describe
from federated.flower.envelope import Envelope, WireError
from federated.flower.keys import Keys, Party
from federated.flower.kinds import answer_of
from federated.flower.once import Once
from federated.flower.policy import Policy, PolicyError
from medimg.data.dataset import Dataset
from medimg.untrusted.printable import printable

LONGEST_NAME = 100
# Different requests for statistics that a run has, by kind: as many as `federated.statistics.fit` and generators make.
_STATISTICS = {"counts": 7, "generator counts": 3}


@dataclass
class Session:
    """One process of a coordinator, as a site knows it.

    Attributes:
        id: of the session, and whose it is.
        keys: of the site.
        policy: what it allows.
        folder: the site's own.
        run: the training's name.
        seed: of the federation.
        private: nothing is told that the training patients decide.
        dataset: at the site.
        client: its rows that take part.
        once: what the site has committed itself to in the run.
    """

    id: tuple[str, bytes]
    keys: Keys
    policy: Policy
    folder: Path
    run: str
    seed: int
    private: bool
    dataset: Dataset
    client: Dataset
    once: Once

    @classmethod
    def begin(
        cls, message: Envelope, coordinator: Party, dataset: Dataset, keys: Keys, policy: Policy, folder: Path
    ) -> "Session":
        """As a `describe` begins it.

        Raises:
            PolicyError: another coordinator's run, or too few patients.
            WireError: a name that is none.
        """
        fields, run = message.fields, _run_of(message)
        seed = int(fields["seed"])
        # By name and coordinator: nobody goes on with another's run.
        once = Once(_answers(folder, run).with_suffix(".once.json"))
        once.settle("coordinator", coordinator.identity.hex())
        private = bool(fields["private"]) or policy.dp_unit != "none"
        # The seed decides rows, their order and, of a key, the noise: with another one a round would be another.
        once.settle("seed and privacy", f"{seed} {private}")
        # Whom a row is joined with depends on other patients' rows.
        dataset = Dataset.load(dataset.root, joins_copies=not private)
        client = client_of(dataset, keys.name, seed)
        session = (message.session, coordinator.identity)
        begun = cls(session, keys, policy, folder, run, seed, private, dataset, client, once)
        begun.check_patients()
        return begun

    @property
    def name(self) -> str:
        """The site's."""
        return self.keys.name

    @property
    def answers(self) -> Path:
        """Beginning of the names of the files that keep what was answered in this run."""
        return _answers(self.folder, self.run)

    def check_patients(self) -> None:
        """Refuse where there are too few.

        Raises:
            PolicyError: there are.
        """
        self.policy.check_patients(int(self.client.rows("train", labelled=True)["patient"].nunique()))

    def settle_rows(self) -> None:
        """Commit the site to the rows that it has now: with others, two answers would differ by these.

        Raises:
            PolicyError: the run was answered from others.
        """
        self.once.settle("the site's rows", self.client.fingerprint())

    def description(self) -> dict:
        """Numbers and names; nothing of any one row."""
        return describe(self.dataset, self.client, self.name, self.private)

    def statistics(self, message: Envelope) -> dict:
        """Counts and sums of the training rows."""
        self.policy.check_statistics()
        if self.private:
            raise PolicyError("statistics: this session is private, and none of the rows that it protects leave")
        self.check_patients()
        self.policy.check_run(self.run, self.folder)
        self.settle_rows()
        request = message.fields["request"]
        kind = printable(request["kind"], LONGEST_NAME)
        # Sums over other rows, or ever more intervals, would show single values by their differences.
        self.once.settle(f"statistics '{kind}'", message.digest("request"), _STATISTICS.get(kind, 1))
        answer = answer_of(request.get("model"))
        return {"answer": answer(self.client, {**request, "fewest": self.policy.fewest_patients})}

    def records(self) -> Path:
        """Where the records of a training are, as long as it lasts; those of others that never ended go."""
        folder = self.folder / "records" / named(self.run)
        if folder.parent.is_dir():
            for other in folder.parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def named(run: str) -> str:
    """A folder's name of a run, whose own name is the coordinator's words."""
    return hashlib.sha256(run.encode()).hexdigest()[:32]


def _answers(folder: Path, run: str) -> Path:
    return folder / "answers" / named(run)


def _run_of(message: Envelope) -> str:
    run = message.fields["run"]
    if not isinstance(run, str) or len(run) > LONGEST_NAME:
        raise WireError(f"its run has no name of at most {LONGEST_NAME} characters")
    return printable(run)
