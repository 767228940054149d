"""federate(): a Dataset divided among clients and options -> a Run, trained by rounds on TensorFlow Federated."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from federated.audit_log.files import FEDERATION
from federated.clients.plan import ClientPlan
from federated.config import FederateConfig
from federated.federation import STATE, Federation
from federated.job import Job
from federated.private.patient import check_model
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.listener import Listener
from medimg.lock import writes
from medimg.options import of_data
from medimg.report.write import write
from medimg.resuming import run_to_resume
from medimg.run import Run, environment
from medimg.training.open_options import kept, tell
from medimg.training.start import FIELD as START
from medimg.training.start import require_same_start, start_of

if TYPE_CHECKING:
    # Flower takes seconds to import.
    from federated.flower.pool import FlowerPool

_DATA = "checkpoints/data.sha256"
# In environment.json: by which sites know the training again when it is resumed.
NAME = "federation"


@writes("out")
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
        data: a prepared Dataset folder; with `--engine flower` the coordinator's own, which is measured on.
        out: the Run folder.
        config: options.
        resume: go on with the Run at `out`, with its own data and options.
        overwrite: replace the Run at `out`.
        listener: is told of progress.
        execution: where TFF runs; None: one of its own, ended with the training.

    Raises:
        InputError: the data leak or can't be divided so, options don't fit each other, a site can't be reached, or
            `out` is taken.
    """
    listener, dataset = listener or Listener(), Dataset.load(data, joins_copies=not config.is_private)
    config.require_effect(of_data(dataset.is_table))
    config, by_rule = (kept(config, out), {}) if resume else config.settled(dataset.is_table)
    with contextlib.ExitStack() as stack:
        sites = None
        if config.is_apart:
            Job.at_sites(dataset, config, len(config.site) or 2)
            sites = stack.enter_context(_sites(out, config, resume))
            description = sites.describe()
            job = Job.at_sites(dataset, config, len(description.clients)).agreed_with(description)
        else:
            job = Job.of(dataset, config)
        if resume:
            run, plan, start = _resumed(out, config, job)
            if plan is None:
                return run
        else:
            run, plan, start = _begun(data, out, config, job, overwrite, sites, by_rule, listener)
        for name, note in ((client.name, note) for client in job.clients for note in client.notes):
            listener.note(f"{name}: {note}")
        execution = execution or stack.enter_context(Execution())
        Federation(run, job, plan, execution, sites, listener, start).run()
    write(run)
    return run


def _resumed(out: Path, config: FederateConfig, job: Job) -> tuple[Run, ClientPlan | None, str]:
    """The Run, the plan of its clients, and what it begins with; no plan where it has ended."""
    run = run_to_resume(out, job.pooled)
    if config.is_private:
        _require_same_data(run, job.pooled)
    ended = (run.root / FEDERATION).is_file()
    longer = config.rounds > run.config["options"]["rounds"]
    if longer:
        run.require_extendable("rounds", config.rounds, ended and not (run.root / STATE).is_dir())
    elif ended:
        return run, None, ""
    plan = job.plan(run.description())
    start = start_of(plan.model.get_weights(), plan.description)
    require_same_start(run, start)
    if longer:
        run.extend("rounds", config.to_dict())
    return run, plan, start


def _begun(
    data: Path,
    out: Path,
    config: FederateConfig,
    job: Job,
    overwrite: bool,
    sites: "FlowerPool | None",
    by_rule: dict,
    listener: Listener,
) -> tuple[Run, ClientPlan, str]:
    """A new Run, the plan of its clients, and what it begins with.

    The options are as given: `job` has them with what it has settled.
    """
    plan = job.plan(job.describe(sites.total if sites else job.totals()))
    lineage = job.lineage()
    # Built before the folder is made: a wrong option leaves nothing behind.
    _check_model(job, plan)
    # Of a private Run, and of clients at their sites, nothing is compared.
    compared = not (config.is_private or sites)
    acting = [name for name in config.acting(of_data(job.dataset.is_table)) if name != "comparison" or compared]
    run = Run.create(out, data, "federate", config.to_dict(), overwrite, acting=acting)
    facts = environment(job.pooled, config.seed)
    if config.is_private:
        # By a hash of the manifest a guess at its rows could be checked; it goes with the checkpoints.
        atomic.write_text(run.root / _DATA, facts["data_fingerprint"])
        facts["data_fingerprint"] = None
    start = start_of(plan.model.get_weights(), plan.description)
    facts |= {START: start, **({NAME: sites.run} if sites else {}), **lineage.to_dict()}
    atomic.write_json(run.root / "environment.json", facts)
    tell(run, config, by_rule, listener)
    atomic.write_json(run.root / "model.json", plan.description)
    run.keep_parts(job.dataset, job.pooled)
    _forget_name(out, config)
    return run, plan, start


def _sites(out: Path, config: FederateConfig, resume: bool) -> "FlowerPool":
    """The clients at their sites."""
    from federated.flower.link_folder import LinkFolder
    from federated.flower.pool import FlowerPool

    folder, name = LinkFolder.of(config), None
    if resume:
        _require_unmeasured(Run.load(out), config.rounds)
        name = Run.load(out).environment().get(NAME)
    keys, parties = folder.coordinator(), folder.parties(config.site)
    return FlowerPool(folder.grid(), keys, parties, config, name or folder.name_of(out, config))


def _forget_name(out: Path, config: FederateConfig) -> None:
    """The Run knows it."""
    if config.is_apart:
        from federated.flower.link_folder import LinkFolder

        LinkFolder.of(config).forget(out, config)


def _require_unmeasured(run: Run, rounds: int) -> None:
    """Sites measure one model a run, so that no two tell of one test row by their difference."""
    if (run.root / FEDERATION).is_file() and rounds > run.config["options"]["rounds"]:
        raise InputError(
            f"--rounds {rounds}: the sites of {run.root} have measured its model, and measure one a run; train another "
            f"with as many rounds, of images from this one's weights by --weights {run.root}"
        )


def _require_same_data(run: Run, dataset: Dataset) -> None:
    """As `run_to_resume`, whose fingerprint a private Run does not have."""
    path = run.root / _DATA
    if path.is_file():
        if path.read_text(encoding="ascii") != dataset.fingerprint():
            raise InputError(
                f"{run.root}: the Dataset at {dataset.root} has changed since this Run began; train anew with "
                "--overwrite"
            )
    elif (run.root / STATE).is_dir():
        raise InputError(
            f"{path}: is gone, and without it nobody knows whether the Dataset is still the one that this Run began "
            "with; restore it, or train anew with --overwrite"
        )


def _check_model(job: Job, plan: ClientPlan) -> None:
    strategy = job.strategy()
    strategy.check(job.local)
    LocalModel(plan.trained, job.dataset.task, strategy.client.local_norm).check()
    if job.config.dp == "patient":
        check_model(plan.trained)
