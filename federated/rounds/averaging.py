"""average(): rounds in which clients train anything that is a list of arrays, combined as `medimg federate` does.

For trainings that no classifier's scores follow, such as a generator's. Participation, aggregation, secure sums,
`rounds.csv`, the audit log and resuming are those of the classifiers' federation.
"""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from federated.audit_log import AuditLog
from federated.audit_log.files import end_record
from federated.config import FederateConfig
from federated.engine.contract import Engine
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.option_groups import AggregationOptions, PartitionOptions
from federated.rounds.held_out import Scores
from federated.rounds.pool import LocalPool, Sites
from federated.rounds.rounds import Watch
from federated.rounds.training import train_by_rounds
from medimg import atomic
from medimg.privacy.statement import WITHHELD
from medimg.untrusted.csv_cells import read_csv


def options_of_rounds(config, rounds: int) -> FederateConfig:
    """The options that rounds read.

    Args:
        config: has the fields of PartitionOptions and AggregationOptions, `seed` and `is_private`.
        rounds: in all.
    """
    names = [f.name for kind in (PartitionOptions, AggregationOptions) for f in dataclasses.fields(kind)]
    return FederateConfig(
        **{name: getattr(config, name) for name in names},
        rounds=rounds,
        seed=config.seed,
        # Then nothing that a client counts or times is written.
        dp="patient" if config.is_private else "none",
    )


def average(
    engine: Engine,
    clients: list[ClientData],
    weights: list[np.ndarray],
    config: FederateConfig,
    folder: Path,
    checkpoints: Path,
    start: dict,
    watch: Watch | None = None,
    sites: Sites | None = None,
) -> State:
    """Run the rounds, from the last checkpoint on where there is one.

    Args:
        engine: computes the clients' work.
        clients: all of them.
        weights: before the first round.
        config: of `options_of_rounds`.
        folder: for `rounds.csv`, `history.csv` and `audit.jsonl`.
        checkpoints: folder of its own.
        start: what the audit log says first, beside the clients and their examples.
        watch: is told.
        sites: where the clients are; None: all are here.

    Returns:
        After the last round.

    Raises:
        InputError: a file can't be written, a checkpoint is damaged, or no round used any update.
    """
    examples = {client.name: client.examples for client in clients}
    recorded = dict.fromkeys(examples, WITHHELD) if config.is_private else examples
    with AuditLog(folder / "audit.jsonl", sites.key if sites else None, timed=not config.is_private) as log:
        pool, watch = LocalPool(engine, clients), watch or Watch()
        if sites:
            sites.start(engine.vectors, engine.client_state_shapes, log)
            pool, watch, start = sites, replace(watch, events=sites.events), {**start, **sites.named()}
        outcome = train_by_rounds(
            engine,
            pool,
            Unmeasured(),
            config,
            weights,
            checkpoints,
            folder / "rounds.csv",
            log,
            {"event": "start", **start, "clients": recorded},
            watch,
        )
        history = pd.DataFrame(outcome.progress.history)
        # Nothing was measured for these.
        unmeasured = ["accuracy", "val_loss", "val_accuracy", "val_auroc", "best"]
        atomic.write_csv(folder / "history.csv", history.drop(columns=unmeasured))
        log.append(end_record(folder, ["history.csv"]))
        if sites:
            log.append({"event": "sites", **sites.finish()})
    return outcome.state


def unused_rounds(folder: Path) -> list[str]:
    """A note on rounds that taught nothing, or none.

    Args:
        folder: that `average` wrote to.
    """
    history = read_csv(folder / "history.csv", keep_default_na=True)
    idle = int((history["participants"] == 0).sum())
    if not idle:
        return []
    return [f"{idle} of {len(history)} rounds taught nothing: too few updates arrived or were used"]


class Unmeasured:
    """Stands where `HeldOut` measures a classifier."""

    def logits(self, weights: list[np.ndarray]) -> None:
        """None: nothing is predicted."""

    def measure(self, logits: None, client: str | None = None) -> Scores | None:
        """NaN of all rows, None of a client's."""
        return Scores(np.nan, np.nan, np.nan) if client is None else None
