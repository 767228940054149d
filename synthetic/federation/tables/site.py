"""A generator of rows at a site of its own: it counts its rows, then makes the rounds' steps on them."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from federated.config import FederateConfig
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.flower.kinds import SiteWork
from federated.flower.policy import PolicyError
from federated.flower.session import Session
from federated.statistics.few import require_patients
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from synthetic.config import SynthesizeConfig
from synthetic.federation.tables import arrays
from synthetic.federation.tables.agreement import agreed, counted
from synthetic.federation.tables.engine import TableEngine
from synthetic.public import bounds_of
from synthetic.tables import synthesis
from synthetic.tables.columns import Column, tell
from synthetic.tables.encoding import Code, Encoding
from synthetic.tables.fitting import MODELS
from synthetic.tables.generator_inputs import Material, targets_of
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.training import Generator, one_thread, randomness

TELL, COUNT = "generator columns", "generator counts"


def features_of(dataset: Dataset, options: SynthesizeConfig) -> tuple[Feature, ...]:
    """Columns to learn: those that dataset.yaml says are learnt from, and no site, as each has one."""
    return synthesis.features_of(dataset, dataset.manifest.assign(site=""), options)


def answer(client: Dataset, request: dict) -> dict | np.ndarray:
    """What a site tells before the first round.

    Args:
        client: its rows.
        request: `kind`, and `options` and `features` (names), or `columns`, `edges` and `categories`; `classes`, and
            `fewest`, the site's own: of a class of fewer patients nothing is told.

    Returns:
        Of columns what they are, which can't be added up; counts as float64 (n,), n by the request alone.

    Raises:
        InputError: a class has fewer.
        KeyError, TypeError, ValueError: it is something else, or asks for a column that is not learnt from.
    """
    rows = _rows(client, request["classes"])
    groups = targets_of(rows, tuple(request["classes"]))
    require_patients(groups[None], len(request["classes"]), rows["patient"], request.get("fewest", 1))
    if request["kind"] == TELL:
        known = {f.name: f for f in features_of(client, SynthesizeConfig.from_dict(request["options"]))}
        features = tuple(known[name] for name in request["features"])
        return {"columns": [asdict(told) for told in tell(rows, features, bounds_of(features))]}
    columns, learnt = columns_from(request["columns"]), {f.name for f in client.features if f.is_input}
    if request["kind"] != COUNT or {column.name for column in columns} - learnt:
        raise ValueError("a question that no generator asks")
    edges = [np.asarray(own, np.float64) for own in request["edges"]]
    counts = counted(rows, columns, tuple(request["classes"]), edges, bool(request["categories"]))
    return counts.astype(np.float64)


def work(session: Session, config: FederateConfig, told: dict, initial: list[np.ndarray]) -> SiteWork:
    """What the site makes of a plan.

    Args:
        session: of the coordinator.
        config: options of the rounds.
        told: `options` (of `medimg synthesize`), `columns`, `classes` and `settings`.
        initial: int64, the sums of what the sites counted, in order.

    Raises:
        PolicyError: the plan is of a private training, or its steps would be of too few rows here.
    """
    if config.is_private:
        raise PolicyError("--dp: a private generator is not trained across sites apart; leave it out")
    options, classes = SynthesizeConfig.from_dict(told["options"]), tuple(told["classes"])
    columns, rows = columns_from(told["columns"]), _rows(session.client, classes)
    seed, totals = options.seed, iter(initial)
    with one_thread():
        with randomness(seed, "code"):
            # From the same sums come the same stand-ins as the coordinator's.
            code = Code(columns, agreed(lambda *_: next(totals), columns, classes, seed).stand_ins)
        with randomness(seed, f"rows of {session.name}"):
            encoding = Encoding(code, code.encode(rows, seed))
            settings = settings_of(Settings(**told["settings"]), options, len(rows))
            if settings.batch_size < session.policy.fewest_rows:
                raise PolicyError("min_batch: a step of this generator would be of fewer rows here")
            model = MODELS[config.model](Material(encoding, targets_of(rows, classes), len(classes), settings, None))
    data = ClientData(session.name, "", len(rows))
    return SiteWork(told, data, lambda *_: TableRounds(model, data, config.local_steps, seed), None, initial)


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

    def update(self, state: State, client: ClientData, own: list | None, number: int, part: float) -> ClientUpdate:
        """A round, from the global state."""
        with one_thread():
            return self._engine.client_updates(state, [client], number, {client.name: part})[client.name]


def settings_of(base: Settings, options: SynthesizeConfig, rows: int) -> Settings:
    """The batch is that of all rows together, or of the site's own table where that is smaller."""
    own = settings_for(options.model, rows, options.batch_size, options.epochs)
    return replace(base, batch_size=min(base.batch_size, own.batch_size))


def columns_from(told: list[dict]) -> tuple[Column, ...]:
    """Columns as they travel."""
    return tuple(Column(**{**one, "levels": tuple(one["levels"])}) for one in told)


def _rows(client: Dataset, classes) -> pd.DataFrame:
    rows = client.rows("train", labelled=True)
    return rows[rows["label"].isin(list(classes))].reset_index(drop=True)
