"""Noise in shares: each site adds a part, and the sum that masking opens carries all that the guarantee needs.

Of the sites that are in an opened sum some may collude: with the coordinator, and each other. Their shares protect
nobody, since they can take them off. What is counted on are the shares of the others.
"""

import math
from dataclasses import dataclass

from federated.algorithms.strategy import KINDS
from federated.config import FederateConfig
from federated.secure.fixed_point import FixedPoint
from medimg.errors import InputError
from medimg.privacy.summed_mechanism import SummedMechanism

# The grid has so many steps in the clip, or up to twice as many: cutting off what is finer moves nothing that shows.
_BITS = 20
# Deviations of its noise that a site's numbers leave room for: beyond are fewer than one in 10^32.
_ROOM = 12.0
# Of whole numbers that float64 holds.
_EXACT = 2.0**53


def colluding(clients: int) -> int:
    """Sites of so many that may collude with the coordinator: fewer than half, and at least one."""
    return max(1, (clients - 1) // 2)


def threshold_of(given: int, clients: int) -> int:
    """Sites that the sum needs to be opened.

    Args:
        given: `--secure-threshold`; 0: the fewest that are possible.
        clients: of the federation.
    """
    return given or _fewest(clients)


@dataclass(frozen=True)
class NoiseShares:
    """What sites that share the noise have agreed on.

    Attributes:
        clients: of the federation.
        threshold: fewest of them in an opened sum.
        clip: most that a patient adds to a site's update, in L2 norm.
        dimension: of an update.
        limit: largest absolute value of a number in the sum.
        bits: of a masked number.

    Raises:
        InputError: nothing would be gained, or two sums of a round would show a site's update, or the numbers of the
            sum can't hold the grid.
    """

    clients: int
    threshold: int
    clip: float
    dimension: int
    limit: float
    bits: int = 64

    @classmethod
    def of(cls, config: FederateConfig, clients: int, dimension: int) -> "NoiseShares":
        """By the options of a federation of so many clients.

        Args:
            config: options.
            clients: of the federation.
            dimension: numbers that the model trains.
        """
        # A site's update is the rate times the sum over the batch size, which is public.
        clip = config.dp_clip * config.client_learning_rate / config.batch_size
        threshold = threshold_of(config.secure_threshold, clients)
        return cls(clients, threshold, clip, dimension, config.secure_limit, config.secure_bits)

    def __post_init__(self):
        _check_sites(self.clients, self.threshold)
        if FixedPoint(self.limit, 1.0, self.clients, self.bits).unit > self.unit:
            raise InputError(
                f"--noise distributed: numbers of {self.bits} bits up to --secure-limit {self.limit:g} do not hold "
                f"steps of {self.unit:g}; use --secure-bits 64 or lower the limit"
            )

    @property
    def shares(self) -> int:
        """Honest ones that are in every opened sum."""
        return self.threshold - colluding(self.clients)

    @property
    def unit(self) -> float:
        """A step of the grid, a power of two: the sums of masking hold it exactly."""
        return math.ldexp(1.0, math.frexp(self.clip)[1] - 1 - _BITS)

    @property
    def sensitivity(self) -> int:
        """Most that a patient adds, in L2 norm, in steps of the grid."""
        return math.floor(self.clip / self.unit)

    def mechanism(self, noise_multiplier: float = 0.0) -> SummedMechanism:
        """Of a round."""
        return SummedMechanism.of(self.sensitivity, self.shares, self.dimension, noise_multiplier)

    def check_room(self, patients: int, noise_multiplier: float) -> None:
        """Refuse where a site's numbers might not fit in the sum: it would have to say so in the middle of a round.

        Args:
            patients: that a site may have, by what is public of it.
            noise_multiplier: of the sum.

        Raises:
            InputError: they might not.
        """
        deviation = math.sqrt(self.mechanism(noise_multiplier).share_variance)
        largest = patients * self.sensitivity + _ROOM * deviation
        if largest * self.unit > self.limit or largest >= _EXACT:
            raise InputError(
                f"--secure-limit {self.limit:g}: the update of a site with its noise may reach "
                f"{largest * self.unit:.3g}; raise it, or lower --learning-rate or --dp-clip"
            )


@dataclass(frozen=True)
class SharedStep:
    """The one step of a round.

    Attributes:
        shares: what the sites have agreed on.
        mechanism: of the sum, with its noise.
        l2_norm_clip: most that a patient contributes: the sum of its examples' gradients.
        training: names the options, hexadecimal.
    """

    shares: NoiseShares
    mechanism: SummedMechanism
    l2_norm_clip: float
    training: str


def check(config: FederateConfig) -> None:
    """Refuse options that go against noise in shares, before anything is prepared.

    Raises:
        InputError: names the option.
    """
    if config.secure != "masking":
        raise InputError(
            f"--noise distributed: a site's share alone protects nobody, and with --secure {config.secure} there is "
            "somebody who sees an update by itself; use --secure masking"
        )
    kind = KINDS[config.strategy]
    if kind.client != KINDS["fedavg"].client:
        raise InputError(
            f"--strategy {config.strategy}: with --noise distributed a client sends one sum of gradients; use fedavg, "
            "fedavgm, fedadam, fedyogi or fedadagrad"
        )
    given = config.given()
    for name in ("local_epochs", "local_steps"):
        if name in given:
            raise InputError(
                f"--{name.replace('_', '-')} {given[name]}: with --noise distributed a client makes one step a round, "
                "of all its patients; leave it out"
            )
    if config.client_optimizer not in (None, "sgd"):
        raise InputError(
            f"--client-optimizer {config.client_optimizer}: with --noise distributed a client makes one step of sgd a "
            "round; leave it out, or give --strategy fedadam"
        )
    if config.client_fraction < 1:
        raise InputError(
            f"--client-fraction {config.client_fraction:g}: the noise of --noise distributed is that of all sites; "
            "leave it out"
        )
    if config.dp_budget == "dataset":
        raise InputError(
            "--dp-budget dataset: with --noise distributed all sites add the same share, whatever each spent before; "
            "use --dp-budget run"
        )


def _fewest(clients: int) -> int:
    return (clients + colluding(clients)) // 2 + 1


def _check_sites(clients: int, threshold: int) -> None:
    false, honest = colluding(clients), threshold - colluding(clients)
    if clients < 3:
        raise InputError(
            f"--noise distributed: of {clients} sites one may collude, and the other then has to add all the noise, "
            "as with --noise local; it takes 3 sites or more"
        )
    if threshold > clients:
        raise InputError(f"--secure-threshold {threshold}: there are {clients} sites; give {clients} or less")
    if honest < 2:
        raise InputError(
            f"--secure-threshold {threshold}: a sum of {threshold} of {clients} sites, {false} of whom may collude, "
            "has one honest share for certain, which would have to be all the noise: nothing is gained over --noise "
            f"local; give {_fewest(clients)} or more"
        )
    if threshold < _fewest(clients):
        raise InputError(
            f"--secure-threshold {threshold}: with {false} of {clients} sites colluding two sums of a round could be "
            "opened, whose difference is the update of a site with its own share alone; give "
            f"{_fewest(clients)} or more"
        )
