"""A DCGAN at a site of its own: its images are read there, and its rounds are those of the simulation."""

from dataclasses import replace

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.clients.client import Client
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining, Steps
from federated.engine.records import Layout
from federated.flower.kinds import SiteWork
from federated.flower.local_rounds import LocalRounds
from federated.flower.policy import PolicyError
from federated.flower.session import Session
from synthetic.config import SynthesizeConfig
from synthetic.federation.images.model import GanModel
from synthetic.federation.images.records import written
from synthetic.federation.images.work import GanWork
from synthetic.images.dcgan import gan_of, settled
from synthetic.images.plan import GanPlan


def work(session: Session, config: FederateConfig, plan_sent: dict, initial: list[np.ndarray]) -> SiteWork:
    """What the site makes of a plan.

    Args:
        session: of the coordinator.
        config: options of the rounds.
        plan_sent: `gan` (fields of `GanPlan`), `options` (of `medimg synthesize`), and `layout` of the images.
        initial: not read; the networks' arrays travel with every round.

    Raises:
        PolicyError: the plan is of a private training.
    """
    if config.is_private:
        raise PolicyError("--dp: a private generator is not trained across sites apart; leave it out")
    options, plan = SynthesizeConfig.from_dict(plan_sent["options"]), GanPlan(**plan_sent["gan"])
    rows = session.client.rows("train", labelled=True)
    dataset = replace(session.client, manifest=rows)
    layout = Layout(*(tuple(v) if isinstance(v, list) else v for v in plan_sent["layout"]))
    data = written(Client(session.name, dataset), plan, layout, session.records())
    model = GanModel(gan_of(plan, dataset, options), settled(options, plan))

    def rounds(strategy: Strategy, local: LocalTraining, steps: Steps | None) -> LocalRounds:
        return LocalRounds(GanWork(model, layout, local, strategy), session.seed)

    return SiteWork(plan, data, rounds, None, initial)
