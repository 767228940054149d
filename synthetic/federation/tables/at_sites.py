"""A generator of rows across sites of their own (`--engine flower`): counts and rounds by signed messages.

The coordinator's Dataset has none of the sites' training rows. What its columns are, and counts, it learns from sums
over the sites, with `--secure` masked ones; updates are summed as `--secure` says.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from federated.flower.link_folder import LinkFolder
from federated.flower.pool import FlowerPool
from federated.rounds.averaging import average, unused_rounds
from federated.rounds.rounds import Watch
from federated.secure.exposure import who_could_see
from federated.statistics import Schema
from federated.statistics.asking import Asking, unusable
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.run import Run
from medimg.training.start import start_of
from synthetic.config import SynthesizeConfig
from synthetic.dataset import Made
from synthetic.federation import NAME
from synthetic.federation.apart import check_apart, options_of_sites, rounds_of_sites, same_as
from synthetic.federation.tables import arrays, words
from synthetic.federation.tables.agreement import agreed, length
from synthetic.federation.tables.answers import COUNT, columns_told
from synthetic.federation.tables.engine import TableEngine
from synthetic.federation.tables.learning import columns_of
from synthetic.federation.tables.site import features_of
from synthetic.federation.tables.training import CHECKPOINTS, TRAINING
from synthetic.public import bounds_of
from synthetic.tables.columns import GeneratorColumn
from synthetic.tables.encoding import Code, Encoding
from synthetic.tables.fitting import MODELS, sampled
from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.mix import largest_remainder
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.training import Generator, one_thread, randomness


def check(dataset: Dataset, config: SynthesizeConfig) -> None:
    """Refuse what sites apart do not do, before any is asked.

    Raises:
        InputError: names the option.
    """
    check_apart(config)
    for given, why in (
        (config.model == "marginals", "--model marginals: is not counted across sites apart; use ctgan or tvae"),
        (config.per_site, "--per-site: not with --engine flower, which trains one generator across all"),
        (config.tune > 0, "--tune: not with --engine flower, whose coordinator has no rows to try settings on"),
    ):
        if given:
            raise InputError(why)


def fit_and_sample(
    dataset: Dataset, folder: Path, config: SynthesizeConfig, listener: Callable[[str, int, int], None]
) -> Made:
    """Train across the sites and make rows; goes on where an earlier call was killed.

    Args:
        dataset: the coordinator's own, of the sites' classes and columns; its rows are not learnt from.
        folder: of the synthetic Dataset.
        config: with `--engine flower`.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: a site is not there or refuses, or an option does not fit.
    """
    check(dataset, config)
    place, name = LinkFolder.of(config), Run.load(folder).environment()[NAME]
    options = rounds_of_sites(config, 1, 1, 1)
    with (
        FlowerPool(place.grid(), place.coordinator(), place.parties(config.site), options, name) as sites,
        one_thread(),
    ):
        return _AtSites(dataset, Path(folder), config, sites, listener).made()


class _AtSites:
    """One training: what its steps share."""

    def __init__(self, dataset: Dataset, folder: Path, config: SynthesizeConfig, sites: FlowerPool, listener):
        self.dataset, self.folder, self.config, self.sites = dataset, folder, config, sites
        self.listener, description = listener, sites.describe()
        same_as(dataset, description)
        self.rows = {name: client["examples"]["train"] for name, client in description.clients.items()}
        self.features = features_of(dataset, config)
        self.schema = Schema(self.features, dataset.task, tuple(dataset.classes))
        self.totals: list[np.ndarray] = []

    def made(self) -> Made:
        config, seed = self.config, self.config.seed
        size = sum(self.rows.values())
        settings = settings_for(config.model, size, config.batch_size, config.epochs)
        steps = min(config.local_steps, settings.steps)
        rounds = config.rounds or math.ceil(settings.steps / steps)
        classes = self.schema.classes
        asking = Asking(self.sites.total, {"model": config.model, "schema": self.schema.to_dict()})
        with randomness(seed, "code"):
            columns = columns_of(asking, self.features, bounds_of(self.features))
            agreement = agreed(self._count(asking, columns), columns, classes, seed)
            code = Code(columns, agreement.stand_ins)
        with randomness(seed, "networks"):
            encoding = Encoding(code, code.matrix_of(agreement.stand_ins))
            material = GeneratorInputs(encoding, agreement.targets, len(classes), settings, None)
            model = MODELS[config.model](material)
        self._train(model, columns, settings, rounds, steps)
        equal = np.ones(len(classes))
        weights = equal if config.class_mix == "equal" else agreement.class_weights
        rows = sampled(model, code, classes, largest_remainder(weights, config.count or size), seed)
        return self._described(rows, settings, rounds, steps)

    def _count(
        self, asking: Asking, columns: tuple[GeneratorColumn, ...]
    ) -> Callable[[list[np.ndarray], bool], np.ndarray]:
        described = columns_told(columns)

        def count(edges: list[np.ndarray], categories: bool) -> np.ndarray:
            size = length(columns, self.schema.classes, edges, categories)
            counts = asking.counts(
                COUNT, size, columns=described, edges=[of_column.tolist() for of_column in edges], categories=categories
            )
            if counts.max() > sum(self.rows.values()):
                raise unusable(COUNT, "more than there are rows")
            self.totals.append(counts)
            return counts

        return count

    def _train(
        self, model: Generator, columns: tuple[GeneratorColumn, ...], settings: Settings, rounds: int, steps: int
    ) -> None:
        """The rounds; the model is the trained one afterwards."""
        config, initial = self.config, arrays.read(model)
        options = rounds_of_sites(config, rounds, steps, settings.batch_size)
        plan = {
            "options": options_of_sites(config),
            "columns": columns_told(columns),
            "schema": self.schema.to_dict(),
            "settings": asdict(settings),
        }
        clients = self.sites.prepare(options, plan, self.totals, True, start_of(initial, plan))
        (self.folder / TRAINING).mkdir(parents=True, exist_ok=True)
        state = average(
            TableEngine({}, steps, config.seed, shapes=[array.shape for array in initial]),
            clients,
            initial,
            options,
            self.folder / TRAINING,
            self.folder / CHECKPOINTS,
            {"options": config.to_dict()},
            Watch(after=lambda row: self.listener("rounds", row["round"], rounds)),
            self.sites,
        )
        arrays.assign(model, state.weights)

    def _described(self, rows, settings: Settings, rounds: int, steps: int) -> Made:
        notes = [
            f"trained across {len(self.rows)} sites by {rounds} rounds of {steps} steps, each on its own rows at its "
            "own site; how useful the rows are was not tried there: 'medimg judge' with real rows tells",
            *words.told_about(self.config, apart=True),
            *unused_rounds(self.folder / TRAINING),
        ]
        federation = {
            "clients": self.rows,
            "rounds": rounds,
            "local_steps": steps,
            "who_could_see": who_could_see(self.config.secure, apart=True),
        }
        details = {
            "training_rows": sum(self.rows.values()),
            "settings": {"all": settings.to_dict()},
            "federation": federation,
        }
        return Made(rows, self.features, details, notes)
