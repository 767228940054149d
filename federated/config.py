"""Options of `medimg federate`: its fields are the options. Nothing heavy is imported here."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from federated.option_groups import (
    AggregationOptions,
    FederatedPrivacyOptions,
    PartitionOptions,
    RoundOptions,
    SiteOptions,
)
from medimg.config import TrainConfig
from medimg.option_groups.training import NORMALISED, PRIVATE, ImageOptions, ModelOptions, PublicOptions, TableOptions
from medimg.options import LARGEST_SEED, option

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
