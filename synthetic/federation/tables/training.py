"""Rows made by a generator that was trained across clients, whose rows stay with them: CTGAN, TVAE or marginals.

Every round each client takes over the networks and Adam's moments that it is sent, makes some steps on its own rows,
and sends what they became; the server averages by rows (`engine`). With one client that is the central training.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from federated.clients.client import Client
from federated.clients.totals import totals_of
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.rounds.averaging import average, options_of_rounds, unused_rounds
from federated.rounds.rounds import Watch
from federated.secure.exposure import who_could_see
from federated.statistics import Schema
from federated.statistics.asking import Asking
from medimg.data.dataset import Dataset
from synthetic.config import SynthesizeConfig
from synthetic.dataset import NO_GUARANTEE, Made
from synthetic.federation.tables import arrays, words
from synthetic.federation.tables.agreement import Agreement, agree, public
from synthetic.federation.tables.answers import answer
from synthetic.federation.tables.engine import TableEngine
from synthetic.federation.tables.job import TableJob, settle
from synthetic.federation.tables.learning import columns_of
from synthetic.federation.tables.privacy import ClientsPrivacy, weights_of_marginals
from synthetic.federation.tables.sums import TableSums
from synthetic.federation.tables.usefulness import private_usefulness_at_sites, usefulness_at_sites
from synthetic.public import SITE, bounds_of
from synthetic.tables import synthesis
from synthetic.tables.columns import GeneratorColumn, declared, learn
from synthetic.tables.encoding import Code, Encoding, public_code
from synthetic.tables.fitting import MODELS, sampled
from synthetic.tables.generator_inputs import GeneratorInputs, targets_of
from synthetic.tables.mix import largest_remainder
from synthetic.tables.privacy import guarantee
from synthetic.tables.private_step import PrivateSteps
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.training import Generator, one_thread, randomness

TRAINING, CHECKPOINTS = "training", "checkpoints"


def check(dataset: Dataset, config: SynthesizeConfig) -> None:
    """Refuse what can't be trained across clients, before anything is written; as `job.settle`."""
    settle(dataset, config)


def fit_and_sample(
    dataset: Dataset, folder: Path, config: SynthesizeConfig, listener: Callable[[str, int, int], None]
) -> Made:
    """Train across the clients and make rows; goes on where an earlier call was killed.

    Args:
        dataset: a table; its sites, or what its patients are dealt to, are the clients.
        folder: of the synthetic Dataset, for `training/` (rounds.csv, history.csv, audit.jsonl) and `checkpoints/`.
        config: with a partition.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: names the file, column or option.
    """
    job, folder = settle(dataset, config), Path(folder)
    with one_thread():
        return _Federation(dataset, job, folder, config, listener).made()


