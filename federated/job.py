"""What a federated training is about: the Dataset, its clients, the plan; options that don't fit are refused here."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from federated.algorithms.strategy import KINDS, Strategy
from federated.clients.client import Client, pooled
from federated.clients.plan import ClientPlan
from federated.clients.totals import totals_of
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining
from federated.flower.description import Description
from federated.partition import partition
from federated.partition.site import require_public_sites
from federated.private import client, noise_shares, patient
from federated.private.private_rounds import refuse_class_weights
from federated.rounds.compatibility import check_aggregation
from federated.statistics import Schema, counts_disclosed, disclosed, fit, pixel_whitening, pixels_disclosed
from federated.statistics.asking import Total
from medimg.data.dataset import Dataset
from medimg.data.holdout import hold_out
from medimg.data.leakage import require_no_leakage
from medimg.errors import InputError
from medimg.models.registry import family
from medimg.pipeline.pixels import image_form
from medimg.pipeline.whitening import LEARNT
from medimg.tables.fit import MISSING_EVERYWHERE
from medimg.training import data, images, table, unseen
from medimg.training.lineage import Lineage, lineage_of
from medimg.training.private_options import refuse_what_learns_from_rows, require_public_classes
from medimg.training.train import kind_of

_PRIVATELY = {
    "patient": "Before the first round no site told anything of its training patients but the steps of a pass over "
    "them (patients over --batch-size, rounded up).",
    "client": "Before the first round no client told anything of its training patients.",
}
_PRIVATELY_AT_SITES = (
    "Before the first round each site told the coordinator, against whom --dp client does not protect, how many "
    "labelled rows it has in train, val and test, of how many patients, and a digest of its manifest; nothing of that "
    "is in this Run but the numbers of val and test."
)


@dataclass(frozen=True, eq=False)
class Job:
    """A Dataset divided among clients, and what is to be done with it.

    Attributes:
        dataset: the whole.
        clients: in order.
        config: options.
        schema: of a table, with the columns of all clients; None of images.
        bits: of the deepest image at any client.
        descriptions: what clients elsewhere have told of themselves, see `federated.flower.description`.
    """

    dataset: Dataset
    clients: list[Client]
    config: FederateConfig
    schema: Schema | None = None
    bits: int = 8
    descriptions: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, config: FederateConfig) -> "Job":
        """Divide the Dataset, and refuse what can't work before anything is written.

        Raises:
            InputError: names the option, the file or the row.
        """
        as_prepared, training = dataset, config.training(dataset.unit)
        if config.audit_holdout:
            # Each patient is drawn for itself, so a client could as well draw its own.
            dataset = hold_out(dataset, config.audit_holdout, config.seed)
            unseen.check(dataset, training)
        job = cls(dataset, partition(dataset, config), config, _schema(dataset))
        if not dataset.is_table:
            rows = job.pooled.rows("train", labelled=True)
            job = replace(job, bits=image_form(dataset.paths(rows)).bits)
        data.check(job.pooled)
        kind_of(dataset).check(training)
        check_aggregation(config, len(job.clients))
        _check_privacy(config, dataset, len(job.clients))
        job = replace(job, config=_with_threshold(config, len(job.clients)))
        _require_measured(job.pooled)
        if config.is_private:
            require_public_classes(job.pooled)
            if config.partition == "site":
                require_public_sites(job.pooled)
            if not dataset.is_table and not config.channels:
                job = replace(job, config=replace(job.config, channels=_channels(job.pooled, config)))
        if config.balance == "class-weight" and dataset.task == "multilabel":
            raise InputError("--balance class-weight: not for a multilabel set across clients; use none")
        require_no_leakage(as_prepared)
        return job

    @classmethod
    def at_sites(cls, dataset: Dataset, config: FederateConfig, sites: int) -> "Job":
        """The coordinator's side where the clients train at their own sites: its rows are for measuring alone.

        Args:
            dataset: the coordinator's own.
            config: options.
            sites: how many there are.

        Raises:
            InputError: names the option or the file.
        """
        _check_at_sites(config)
        manifest = dataset.manifest
        clients = [
            Client(str(name) or "(no site)", replace(dataset, manifest=rows))
            for name, rows in manifest.groupby("site", sort=True)
        ]
        _require_measured(dataset)
        kind_of(dataset).check(config.training(dataset.unit))
        _check_privacy(config, dataset, sites)
        require_no_leakage(dataset)
        return cls(dataset, clients, config, _schema(dataset))

    def agreed_with(self, description: Description) -> "Job":
        """The same, as what the sites told has it.

        Raises:
            InputError: they hold something else than the coordinator's Dataset is of.
        """
        dataset = self.dataset
        for name in ("task", "classes"):
            here, there = getattr(dataset, name), getattr(description, name)
            if list(there) != list(here) and there != here:
                raise InputError(f"sites: have {name} {there}, {dataset.root} has {here}; prepare all alike")
        if bool(description.features) != dataset.is_table:
            raise InputError(f"sites: hold other than {dataset.root} holds: images, or a table")
        sites = description.clients.values()
        config = _with_threshold(self.config, len(sites))
        if not dataset.is_table and not config.channels:
            # What the sites' images are would tell of a client that is protected.
            most = max(client["channels"] for client in sites)
            channels = _channels(dataset, config) if config.is_private else most
            config = replace(config, channels=channels)
        return replace(
            self,
            config=config,
            bits=max((client.get("bits") or 8 for client in sites), default=8),
            descriptions=description.clients,
        )

    @cached_property
    def pooled(self) -> Dataset:
        """All clients' rows, each in the part that its client has it in."""
        return pooled(self.dataset, self.clients)

    @property
    def names(self) -> list[str]:
        """Of the clients."""
        return [client.name for client in self.clients]

    def describe(self, total: Total) -> dict:
        """What model.json says, learnt from sums over the clients alone.

        Args:
            total: sends a question to every client; gives the sum of their answers, see `federated.statistics`.
        """
        dataset, training = self.pooled, self.config.training(self.dataset.unit)
        if dataset.is_table and self.config.is_private:
            return table.described(dataset, training, table.public_preprocessing(dataset, self.config))
        if dataset.is_table:
            return table.described(dataset, training, fit(total, self.schema, training))
        whitening = None
        if training.normalize in LEARNT:
            channels = images.channels_of(dataset, training)
            whitening = pixel_whitening(total, training.image_size, channels, training.normalize)
        return images.describe(dataset, training, whitening)

    def totals(self) -> Total:
        """Sums over clients that are all in this process."""
        return totals_of(self.clients, self.config)

    @property
    def disclosed(self) -> list[str]:
        """Sentences on what the clients told before the first round."""
        if self.config.is_private:
            return [_PRIVATELY_AT_SITES if self.config.is_apart else _PRIVATELY[self.config.dp]]
        counts = counts_disclosed(self.config.is_apart, self.dataset.is_table)
        if self.dataset.is_table:
            return [counts, *disclosed(self.config)]
        if self.config.normalize in LEARNT:
            return [counts, *pixels_disclosed(self.config)]
        return [counts, "Of its images it told their channels and bits, and nothing of what is in them."]

    def lineage(self) -> Lineage:
        """Where the first weights, or the rows, come from; see `medimg.training.lineage`.

        Raises:
            InputError: from patients whom --dp is to protect, without privacy, or that can't be told.
        """
        unit = "" if self.config.dp == "none" else self.config.dp
        return lineage_of(self.pooled, self.config, unit, elsewhere=self.config.is_apart)

    def plan(self, description: dict) -> ClientPlan:
        """What all clients agree on.

        Args:
            description: content of model.json.
        """
        training = self.config.training(self.dataset.unit).to_dict()
        plan = ClientPlan(description, training, self.bits, self.config.dp == "patient")
        if not self.dataset.is_table:
            return plan
        dropped = description["preprocessing"]["dropped"]
        present = [feature.name for feature in self.schema.features if dropped.get(feature.name) != MISSING_EVERYWHERE]
        return replace(plan, schema=self.schema.to_dict(), known=present)

    @property
    def local(self) -> LocalTraining:
        """What a client does in a round."""
        return LocalTraining.of(self.config)

    def strategy(self, **given) -> Strategy:
        """The algorithm.

        Args:
            **given: `clients`; with client-level privacy `aggregation`, `noise_multiplier` and `clip`.
        """
        return Strategy.of(self.config, **{"clients": len(self.clients), **given})


