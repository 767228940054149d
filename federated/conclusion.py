"""Conclusion: what is made of a federated training that has ended: its models, their figures, federation.json."""

import numpy as np

from federated.audit_log import AuditLog
from federated.audit_log.files import DESCRIBING, FEDERATION, MODEL, end_record
from federated.clients.plan import ClientPlan
from federated.engine.records import ClientData
from federated.job import Job
from federated.references import CENTRALISED, Comparison
from federated.report.site_gain import site_gain
from federated.report.summary import account
from federated.rounds.held_out import HeldOut, predictions, predictions_of_each
from federated.rounds.outcome import Outcome
from federated.tff.engine import Engine
from medimg import atomic
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.majority import majority
from medimg.evaluation.predictions import Predictions
from medimg.models.saving import save_model
from medimg.run import Run


class Conclusion:
    """Of one training.

    Args:
        run: its Run.
        job: what it is about.
        plan: what the clients agreed on.
        clients: that took part.
        outcome: of the rounds.
        checkpoints: folder for what is not final.
    """

    def __init__(self, run: Run, job: Job, plan: ClientPlan, clients: list[ClientData], outcome: Outcome, checkpoints):
        self.run, self.job, self.plan, self.clients, self.outcome = run, job, plan, clients, outcome
        self.config, self._staged = job.config, checkpoints / FEDERATION

    def models(
        self, engine: Engine, personal: dict[str, list[np.ndarray]], val: HeldOut, test: HeldOut
    ) -> dict[str, Predictions]:
        """Predictions of the federated model, and of its copies that sites have for themselves; all are saved.

        Args:
            engine: of the training.
            personal: client -> weights that it has tuned for itself; empty: none has.
            val: held-out rows, on which thresholds are chosen.
            test: those that are predicted.
        """
        classes, state, site_weights = self.job.dataset.classes, self.outcome.state, personal
        if engine.model.local:
            weights_of = {name: engine.weights(state, name) for name in self.job.names}
            test_predictions, site_weights = {"federated": self._of_each(weights_of, val, test)}, personal or weights_of
        else:
            weights = engine.weights(state)
            test_predictions = {"federated": predictions(classes, test, val, test.logits(weights), val.logits(weights))}
        if personal:
            test_predictions["personalised"] = self._of_each(personal, val, test)
        for number, (name, weights) in enumerate(site_weights.items()):
            self._save(weights, f"sites/{number}-{_safe(name)}.keras")
        # The head's layers are the whole model's own.
        self._save(engine.weights(state), MODEL)
        return test_predictions

    def _of_each(self, site_weights: dict[str, list[np.ndarray]], val: HeldOut, test: HeldOut) -> Predictions:
        on_test = {name: test.logits(weights) for name, weights in site_weights.items()}
        on_val = {name: val.logits(weights) for name, weights in site_weights.items()}
        return predictions_of_each(self.job.dataset.classes, test, val, on_test, on_val)

    def _save(self, weights: list[np.ndarray], name: str) -> None:
        self.plan.trained.set_weights(weights)
        save_model(self.plan.model, self.run.root / name)

    def write(
        self,
        comparison: Comparison,
        left_out: str,
        federated: dict[str, Predictions],
        test: HeldOut,
        measured_at_sites: dict[str, dict] | None,
        privacy: dict | None,
        log: AuditLog,
    ) -> None:
        """Evaluate, compare, write what becomes federation.json, whose digest is in the log before it is in its place.

        Args:
            comparison: with trainings of other kinds.
            left_out: why there is none.
            federated: of `models`.
            test: held-out rows.
            measured_at_sites: client -> what it has measured itself; None: all are here.
            privacy: what is told of it; None: none is promised.
            log: ends with this.
        """
        root, seed, pooled = self.run.root, self.config.seed, self.job.pooled
        evaluate(self.run, EvaluateConfig(seed=seed))
        models = {**comparison.predictions, **federated}
        rows = pooled.rows("train", labelled=True)
        # Its probabilities are the training rows' exact shares.
        if len(rows) and not self.config.is_private:
            models["majority"] = majority(test.task, pooled.classes, test.targets, pooled.targets(rows))
        order = ("majority", "local", "federated", "personalised", CENTRALISED)
        models = {name: models[name] for name in order if name in models}
        gain = site_gain(models, test.owners.tolist(), test.rows["patient"].tolist(), resamples=1000, seed=seed)
        gain["notes"] += comparison.notes
        summary = account(
            self.run,
            self.job,
            self.clients,
            self.outcome,
            gain,
            left_out=left_out,
            histories=comparison.histories,
            privacy=privacy,
            measured_at_sites=measured_at_sites,
        )
        atomic.write_json(self._staged, summary)
        log.append(end_record(root, self._final_files(), self._staged))

    def publish(self) -> None:
        """Put federation.json in its place: the Run has ended."""
        self._staged.replace(self.run.root / FEDERATION)

    def _final_files(self) -> list[str]:
        """What no later command writes anew."""
        root = self.run.root
        names = [MODEL, *DESCRIBING, "environment.json", "history.csv", "partition.csv"]
        names += ["partition_counts.csv", "feature_shift.csv", "parts.csv", "privacy.json"]
        if self.config.dp_seed is not None:
            # By a digest a guess at it could be checked, and whoever has it can take the noise off.
            names.remove("config.yaml")
        names += sorted(f"sites/{path.name}" for path in (root / "sites").glob("*.keras"))
        return [name for name in names if (root / name).is_file()]


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
