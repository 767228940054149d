"""Session: what a site has told a coordinator of itself, from `describe` on, and what a run holds it to."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from federated.flower.description import client_of, describe
from federated.flower.envelope import Envelope, WireError
from federated.flower.keys import Keys, Party
from federated.flower.once import Once
from federated.flower.policy import Policy, PolicyError
from medimg.data.dataset import Dataset
from medimg.untrusted.printable import printable

LONGEST_NAME = 100


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
        client = client_of(dataset, keys.name, seed, private)
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

    def check_schema(self, schema: dict) -> None:
        """Refuse other classes than the Dataset's: what is of none of them would be told by the difference.

        Raises:
            PolicyError: they are others.
        """
        dataset = self.dataset
        ours, theirs = (dataset.task, list(dataset.classes)), (schema["task"], list(schema["classes"]))
        if ours != theirs or (dataset.task == "multilabel" and schema["negative"] != dataset.negative):
            raise PolicyError("the federation's task and classes are not those of this site's Dataset")

    def description(self) -> dict:
        """Numbers and names; nothing of any one row."""
        return describe(self.dataset, self.client, self.name, self.private)

    def checked_roster(self, secure: str, roster: dict) -> dict[str, bytes]:
        """The sites of a run's secure sums, by name, to their public keys.

        Args:
            secure: kind of the sum.
            roster: as it was sent, of hexadecimal digits.

        Raises:
            PolicyError: they are not those that the policy allows, or that this run began with.
        """
        self.policy.check_partners(secure, roster)
        if roster.get(self.name) != self.keys.identity().public.hex():
            raise PolicyError("the plan's list of sites has another key of this one")
        # Sums over other sites would differ by single ones.
        self.once.settle("the sites", hashlib.sha256(json.dumps(roster, sort_keys=True).encode()).hexdigest())
        return {name: bytes.fromhex(key) for name, key in roster.items()}

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
