"""Federation: one training by rounds in its Run, from the clients' records to what the report is made of."""

import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from federated.audit_log import AuditLog
from federated.clients import examples
from federated.clients.plan import ClientPlan
from federated.conclusion import Conclusion
from federated.engine.records import ClientData
from federated.job import Job
from federated.partition import heterogeneity
from federated.private.client import ClientPrivacy
from federated.private.noise_shares import NoiseShares
from federated.private.patient import PatientPrivacy
from federated.private.site_key import with_key
from federated.references import Comparing, Comparison
from federated.report import partition
from federated.report.report import write_report
from federated.rounds.averaging import unused_rounds
from federated.rounds.held_out import HeldOut
from federated.rounds.outcome import Outcome
from federated.rounds.pool import LocalPool, Pool
from federated.rounds.rounds import Watch
from federated.rounds.training import train_by_rounds
from federated.tff.engine import Engine
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from federated.tff.optimizers import aggregator
from federated.tff.shared_rounds import SharedPool, SharedRounds
from medimg import atomic
from medimg.listener import Listener
from medimg.privacy.statement import WITHHELD
from medimg.run import Run
from medimg.training.lineage import Lineage

if TYPE_CHECKING:
    # Flower takes seconds to import.
    from federated.flower.pool import FlowerPool

# Of the rounds, from which they go on.
STATE = "checkpoints/federated"


