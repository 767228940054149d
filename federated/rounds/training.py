"""train_by_rounds(): an engine, its clients and the combining of their updates put together, for any training."""

from pathlib import Path

import numpy as np

from federated.audit_log import AuditLog
from federated.config import FederateConfig
from federated.engine.contract import Engine
from federated.rounds.checkpoint import Checkpoints
from federated.rounds.combining import Combining
from federated.rounds.held_out import HeldOut
from federated.rounds.outcome import Outcome
from federated.rounds.pool import Pool
from federated.rounds.rounds import Rounds, Watch


def train_by_rounds(
    engine: Engine,
    pool: Pool,
    held_out: HeldOut,
    config: FederateConfig,
    weights: list[np.ndarray],
    checkpoints: Path,
    table: Path | None = None,
    log: AuditLog | None = None,
    start: dict | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train, from the last checkpoint on where there is one.

    Args:
        engine: of the strategy, at the server.
        pool: of the clients.
        held_out: held-out rows to measure on.
        config: options of the rounds.
        weights: of the trained model before the first round; not read when there is a checkpoint.
        checkpoints: folder of its own.
        table: rounds.csv to write; None: none.
        log: audit log; None: none.
        start: the log's first record.
        watch: is told.

    Raises:
        InputError: a file can't be written, or a checkpoint is damaged.
    """
    saved, clients = Checkpoints(checkpoints), pool.clients
    if log:
        log.begin(start, saved.rounds())
    heaviest = max(client.examples for client in clients.values()) if engine.strategy.by_examples else 1.0
    combining = Combining(config, list(clients), heaviest, saved.folder / "answers", pool.sums)
    return Rounds(engine, pool, combining, held_out, config, saved, table, log, watch).run(weights)
