"""A generator of rows at a site of its own: it counts its rows (`answers`), then makes the rounds' steps on them."""

from dataclasses import replace

import numpy as np

from federated.config import FederateConfig
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.flower.kinds import SiteWork
from federated.flower.policy import PolicyError
from federated.flower.session import Session
from federated.statistics import Schema
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from synthetic.config import SynthesizeConfig
from synthetic.federation.tables import arrays
from synthetic.federation.tables.agreement import agreed
from synthetic.federation.tables.answers import answer, columns_from, learnt_from
from synthetic.federation.tables.engine import TableEngine
from synthetic.tables import synthesis
from synthetic.tables.encoding import Code, Encoding
from synthetic.tables.fitting import MODELS
from synthetic.tables.generator_inputs import GeneratorInputs, targets_of
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.training import Generator, one_thread, randomness

__all__ = ["TableRounds", "answer", "features_of", "settings_of", "work"]


def features_of(dataset: Dataset, options: SynthesizeConfig) -> tuple[Feature, ...]:
    """Columns to learn: those that dataset.yaml says are learnt from, and no site, as each has one."""
    return synthesis.features_of(dataset, dataset.manifest.assign(site=""), options)


def work(session: Session, config: FederateConfig, plan: dict, initial: list[np.ndarray]) -> SiteWork:
    """What the site makes of a plan.

    Args:
        session: of the coordinator.
        config: options of the rounds.
        plan: `options` (of `medimg synthesize`), `columns`, `schema` and `settings`.
        initial: int64, the sums of what the sites counted, in order.

    Raises:
        PolicyError: the plan is of a private training, or its steps would be of too few rows here.
    """
    if config.is_private:
        raise PolicyError("--dp: a private generator is not trained across sites apart; leave it out")
    options, columns = SynthesizeConfig.from_dict(plan["options"]), columns_from(plan["columns"])
    session.check_schema(plan["schema"])
    table, rows = learnt_from(session.client, Schema.from_dict(plan["schema"]))
    classes = table.classes
    seed, totals = options.seed, iter(initial)
    with one_thread():
        with randomness(seed, "code"):
            # From the same sums come the same stand-ins as the coordinator's.
            code = Code(columns, agreed(lambda *_: next(totals), columns, classes, seed).stand_ins)
        with randomness(seed, f"rows of {session.name}"):
            encoding = Encoding(code, code.encode(rows, seed))
            settings = settings_of(Settings(**plan["settings"]), options, len(rows))
            if settings.batch_size < session.policy.fewest_rows:
                raise PolicyError("min_batch: a step of this generator would be of fewer rows here")
            model = MODELS[config.model](
                GeneratorInputs(encoding, targets_of(rows, classes), len(classes), settings, None)
            )
    data = ClientData(session.name, "", len(rows))
    return SiteWork(plan, data, lambda *_: TableRounds(model, data, config.local_steps, seed), None, initial)


class TableRounds:
    """As `federated.flower.local_rounds.LocalRounds`, of a generator of torch.

    Args:
        model: on the site's rows.
        client: the site.
        steps: of a round.
        seed: of the training.
    """

    def __init__(self, model: Generator, client: ClientData, steps: int, seed: int):
        self.shapes = [array.shape for array in arrays.read(model)]
        self._engine = TableEngine({client.name: model}, steps, seed)

    def update(
        self, state: State, client: ClientData, client_state: list | None, number: int, part: float
    ) -> ClientUpdate:
        """A round, from the global state."""
        with one_thread():
            return self._engine.client_updates(state, [client], number, {client.name: part})[client.name]


def settings_of(base: Settings, options: SynthesizeConfig, rows: int) -> Settings:
    """The batch is that of all rows together, or of the site's own table where that is smaller."""
    local = settings_for(options.model, rows, options.batch_size, options.epochs)
    return replace(base, batch_size=min(base.batch_size, local.batch_size))
