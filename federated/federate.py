"""federate(): a Dataset divided among clients and options -> a Run, trained by rounds on TensorFlow Federated."""

import contextlib
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from federated import examples, heterogeneity
from federated.audit_log import AuditLog
from federated.central import Central
from federated.checkpoint import Checkpoints
from federated.combining import Combining
from federated.comparison import CENTRALISED, Comparing, Comparison
from federated.config import FederateConfig
from federated.crew import LocalCrew
from federated.outputs import majority, predictions, predictions_of_each
from federated.plan import Plan
from federated.report.report import write_report
from federated.rounds import Outcome, Rounds, Watch
from federated.secure.exposure import who_could_see
from federated.secure.terms import default_threshold
from federated.setting import Setting, asked
from federated.site_gain import site_gain
from federated.tff.engine import Engine
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from federated.tff.records import ClientData
from medimg import atomic
from medimg.config import EvaluateConfig
from medimg.dataset import Dataset
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.predictions import Predictions
from medimg.models.saving import save_model
from medimg.run import Run, environment, resumable


@dataclass(frozen=True)
class Listener:
    """Whom a federated training tells how it goes.

    Attributes:
        step: called with what is done, how far, and of how many.
        round: called with each round's row of history.csv.
        note: called with a sentence worth reading before the training goes on.
    """

    step: Callable[[str, int, int], None] = lambda what, done, total: None
    round: Callable[[dict], None] = lambda row: None
    note: Callable[[str], None] = lambda sentence: None


def federate(
    data: Path,
    out: Path,
    config: FederateConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    execution: Execution | None = None,
) -> Run:
    """Train a classifier across clients; the Run is resumable at any moment, and then an ordinary Run.

    Args:
        data: a prepared Dataset folder.
        out: the Run folder.
        config: options.
        resume: go on with the Run at `out`, with its own data and options.
        overwrite: replace the Run at `out`.
        listener: is told of progress.
        execution: where TFF runs; None: one of its own, ended with the training.

    Raises:
        InputError: the data leak or can't be divided so, options don't fit each other, or `out` is taken.
    """
    listener = listener or Listener()
    setting = Setting.of(Dataset.load(data), config)
    if resume:
        run = resumable(out, setting.pooled)
        if (run.root / "federation.json").is_file():
            return run
        plan = setting.plan(run.description())
    else:
        plan = setting.plan(setting.describe(setting.ask))
        # Built before the folder is made: a wrong option leaves nothing behind.
        _local_model(setting, plan)
        run = Run.create(out, data, "federate", config.to_dict(), overwrite)
        atomic.write_json(run.root / "environment.json", environment(setting.pooled, config.seed))
        atomic.write_json(run.root / "model.json", plan.description)
        run.keep_parts(setting.dataset, setting.pooled)
    for client in setting.clients:
        for note in client.notes:
            listener.note(f"{client.name}: {note}")
    try:
        with contextlib.ExitStack() as stack:
            execution = execution or stack.enter_context(Execution())
            Federation(run, setting, plan, execution, listener).run()
    finally:
        shutil.rmtree(run.root / "records", ignore_errors=True)
    return run


def _local_model(setting: Setting, plan: Plan) -> LocalModel:
    strategy = setting.strategy()
    strategy.check(setting.local)
    model = LocalModel(plan.trained, setting.dataset.task, strategy.kind.local_norm)
    model.check()
    return model


