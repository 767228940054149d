"""The strategies by name: what each does at the client and at the server, and what goes together."""

from dataclasses import dataclass

from federated.algorithms.contract import Algorithm
from federated.algorithms.fedbn import FedBN
from federated.algorithms.fedprox import FedProx
from federated.algorithms.full_gradient import FullGradient
from federated.algorithms.mimelite import MimeLite
from federated.algorithms.plain import Plain
from federated.algorithms.scaffold import Scaffold
from federated.engine.local_training import LocalTraining
from medimg.errors import InputError

AGGREGATIONS = ("mean", "robust-clip", "dp-fixed", "dp-adaptive", "compress")

WEIGHTINGS = ("examples", "equal")


@dataclass(frozen=True)
class StrategyKind:
    """What makes a strategy.

    Attributes:
        server: optimizer of the server (Reddi et al. 2021).
        server_learning_rate: its default. 1 with `sgd` is plain averaging.
        client: what a client does.
        source: the paper.
    """

    server: str = "sgd"
    server_learning_rate: float = 1.0
    client: Algorithm = Plain()
    source: str = "McMahan et al. 2017"


KINDS = {
    "fedavg": StrategyKind(),
    "fedprox": StrategyKind(client=FedProx(), source="Li et al. 2020"),
    "fedsgd": StrategyKind(client=FullGradient(), server_learning_rate=0.1),
    "fedavgm": StrategyKind(server="momentum", source="Hsu et al. 2019"),
    "fedadam": StrategyKind(server="adam", server_learning_rate=0.01, source="Reddi et al. 2021"),
    "fedyogi": StrategyKind(server="yogi", server_learning_rate=0.01, source="Reddi et al. 2021"),
    "fedadagrad": StrategyKind(server="adagrad", server_learning_rate=0.1, source="Reddi et al. 2021"),
    "mimelite": StrategyKind(client=MimeLite(), source="Karimireddy et al. 2021"),
    "scaffold": StrategyKind(client=Scaffold(), source="Karimireddy et al. 2020"),
    "fedbn": StrategyKind(client=FedBN(), source="Li et al. 2021"),
}


@dataclass(frozen=True)
class Strategy:
    """One algorithm with its settings.

    Attributes:
        name: of `KINDS`.
        server_learning_rate: None: the strategy's own.
        proximal: mu of FedProx, for `fedprox` alone.
        weighting: of the clients' updates, by `examples` or `equal`; None: equal for SCAFFOLD (its paper's) and for
            differential privacy, else by examples.
        aggregation: inside TFF: `mean`, `robust-clip` (zeroing of outliers and adaptive clipping), `dp-fixed` or
            `dp-adaptive` (client-level differential privacy), `compress` (quantised).
        noise_multiplier: of `dp-*`.
        clip: largest L2 norm of an update for `dp-fixed`.
        clients: of the federation; SCAFFOLD's and DP's sums are relative to it.

    Raises:
        InputError: settings that don't go together.
    """

    name: str = "fedavg"
    server_learning_rate: float | None = None
    proximal: float = 0.0
    weighting: str | None = None
    aggregation: str = "mean"
    noise_multiplier: float = 0.0
    clip: float = 1.0
    clients: int = 5

    def __post_init__(self):
        if self.name not in KINDS:
            raise InputError(f"--strategy {self.name}: not known; known are {', '.join(KINDS)}")
        if self.aggregation not in AGGREGATIONS:
            raise InputError(f"--aggregation {self.aggregation}: not one of {', '.join(AGGREGATIONS)}")
        if self.weighting not in (None, *WEIGHTINGS):
            raise InputError(f"--weighting {self.weighting}: must be examples or equal")
        if self.proximal < 0 or (self.proximal and self.name != "fedprox"):
            raise InputError(f"--proximal {self.proximal}: is for --strategy fedprox and not negative")
        if self.name == "fedprox" and not self.proximal:
            raise InputError("--strategy fedprox: needs --proximal above 0, e.g. 0.01")
        if self.weighting == "examples" and (self.client.alike or self.is_private):
            reason = self.name if self.client.alike else "client-level privacy"
            raise InputError(f"--weighting examples: {reason} weighs clients alike; use equal")
        if self.client.second_vector and self.aggregation != "mean":
            raise InputError(
                f"--aggregation {self.aggregation}: not with {self.name}, whose clients send a gradient or control "
                "variate beside the update; use mean"
            )

    @classmethod
    def of(cls, config, clients: int, **given) -> "Strategy":
        """As the options of a federation (`FederateConfig`) have it.

        Args:
            config: options.
            clients: of the federation.
            **given: with client-level privacy `aggregation`, `noise_multiplier` and `clip`.
        """
        inside = {"robust-clip", "compress"}
        settled = {"aggregation": config.aggregation if config.aggregation in inside else "mean", "clients": clients}
        return cls(
            name=config.strategy,
            server_learning_rate=config.server_learning_rate,
            proximal=config.proximal if config.strategy == "fedprox" else 0.0,
            # The exact number of a site's examples is no weight where patients are protected.
            weighting="equal" if config.dp == "patient" else config.weighting,
            **{**settled, **given},
        )

    @property
    def kind(self) -> StrategyKind:
        """What makes it."""
        return KINDS[self.name]

    @property
    def client(self) -> Algorithm:
        """What its clients do."""
        return self.kind.client

    @property
    def is_private(self) -> bool:
        """Whether the aggregation is differentially private."""
        return self.aggregation.startswith("dp-")

    @property
    def by_examples(self) -> bool:
        """Whether updates count by examples."""
        equal = self.client.alike or self.is_private
        return not equal if self.weighting is None else self.weighting == "examples"

    def check(self, local: LocalTraining) -> None:
        """Raises InputError when the clients' options don't fit."""
        self.client.check(local)
