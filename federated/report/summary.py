"""What `federation.json` says of a finished training: the report is made of it and of the Run's tables."""

import statistics

from federated.audit_log.head import read_head
from federated.engine.records import ClientData
from federated.job import Job
from federated.references import CENTRALISED
from federated.rounds.outcome import Outcome
from federated.rounds.participation import clients_in_round
from federated.secure.exposure import who_could_see
from federated.secure.terms import default_threshold
from medimg.run import Run

_HOW = {
    "majority": "always the commonest class of all training rows",
    "local": "each site by its own training rows alone, for as many rounds",
    "federated": "by the rounds of this Run",
    "personalised": "the federated model, fine-tuned by each site on its own training rows",
    "centralised": "the same model on all training rows pooled as one client, for as many rounds",
}


def account(
    run: Run,
    job: Job,
    clients: list[ClientData],
    outcome: Outcome,
    gain: dict,
    left_out: str,
    histories: dict,
    privacy: dict | None,
    measured_at_sites: dict[str, dict] | None = None,
) -> dict:
    """Content of federation.json.

    Args:
        run: the Run, with its audit log.
        job: what it is about.
        clients: that trained.
        outcome: of the rounds.
        gain: of `federated.report.site_gain.site_gain`.
        left_out: why nothing was trained to compare with; empty when it was.
        histories: of what was trained to compare with.
        privacy: summary of the ledger.
        measured_at_sites: what sites have measured on their own test parts; None: they are not apart.
    """
    config, history = job.config, outcome.progress.history
    head = read_head(run.root / "audit.jsonl")
    not_compared = ("local", CENTRALISED, *(["majority"] if config.is_private else []))
    return {
        "strategy": config.strategy,
        "model": config.model,
        "task": job.dataset.task,
        "classes": list(job.dataset.classes),
        "positive_class": job.dataset.positive,
        "partition": config.partition,
        "engine": config.engine,
        "rounds": outcome.progress.round,
        "kept_round": outcome.kept_round,
        "best_round": outcome.kept_round if config.patience else None,
        "stopped": outcome.progress.stopped,
        "local": _local(job),
        "aggregation": config.aggregation,
        "secure": _secure(job, len(clients)),
        "clients": _clients(job, clients),
        "privacy": privacy,
        "bytes": {way: sum(row[f"bytes_{way}"] for row in history) for way in ("up", "down")},
        "seconds": _seconds([row["seconds"] for row in history]),
        "statistics": job.disclosed,
        "comparison": {
            "models": {name: _HOW[name] for name in gain["models"]},
            "left_out": dict.fromkeys(not_compared, left_out) if left_out else {},
            "gain": gain,
        },
        **({"measured_at_sites": measured_at_sites} if measured_at_sites is not None else {}),
        "baseline_histories": histories,
        "audit": {"head": head.hash, "records": head.number},
        "notes": [],
    }


def _seconds(seconds: list[float | None]) -> dict[str, float | None]:
    """None of a private training: how long sites took tells how many patients they drew."""
    if None in seconds:
        return dict.fromkeys(("rounds", "round", "first"))
    return {"rounds": sum(seconds), "round": statistics.median(seconds), "first": seconds[0]}


def _local(job: Job) -> str:
    local = job.local
    if job.config.shares_noise:
        rate = f"learning rate {local.learning_rate:g}"
        return f"one step of all patients a round, the sum of their gradients over {local.batch_size}, {rate}"
    amount = f"{local.steps} steps" if local.steps else f"{local.epochs} epochs"
    return f"{amount} of batch {local.batch_size} a round, {local.optimizer}, learning rate {local.learning_rate:g}"


def _secure(job: Job, clients: int) -> dict:
    config = job.config
    threshold = config.secure_threshold or default_threshold(clients_in_round(clients, config.client_fraction))
    return {
        "kind": config.secure,
        "threshold": None if config.secure == "none" else threshold,
        "sentences": who_could_see(config.secure, apart=config.is_apart, private=config.is_private),
    }


def _clients(job: Job, clients: list[ClientData]) -> list[dict]:
    if job.config.is_private:
        # Exact numbers of protected patients and their rows.
        return [{"name": data.name, "examples": None, "patients": None, "notes": []} for data in clients]
    by_name = {client.name: client for client in job.clients}
    entries = []
    for data in clients:
        client = by_name.get(data.name)
        patients = client.dataset.manifest["patient"].nunique() if client else 0
        entries.append(
            {
                "name": data.name,
                "examples": data.examples,
                "patients": int(job.descriptions.get(data.name, {}).get("patients", patients)),
                "notes": list(client.notes) if client else [],
            }
        )
    return entries
