"""A classifier at a site: records by the plan, the client work of the simulation, metrics of its own test part."""

from dataclasses import replace

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.clients.examples import prepare, training_rows
from federated.clients.plan import ClientPlan
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining, Steps
from federated.flower.kinds import SiteWork
from federated.flower.local_rounds import LocalRounds
from federated.flower.own_metrics import own_metrics
from federated.flower.session import Session
from federated.private.noise_shares import SharedStep
from federated.statistics import Schema, agreed
from federated.statistics.few import require_chosen
from federated.tff.client_work import ClientWork
from federated.tff.local_model import LocalModel
from federated.tff.shared_rounds import SharedRounds


def _require_rows(session: Session, plan: ClientPlan) -> None:
    """Refuse a plan that leaves, or leaves out, rows of few patients: it says what a row must know.

    Raises:
        FewPatientsError: it does.
    """
    if not plan.is_table:
        return
    session.check_schema(plan.schema)
    table = agreed(session.client, Schema.from_dict(plan.schema))
    rows, every = training_rows(table, plan), table.rows("train", labelled=True)
    require_chosen(rows["patient"], every.drop(index=rows.index)["patient"], session.policy.fewest_patients)


def work(session: Session, config: FederateConfig, fields: dict, initial: list[np.ndarray]) -> SiteWork:
    """What the site makes of a plan.

    Args:
        session: of the coordinator.
        config: options.
        fields: fields of a `ClientPlan`.
        initial: weights of the whole model.
    """
    # Options that decide what is learnt from whom are the policy's own reading of them: they stand nowhere else.
    training, private = config.training(session.dataset.unit).to_dict(), config.dp == "patient"
    plan = replace(ClientPlan.from_dict(fields), training=training, private=private)
    plan.model.set_weights(initial)

    def rounds(
        strategy: Strategy, local: LocalTraining, steps: Steps | SharedStep | None
    ) -> LocalRounds | SharedRounds:
        strategy.check(local)
        model = LocalModel(plan.trained, plan.description["task"], strategy.client.local_norm)
        if isinstance(steps, SharedStep):
            return SharedRounds(model, plan.layout, steps, session.seed)
        model.check()
        return LocalRounds(ClientWork(model, plan.layout, local, strategy, steps=steps), session.seed)

    def metrics(weights: list[np.ndarray], alone: list[np.ndarray] | None) -> dict:
        fewest = session.policy.fewest_patients
        return own_metrics(session.client, session.name, plan, weights, session.records(), fewest, alone)

    _require_rows(session, plan)
    data = prepare(session.client, plan, session.records(), session.name)
    return SiteWork(plan, data, rounds, metrics, plan.trained.get_weights())