class _Federation:
    """One run of it: what its steps share."""

    def __init__(self, dataset, job: TableJob, folder, config, listener):
        self.dataset, self.folder = dataset, folder
        self.config, self.listener = config, listener
        self.privacy = None
        if config.is_private:
            size = job.settings.batch_size, job.rounds, job.steps
            self.privacy = ClientsPrivacy(dataset, job.sites, folder, config, *size)
            job = replace(job, rounds=self.privacy.rounds)
        self.job = job
        self.options = options_of_rounds(config, job.rounds)

    def made(self) -> Made:
        job, config = self.job, self.config
        agreement, code = self._agreed()
        models = {name: self._model_of(name, frame, code) for name, frame in job.sites.items()}
        # The coordinator's own: its first weights are what every client starts from, and it makes the rows.
        with randomness(config.seed, "networks"):
            encoding = Encoding(code, code.matrix_of(agreement.stand_ins))
            model = self._built(encoding, agreement.targets, job.settings)
        state = self._trained(arrays.read(model), models)
        arrays.assign(model, state.weights)
        weights = self._class_weights(agreement, code, state)
        learnt = synthesis.learnt_rows(self.dataset, config)
        wanted = largest_remainder(weights, synthesis.count_of(learnt, config))
        rows = sampled(model, code, job.classes, wanted, config.seed)
        if self.privacy:
            self.privacy.complete()
        return self._described(rows, agreement)

    def _agreed(self) -> tuple[Agreement, Code]:
        job, seed = self.job, self.config.seed
        with randomness(seed, "code"):
            if self.privacy:
                columns = declared(job.features)
                weights = self.privacy.class_weights(job.classes)
                return public(columns, weights), public_code(columns)
            columns = self._columns()
            sums = TableSums(self.options, job.rows)
            agreement = agree(job.sites, columns, job.classes, sums, seed)
            return agreement, Code(columns, agreement.stand_ins)

    def _columns(self) -> tuple[GeneratorColumn, ...]:
        """From sums over the clients; but which sites there are everybody knows."""
        job, bounds = self.job, bounds_of(self.job.features)
        asked = tuple(feature for feature in job.features if feature.name != SITE.name)
        schema = Schema(asked, self.dataset.task, job.classes)
        dataset = replace(self.dataset, classes=job.classes)
        clients = [Client(name, replace(dataset, manifest=frame)) for name, frame in job.sites.items()]
        asking = Asking(totals_of(clients, self.options, answer), {"schema": schema.to_dict()})
        columns = {column.name: column for column in columns_of(asking, asked, bounds)}
        if len(asked) < len(job.features):
            (columns[SITE.name],) = learn(pd.concat(job.sites.values()), (SITE,), {})
        return tuple(columns[feature.name] for feature in job.features)

    def _class_weights(self, agreement: Agreement, code: Code, state: State) -> np.ndarray:
        if self.config.class_mix == "equal":
            return np.ones(len(self.job.classes))
        if self.privacy and self.config.model == "marginals":
            return weights_of_marginals(state.weights[0], code.choices, self.privacy)
        return agreement.class_weights

    def _model_of(self, name: str, rows: pd.DataFrame, code: Code) -> Generator:
        """A client's, on its own rows; its first weights are never used."""
        with randomness(self.config.seed, f"rows of {name}"):
            private = self.privacy.private[name] if self.privacy else None
            matrix = code.encode_apart(rows, private.keys) if private else code.encode(rows, self.config.seed)
            encoding = Encoding(code, matrix)
            settings = self._settings_of(len(rows))
            return self._built(encoding, targets_of(rows, self.job.classes), settings, private)

    def _built(
        self, encoding: Encoding, targets: np.ndarray, settings: Settings, private: PrivateSteps | None = None
    ) -> Generator:
        material = GeneratorInputs(encoding, targets, len(self.job.classes), settings, private)
        return MODELS[self.config.model](material)

    def _settings_of(self, rows: int) -> Settings:
        """The batch is that of all rows together, or of the client's own table where that is smaller."""
        config, settings = self.config, self.job.settings
        if self.privacy:
            # Of made rows; real ones are drawn by patients.
            return settings
        local = settings_for(config.model, rows, config.batch_size, config.epochs)
        return replace(settings, batch_size=min(settings.batch_size, local.batch_size))

    def _trained(self, weights: list[np.ndarray], models: Mapping[str, Generator]) -> State:
        job, config = self.job, self.config
        (self.folder / TRAINING).mkdir(parents=True, exist_ok=True)
        size, first, before = job.rows, 0, {}
        if self.privacy:
            size, first = self.privacy.sizes, self.privacy.first
            before = {"before": self.privacy.before_round, "events": self.privacy.events}
            before |= {"resumed": self.privacy.require_counted}
        return average(
            TableEngine(models, job.steps, config.seed, first),
            [ClientData(name, "", number) for name, number in size.items()],
            weights,
            self.options,
            self.folder / TRAINING,
            self.folder / CHECKPOINTS / "federated",
            {"options": config.to_dict(), **({} if self.privacy else {"data": self.dataset.fingerprint()})},
            Watch(after=lambda row: self.listener("rounds", row["round"], job.rounds), **before),
        )

    def _described(self, rows: pd.DataFrame, agreement: Agreement) -> Made:
        job, config = self.job, self.config
        if self.privacy:
            usefulness = private_usefulness_at_sites(self.dataset, job.clients, rows)
        else:
            usefulness = usefulness_at_sites(self.dataset, job.clients, rows, agreement, config.seed)
        learnt = synthesis.learnt_rows(self.dataset, config)
        notes = [
            *synthesis.notes_on(self.dataset, learnt, config),
            *words.notes(job, config),
            *unused_rounds(self.folder / TRAINING),
        ]
        if usefulness.undertrained:
            notes.append(f"undertrained: {usefulness.undertrained}; {synthesis.remedy(config)}")
        federation = {
            # Where patients are protected, in coarse steps.
            "clients": self.privacy.sizes if self.privacy else job.rows,
            "rounds": job.rounds,
            "local_steps": job.steps,
            "batch_size": {n: self._settings_of(r).batch_size for n, r in job.rows.items()},
            "who_could_see": who_could_see(config.secure),
        }
        counted = {} if self.privacy else {"training_rows": sum(job.rows.values())}
        details = {
            **counted,
            "usefulness": usefulness.to_dict(),
            "settings": {"all": job.settings.to_dict()},
            "federation": federation,
        }
        promise = NO_GUARANTEE
        if self.privacy:
            promise, details["epsilon"] = guarantee(self.folder, config.model)
        features = synthesis.made_features(job.features)
        return Made(rows, features, details, notes, promise)
