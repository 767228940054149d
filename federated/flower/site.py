"""Site: what a hospital's own process answers its coordinators, by code installed there and as its policy allows."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.audit_log import AuditLog
from federated.clients.plan import ClientPlan
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.flower import protocol, site_privacy
from federated.flower.envelope import Envelope, WireError, opened, signed
from federated.flower.keys import Keys, Party
from federated.flower.local_rounds import LocalRounds
from federated.flower.once import Once
from federated.flower.policy import Policy, PolicyError
from federated.flower.sessions import Sessions
from federated.flower.site_privacy import protect
from federated.private.patient import PatientPrivacy
from federated.private.site_key import with_key
from federated.private.steps import PatientSteps
from federated.secure.client import MaskingClient
from federated.secure.errors import RefusedError, RejectedError, TooFewClientsError
from federated.secure.keys import Identity
from federated.tff.local_model import LocalModel
from medimg.data.dataset import Dataset
from medimg.untrusted.printable import printable

# Refusals whose words hold nothing of the data; of all others they may quote a row, a file or a count.
_TOLD = (PolicyError, WireError, RefusedError, RejectedError, TooFewClientsError)
_LONGEST_NAME = 100
# Different requests for statistics that a run has, by kind: as many as `federated.statistics.fit` makes.
_STATISTICS = {"counts": 7}


@dataclass
class Training:
    """One training that the site takes part in.

    Attributes:
        config: options.
        digest: of the plan as it came.
        plan: agreed on.
        data: its records.
        rounds: what it does.
        identity: its signing key, with what it has answered of secure sums.
        roster: all sites' public keys.
        weight: of its update.
        own: its state of the strategy, after the round of that number.
        privacy: its own account; None: it is not private.
        held: number of the round, the update that stays here, flat, and the digest of what it started from.
        masking: its part in the secure sum of that round.
    """

    config: FederateConfig
    digest: str
    plan: ClientPlan
    data: ClientData
    rounds: LocalRounds
    identity: Identity
    roster: dict[str, bytes]
    weight: float
    own: dict[int, list[np.ndarray]]
    privacy: PatientPrivacy | None = None
    held: tuple[int, np.ndarray, str] | None = None
    masking: MaskingClient | None = None


class Site:
    """One hospital in its federations.

    Args:
        dataset: of the site.
        keys: of the site; their name is the client's.
        policy: what it allows.
        folder: its own: records while a training lasts, what was answered, the log.
        say: takes a line of text for every request.

    Raises:
        InputError: the folder can't be written, or another process answers from it.
    """

    def __init__(self, dataset: Dataset, keys: Keys, policy: Policy, folder: Path, say: Callable[[str], None]):
        self._dataset, self._keys, self._policy = dataset, keys, policy
        self._folder, self._say = Path(folder), say
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last: tuple[bytes, bytes] = (b"", b"")
        self._log = AuditLog(self._folder / "audit.jsonl")
        self._log.begin({"event": "start", "site": keys.name, "policy": policy.digest}, 0)
        self._sessions = Sessions(self._folder / "sessions.json")
        self._session, self._run, self._seed, self._private = ("", b""), "", 0, True
        self._once: Once | None = None
        self._training: Training | None = None

    def answer(self, raw: bytes | None) -> bytes:
        """The answer to a message; to one that is none of an allowed coordinator, nothing.

        Raises:
            WireError: the message can't be used: nobody is answered.
        """
        message, coordinator = self._opened(raw)
        again = hashlib.sha256(raw).digest()
        if self._last[0] == again:
            # The link may deliver a request twice where a node's sign of life was late: nothing is computed anew.
            return self._last[1]
        self._sessions.take(message)
        try:
            fields, arrays = self._answered(message, coordinator)
            answer = signed(message.answer(fields, arrays), self._keys.identity())
        except Exception as error:
            # Whatever a message leads to, the next one is answered.
            why = printable(error, None)
            if not isinstance(error, _TOLD):
                self._say(f"failed: {message.kind}: {type(error).__name__}: {why}")
                kind = printable(message.kind, _LONGEST_NAME)
                why = f"'{kind}' can't be answered ({type(error).__name__}); see the site's log"
            fields = {protocol.REFUSED: why}
            answer = signed(message.answer(fields), self._keys.identity())
        self._put_down(message, coordinator, raw, answer, fields)
        self._last = again, answer
        return answer

    def close(self) -> None:
        """Let go of the log; what a training keeps stays, for it to go on."""
        self._log.close()

    def _opened(self, raw: bytes | None) -> tuple[Envelope, Party]:
        if raw is None:
            raise WireError("a message that is not medimg's")
        errors = []
        for party in self._policy.coordinators:
            try:
                return opened(raw, party.name, party.identity, self._keys.name), party
            except WireError as error:
                errors.append(error)
        raise errors[0] if len(errors) == 1 else WireError("a message of no coordinator that the policy allows")

    def _put_down(self, message: Envelope, coordinator: Party, raw: bytes, answer: bytes, fields: dict) -> None:
        why = fields.get(protocol.REFUSED, "")
        about = {
            name: value if type(value := message.fields[name]) is int else printable(value, _LONGEST_NAME)
            for name in ("round", "stage", "head")
            if name in message.fields
        }
        self._log.append(
            {
                "event": "message",
                "kind": printable(message.kind, _LONGEST_NAME),
                "coordinator": coordinator.name,
                "run": self._run,
                "session": printable(message.session),
                "number": message.number,
                **about,
                "request": hashlib.sha256(raw).hexdigest(),
                "answer": hashlib.sha256(answer).hexdigest(),
                "bytes": {"in": len(raw), "out": len(answer)},
                **({"refused": why} if why else {}),
                **({"privacy": fields["privacy"]} if "privacy" in fields else {}),
            }
        )
        what = " ".join(
            [
                printable(message.kind, 20),
                *(f"{name} {printable(about[name], 20)}" for name in ("round", "stage") if name in about),
            ]
        )
        self._say(f"{coordinator.name}: {what}: {f'refused: {why}' if why else f'answered, {len(answer):,} bytes'}")

    def _answered(self, message: Envelope, coordinator: Party) -> tuple[dict, dict]:
        if message.kind not in protocol.KINDS:
            raise WireError(f"'{printable(message.kind, 50)}': not known here; is the coordinator's medimg this one?")
        self._policy.check_now()
        if message.kind == protocol.DESCRIBE:
            return self._describe(message, coordinator), {}
        if (message.session, coordinator.identity) != self._session or (
            message.kind not in (protocol.STATISTICS, protocol.PLAN) and not self._training
        ):
            return {protocol.UNPLANNED: True}, {}
        if message.kind == protocol.STATISTICS:
            return self._statistics(message), {}
        if message.kind == protocol.PLAN:
            return self._plan(message), {}
        return getattr(self, f"_{message.kind}")(message, self._training)

    def _describe(self, message: Envelope, coordinator: Party) -> dict:
        """Numbers and names; nothing of any one row."""
        from federated.flower.description import client_of, describe

        fields = message.fields
        if not isinstance(fields["run"], str) or len(fields["run"]) > _LONGEST_NAME:
            raise WireError(f"its run has no name of at most {_LONGEST_NAME} characters")
        self._training = None
        self._session, self._seed = (message.session, coordinator.identity), int(fields["seed"])
        # By name and coordinator: nobody goes on with another's run.
        self._run = printable(fields["run"])
        self._once = Once(self._folder / "answers" / f"{_named(self._run)}.once.json")
        self._once.settle("coordinator", coordinator.identity.hex())
        self._private = bool(fields["private"]) or self._policy.dp_unit != "none"
        # Whom a row is joined with depends on other patients' rows.
        self._dataset = Dataset.load(self._dataset.root, joins_copies=not self._private)
        self._client = client_of(self._dataset, self._keys.name, self._seed)
        self._patients = int(self._client.rows("train", labelled=True)["patient"].nunique())
        self._policy.check_patients(self._patients)
        return describe(self._dataset, self._client, self._keys.name, self._private)

    def _statistics(self, message: Envelope) -> dict:
        """Counts and sums of the training rows."""
        from federated.statistics import answer

        self._policy.check_statistics()
        if self._private:
            raise PolicyError("statistics: this session is private, and none of the rows that it protects leave")
        self._policy.check_patients(self._patients)
        self._policy.check_run(self._run, self._folder)
        request = message.fields["request"]
        kind = printable(request["kind"], _LONGEST_NAME)
        # Sums over other rows, or ever more intervals, would show single values by their differences.
        self._once.settle(f"statistics '{kind}'", message.digest("request"), _STATISTICS.get(kind, 1))
        return {"answer": answer(self._client, {**request, "fewest": self._policy.fewest_patients})}

    def _plan(self, message: Envelope) -> dict:
        from federated.clients.examples import prepare

        fields = message.fields
        config = FederateConfig.from_dict(fields["config"])
        self._policy.check_plan(config, self._run, fields["roster"], self._folder)
        if config.is_private and not self._private:
            raise PolicyError("dp: this session began without privacy, and may have told what a private one does not")
        if config.weights != "none":
            raise PolicyError("--weights: a plan brings its weights along; this site reads no file that is named to it")
        # Options that decide what is learnt from whom are the policy's own reading of them: they stand nowhere else.
        training, private = config.training(self._dataset.unit).to_dict(), config.dp == "patient"
        plan = replace(ClientPlan.from_dict(fields["plan"]), training=training, private=private)
        strategy, local = Strategy.of(config, len(fields["roster"])), LocalTraining.of(config)
        if config.secure != "none" and strategy.client.keeps:
            raise PolicyError(f"--strategy {config.strategy}: what its clients keep would travel beside a secure sum")
        digest = protocol.plan_digest(message)
        self._once.settle("plan", digest)
        plan.model.set_weights(list(message.arrays["initial"]))
        folder = self._records(self._run)
        data = prepare(self._client, plan, folder, self._keys.name)
        if not data.examples:
            raise PolicyError("no labelled training row is here")
        roster = {name: bytes.fromhex(key) for name, key in fields["roster"].items()}
        run = _named(self._run)
        identity = self._keys.identity(self._folder / "answers" / f"{run}.jsonl")
        if roster.get(self._keys.name) != identity.public:
            raise PolicyError("the plan's list of sites has another key of this one")
        privacy, told = None, {"examples": data.examples}
        if config.dp == "patient":
            # Only the site draws: what it draws by is made here, and not told.
            data = with_key(data)
            privacy = protect(
                self._dataset, data, config, self._folder / "ledger" / run, fields["start"], self._policy.dp_budget
            )
            told = {"privacy": site_privacy.told(privacy, self._keys.name), "key": data.key}
        steps = privacy.steps(PatientSteps) if privacy else None
        model = LocalModel(plan.trained, plan.description["task"])
        rounds = LocalRounds(model, plan.layout, strategy, local, self._seed, steps)
        weight = float(data.examples) if strategy.by_examples else 1.0
        self._training = Training(config, digest, plan, data, rounds, identity, roster, weight, {}, privacy)
        return {**told, "weight": weight}

    def _records(self, run: str) -> Path:
        """Where the records of a training are, as long as it lasts; those of others that never ended go."""
        folder = self._folder / "records" / _named(run)
        if folder.parent.is_dir():
            for other in folder.parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _train(self, message: Envelope, training: Training) -> tuple[dict, dict]:
        number = int(message.fields["round"])
        weights = list(message.arrays["weights"])
        if [array.shape for array in weights] != [tuple(shape) for shape in training.rounds.shapes]:
            raise WireError("its weights have other shapes than the plan's model")
        state = State(number - 1, weights, [], list(message.arrays["shared"]), [])
        own = message.arrays.get("own") or training.own.get(number - 1)
        name, part = self._keys.name, float(message.fields["part"])
        if not 1 <= number <= training.config.rounds:
            raise WireError(f"round {number} is none of the {training.config.rounds} that were agreed on")
        if not 0 < part <= 1:
            raise WireError("its share of steps is not within 0 and 1")
        # Of the same round from other weights there is no second update, and no second account.
        self._once.settle(f"round {number}", message.digest("part", "weights", "shared", "own"))
        if training.privacy:
            # Written down before anything is computed, whether the answer arrives or not.
            training.privacy.before_round(number, [name], {name: part})
        update = training.rounds.update(state, training.data, own, number, part)
        measures = update.measures
        told = {
            "examples": measures.examples,
            "loss": measures.loss,
            "accuracy": measures.accuracy,
            "seconds": measures.seconds,
            **measures.also,
        }
        answer = {"measures": told}
        if training.privacy:
            # They carry no noise, and how long it took tells how many patients were drawn.
            answer = {"measures": dict.fromkeys(told), **training.privacy.events(number)}
        training.own = {number: update.own}
        if training.config.secure == "none":
            return answer, {"vectors": update.vectors, "own": update.own}
        start = protocol.start_digest(training.digest, message)
        flat = np.concatenate([np.ravel(vector) for vector in update.vectors]).astype(np.float32)
        training.held = number, flat, start
        training.masking = None
        return answer, {}

    def _mask(self, message: Envelope, training: Training) -> tuple[dict, dict]:
        number, stage = int(message.fields["round"]), message.fields["stage"]
        if training.held is None or training.held[0] != number:
            raise PolicyError(f"round {number}: no update of it is held here")
        content = message.arrays["content"][0].tobytes()
        if stage == "advertise":
            masking = MaskingClient(training.identity, training.roster, content)
            self._policy.check_terms(masking.terms, number, training.held[2])
            training.masking = masking
            made = training.masking.advertise()
        elif training.masking is None or stage not in ("share", "mask", "confirm", "reveal"):
            raise PolicyError(f"'{printable(stage, 30)}' of a secure sum that was not begun")
        elif stage == "mask":
            made = training.masking.mask(content, training.held[1], training.weight)
        else:
            made = getattr(training.masking, stage)(content)
        if stage == "reveal":
            training.held = training.masking = None
        return {}, {"content": [np.frombuffer(made, np.uint8)]}

    def _evaluate(self, message: Envelope, training: Training) -> tuple[dict, dict]:
        from federated.flower.own_metrics import own_metrics

        self._policy.check_metrics()
        weights = list(message.arrays["weights"])
        # Each model that is measured tells of the test rows: one a run.
        self._once.settle("metrics", message.digest("weights"))
        folder, fewest = self._records(self._run), self._policy.fewest_patients
        return own_metrics(self._client, self._keys.name, training.plan, weights, folder, fewest), {}

    def _finish(self, message: Envelope, training: Training) -> tuple[dict, dict]:
        if training.privacy:
            training.privacy.complete()
        shutil.rmtree(self._folder / "records", ignore_errors=True)
        self._training = None
        return {"head": self._log.head.hash}, {}


def _named(run: str) -> str:
    """A folder's name of a run, whose own name is the coordinator's words."""
    return hashlib.sha256(run.encode()).hexdigest()[:32]
