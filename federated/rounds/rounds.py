"""The rounds: ask clients, combine their updates, measure, put on record, write a checkpoint."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from federated.audit_log import AuditLog
from federated.config import FederateConfig
from federated.engine.contract import Engine
from federated.engine.state import State
from federated.engine.updates import Aggregate, ClientUpdate
from federated.rounds.checkpoint import Checkpoints, Progress
from federated.rounds.combining import Combining
from federated.rounds.held_out import HeldOut, Scores
from federated.rounds.outcome import NothingLearntError, Outcome
from federated.rounds.participation import Attendance, attended
from federated.rounds.pool import Pool
from federated.rounds.screening import digest_arrays
from federated.rounds.table import COLUMNS, RoundsTable, status, written


@dataclass(frozen=True)
class Watch:
    """Whom the rounds tell how they go.

    Attributes:
        before: called with the round's number, the clients asked and their work, before anything is computed: the
            privacy ledger.
        events: called with the round's number: what its record says of privacy.
        after: called with the round's row of history.csv.
        resumed: as `before`, of each round that the checkpoint has, before another is made.
    """

    before: Callable[[int, Sequence[str], dict[str, float]], None] = lambda *_: None
    events: Callable[[int], dict] = lambda number: {}
    after: Callable[[dict], None] = lambda row: None
    resumed: Callable[[int, Sequence[str], dict[str, float]], None] = lambda *_: None


class RoundResult(NamedTuple):
    """A round of clients and server.

    Attributes:
        state: after it; as it was, but for its number, where nothing was learnt.
        updates: that arrived.
        lost: client -> why its update did not.
        aggregate: of the updates.
    """

    state: State
    updates: dict[str, ClientUpdate]
    lost: dict[str, str]
    aggregate: Aggregate


def one_round(
    engine: Engine, pool: Pool, combining: Combining, state: State, number: int, attending: Attendance
) -> RoundResult:
    """Clients train, their updates become one aggregate, the server makes its step.

    Args:
        engine: of the strategy, at the server.
        pool: of the clients.
        combining: of their updates.
        state: before the round.
        number: of the round.
        attending: who takes part.
    """
    updates, lost = pool.updates(state, list(attending.arriving), number, attending.work)
    aggregate = combining.combine(updates, number, partial(engine.aggregate, state), attending.dropped)
    unchanged = replace(state, round=number)
    if aggregate.failure:
        return RoundResult(unchanged, updates, lost, aggregate)
    stepped = engine.apply(state, aggregate, number) if _finite(aggregate.arrays) else None
    if stepped is None or not _finite(stepped.weights):
        failure = "with it the model would hold NaN or infinity"
        rejected = {**aggregate.rejected, **dict.fromkeys(aggregate.included, failure)}
        aggregate = replace(aggregate, arrays=[], updates={}, rejected=rejected, aggregator=None, failure=failure)
    return RoundResult(stepped if aggregate.updates else unchanged, updates, lost, aggregate)


def _finite(arrays: list[np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


class Rounds:
    """One federated training, from its last checkpoint to its end.

    A round is a function of (seed, round, client) and the state before it: one that is repeated after a kill gives the
    same weights.

    Args:
        engine: of the strategy, at the server.
        pool: of the clients.
        combining: of their updates.
        held_out: held-out rows to measure on.
        config: `rounds`, `patience`, `seed` and who takes part.
        checkpoints: of this training.
        table: rounds.csv to write; None: none.
        log: audit log; None: none.
        watch: is told.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        combining: Combining,
        held_out: HeldOut,
        config: FederateConfig,
        checkpoints: Checkpoints,
        table: Path | None = None,
        log: AuditLog | None = None,
        watch: Watch | None = None,
    ):
        self.engine, self.pool, self.combining, self.held_out = engine, pool, combining, held_out
        self.config, self.checkpoints, self.log = config, checkpoints, log
        self.watch = watch or Watch()
        self._table = None if table is None else RoundsTable(table)

    def run(self, weights: list[np.ndarray]) -> Outcome:
        """Train.

        Args:
            weights: of the trained model before the first round; not read when there is a checkpoint.

        Raises:
            NothingLearntError: no round used any update, or since the last that did so many clients' were rejected
                that none can be used any more. The checkpoint of the round before stays.
        """
        saved = self.checkpoints.load()
        if saved:
            state, best, progress = saved
            for number in range(1, progress.round + 1):
                attending = attended(self.config, list(self.pool.clients), number)
                self.watch.resumed(number, attending.selected, attending.work)
        else:
            state, best, progress = self.engine.initialize(weights), None, Progress()
        if self._table:
            self._table.cut(progress.round)
        progress.settle(self.config.rounds)
        while not progress.stopped:
            state = self._round(state, progress)
            if progress.best_round == progress.round:
                best = state
            self.checkpoints.save(state, progress)
            self.watch.after(progress.history[-1])
        if not any(row["participants"] for row in progress.history):
            raise self._nothing_learnt(state, progress)
        if self.config.patience and best is not None:
            return Outcome(best, progress, progress.best_round)
        return Outcome(state, progress, progress.round)

    def _round(self, state: State, progress: Progress) -> State:
        started, number = time.monotonic(), progress.round + 1
        config = self.config
        attending = attended(config, list(self.pool.clients), number)
        self.watch.before(number, attending.selected, attending.work)
        state, updates, lost, aggregate = one_round(self.engine, self.pool, self.combining, state, number, attending)
        logits, scores = self._measure(state)
        rows = self._rows(number, attending, updates, lost, aggregate, logits)
        seconds = None if config.is_private else round(time.monotonic() - started, 4)
        row = _history(number, rows, scores, aggregate, seconds)
        self._advance(progress, row)
        if self.log:
            self.log.append(self._record(number, attending, rows, aggregate, state))
        if self._table:
            self._table.add(rows)
        progress.rejected = {**progress.rejected, **aggregate.rejected} if aggregate.failure else {}
        if not self.combining.enough(len(self.pool.clients) - len(progress.rejected)):
            raise self._nothing_learnt(state, progress)
        return state

    def _nothing_learnt(self, state: State, progress: Progress) -> NothingLearntError:
        return NothingLearntError(Outcome(state, progress, progress.round), self._table and self._table.path)

    def _measure(self, state: State) -> tuple[np.ndarray, Scores]:
        if self.engine.model.local:
            # Normalisation stays at the sites: every row is predicted with that of its own.
            logits = self.held_out.logits_of_each(lambda name: self.engine.weights(state, name))
        else:
            logits = self.held_out.logits(self.engine.weights(state))
        return logits, self.held_out.measure(logits)

    def _rows(
        self,
        number: int,
        attending: Attendance,
        updates: dict[str, ClientUpdate],
        lost: dict[str, str],
        aggregate: Aggregate,
        logits: np.ndarray,
    ) -> list[dict]:
        """Rows of rounds.csv: one for every client that was asked."""
        rows = []
        for name in attending.selected:
            row = dict.fromkeys(COLUMNS)
            row |= {"round": number, "client": name, "status": status(name, attending, lost, aggregate)}
            if name in updates:
                measures = updates[name].measures
                row |= {
                    "bytes_up": aggregate.bytes_up.get(name, measures.bytes_up),
                    "bytes_down": measures.bytes_down + aggregate.bytes_down.get(name, 0),
                }
                # They carry no noise; how long a site took tells how many patients it drew.
                if not self.config.is_private:
                    row |= {
                        "examples": measures.examples,
                        "loss": measures.loss,
                        "accuracy": measures.accuracy,
                        "seconds": round(measures.seconds, 4),
                        **measures.also,
                    }
            elif name in aggregate.bytes_up:
                row |= {"bytes_up": aggregate.bytes_up[name], "bytes_down": aggregate.bytes_down[name]}
            scores = self.held_out.measure(logits, name)
            if scores:
                row |= {"val_loss": scores.loss, "val_accuracy": scores.accuracy, "val_auroc": scores.auroc}
            rows.append(row)
        return rows

    def _advance(self, progress: Progress, row: dict) -> None:
        progress.round = row["round"]
        loss = row["val_loss"]
        better = not math.isnan(loss) and (progress.best_loss is None or loss < progress.best_loss)
        if better:
            progress.best_loss, progress.best_round, progress.waited = loss, progress.round, 0
        else:
            progress.waited += 1
        row["best"] = better
        progress.history.append(row)
        patience = self.config.patience
        progress.settle(self.config.rounds)
        if not progress.stopped and patience and progress.waited >= patience:
            progress.stopped = (
                f"no better pooled validation loss for {patience} rounds; "
                f"the weights are those of round {progress.best_round}"
            )

    def _record(self, number: int, attending: Attendance, rows: list[dict], aggregate: Aggregate, state: State) -> dict:
        statuses = {row["client"]: row["status"] for row in rows}
        record = {
            "event": "round",
            "round": number,
            "participants": list(attending.selected),
            "included": list(aggregate.included),
            "dropped": [n for n in attending.selected if statuses[n].startswith(("dropped", "lost"))],
            "rejected": aggregate.rejected,
            "failure": aggregate.failure,
            "model": digest_arrays(state.weights),
            "updates": aggregate.digests,
            "shares": aggregate.shares,
            "measurements": aggregate.measurements,
            "bytes": {
                "up": sum(row["bytes_up"] or 0 for row in rows),
                "down": sum(row["bytes_down"] or 0 for row in rows),
            },
            **self.watch.events(number),
        }
        if self._table:
            # As they are written: whoever verifies compares cell by cell.
            record["rounds_csv"] = {"columns": list(COLUMNS), "rows": written(rows)}
        return record


def _history(number: int, rows: list[dict], scores: Scores, aggregate: Aggregate, seconds: float | None) -> dict:
    """A row of history.csv; training scores are means over examples, each client's before its steps."""
    trained = [row for row in rows if row["examples"]]
    examples = sum(row["examples"] for row in trained)

    def mean(name: str) -> float:
        return sum(row[name] * row["examples"] for row in trained) / examples if examples else math.nan

    return {
        "round": number,
        "loss": mean("loss"),
        "accuracy": mean("accuracy"),
        **{name: mean(name) for name in sorted(trained[0].keys() - set(COLUMNS) if trained else ())},
        "val_loss": scores.loss,
        "val_accuracy": scores.accuracy,
        "val_auroc": scores.auroc,
        "participants": len(aggregate.included),
        "bytes_up": sum(row["bytes_up"] or 0 for row in rows),
        "bytes_down": sum(row["bytes_down"] or 0 for row in rows),
        "seconds": seconds,
    }
