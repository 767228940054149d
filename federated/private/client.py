"""`--dp client`: whole clients by TFF's differentially private aggregation, and what that costs so few of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from federated.algorithms.strategy import KINDS, Strategy
from federated.config import FederateConfig
from federated.private import assumptions
from federated.private.assumptions import of_federation
from federated.private.private_rounds import PrivateRounds
from federated.private.site_plan import asked_steps, rounds_of, rounds_within
from federated.rounds.participation import participants as asked_in
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.budget import Budget
from medimg.privacy.draws.noise_seed import fingerprint
from medimg.privacy.ledger import Ledger, known
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.spending import Spending, Spent, Stretch
from medimg.privacy.terms import Account, Terms, require_finite_clip, require_small_delta
from medimg.training.lineage import NONE, Lineage

_MECHANISM = "Gaussian noise on the sum of clipped updates of the clients (TensorFlow Federated)"


@dataclass(frozen=True)
class ClientNoise:
    """What protecting whole clients takes.

    Attributes:
        noise_multiplier: standard deviation of the noise over the clip.
        rounds: that a client may take part in.
        epsilon: `epsilon_of` them.
    """

    noise_multiplier: float
    rounds: int
    epsilon: dict[str, float]


def client_noise(
    rounds: int, epsilon: float | None, delta: float, noise_multiplier: float | None, previous: tuple = ()
) -> ClientNoise:
    """The noise for an epsilon, or the rounds and the epsilon of a noise.

    No amplification: who takes part is no secret, and TFF draws a fixed number of clients, not each independently. A
    round is one Gaussian mechanism on a sum to which a client adds at most the clip.

    Args:
        rounds: most that one client takes part in.
        epsilon: budget; None: the noise is given.
        delta: in (0, 1).
        noise_multiplier: None: the least for epsilon.
        previous: DpEvents that the budget, and the epsilon told, also cover.

    Raises:
        InputError: neither is given, or the budget does not allow one round.
    """
    plan = Budget(epsilon, delta, previous).plan(Mechanism.shuffle(1), rounds, noise_multiplier)
    event = plan.mechanism.event([(0, plan.steps)])
    return ClientNoise(plan.mechanism.noise_multiplier, plan.steps, epsilon_of([*previous, event], delta))


def check(config: FederateConfig, clients: int) -> None:
    """Refuse options that go against client-level privacy.

    Raises:
        InputError: names the option.
    """
    if config.dp_epsilon is None and config.dp_noise_multiplier is None:
        raise InputError("--dp client: give --dp-epsilon, e.g. 8, or --dp-noise-multiplier")
    algorithm = KINDS[config.strategy].client
    if algorithm.second_vector or algorithm.local_norm:
        raise InputError(
            f"--strategy {config.strategy}: beside its update a client's own numbers get into the model, and --dp "
            "client puts no noise on them; use fedavg"
        )
    if config.aggregation != "mean":
        raise InputError(
            f"--aggregation {config.aggregation}: the noise of --dp client is for a mean of clipped updates; use mean"
        )
    if config.secure != "none":
        raise InputError(
            f"--secure {config.secure}: the aggregation of --dp client clips and adds noise where it sees the updates; "
            "use --dp patient with it"
        )
    if config.weighting == "examples":
        raise InputError("--weighting examples: --dp client weighs clients alike; use equal")
    require_finite_clip(config)
    if config.dp_budget == "dataset":
        raise InputError("--dp-budget dataset: counts patients, and --dp client protects clients; use --dp-budget run")
    if config.dp_seed is not None:
        raise InputError(
            f"--dp-seed {config.dp_seed}: TensorFlow Federated draws its noise without a seed; leave it out"
        )
    require_small_delta(config, clients, "client")


class ClientPrivacy(PrivateRounds):
    """The private side of one federated Run whose unit is the client.

    Args:
        run_root: the Run's folder.
        dataset: of all clients.
        names: of the clients.
        config: options.
        rounds: at most.
        parameters: that the model trains, to say what the noise means for it; None: not said.
        one_machine: the clients are simulated here, and the Dataset's own ledger is told.
        lineage: whose steps the first weights, or the rows, bring along.
        start: what it begins with (`medimg.training.start`).
        aggregator: makes the engine's aggregation of a strategy, or says by a ValueError why there is none.

    Attributes:
        noise: of the training.
        rounds: that the budget allows.

    Raises:
        InputError: options that don't go together, or a noise that TFF refuses.
    """

    def __init__(
        self,
        run_root: Path,
        dataset: Dataset,
        names: Sequence[str],
        config: FederateConfig,
        rounds: int,
        parameters: int | None = None,
        one_machine: bool = True,
        lineage: Lineage = NONE,
        start: str = "",
        aggregator: Callable[[Strategy], object] = lambda strategy: None,
    ):
        self._aggregator = aggregator
        check(config, len(names))
        super().__init__(config)
        self.parameters = parameters
        self.names = list(names)
        fraction, seed = config.client_fraction, config.seed
        self.per_round = len(asked_in(self.names, fraction, 1, seed))
        draw = fingerprint({**config.given(), "rounds": rounds, "start": start})[:16]
        spending = Spending(
            run_root, "client", dataset.root if one_machine else None, known(run_root), lineage.inherited
        )
        spending.require_no_copy()
        spending.reserve(lambda earlier: self._settle(earlier, draw, rounds))
        account = Account(self._mechanism, draw, {})
        self.ledger = Ledger(
            spending,
            self._terms(),
            of_federation(config, lineage),
            dict.fromkeys(self.names, account),
            assumptions.of_clients,
        )

    def strategy(self) -> dict:
        """Arguments of `Strategy`."""
        kind = "dp-adaptive" if self.config.dp_clipping == "adaptive" else "dp-fixed"
        return {
            "aggregation": kind,
            "noise_multiplier": self.noise.noise_multiplier,
            "clip": self.config.dp_clip,
            # The sum is divided by this number whoever's update is lost: how many arrived would not be noisy.
            "clients": self.per_round,
        }

    def engine_arguments(self) -> dict:
        """What `Engine` is given beside its other arguments: nothing."""
        return {}

    def before_round(self, number: int, participants: list[str], work: dict[str, float]) -> None:
        """Write down the round; call it before the clients are asked.

        Args:
            number: of the round, from 1.
            participants: all who are asked.
            work: not read: a client counts whole, however many steps it does.

        Raises:
            InputError: a client would pass its budget, or the Run's folder can't be written.
        """
        self._require_latest(number)
        self._record(number, self._ranges(number, participants, work), lambda name: self.noise.rounds)

    def _ranges(self, number: int, participants: Sequence[str], work: dict[str, float]) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(participants, (number - 1, number))

    def _require_latest(self, number: int) -> None:
        """Refuse rounds that were made before and went on: made again they would have other noise, and count once."""
        ends = [end for segment in self.ledger.spending.own for _, end in segment.ranges]
        if max(ends, default=0) > number:
            raise InputError(
                f"{self.ledger.folder}: is at round {number - 1}, and {max(ends)} are recorded, by this Run or a copy "
                "of it; TensorFlow Federated's noise would be new each time and the ledger would count it once: put "
                "back the newest checkpoint, or train anew"
            )

    def sentences(self) -> list[str]:
        """What the user should know before training."""
        noise, few = self.noise.noise_multiplier, self.per_round
        lines = [
            f"Whole clients are protected with epsilon {self.noise.epsilon['pld']:.3g} at delta "
            f"{self.config.dp_delta:g} over {self.noise.rounds} rounds, which takes noise multiplier {noise:.3g}. "
            f"Among {few} clients a round that is much: the mean of their clipped updates, itself of norm at most the "
            f"clip, carries Gaussian noise of {noise / few:.3g} times the clip in every coordinate."
        ]
        if self.parameters:
            norm = noise / few * math.sqrt(self.parameters)
            clients = math.ceil(noise * math.sqrt(self.parameters))
            lines.append(
                f"With {self.parameters:,} parameters the noise has {norm:,.3g} times the norm of the largest possible "
                f"mean; it would take about {clients:,} clients to make the two equal."
            )
        lines.append(
            "For a few hospitals --dp patient is the useful promise. TensorFlow Federated's noise is new each time: a "
            "resumed round gives another model."
        )
        return lines + self._fewer_rounds()

    @property
    def _mechanism(self) -> Mechanism:
        return replace(Mechanism.shuffle(1), noise_multiplier=self.noise.noise_multiplier)

    def _settle(self, earlier: Spent, draw: str, rounds: int) -> list[Stretch]:
        """Noise and the rounds that it allows; the rounds to reserve."""
        config, names = self.config, self.names
        fraction, seed = config.client_fraction, config.seed
        self.noise = client_noise(
            max(rounds_of(names, rounds, fraction, seed).values()),
            config.dp_epsilon,
            config.dp_delta,
            earlier.noise(draw, *names) or config.dp_noise_multiplier,
            earlier.previous(draw),
        )
        self._refuse_what_tff_refuses()
        self.rounds = rounds_within(names, rounds, fraction, seed, lambda name: self.noise.rounds)
        steps = asked_steps(dict.fromkeys(names, 1), self.rounds, fraction, seed)
        return [Stretch(name, draw, self._mechanism, ranges) for name, ranges in steps.items() if ranges]

    def _refuse_what_tff_refuses(self) -> None:
        try:
            self._aggregator(Strategy(**self.strategy()))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"--dp-clipping adaptive: TensorFlow Federated can't adapt the clip of {self.per_round} clients with "
                f"noise multiplier {self.noise.noise_multiplier:.3g} ({_first_line(error)}); use --dp-clipping fixed"
            ) from error

    def _terms(self) -> Terms:
        words = {"unit": "client", "mechanism": _MECHANISM, "composition": assumptions.ONE_CLIENT}
        return Terms.of(self.config, self.per_round, **words)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
