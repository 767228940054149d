"""Options of `medimg federate`: its fields are the options. Nothing heavy is imported here."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from medimg.config import TrainConfig
from medimg.option_groups.training import NORMALISED, PRIVATE, ImageOptions, ModelOptions, PublicOptions, TableOptions
from medimg.options import LARGEST_SEED, Config, option

STRATEGIES = (
    "fedavg",
    "fedprox",
    "fedsgd",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "mimelite",
    "scaffold",
    "fedbn",
)
PARTITIONS = ("site", "iid", "dirichlet", "shards")
AGGREGATIONS = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "robust-clip", "compress")
FLOWER = "--engine flower"
# What clients of fedsgd do: one gradient, no step.
_STEPPING = "use without --strategy fedsgd or --comparison or --personalize-epochs"
# Of these a round of training is made of; what `TrainConfig` calls by other names is not among them.
_SHARED = [field.name for kind in (ModelOptions, ImageOptions, TableOptions) for field in dataclasses.fields(kind)]

# Fitted on folds (benchmarks/federated_defaults.py).
_STEPS_OF_TABLES = {
    "client_optimizer": ("sgd", "Adam, anew in every round, takes its first steps as large for columns that say little")
}
_STEPS_OF_HEADS = {
    "client_optimizer": ("sgd", "Adam, anew in every round, runs after a client's own classes where clients differ"),
    "learning_rate": (0.01, "of the last layer on features as large as a MobileNet's"),
}


@dataclass(frozen=True)
class PartitionOptions(Config):
    """Who the clients are, and who takes part in a round."""

    partition: str = option(
        "site",
        "Clients: the sites, or patients dealt evenly, by a Dirichlet draw, or in one-class shards.",
        choices=PARTITIONS,
    )
    clients: int = option(5, "Number of clients.", minimum=1, only="--partition iid|dirichlet|shards")
    alpha: float = option(
        0.5, "Concentration; the smaller, the more the clients differ.", above=0.0, only="--partition dirichlet"
    )
    min_size: int = option(10, "Fewest training images, or rows, of a client.", minimum=1, only="--partition dirichlet")
    shards: int = option(2, "One-class shards of each client.", minimum=1, only="--partition shards")
    client_fraction: float = option(1.0, "Fraction of the clients that is asked in a round.", above=0.0, maximum=1.0)
    client_dropout: float = option(
        0.0, "Simulation: chance that an asked client's update never arrives.", minimum=0.0, maximum=1.0
    )
    stragglers: float = option(0.0, "Simulation: chance that an asked client is slow.", minimum=0.0, maximum=1.0)
    straggler_pace: float = option(
        0.5,
        "Simulation: share of its steps that a slow client does.",
        above=0.0,
        maximum=1.0,
        only="--stragglers",
    )


@dataclass(frozen=True)
class SiteOptions(Config):
    """Clients at sites of their own."""

    engine: str = option(
        "tff",
        "tff: clients in this process; flower: each site's own 'medimg federate site'.",
        choices=("tff", "flower"),
    )
    link: str | None = option(
        None, "Folder of 'medimg federate link': certificate, keys and who the sites are.", metavar="DIR", only=FLOWER
    )
    superlink: str | None = option(None, "The link, where it is not that of --link.", metavar="HOST:PORT", only=FLOWER)
    site: tuple = option(
        (), "A site that takes part; may be repeated (default: all of --link).", metavar="NAME", only=FLOWER
    )
    when_lost: str = option(
        "skip", "A site that is lost: go on without it, or wait for it.", choices=("skip", "wait"), only=FLOWER
    )
    site_patience: float = option(
        60.0, "Seconds for which a site that is not connected is waited for.", above=0.0, only=FLOWER
    )


@dataclass(frozen=True)
class RoundOptions(Config):
    """What a round is made of."""

    strategy: str = option("fedavg", "Algorithm.", choices=STRATEGIES)
    proximal: float = option(0.01, "Weight of the pull to the global model.", above=0.0, only="--strategy fedprox")
    server_learning_rate: float | None = option(
        None, "Learning rate of the server (default: the strategy's own).", above=0.0
    )
    weighting: str | None = option(
        None,
        "Clients count by examples or alike (default: by examples; scaffold and --dp client alike).",
        choices=("examples", "equal"),
    )
    rounds: int = option(20, "Most rounds.", minimum=1)
    local_epochs: int = option(
        1,
        "Passes of a client over its training part in a round.",
        minimum=1,
        only=("use without --local-steps", _STEPPING),
    )
    local_steps: int | None = option(
        None, "Steps of a client in a round, instead of --local-epochs.", minimum=1, only=_STEPPING
    )
    batch_size: int = option(32, "Images, or rows, of a step (with --dp patient: patients, on average).", minimum=1)
    client_optimizer: str | None = option(
        None,
        "Optimizer of the clients (default: adam; scaffold, tables and a frozen mobilenet sgd, unless --dp or "
        "--learning-rate is given).",
        choices=("sgd", "momentum", "adam"),
        only=_STEPPING,
    )
    learning_rate: float | None = option(
        None,
        "Learning rate of the clients (default: sgd 0.1, where it is a frozen mobilenet's default 0.01; momentum "
        "0.05, adam 0.002, logistic 0.01).",
        above=0.0,
        only=_STEPPING,
    )
    patience: int = option(
        0,
        "Rounds without a better pooled validation loss before stopping, the best round's weights kept; "
        "0: all rounds, the last one's kept.",
        minimum=0,
    )
    balance: str = option("none", "Class imbalance, at each client.", choices=("none", "class-weight"))
    personalize_epochs: int = option(0, "Epochs for which each site then fine-tunes the model for itself.", minimum=0)
    comparison: bool = option(
        True, "Train every site alone and all data pooled as well, to compare (never with --dp or sites apart)."
    )


@dataclass(frozen=True)
class AggregationOptions(Config):
    """How updates become one."""

    aggregation: str = option("mean", "How updates become one.", choices=AGGREGATIONS)
    trim: float = option(
        0.2,
        "Fraction of the clients cut at either end.",
        minimum=0.0,
        maximum=0.5,
        only="--aggregation trimmed-mean",
    )
    byzantine: int = option(1, "Clients that may be malicious.", minimum=0, only="--aggregation krum|multi-krum")
    secure: str = option(
        "none",
        "Secure sum of the updates (with --engine tff simulated in one process).",
        choices=("none", "masking", "ckks"),
    )
    secure_threshold: int = option(
        0, "Clients that a secure sum needs (0: more than half).", minimum=0, only="--secure"
    )
    secure_limit: float = option(
        1024.0, "Largest absolute value of an update in a secure sum.", above=0.0, only="--secure"
    )
    secure_bits: int = option(
        64, "Bits of a masked number; 32 is coarser and half the bytes.", choices=(32, 64), only="--secure masking"
    )


@dataclass(frozen=True)
class FederatedPrivacyOptions(Config):
    """Differential privacy of a federation."""

    dp: str = option(
        "none",
        "Differential privacy of patients (DP-SGD at each client) or of whole clients (noise at the server).",
        choices=("none", "patient", "client"),
    )
    dp_epsilon: float | None = option(None, "Most epsilon that the training may spend (at every site).", above=0.0)
    dp_delta: float = option(1e-5, "Delta of --dp-epsilon; below 1 / number of patients.", above=0.0, maximum=0.5)
    dp_clip: float = option(1.0, "Largest L2 norm of a patient's gradient, or of a client's update.", above=0.0)
    dp_noise_multiplier: float | None = option(
        None, "Noise over the clip (default: the least that --dp-epsilon allows for all rounds).", above=0.0
    )
    dp_budget: str = option(
        "run",
        "patient: what --dp-epsilon covers: this Run, or all private Runs on the Dataset.",
        choices=("run", "dataset"),
        only="--dp-epsilon",
    )
    noise: str = option(
        "local", "All noise at each site, or a share of it.", choices=("local", "distributed"), only="--dp patient"
    )
    dp_clipping: str = option(
        "fixed", "A fixed clip, or one that adapts.", choices=("fixed", "adaptive"), only="--dp client"
    )
    dp_seed: int | None = option(None, "patient: fixed seed of noise and sampling, for experiments only.", minimum=0)


@dataclass(frozen=True)
class FederateConfig(
    PublicOptions,
    FederatedPrivacyOptions,
    AggregationOptions,
    RoundOptions,
    SiteOptions,
    PartitionOptions,
    TableOptions,
    ImageOptions,
    ModelOptions,
):
    """Options of `medimg federate`."""

    gone: ClassVar = {"worker": "", "worker_patience": "site_patience"}  # Of Runs when TFF's workers served sites.
    only: ClassVar = {
        TableOptions: ("tables",),
        ImageOptions: ("images",),
        FederatedPrivacyOptions: ("--dp",),
        PublicOptions: ("tables", PRIVATE),
    }

    norm: str | None = option(
        None,
        "Normalisation layers (default: group; batch with --freeze backbone or --strategy fedbn).",
        choices=("batch", "group"),
        only=NORMALISED,
    )
    audit_holdout: float = option(
        0.0,
        "Share of each client's training patients, drawn at random, that nothing is learnt from: the non-members of "
        "'medimg audit'.",
        minimum=0.0,
        maximum=0.5,
    )
    seed: int = option(
        0, "Seed of weights, partition, participation, order and dropout.", minimum=0, maximum=LARGEST_SEED
    )

    @property
    def is_apart(self) -> bool:
        """Clients train at sites of their own, and this process has none of their rows."""
        return self.engine == "flower"

    @property
    def is_private(self) -> bool:
        """With differential privacy."""
        return self.dp != "none"

    @property
    def shares_noise(self) -> bool:
        """Each site adds a share of the noise."""
        return self.dp == "patient" and self.noise == "distributed"

    @property
    def optimizer_of_clients(self) -> str:
        """The clients' optimizer, with the default where none was given."""
        return self.client_optimizer or ("sgd" if self.strategy == "scaffold" or self.shares_noise else "adam")

    def settled(self, is_table: bool) -> tuple["FederateConfig", dict[str, tuple]]:
        """With what rules choose where nobody does, and option -> (value, reason) of it.

        Of a Run that was made without, the optimizer stays what it was (`optimizer_of_clients`).
        """
        has_optimizer = (
            self.client_optimizer or self.learning_rate or self.strategy in ("fedsgd", "scaffold", "mimelite")
        )
        by_rule = self.model_of(is_table)
        if not (has_optimizer or self.is_private):
            by_rule |= _STEPS_OF_TABLES if is_table else self._steps_of_images
        chosen = {name: value for name, (value, _) in by_rule.items()}
        return dataclasses.replace(self, **chosen).with_given_names(self.names_given()), by_rule

    @property
    def _steps_of_images(self) -> dict[str, tuple]:
        measured = self.model == "mobilenet" and self.freeze == "backbone" and self.strategy in ("fedavg", "fedprox")
        return _STEPS_OF_HEADS if measured else {}

    @property
    def client_learning_rate(self) -> float:
        """The clients' learning rate, with the default where none was given."""
        # A logistic regression has one minimum: it can go there in larger steps.
        defaults = {"sgd": 0.1, "momentum": 0.05, "adam": 0.01 if self.model == "logistic" else 0.002}
        return self.learning_rate or defaults[self.optimizer_of_clients]

    def training(self, unit: str) -> TrainConfig:
        """The options of a central training of the same model on the same data, of unit `image` or `row`."""
        shared = {name: getattr(self, name) for name in _SHARED}
        # BatchNorm's moving statistics can't be averaged: they stay as they are, or at the sites.
        keeps_batch_norm = self.freeze == "backbone" or self.strategy == "fedbn"
        shared["norm"] = self.norm or ("batch" if keeps_batch_norm else "group")
        if self.dp == "patient" and unit == "row":
            # Clipping and noise hold the weights down already, and a penalty is no patient's loss.
            shared["model_arg"] = {"l2": "0", **self.model_arg}
        return TrainConfig(**shared, batch_size=self.batch_size, balance=self.balance, seed=self.seed).resolved(unit)