def _require_measured(dataset: Dataset) -> None:
    for split in ("val", "test"):
        if dataset.rows(split, labelled=True).empty:
            raise InputError(
                f"{dataset.root}/manifest.csv: no labelled {dataset.unit} in split '{split}', on which the rounds and "
                "the model are measured; prepare with another --split"
            )


def _schema(dataset: Dataset) -> Schema | None:
    return Schema.of(dataset) if dataset.is_table else None


def _check_at_sites(config: FederateConfig) -> None:
    """Refuse what sites of their own do not do."""
    for applies, reason in (
        (config.partition != "site", "--partition: the clients are those at their sites"),
        (
            config.dp == "patient" and config.client_fraction < 1,
            "--client-fraction: with --dp patient each site settles its noise for all rounds; leave it out",
        ),
        (config.personalize_epochs > 0, "--personalize-epochs: not with sites apart"),
        (
            config.audit_holdout > 0,
            "--audit-holdout: not with sites apart, whose training patients the coordinator can't draw from",
        ),
        (
            config.secure != "none" and KINDS[config.strategy].client.keeps,
            f"--strategy {config.strategy}: what its clients keep would travel beside a secure sum; use fedavg",
        ),
    ):
        if applies:
            raise InputError(reason)


def _channels(dataset: Dataset, config: FederateConfig) -> int:
    """Of the images of those whom privacy does not protect, unless the model is made for colour."""
    if family(config.model).takes_colour:
        return 3
    return images.form_of(dataset, "val").channels


def _with_threshold(config: FederateConfig, clients: int) -> FederateConfig:
    """Noise in shares counts on the threshold: each site is told which, and holds the sum to it."""
    if not config.shares_noise:
        return config
    # Its dimension decides nothing here.
    return replace(config, secure_threshold=noise_shares.NoiseShares.of(config, clients, 1).threshold)


def _check_privacy(config: FederateConfig, dataset: Dataset, clients: int) -> None:
    if not config.is_private:
        return
    refuse_what_learns_from_rows(dataset, config)
    if "min_size" in config.given():
        raise InputError(
            f"--min-size {config.min_size}: redraws the clients by the numbers of protected rows; not with --dp: give "
            "another --seed or --alpha"
        )
    refuse_class_weights(config)
    if config.personalize_epochs:
        raise InputError(
            f"--personalize-epochs {config.personalize_epochs}: fine-tunes without privacy on the patients that --dp "
            f"{config.dp} protects; use 0"
        )
    if config.dp == "client":
        client.check(config, clients)
    else:
        patient.check(config)
