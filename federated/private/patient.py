"""`--dp patient`: every site trains by DP-SGD on its own patients, and its account is kept beside the others'."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from federated.algorithms.strategy import KINDS
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining, local_steps
from federated.engine.records import ClientData
from federated.private import assumptions, noise_shares
from federated.private.assumptions import of_federation
from federated.private.noise_shares import NoiseShares, SharedStep
from federated.private.private_rounds import PrivateRounds, refuse_class_weights
from federated.private.shared_plan import alike, shared_plan_of
from federated.private.site_plan import SitePlan, asked_steps, plan_of, rounds_of, rounds_within
from federated.private.steps import PatientSteps
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.draws.noise_seed import fingerprint
from medimg.privacy.ledger import Ledger, known
from medimg.privacy.per_example.forward import kinds
from medimg.privacy.per_example.kinds import check as check_layers
from medimg.privacy.spending import Spending, Spent, Stretch
from medimg.privacy.terms import Account, Terms, require_finite_clip
from medimg.training.lineage import NONE, Lineage

_MECHANISM = "DP-SGD at each site: Gaussian noise on the sum of clipped contributions of its patients"

_IN_SHARES = (
    "Distributed discrete Gaussian: a share of the noise at each site, on the sum of clipped contributions of all its "
    "patients; the masked sum of the sites has all of it"
)


def check(config: FederateConfig) -> None:
    """Refuse options that go against patient-level privacy, before anything is prepared.

    Raises:
        InputError: names the option.
    """
    if KINDS[config.strategy].client.full_gradient:
        raise InputError(
            f"--strategy {config.strategy}: its clients send the gradient of all their images, which --dp patient "
            "does not cover; use fedavg"
        )
    if config.personalize_epochs:
        raise InputError(
            f"--personalize-epochs {config.personalize_epochs}: fine-tunes without noise what --dp patient protects; "
            "use 0"
        )
    refuse_class_weights(config)
    if config.weighting == "examples":
        raise InputError(
            "--weighting examples: the exact number of a site's images would weigh in the model without noise; --dp "
            "patient weighs sites alike: use equal"
        )
    require_finite_clip(config)
    if config.shares_noise:
        noise_shares.check(config)
    if config.dp_epsilon is None and config.dp_noise_multiplier is None:
        raise InputError("--dp patient: give --dp-epsilon, e.g. 8, or --dp-noise-multiplier")


def check_model(model: tf.keras.Model) -> None:
    """Refuse layers that can't be private.

    Args:
        model: what the clients train.

    Raises:
        InputError: names the layer.
    """
    if model.losses:
        raise InputError(
            f"--dp patient: {model.name} has a penalty on its weights, which is no patient's; give --model-arg l2=0"
        )
    check_layers(model)
    kinds(model)


class PatientPrivacy(PrivateRounds):
    """The private side of one federated Run whose unit is the patient.

    Args:
        run_root: the Run's folder.
        dataset: of all sites; with sites elsewhere what is known of it.
        data: of every client, its records written with `units` and given a key (`site_key.with_key`).
        config: options.
        rounds: at most.
        one_machine: the sites are simulated here; else their data and keys are at the sites.
        also: what decides the training beside the options, by name.
        lineage: whose steps the first weights, or the rows, bring along.
        site_plans: what sites elsewhere have settled for themselves, in the place of their patients' numbers; None:
            settled here.
        shares: of the noise, with `--noise distributed`.

    Attributes:
        plans: of every site.
        rounds: that the budget allows.

    Raises:
        InputError: options that go against privacy, a delta too large for a site, or a budget too small.
    """

    def __init__(
        self,
        run_root: Path,
        dataset: Dataset,
        data: list[ClientData],
        config: FederateConfig,
        rounds: int,
        one_machine: bool = True,
        also: dict | None = None,
        lineage: Lineage = NONE,
        site_plans: dict[str, SitePlan] | None = None,
        shares: NoiseShares | None = None,
    ):
        check(config)
        self._site_plans, self.shares = site_plans, shares
        super().__init__(config)
        self.data = {client.name: client for client in data}
        options = {**config.given(), **(also or {}), "rounds": rounds}
        # Mixed into every site's draws: other options never meet the same noise, and a site's key never other data.
        self.training = fingerprint(options)[:16]
        draws = {
            name: fingerprint({"training": self.training, "key": client.key})[:16] for name, client in self.data.items()
        }
        spending = Spending(
            run_root, "patient", dataset.root if one_machine else None, known(run_root), lineage.inherited
        )
        spending.reserve(lambda earlier: self._settle(earlier, draws, rounds), config.dp_budget == "dataset")
        self.ledger = Ledger(
            spending,
            self._terms(),
            of_federation(config, lineage),
            {name: _account(self.plans[name], draw) for name, draw in draws.items()},
            lambda circumstances: assumptions.of_patients(circumstances, one_machine, shares),
        )

    def engine_arguments(self) -> dict:
        """What `Engine` is given beside its other arguments; under noise in shares it computes no updates."""
        return {} if self.shares else {"steps": self.steps(PatientSteps)}

    def shared_step(self) -> SharedStep:
        """The step of a round under noise in shares, alike at all sites."""
        mechanism = next(iter(self.plans.values())).mechanism
        return SharedStep(self.shares, mechanism, self.config.dp_clip, self.training)

    def steps(self, kind: type[PatientSteps]) -> PatientSteps:
        """The private steps of the sites.

        Args:
            kind: PatientSteps, or a class of it for models that take other steps.
        """
        sites = {name: plan.site for name, plan in self.plans.items()}
        return kind(sites, self.config.dp_clip, self.training)

    def before_round(self, number: int, participants: list[str], work: dict[str, float]) -> None:
        """Write down what the clients are about to spend; call it before they are asked.

        Args:
            number: of the round, from 1.
            participants: all who are asked, those too whose update will not arrive.
            work: client -> the share of its steps that it does, where that is not all.

        Raises:
            InputError: a client would pass its budget, or the Run's folder can't be written.
        """
        self._record(number, self._ranges(number, participants, work), lambda name: self.plans[name].steps)

    def _ranges(self, number: int, participants: Sequence[str], work: dict[str, float]) -> dict[str, tuple[int, int]]:
        ranges = {}
        for name in participants:
            plan = self.plans[name]
            first = (number - 1) * plan.steps_per_round
            count = local_steps(plan.steps_per_round, work.get(name, 1.0))
            ranges[name] = (first, first + count)
        return ranges

    def sentences(self) -> list[str]:
        """What the user should know before training."""
        config = self.config
        goal = "the given noise" if config.dp_epsilon is None else f"epsilon {config.dp_epsilon:g}"
        lines = [
            f"Patients are protected at every site with {goal} at delta {config.dp_delta:g}. {assumptions.DISJOINT}"
        ]
        if self.shares:
            noise, rounds = self.shared_step().mechanism.noise_multiplier, self.rounds
            lines.append(
                f"{assumptions.of_shares(self.shares)} Noise multiplier of the sum {noise:.3g}, {rounds} rounds, all "
                "patients in each."
            )
            return lines + self._fewer_rounds()
        for name, plan in self.plans.items():
            site = plan.site
            lines.append(
                f"{name}: at most {site.expected_patients} patients on average in each of {plan.steps_per_round} steps "
                f"a round, {plan.rounds} rounds, noise multiplier {site.noise_multiplier:.3g}."
            )
        return lines + self._fewer_rounds()

    def _settle(self, earlier: Spent, draws: dict[str, str], rounds: int) -> list[Stretch]:
        """Every site's plan and the rounds that all of them allow; the steps to reserve."""
        config, names = self.config, list(self.data)
        local = LocalTraining.of(config)
        rounds_asked = rounds_of(names, rounds, config.client_fraction, config.seed)
        plan_for = shared_plan_of if self.shares else plan_of
        self.plans = self._site_plans or {
            name: plan_for(
                client,
                max(1, rounds_asked[name]),
                self.shares or local,
                config,
                earlier.previous(draws[name], name),
                earlier.noise(draws[name], name),
            )
            for name, client in self.data.items()
        }
        if self.shares:
            self.plans = alike(self.plans, self.shares)
        per_round = {name: plan.steps_per_round for name, plan in self.plans.items()}
        self.rounds = rounds_within(
            names, rounds, config.client_fraction, config.seed, lambda name: self.plans[name].steps // per_round[name]
        )
        steps = asked_steps(per_round, self.rounds, config.client_fraction, config.seed)
        return [
            Stretch(name, draws[name], self.plans[name].mechanism, ranges) for name, ranges in steps.items() if ranges
        ]

    def _terms(self) -> Terms:
        most = max(plan.site.expected_patients for plan in self.plans.values())
        mechanism = _IN_SHARES if self.shares else _MECHANISM
        return Terms.of(self.config, most, mechanism=mechanism, composition=assumptions.DISJOINT)


def _account(plan: SitePlan, draw: str) -> Account:
    about = {"expected_patients": plan.site.expected_patients}
    if plan.summed:
        about["shares"] = plan.summed.shares
    return Account(plan.mechanism, draw, about)