class Federation:
    """One federated training in its Run.

    Args:
        run: the Run.
        setting: what it is about.
        plan: what the clients agree on.
        execution: where TFF runs.
        listener: is told.
    """

    def __init__(
        self, run: Run, setting: Setting, plan: Plan, execution: Execution, listener: Listener
    ):
        self.run_folder, self.setting, self.plan = run, setting, plan
        self.execution, self.listener = execution, listener
        self.config = setting.config
        self.records = run.root / "records"
        self.checkpoints = run.root / "checkpoints"

    def run(self) -> None:
        """From records to federation.json; what is done already is not done again."""
        root, setting = self.run_folder.root, self.setting
        heterogeneity.write(setting.clients, root, self.config.seed)
        clients = self._write_records()
        initial = self.plan.trained.get_weights()
        val, test = (self._central(split) for split in ("val", "test"))
        try:
            engine = self._engine()
            outcome = self._train(engine, clients, val, initial)
            comparison = self._compare(clients, val, test, initial)
            federated = self._predictions(engine, outcome, clients, val, test)
            self._save(engine, outcome)
            self._conclude(outcome, comparison, federated, test)
        finally:
            val.close()
            test.close()

    def _write_records(self) -> list[ClientData]:
        written = []
        for number, client in enumerate(self.setting.clients):
            written.append(
                examples.prepare(
                    client.dataset,
                    self.plan,
                    self.records / str(number),
                    client.name,
                    lambda done, total, name=client.name: self.listener.step(
                        f"read {name}", done, total
                    ),
                )
            )
        return written

    def _central(self, split: str) -> Central:
        return Central(
            self.setting.dataset,
            self.setting.clients,
            split,
            self.plan,
            self.records,
            lambda done, total: self.listener.step(f"read {split}", done, total),
        )

    def _engine(self, **local) -> Engine:
        setting = self.setting
        return Engine(
            self.execution,
            LocalModel(self.plan.trained, setting.dataset.task),
            self.plan.layout,
            setting.strategy(),
            replace(setting.local, **local),
            self.config.seed,
        )

    def _train(self, engine: Engine, clients: list[ClientData], val: Central, initial) -> Outcome:
        root, config = self.run_folder.root, self.config
        checkpoints = Checkpoints(self.checkpoints / "federated")
        saved = checkpoints.load()
        with AuditLog(root / "audit.jsonl") as log:
            if log.head.number:
                log.resume(saved[2].round if saved else 0)
            else:
                log.append(self._start_record(clients))
            outcome = Rounds(
                engine,
                LocalCrew(engine, clients),
                Combining(
                    engine, config, self.setting.names, max(client.examples for client in clients)
                ),
                val,
                config,
                checkpoints,
                root / "rounds.csv",
                log,
                Watch(after=self._after),
            ).run(initial)
        atomic.write_csv(root / "history.csv", pd.DataFrame(outcome.progress.history))
        return outcome

    def _after(self, row: dict) -> None:
        self.listener.step("rounds", row["round"], self.config.rounds)
        self.listener.round(row)

    def _start_record(self, clients: list[ClientData]) -> dict:
        return {
            "event": "start",
            "options": self.config.to_dict(),
            "data": self.setting.pooled.fingerprint(),
            "clients": {client.name: client.examples for client in clients},
        }

    def _compare(self, clients, val: Central, test: Central, initial) -> Comparison:
        if self._not_compared():
            return Comparison()
        total = self.config.rounds

        def told(name: str, done: int) -> None:
            self.listener.step(f"alone: {name}", done, total)

        comparing = Comparing(
            self.setting,
            self.plan,
            self.execution,
            clients,
            self.checkpoints,
            initial,
            told,
        )
        return comparing.run(val, test)

    def _not_compared(self) -> str:
        if self.config.is_private:
            return "trained without privacy on the patients that --dp protects, it would give them away"
        return "" if self.config.comparison else "--no-comparison was given"

    def _predictions(
        self, engine: Engine, outcome: Outcome, clients: list[ClientData], val, test
    ) -> dict[str, Predictions]:
        """Of the federated model, and of its copies that sites have tuned for themselves."""
        classes = self.setting.dataset.classes
        if engine.model.local:
            own = {name: engine.weights(outcome.state, name) for name in self.setting.names}
            found = {"federated": self._of_each(own, val, test)}
        else:
            weights = engine.weights(outcome.state)
            found = {
                "federated": predictions(
                    classes, test, val, test.logits(weights), val.logits(weights)
                )
            }
        if self.config.personalize_epochs:
            tuning = self._engine(epochs=self.config.personalize_epochs, steps=None)
            own = tuning.local_weights(outcome.state, clients, outcome.kept + 1)
            found["personalised"] = self._of_each(own, val, test)
        if engine.model.local or self.config.personalize_epochs:
            self._save_sites(own)
        return found

    def _of_each(self, own: dict[str, list[np.ndarray]], val: Central, test: Central):
        on_test = {name: test.logits(weights) for name, weights in own.items()}
        on_val = {name: val.logits(weights) for name, weights in own.items()}
        return predictions_of_each(self.setting.dataset.classes, test, val, on_test, on_val)

    def _save_sites(self, own: dict[str, list[np.ndarray]]) -> None:
        for number, (name, weights) in enumerate(own.items()):
            self.plan.trained.set_weights(weights)
            save_model(
                self.plan.model, self.run_folder.root / "sites" / f"{number}-{_safe(name)}.keras"
            )

    def _save(self, engine: Engine, outcome: Outcome) -> None:
        # The head's layers are the whole model's own.
        self.plan.trained.set_weights(engine.weights(outcome.state))
        save_model(self.plan.model, self.run_folder.root / "model.keras")

    def _conclude(
        self,
        outcome: Outcome,
        comparison: Comparison,
        federated: dict[str, Predictions],
        test: Central,
    ) -> None:
        """Evaluate, compare, write federation.json; the checkpoints are no longer needed then."""
        root = self.run_folder.root
        seed = self.config.seed
        evaluate(self.run_folder, EvaluateConfig(seed=seed))
        pooled = self.setting.pooled
        targets = pooled.targets(pooled.rows("train", labelled=True))
        models = {"majority": majority(self.setting.dataset.classes, test, targets)}
        order = ("local", "federated", "personalised", CENTRALISED)
        known = {**comparison.predictions, **federated}
        models.update({name: known[name] for name in order if name in known})
        gain = site_gain(
            models,
            test.owners.tolist(),
            test.rows["patient"].tolist(),
            resamples=1000,
            seed=seed,
        )
        federation = self._federation(outcome, comparison, models, gain)
        # Last but for the clearing up: where federation.json is, all the rest is.
        atomic.write_json(root / "federation.json", federation)
        write_report(root)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _federation(self, outcome: Outcome, comparison: Comparison, models, gain: dict) -> dict:
        config, setting = self.config, self.setting
        history = pd.DataFrame(outcome.progress.history)
        with AuditLog(self.run_folder.root / "audit.jsonl") as log:
            head = log.head
        seconds = history["seconds"].tolist()
        return {
            "strategy": config.strategy,
            "model": config.model,
            "task": setting.dataset.task,
            "classes": list(setting.dataset.classes),
            "partition": config.partition,
            "rounds": outcome.progress.round,
            "kept_round": outcome.kept,
            "best_round": outcome.kept if config.patience else None,
            "stopped": outcome.progress.stopped,
            "local": self._local_words(),
            "aggregation": config.aggregation,
            "secure": {
                "kind": config.secure,
                "threshold": None
                if config.secure == "none"
                else config.secure_threshold
                or default_threshold(asked(config, len(setting.clients))),
                "sentences": who_could_see(config.secure),
            },
            "clients": [
                {
                    "name": client.name,
                    "examples": client.examples,
                    "patients": int(client.dataset.manifest["patient"].nunique()),
                    "notes": list(client.notes),
                }
                for client in setting.clients
            ],
            "privacy": None,
            "bytes": {
                "up": int(history["bytes_up"].sum()),
                "down": int(history["bytes_down"].sum()),
            },
            "seconds": {
                "rounds": sum(seconds),
                "round": statistics.median(seconds),
                "first": seconds[0],
            },
            "statistics": setting.disclosed,
            "comparison": {
                "models": {name: _HOW[name] for name in models},
                "left_out": dict.fromkeys(("local", CENTRALISED), self._not_compared())
                if self._not_compared()
                else {},
                "gain": gain,
            },
            "baseline_histories": comparison.histories,
            "audit": {"head": head.hash, "records": head.number},
            "notes": [],
        }

    def _local_words(self) -> str:
        local = self.setting.local
        amount = f"{local.steps} steps" if local.steps else f"{local.epochs} epochs"
        return (
            f"{amount} of batch {local.batch_size} a round, {local.optimizer}, learning rate "
            f"{local.learning_rate:g}"
        )


_HOW = {
    "majority": "always the commonest class of all training rows",
    "local": "each site by its own training rows alone, for as many rounds",
    "federated": "by the rounds of this Run",
    "personalised": "the federated model, fine-tuned by each site on its own training rows",
    "centralised": "the same model on all training rows pooled as one client, for as many rounds",
}


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
