"""`--dp-epsilon` across clients: each draws its own patients, adds its own noise and has its own account.

A client's patients are others than the rest's, so the guarantee for every patient is the largest epsilon of a client.
Class counts are the first steps of each account: of sampled patients with the noise of a training step, averaged over
a tenth as many steps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from federated.engine.local_training import local_steps
from federated.private.assumptions import DISJOINT
from federated.private.site_plan import asked_steps, rounds_of, rounds_within
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.budget import Budget
from medimg.privacy.defaults import coarse
from medimg.privacy.draws.noise_seed import secret_of
from medimg.privacy.ledger import Ledger, known
from medimg.privacy.sampling import PoissonSampling
from medimg.privacy.spending import Spending, Spent, Stretch
from medimg.privacy.terms import Account, Terms
from medimg.privacy.units import Units
from synthetic.config import SynthesizeConfig
from synthetic.tables.generator_inputs import targets_of
from synthetic.tables.mix import votes
from synthetic.tables.privacy import COUNTS_SHARE
from synthetic.tables.private_step import PrivateSteps
from synthetic.tables.residuals import Residuals

_MECHANISM = (
    "At each client Gaussian noise on the sum of clipped contributions of its patients: to class counts first, then to "
    "gradients of what meets real rows"
)
_SENTENCES = (
    "Clients clip, draw and add noise by themselves: the coordinator and the other clients are given noisy class "
    "counts and noisy updates only, and the guarantee holds against them and whoever gets the rows, for every round's "
    "networks.",
    "Not covered: one person under two patient names, or at two clients.",
    "Of each client's number of training patients two things are treated as public: the number rounded down to 1, 2 or "
    "5 times a power of ten, by which it weighs, and the steps of its batch that take them all once.",
    "A client's steps count once it is asked for them, whether its update arrives or not.",
    "Not covered: after the last round each client told an AUROC on its validation patients.",
    "The clients were simulated in one process: who had that machine had all rows and all clients' secrets.",
    "In the Dataset's privacy_ledger.jsonl the clients' steps are added up as if each patient were at every client, "
    "which overstates what later Runs find spent.",
)


def check(config: SynthesizeConfig) -> None:
    """Refuse what goes in one place only.

    Raises:
        InputError: names the option.
    """
    if config.dp_sampling != "poisson":
        raise InputError(f"--dp-sampling {config.dp_sampling}: not with --partition; leave it out")


class ClientsPrivacy:
    """What one private training across clients may do, and its ledger in `privacy.json`.

    Args:
        dataset: the real one.
        sites: client -> its labelled training rows.
        out: folder of the synthetic Dataset.
        config: options.
        batch_size: patients of a step, of all clients together at most.
        rounds: wanted.
        steps: of a client in a round.

    Attributes:
        rounds: that the budget allows.
        sizes: client -> its patients in coarse steps (`medimg.privacy.defaults.coarse`), by which it weighs.
        first: steps that each client makes for the class counts, before those of the rounds.

    Raises:
        InputError: the budget does not allow a round.
    """

    def __init__(
        self,
        dataset: Dataset,
        sites: Mapping[str, pd.DataFrame],
        out: Path,
        config: SynthesizeConfig,
        batch_size: int,
        rounds: int,
        steps: int,
    ):
        self.config, self.out, self._sites, self._steps = config, Path(out), sites, steps
        # Marginals are counted by class already.
        counted = config.class_mix == "train" and config.model != "marginals"
        self.first = max(1, round(COUNTS_SHARE * rounds * steps)) if counted else 0
        data = dataset.fingerprint()
        drawn, draws, keys, self.sizes, divisors = {}, {}, {}, {}, {}
        for number, (name, rows) in enumerate(sites.items()):
            place = self.out / "checkpoints" / "clients" / str(number)
            options = {**config.given(), "client": name}
            secret = secret_of(place, options, data, config.dp_seed)
            patients = rows["patient"].to_numpy()
            units = Units.of(patients)
            self.sizes[name] = coarse(len(units))
            divisors[name] = min(batch_size, self.sizes[name])
            # Counted is everybody once.
            expected = len(units) if config.model == "marginals" else divisors[name]
            drawn[name] = PoissonSampling(units, expected, secret, config.dp_images_per_patient)
            draws[name] = secret.draw()
            keys[name] = secret.row_keys(patients)
        spending = Spending(self.out, "patient", dataset.root, known(self.out))
        spending.reserve(lambda spent: self._settle(spent, drawn, draws, rounds), config.dp_budget == "dataset")
        plans = self._plans
        self.private = {
            name: PrivateSteps(
                drawn[name],
                config.dp_clip,
                plan.mechanism.noise_multiplier,
                drawn[name].secret,
                divisors[name],
                keys[name],
            )
            for name, plan in plans.items()
        }
        self._ledger = self._ledger_of(spending, draws)
        self._recorded: dict = {}

    def before_round(self, number: int, asked: Sequence[str], work: Mapping[str, float]) -> None:
        """Write down what the clients are about to spend; of `federated.rounds.rounds.Watch`."""
        self._recorded = self._ledger.record_sites(self._ranges(number, asked, work))

    def require_counted(self, number: int, asked: Sequence[str], work: Mapping[str, float]) -> None:
        """Refuse a checkpoint with a round that the ledger does not count; of `federated.rounds.rounds.Watch`."""
        self._ledger.spending.require_sites_counted(self._ranges(number, asked, work))

    def _ranges(self, number: int, asked: Sequence[str], work: Mapping[str, float]) -> dict[str, tuple[int, int]]:
        start = self.first + (number - 1) * self._steps
        return {name: (start, start + local_steps(self._steps, work.get(name, 1.0))) for name in asked}

    def events(self, number: int) -> dict:
        """What the audit log says of the round that was last written down."""
        return {"privacy": self._recorded}

    def class_weights(self, classes: tuple[str, ...]) -> np.ndarray:
        """How frequent the classes are, by the clients' noisy counts of patients, above 0.

        As `synthetic.tables.privacy.PrivateTraining.class_weights`: the noise's deviation is added to each.

        Args:
            classes: labels of the rows, in order.
        """
        if not self.first:
            return np.ones(len(classes))
        self._ledger.record_sites(dict.fromkeys(self._sites, (0, self.first)))
        total, variance = np.zeros(len(classes)), 0.0
        for name, rows in self._sites.items():
            private, targets = self.private[name], targets_of(rows, classes)
            drawn, noise = private.sampling, private.noise_multiplier
            for number in range(self.first):
                step = drawn.step(number)
                random = private.secret.generator("class counts", number)
                total += votes(targets[step.rows], step.groups, len(classes)) / drawn.probability
                total += random.normal(0.0, noise / drawn.probability, len(classes))
            variance += self.first * (noise / drawn.probability) ** 2
        return np.maximum(total / self.first, 0.0) + np.sqrt(variance) / self.first

    def complete(self) -> None:
        """The last step has been made."""
        self._ledger.complete()

    def _settle(self, spent: Spent, drawn: dict, draws: dict[str, str], rounds: int) -> list[Stretch]:
        """Every client's plan and the rounds that all of them allow; the steps to reserve."""
        config, self._plans = self.config, {}
        asked = rounds_of(list(drawn), rounds, config.client_fraction, config.seed)
        for name, sampling in drawn.items():
            previous = spent.previous(draws[name], name)
            budget = Budget(config.dp_epsilon, config.dp_delta, previous)
            steps = self.first + max(1, asked[name]) * self._steps
            given = spent.noise(draws[name], name) or config.dp_noise_multiplier
            self._plans[name] = budget.plan(sampling.mechanism(), steps, given)
        self.rounds = rounds_within(
            list(drawn),
            rounds,
            config.client_fraction,
            config.seed,
            lambda name: (self._plans[name].steps - self.first) // self._steps,
        )
        if self.rounds < 1:
            raise InputError(
                f"--dp-epsilon {config.dp_epsilon}: not enough for one round with --dp-noise-multiplier "
                f"{config.dp_noise_multiplier}; give more noise, fewer --local-steps or a larger epsilon"
            )
        per_round = dict.fromkeys(drawn, self._steps)
        ranges = asked_steps(per_round, self.rounds, config.client_fraction, config.seed, self.first)
        return [Stretch(name, draws[name], self._plans[name].mechanism, ranges[name]) for name in drawn if ranges[name]]

    def _ledger_of(self, spending: Spending, draws: dict) -> Ledger:
        config, plans = self.config, self._plans
        expected = {name: int(one.divisor) for name, one in self.private.items()}
        accounts = {
            name: Account(plan.mechanism, draws[name], {"expected_patients": expected[name]})
            for name, plan in plans.items()
        }
        terms = Terms.of(config, max(expected.values()), mechanism=_MECHANISM, composition=DISJOINT)
        circumstances = Circumstances(search=True, fixed_seed=config.dp_seed is not None)
        return Ledger(
            spending, terms, circumstances, accounts, lambda of_training: [*assumptions(of_training), *_SENTENCES]
        )


def weights_of_marginals(shares: np.ndarray, choices: tuple[np.ndarray, ...], privacy: ClientsPrivacy) -> np.ndarray:
    """How frequent the classes are, from private marginals, of which every column adds up to them.

    Args:
        shares: (classes, cells), noisy, of all clients' patients.
        choices: of each column its cells.
        privacy: of the clients.
    """
    # Classes are counted once, beside the columns: with noise in units of a patient's whole part.
    noise = np.sqrt(sum(one.noise_multiplier**2 for one in privacy.private.values()))
    deviation = noise * Residuals(choices, len(shares)).norm
    total = shares[:, choices[0]].sum(axis=1) * sum(privacy.sizes.values())
    return np.maximum(total, 0.0) + deviation