class Federation:
    """One federated training in its Run.

    Args:
        run: the Run.
        job: what it is about.
        plan: what the clients agree on.
        execution: where TFF's server side runs, and the clients too unless they are at sites of their own.
        sites: the clients at their sites; None: all are here.
        listener: is told.
        start: what it begins with (`medimg.training.start`).
    """

    def __init__(
        self,
        run: Run,
        job: Job,
        plan: ClientPlan,
        execution: Execution,
        sites: "FlowerPool | None",
        listener: Listener,
        start: str = "",
    ):
        self.start = start
        self.run_folder, self.job, self.plan = run, job, plan
        self.execution, self.sites, self.listener = execution, sites, listener
        self.config = job.config
        self.checkpoints = run.root / "checkpoints"
        self.records = self.checkpoints / "records"
        self.privacy: PatientPrivacy | ClientPrivacy | None = None

    def run(self) -> None:
        """From records to federation.json; what is done already is not done again."""
        root = self.run_folder.root
        self._write_partition()
        clients = self._prepared() if self.sites else self._write_records()
        self._protect(clients)
        initial = self.plan.trained.get_weights()
        val, test = (self._held_out(split) for split in ("val", "test"))
        key = self.sites.key if self.sites else None
        log = AuditLog(root / "audit.jsonl", key, timed=not self.config.is_private)
        with log, closing(val), closing(test):
            engine = self._engine(self.execution, len(clients))
            outcome = self._train(engine, clients, val, initial, log)
            comparison = self._compare(clients, val, test, initial)
            conclusion = Conclusion(self.run_folder, self.job, self.plan, clients, outcome, self.checkpoints)
            personal = self._personalised(outcome, clients)
            federated = conclusion.models(engine, personal, val, test)
            measured_at_sites = self._measured_there(engine, outcome, log)
            privacy = self.privacy.summary() if self.privacy else None
            conclusion.write(comparison, self._not_compared(), federated, test, measured_at_sites, privacy, log)
            self._let_go(log)
            conclusion.publish()
        write_report(root)
        self._tidy(outcome)

    def _prepared(self) -> list[ClientData]:
        """The clients at their sites, ready to train."""
        strategy = self.job.strategy(clients=len(self.sites.describe().clients))
        plan, config = self.plan, replace(self.config, channels=self.plan.training["channels"])
        plan_sent = {**plan.to_dict(), "training": {}}
        return self.sites.prepare(config, plan_sent, plan.model.get_weights(), strategy.by_examples, self.start)

    def _tidy(self, outcome: Outcome) -> None:
        """Clients' rows and answers go; the state stays where more rounds may follow (`--resume --rounds`)."""
        state, folders = self.run_folder.root / STATE, [self.checkpoints]
        if outcome.progress.may_go_on and not self.config.is_private:
            folders = [state / "answers", *(folder for folder in self.checkpoints.iterdir() if folder != state)]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_partition(self) -> None:
        """How the clients differ; of sites elsewhere what they told of themselves, of private training val and test."""
        root, job, described = self.run_folder.root, self.job, self.job.descriptions
        if not self.sites and not self.config.is_private:
            partition.write(job.clients, root, self.config.seed)
            return
        if not self.sites:
            partition.write_unprotected(job.clients, root)
            return
        if self.config.is_private:
            rows = {name: {p: entry["examples"][p] for p in ("val", "test")} for name, entry in described.items()}
            atomic.write_csv(root / "partition.csv", heterogeneity.withheld_table(rows))
            return
        rows = [{"client": name, "patients": site["patients"], **site["examples"]} for name, site in described.items()]
        table = pd.DataFrame(rows).assign(total_variation=np.nan)
        totals = table.drop(columns="client").sum(min_count=1).to_dict()
        totals = pd.DataFrame([{"client": heterogeneity.POOLED, **totals}])
        atomic.write_csv(root / "partition.csv", pd.concat([table, totals]))

    def _write_records(self) -> list[ClientData]:
        clients = []
        for number, client in enumerate(self.job.clients):
            data = examples.prepare(
                client.dataset,
                self.plan,
                self.records / str(number),
                client.name,
                lambda done, total, name=client.name: self.listener.step(f"read {name}", done, total),
            )
            clients.append(with_key(data, self.config.dp_seed) if self.plan.private else data)
        return clients

    def _protect(self, clients: list[ClientData]) -> None:
        """Plan what privacy costs, and say it before anything is trained."""
        if self.config.dp == "none":
            return
        root, pooled, config = self.run_folder.root, self.job.pooled, self.config
        environment = self.run_folder.environment()
        lineage = Lineage.kept(environment, config.weights) or self.job.lineage()
        if config.dp == "patient":
            # Other first weights are another release, with noise of its own.
            also = {"start": self.start}
            site_plans = self.sites.privacy if self.sites else None
            shares = NoiseShares.of(config, len(clients), self.plan.parameters) if config.shares_noise else None
            self.privacy = PatientPrivacy(
                root, pooled, clients, config, config.rounds, not self.sites, also, lineage, site_plans, shares
            )
        else:
            names = [client.name for client in clients]
            made_of = (self.plan.parameters, not self.sites, lineage, self.start, aggregator)
            self.privacy = ClientPrivacy(root, pooled, names, config, config.rounds, *made_of)
        for sentence in self.privacy.sentences():
            self.listener.note(sentence)

    def _held_out(self, split: str) -> HeldOut:
        return HeldOut(
            self.job.dataset,
            self.job.clients,
            split,
            self.plan,
            self.records,
            lambda done, total: self.listener.step(f"read {split}", done, total),
        )

    def _engine(self, execution: Execution, clients: int, **local) -> Engine:
        job, privacy = self.job, self.privacy
        of_clients = privacy.strategy() if isinstance(privacy, ClientPrivacy) else {}
        return Engine(
            execution,
            LocalModel(self.plan.trained, job.dataset.task),
            self.plan.layout,
            job.strategy(**{"clients": clients, **of_clients}),
            replace(job.local, **local),
            self.config.seed,
            **(privacy.engine_arguments() if privacy else {}),
        )

    def _pool(self, engine: Engine, clients: list[ClientData], log: AuditLog) -> Pool:
        if not self.sites and self.config.shares_noise:
            step = self.privacy.shared_step()
            return SharedPool(SharedRounds(engine.model, self.plan.layout, step, self.config.seed), clients)
        if not self.sites:
            return LocalPool(engine, clients)
        self.sites.start(engine.vectors, engine.client_state_shapes, log)
        return self.sites

    def _train(self, engine: Engine, clients: list[ClientData], val: HeldOut, initial, log: AuditLog) -> Outcome:
        root, config = self.run_folder.root, self.config
        watch = Watch(after=self._after)
        if self.sites:
            watch = replace(watch, events=self.sites.events)
        if self.privacy:
            config = replace(config, rounds=self.privacy.rounds)
            private = {"before": self.privacy.before_round, "resumed": self.privacy.require_counted}
            watch = replace(watch, events=self._events, **private)
        outcome = train_by_rounds(
            engine,
            self._pool(engine, clients, log),
            val,
            config,
            initial,
            root / STATE,
            root / "rounds.csv",
            log,
            self._start_record(clients),
            watch,
        )
        atomic.write_csv(root / "history.csv", pd.DataFrame(outcome.progress.history))
        for sentence in unused_rounds(root):
            self.listener.note(sentence)
        if self.privacy:
            self.privacy.complete()
        return outcome

    def _events(self, number: int) -> dict:
        return {**self.privacy.events(number), **(self.sites.events(number) if self.sites else {})}

    def _after(self, row: dict) -> None:
        self.listener.step("rounds", row["round"], self.config.rounds)
        self.listener.round(row)

    def _start_record(self, clients: list[ClientData]) -> dict:
        options, private = self.config.to_dict(), self.config.is_private
        if options["dp_seed"] is not None:
            # Whoever has it can take the noise off.
            options["dp_seed"] = WITHHELD
        return {
            "event": "start",
            "options": options,
            # By a digest of the manifest a guess at its rows could be checked.
            "data": WITHHELD if private else self.job.pooled.fingerprint(),
            "clients": {c.name: None if private else c.examples for c in clients},
            **(self.sites.named() if self.sites else {}),
        }

    def _compare(self, clients, val: HeldOut, test: HeldOut, initial) -> Comparison:
        if self._not_compared():
            return Comparison()
        total = self.config.rounds

        def progress(name: str, done: int) -> None:
            self.listener.step(f"alone: {name}", done, total)

        comparing = Comparing(self.job, self.plan, self.execution, clients, self.checkpoints, initial, progress)
        comparison = comparing.run(val, test)
        for sentence in comparison.notes:
            self.listener.note(sentence)
        return comparison

    def _not_compared(self) -> str:
        if self.config.is_private:
            return "learnt without privacy from the patients that --dp protects, it would give them away"
        if self.sites:
            return "the training rows stay at the sites"
        return "" if self.config.comparison else "--no-comparison was given"

    def _personalised(self, outcome: Outcome, clients: list[ClientData]) -> dict[str, list[np.ndarray]]:
        """Weights of the copies that sites have tuned for themselves."""
        if not self.config.personalize_epochs:
            return {}
        tuning = self._engine(self.execution, len(clients), epochs=self.config.personalize_epochs, steps=None)
        return tuning.local_weights(outcome.state, clients, outcome.kept_round + 1)

    def _measured_there(self, engine: Engine, outcome: Outcome, log: AuditLog) -> dict[str, dict] | None:
        """What sites elsewhere measure on their own test parts. None: all are here."""
        if not self.sites:
            return None
        state, personal = outcome.state, bool(engine.model.local)
        metrics = self.sites.evaluate(lambda name: engine.weights(state, *([name] if personal else [])))
        log.append({"event": "metrics", "metrics": metrics})
        return metrics

    def _let_go(self, log: AuditLog) -> None:
        """The sites are told how the log ends, sign it, and say how their own do."""
        if self.sites:
            log.append({"event": "sites", **self.sites.finish()})
