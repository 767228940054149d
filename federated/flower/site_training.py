"""Training: one plan that a site takes part in: its rounds, its part in secure sums, its own metrics."""

import shutil
from dataclasses import replace

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.clients.plan import ClientPlan
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining
from federated.engine.state import State
from federated.flower import protocol, site_privacy
from federated.flower.envelope import Envelope, WireError
from federated.flower.local_rounds import LocalRounds
from federated.flower.policy import PolicyError
from federated.flower.session import Session, named
from federated.flower.site_privacy import protect
from federated.private.patient import PatientPrivacy
from federated.private.site_key import with_key
from federated.private.steps import PatientSteps
from federated.secure.client import MaskingClient
from federated.tff.local_model import LocalModel
from medimg.untrusted.printable import printable


class Training:
    """As a plan has it, and the policy allows.

    Args:
        session: of the coordinator that sends the plan.
        message: the plan.

    Attributes:
        told: what the coordinator is told of it.
        plan: agreed on.
        data: the site's records.
        rounds: what it does.
        held: number of the round, the update that stays here, flat, and the digest of what it started from.

    Raises:
        PolicyError: names what goes against the policy.
        WireError: the plan has another form.
    """

    def __init__(self, session: Session, message: Envelope):
        from federated.clients.examples import prepare

        self._session, fields = session, message.fields
        config = self._config = FederateConfig.from_dict(fields["config"])
        strategy = self._allowed(fields["roster"])
        local = LocalTraining.of(config)
        # Options that decide what is learnt from whom are the policy's own reading of them: they stand nowhere else.
        training, private = config.training(session.dataset.unit).to_dict(), config.dp == "patient"
        self.plan = replace(ClientPlan.from_dict(fields["plan"]), training=training, private=private)
        self._digest = protocol.plan_digest(message)
        session.once.settle("plan", self._digest)
        self.plan.model.set_weights(list(message.arrays["initial"]))
        self.data = prepare(session.client, self.plan, session.records(), session.name)
        if not self.data.examples:
            raise PolicyError("no labelled training row is here")
        self._roster = {name: bytes.fromhex(key) for name, key in fields["roster"].items()}
        self._identity = session.keys.identity(session.answers.with_suffix(".jsonl"))
        if self._roster.get(session.name) != self._identity.public:
            raise PolicyError("the plan's list of sites has another key of this one")
        self._privacy: PatientPrivacy | None = None
        self.told = {"examples": self.data.examples}
        if private:
            self._protect(fields["start"])
        model = LocalModel(self.plan.trained, self.plan.description["task"])
        steps = self._privacy.steps(PatientSteps) if self._privacy else None
        self.rounds = LocalRounds(model, self.plan.layout, strategy, local, session.seed, steps)
        self._weight = self.told["weight"] = float(self.data.examples) if strategy.by_examples else 1.0
        # Its state of the strategy, after the round of that number.
        self._own: dict[int, list[np.ndarray]] = {}
        self.held: tuple[int, np.ndarray, str] | None = None
        self._masking: MaskingClient | None = None

    def _allowed(self, roster: dict) -> Strategy:
        """The strategy of a training that the policy and this session allow."""
        session, config = self._session, self._config
        session.policy.check_plan(config, session.run, roster, session.folder)
        if config.is_private and not session.private:
            raise PolicyError("dp: this session began without privacy, and may have told what a private one does not")
        if config.weights != "none":
            raise PolicyError("--weights: a plan brings its weights along; this site reads no file that is named to it")
        strategy = Strategy.of(config, len(roster))
        if config.secure != "none" and strategy.client.keeps:
            raise PolicyError(f"--strategy {config.strategy}: what its clients keep would travel beside a secure sum")
        return strategy

    def _protect(self, start: str) -> None:
        session, config = self._session, self._config
        # Only the site draws: what it draws by is made here, and not told.
        self.data = with_key(self.data)
        folder = session.folder / "ledger" / named(session.run)
        self._privacy = protect(session.dataset, self.data, config, folder, start, session.policy.dp_budget)
        self.told = {"privacy": site_privacy.told(self._privacy, session.name), "key": self.data.key}

    def train(self, message: Envelope) -> tuple[dict, dict]:
        """A round: its update, or under a secure sum the news that it is held."""
        number, part = int(message.fields["round"]), float(message.fields["part"])
        weights, name = list(message.arrays["weights"]), self._session.name
        if [array.shape for array in weights] != [tuple(shape) for shape in self.rounds.shapes]:
            raise WireError("its weights have other shapes than the plan's model")
        state = State(number - 1, weights, [], list(message.arrays["shared"]), [])
        own = message.arrays.get("own") or self._own.get(number - 1)
        if not 1 <= number <= self._config.rounds:
            raise WireError(f"round {number} is none of the {self._config.rounds} that were agreed on")
        if not 0 < part <= 1:
            raise WireError("its share of steps is not within 0 and 1")
        # Of the same round from other weights there is no second update, and no second account.
        self._session.once.settle(f"round {number}", message.digest("part", "weights", "shared", "own"))
        if self._privacy:
            # Written down before anything is computed, whether the answer arrives or not.
            self._privacy.before_round(number, [name], {name: part})
        update = self.rounds.update(state, self.data, own, number, part)
        measures = update.measures
        told = {
            "examples": measures.examples,
            "loss": measures.loss,
            "accuracy": measures.accuracy,
            "seconds": measures.seconds,
            **measures.also,
        }
        answer = {"measures": told}
        if self._privacy:
            # They carry no noise, and how long it took tells how many patients were drawn.
            answer = {"measures": dict.fromkeys(told), **self._privacy.events(number)}
        self._own = {number: update.own}
        if self._config.secure == "none":
            return answer, {"vectors": update.vectors, "own": update.own}
        flat = np.concatenate([np.ravel(vector) for vector in update.vectors]).astype(np.float32)
        self.held, self._masking = (number, flat, protocol.start_digest(self._digest, message)), None
        return answer, {}

    def mask(self, message: Envelope) -> tuple[dict, dict]:
        """A stage of a secure sum over what is held."""
        number, stage = int(message.fields["round"]), message.fields["stage"]
        if self.held is None or self.held[0] != number:
            raise PolicyError(f"round {number}: no update of it is held here")
        content = message.arrays["content"][0].tobytes()
        if stage == "advertise":
            masking = MaskingClient(self._identity, self._roster, content)
            self._session.policy.check_terms(masking.terms, number, self.held[2])
            self._masking = masking
            made = self._masking.advertise()
        elif self._masking is None or stage not in ("share", "mask", "confirm", "reveal"):
            raise PolicyError(f"'{printable(stage, 30)}' of a secure sum that was not begun")
        elif stage == "mask":
            made = self._masking.mask(content, self.held[1], self._weight)
        else:
            made = getattr(self._masking, stage)(content)
        if stage == "reveal":
            self.held = self._masking = None
        return {}, {"content": [np.frombuffer(made, np.uint8)]}

    def evaluate(self, message: Envelope) -> tuple[dict, dict]:
        """Metrics of the site's own test part."""
        from federated.flower.own_metrics import own_metrics

        session = self._session
        session.policy.check_metrics()
        weights = list(message.arrays["weights"])
        # Each model that is measured tells of the test rows: one a run.
        session.once.settle("metrics", message.digest("weights"))
        fewest = session.policy.fewest_patients
        return own_metrics(session.client, session.name, self.plan, weights, session.records(), fewest), {}

    def finish(self) -> None:
        """It is over: the records go."""
        if self._privacy:
            self._privacy.complete()
        shutil.rmtree(self._session.folder / "records", ignore_errors=True)
