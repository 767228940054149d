"""Groups of options of `medimg federate`, of which others' commands have some too. Nothing heavy is imported here."""

from dataclasses import dataclass

from medimg.options import Config, option

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
    site_timeout: float = option(
        86400.0,
        "Seconds that a site that is connected may take for one answer, a round's training say; then it is lost.",
        above=0.0,
        only=FLOWER,
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
