"""The rounds of a DCGAN whose clients are here or at sites of their own."""

from pathlib import Path

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.config import FederateConfig
from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData, Layout
from federated.engine.state import State
from federated.rounds.averaging import average
from federated.rounds.pool import Sites
from federated.rounds.rounds import Watch
from federated.tff.engine import Engine
from federated.tff.execution import Execution
from synthetic.federation.images.model import GanModel
from synthetic.federation.images.work import GanSteps, GanWork
from synthetic.images.dcgan import CHECKPOINTS, TRAINING

# Below the folder of the synthetic Dataset.
ROUNDS = f"{CHECKPOINTS}/federated"


def gan_by_rounds(
    model: GanModel,
    layout: Layout,
    clients: list[ClientData],
    initial: list[np.ndarray],
    options: FederateConfig,
    local: LocalTraining,
    folder: Path,
    start: dict,
    watch: Watch,
    steps: GanSteps | None = None,
    sites: Sites | None = None,
) -> State:
    """Run the rounds, from the last checkpoint on where there is one; the state after the last.

    Args:
        model: both networks.
        layout: of the clients' images.
        clients: with their records.
        initial: arrays of the networks before the first round.
        options: of the rounds.
        local: a client's steps in a round, and their batch.
        folder: of the synthetic Dataset.
        start: what the audit log says first.
        watch: is told.
        steps: how a client makes a step; None: on batches of its images.
        sites: where the clients are; None: all are here.
    """
    (folder / TRAINING).mkdir(parents=True, exist_ok=True)
    with Execution() as execution:
        engine = Engine(
            execution, model, layout, Strategy(clients=len(clients)), local, options.seed, steps=steps, work=GanWork
        )
        return average(engine, clients, initial, options, folder / TRAINING, folder / ROUNDS, start, watch, sites)
