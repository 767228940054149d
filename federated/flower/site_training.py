"""Training: one plan that a site takes part in: its rounds, its part in secure sums, its own metrics."""

import hashlib
import shutil

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining
from federated.engine.state import State
from federated.flower import kinds, protocol, site_privacy
from federated.flower.envelope import Envelope, WireError
from federated.flower.kinds import work_of
from federated.flower.policy import PolicyError
from federated.flower.session import Session, named
from federated.flower.site_privacy import protect
from federated.flower.site_sums import SiteSums
from federated.private.noise_shares import NoiseShares, SharedStep
from federated.private.patient import PatientPrivacy
from federated.private.patient import check as check_private
from federated.private.site_key import with_key
from federated.private.steps import PatientSteps
from medimg.errors import InputError


class SiteTraining:
    """As a plan has it, and the policy allows.

    Args:
        session: of the coordinator that sends the plan.
        message: the plan.

    Attributes:
        summary: what the coordinator is told of it.
        plan: agreed on.
        data: the site's records.
        rounds: what it does.

    Raises:
        PolicyError: names what goes against the policy.
        WireError: the plan has another form.
    """

    def __init__(self, session: Session, message: Envelope):
        self._session, fields = session, message.fields
        config = self._config = FederateConfig.from_dict(fields["config"])
        strategy = self._allowed(fields["roster"])
        roster = session.checked_roster(config.secure, fields["roster"]) if config.secure != "none" else {}
        self._digest = protocol.plan_digest(message)
        session.once.settle("plan", self._digest)
        session.settle_rows()
        work = work_of(config.model)(session, config, fields["plan"], list(message.arrays["initial"]))
        self.plan, self.data, self._metrics, self._initial = work.plan, work.data, work.metrics, work.initial
        if not self.data.examples:
            raise PolicyError("no labelled training row is here")
        self._sums = SiteSums(session, config, roster, self._digest)
        self._privacy: PatientPrivacy | None = None
        self.summary = {"examples": self.data.examples}
        if config.dp == "patient":
            self._protect(fields["start"], self._shares(len(fields["roster"])))
        self.rounds = work.rounds(strategy, LocalTraining.of(config), self._steps())
        self._weight = self.summary["weight"] = float(self.data.examples) if strategy.by_examples else 1.0
        # Its state of the strategy, after the round of that number.
        self._client_states: dict[int, list[np.ndarray]] = {}

    def _allowed(self, roster: dict) -> Strategy:
        """The strategy of a training that the policy and this session allow."""
        session, config = self._session, self._config
        session.policy.check_plan(config, session.run, roster, session.folder)
        if config.dp == "patient":
            try:
                check_private(config)
            except InputError as error:
                # It is of the coordinator's own options.
                raise PolicyError(str(error)) from error
        if config.shares_noise and config.model in kinds.named():
            raise PolicyError(f"--noise distributed: not for a {config.model}")
        if config.shares_noise and not config.secure_threshold:
            raise PolicyError("--noise distributed: the plan has no --secure-threshold, which the noise counts on")
        if config.is_private and not session.private:
            raise PolicyError("dp: this session began without privacy, and may have told what a private one does not")
        if config.weights != "none":
            raise PolicyError("--weights: a plan brings its weights along; this site reads no file that is named to it")
        strategy = Strategy.of(config, len(roster))
        if config.secure != "none" and strategy.client.keeps:
            raise PolicyError(f"--strategy {config.strategy}: what its clients keep would travel beside a secure sum")
        return strategy

    def _shares(self, sites: int) -> NoiseShares | None:
        """What the plan has of noise in shares, checked as if nobody else had."""
        if not self._config.shares_noise:
            return None
        try:
            return NoiseShares.of(self._config, sites, self.plan.parameters)
        except InputError as error:
            # It is of the coordinator's own numbers.
            raise PolicyError(str(error)) from error

    def _steps(self) -> PatientSteps | SharedStep | None:
        if not self._privacy:
            return None
        return self._privacy.shared_step() if self._config.shares_noise else self._privacy.steps(PatientSteps)

    def _protect(self, start: str, shares: NoiseShares | None) -> None:
        session, config = self._session, self._config
        # Only the site draws: what it draws by is made here, and not told.
        self.data = with_key(self.data)
        folder = session.folder / "ledger" / named(session.run)
        self._privacy = protect(session.dataset, self.data, config, folder, start, session.policy.dp_budget, shares)
        self.summary = {"privacy": site_privacy.plan_summary(self._privacy, session.name), "key": self.data.key}

    def train(self, message: Envelope) -> tuple[dict, dict]:
        """A round: its update, or under a secure sum the news that it is held."""
        number, part = int(message.fields["round"]), float(message.fields["part"])
        weights, name = list(message.arrays["weights"]), self._session.name
        if [array.shape for array in weights] != [tuple(shape) for shape in self.rounds.shapes]:
            raise WireError("its weights have other shapes than the plan's model")
        state = State(number - 1, weights, [], list(message.arrays["shared"]), [])
        client_state = message.arrays.get("own") or self._client_states.get(number - 1)
        if not 1 <= number <= self._config.rounds:
            raise WireError(f"round {number} is none of the {self._config.rounds} that were agreed on")
        if not 0 < part <= 1:
            raise WireError("its share of steps is not within 0 and 1")
        # Of the same round from other weights there is no second update, and no second account.
        self._session.once.settle(f"round {number}", message.digest("part", "weights", "shared", "own"))
        if self._privacy:
            # Written down before anything is computed, whether the answer arrives or not.
            self._privacy.before_round(number, [name], {name: part})
        update = self.rounds.update(state, self.data, client_state, number, part)
        if self._config.shares_noise:
            # With a new key its share would be another: of two sums with the same shares of others half of it is gone,
            # and the others' accounts know of one. Made anew on another machine, its patients' part might differ bare.
            self._session.once.settle(f"update of round {number}", _digest_of(update.vectors))
        measures = update.measures
        numbers = {
            "examples": measures.examples,
            "loss": measures.loss,
            "accuracy": measures.accuracy,
            "seconds": measures.seconds,
            **measures.also,
        }
        # What is no number is not told as one.
        answer = {"measures": {name: value if np.isfinite(value) else None for name, value in numbers.items()}}
        if self._privacy:
            # They carry no noise, and how long it took tells how many patients were drawn.
            answer = {"measures": dict.fromkeys(numbers), **self._privacy.events(number)}
        self._client_states = {number: update.client_state}
        if self._config.secure == "none":
            return answer, {"vectors": update.vectors, "own": update.client_state}
        self._sums.hold(number, update.vectors, protocol.start_digest(self._digest, message, self._shared_noise()))
        return answer, {}

    def _shared_noise(self) -> float | None:
        """The noise multiplier that the other sites of a sum must have settled on, too; None: each adds its own."""
        if not (self._privacy and self._config.shares_noise):
            return None
        return self._privacy.shared_step().mechanism.noise_multiplier

    @property
    def held(self) -> tuple[int, np.ndarray, str] | None:
        """As of `SiteSums`."""
        return self._sums.held

    def key(self, message: Envelope) -> tuple[dict, dict]:
        """A stage of agreeing on the key of secure sums."""
        return self._sums.key(message)

    def mask(self, message: Envelope) -> tuple[dict, dict]:
        """A stage of a secure sum over what is held."""
        return {}, {"content": [np.frombuffer(self._sums.stage(message, self._weight), np.uint8)]}

    def evaluate(self, message: Envelope) -> tuple[dict, dict]:
        """Metrics of the site's own test part."""
        self._session.policy.check_metrics()
        if self._metrics is None:
            raise PolicyError(f"metrics: nothing is measured of a {self._config.model}")
        weights = list(message.arrays["weights"])
        # Each model that is measured tells of the test rows: one a run, and one that the site came to alone.
        alone = f" of {self._config.rounds} rounds" if self._session.policy.gain else ""
        self._session.once.settle("metrics", message.digest("weights") + alone)
        return self._metrics(weights, self._alone()), {}

    def _alone(self) -> list[np.ndarray] | None:
        """Weights that the site comes to by itself; None: its policy does not ask whether it gains."""
        config = self._config
        # Others' servers have a step of their own; alone it would be trained without privacy.
        plain = config.strategy in ("fedavg", "fedprox") and config.server_learning_rate in (None, 1.0)
        if not self._session.policy.gain or self._privacy or not plain:
            return None
        return self.rounds.alone(self._initial, self.data, config.rounds)

    def finish(self, message: Envelope) -> tuple[dict, dict]:
        """It is over: the records go."""
        if self._privacy:
            self._privacy.complete()
        shutil.rmtree(self._session.folder / "records", ignore_errors=True)
        return {}, {}


def _digest_of(vectors: list[np.ndarray]) -> str:
    """SHA-256 of an update."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(vector).tobytes() for vector in vectors)).hexdigest()
