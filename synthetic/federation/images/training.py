"""A DCGAN across clients: TensorFlow Federated trains it by rounds, and no client's images leave it."""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from federated.clients.client import Client
from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData, Layout
from federated.partition import partition
from federated.private.site_key import with_key
from federated.private.site_plan import check_site, plan_of
from federated.rounds.averaging import options_of_rounds, unused_rounds
from federated.rounds.checkpoint import Checkpoints
from federated.rounds.rounds import Watch
from federated.secure.exposure import who_could_see
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.pixels import image_form
from medimg.privacy.defaults import coarse
from medimg.style.figures import save
from medimg.untrusted.csv_cells import read_csv
from synthetic.dataset import Made
from synthetic.federation import aggregation
from synthetic.federation.images.model import Averaged, GanModel
from synthetic.federation.images.privacy import PrivateGanSteps, privacy_of, private_options
from synthetic.federation.images.records import layout_of, written
from synthetic.federation.images.rounds import ROUNDS, gan_by_rounds
from synthetic.images.classes import ClassMix, class_mix, equal_mix
from synthetic.images.dcgan import CHECKPOINTS, TRAINING, gan_of, made, notes_of, secret_for, settled
from synthetic.images.loss_figure import loss_figure
from synthetic.images.networks import Gan
from synthetic.images.plan import BATCH, GanPlan, check_turns, settle
from synthetic.images.plan import check as check_images
from synthetic.images.samples import write_grid
from synthetic.images.step import NetworkSteps

# A batch of fewer images says little about what real ones look like.
SMALLEST_BATCH = 8


@dataclass(frozen=True, eq=False)
class GanJob:
    """What is trained, and by whom.

    Attributes:
        rows: of the training part, all clients'.
        clients: in order.
        plan: settled; `batch_size` is that of all clients of a step together.
        batch_size: of a client.
        rounds: in all.
    """

    rows: pd.DataFrame
    clients: list[Client]
    plan: GanPlan
    batch_size: int
    rounds: int


def check(dataset: Dataset, config) -> GanJob:
    """Settle what is to be done, or refuse it before anything is written.

    Args:
        dataset: of images.
        config: `synthetic.config.SynthesizeConfig` with a partition.

    Raises:
        InputError: names the option or the part.
    """
    rows = check_images(dataset, config)
    clients = _with_rows(partition(dataset, config, measured=False), rows)
    aggregation.check(config, len(clients))
    batch = config.batch_size
    if batch is None and not config.is_private:
        batch = max(SMALLEST_BATCH, round(BATCH / len(clients)))
    plan = settle(dataset, rows, replace(config, batch_size=batch and batch * len(clients)))
    rounds = config.rounds or math.ceil(plan.epochs * plan.steps_per_epoch / config.local_steps)
    check_turns(plan, rounds * config.local_steps)
    batch = max(1, plan.batch_size // len(clients))
    if config.is_private:
        _check_budget(clients, config, rounds, batch)
    return GanJob(rows, clients, plan, batch, rounds)


def _check_budget(clients: list[Client], config, rounds: int, batch_size: int) -> None:
    """Refuse noise and epsilon that do not go together at some site."""
    options = private_options(config, rounds, batch_size)
    local = LocalTraining(steps=config.local_steps, batch_size=batch_size)
    for client in clients:
        patients = client.dataset.manifest["patient"].nunique()
        data = ClientData(client.name, "", client.examples, patients)
        check_site(data, options)
        # Where the noise is not given, some noise fits any epsilon.
        if config.dp_noise_multiplier is not None:
            plan_of(data, rounds, local, options)


def _with_rows(clients: list[Client], rows: pd.DataFrame) -> list[Client]:
    """The clients with those of their rows alone that are learnt from."""
    cut = []
    for client in clients:
        kept_rows = rows.loc[rows.index.intersection(client.dataset.manifest.index)]
        if kept_rows.empty:
            raise InputError(
                f"--rare-classes leave-out: '{client.name}' has no training image of the classes that are left; "
                "prepare without this site, or use another --partition"
            )
        cut.append(replace(client, dataset=replace(client.dataset, manifest=kept_rows)))
    return cut


def fit_and_sample(dataset: Dataset, folder: Path, config, listener) -> Made:
    """Train a DCGAN by rounds and draw images from it; goes on where an earlier call was killed.

    As `synthetic.images.dcgan.fit_and_sample`, whose networks and steps these are; `training/` has `rounds.csv` and
    `audit.jsonl` as well, and `history.csv` has a row a round.

    Args:
        dataset: of images; its sites, or what its patients are dealt to, are the clients.
        folder: of the synthetic Dataset.
        config: `synthetic.config.SynthesizeConfig`.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: too few images or patients, or an option does not fit.
    """
    job = check(dataset, config)
    folder = Path(folder)
    # How frequent classes are is not public where patients are protected.
    mix = equal_mix(dataset) if config.is_private else class_mix(dataset, job.rows)
    mix = mix.equal() if config.class_mix == "equal" else mix
    gan = gan_of(job.plan, dataset, config)
    rounds = _train(dataset, job, gan, mix, folder, config, listener)
    planned, job = job.rounds, replace(job, rounds=rounds)
    notes = [*_notes(job, config), *unused_rounds(folder / TRAINING)]
    if rounds < planned:
        notes.append(f"the budget ended the training after {rounds} of {planned} rounds")
    if not config.is_private:
        notes += [f"{client.name}: {note}" for client in job.clients for note in client.notes]
        notes += notes_of(job.rows, job.plan)
    secret = secret_for(dataset, folder, config)
    federation = {
        "clients": {client.name: _told_size(client, config) for client in job.clients},
        "rounds": job.rounds,
        "local_steps": config.local_steps,
        "batch_size": job.batch_size,
        "who_could_see": who_could_see(config.secure),
    }
    return made(folder, gan, mix, job.plan, config, secret, notes, listener, federation=federation)


def _told_size(client: Client, config) -> int:
    """Images of a client; private: its patients in coarse steps."""
    return coarse(client.dataset.manifest["patient"].nunique()) if config.is_private else client.examples


def _train(dataset: Dataset, job: GanJob, gan: Gan, mix: ClassMix, folder: Path, config, listener) -> int:
    """The rounds that were made; the networks of `gan` are the trained ones afterwards."""
    model = GanModel(gan, settled(config, job.plan))
    # Private: of one form, whatever a patient's images are.
    bits = 16 if config.is_private else image_form(dataset.paths(job.rows)).bits
    layout = layout_of(job.plan, dataset, bits)
    clients = [
        _written(client, job, layout, folder / CHECKPOINTS / "records" / str(number), config, listener)
        for number, client in enumerate(job.clients)
    ]
    privacy, steps, rounds, watch = None, None, job.rounds, Watch()
    if config.is_private:
        privacy = privacy_of(folder, dataset, clients, config, rounds, job.batch_size)
        steps, rounds = privacy.steps(PrivateGanSteps), privacy.rounds
        watch = Watch(before=privacy.before_round, events=privacy.events, resumed=privacy.require_counted)
    saved = Checkpoints(folder / ROUNDS)
    trained = Averaged(NetworkSteps(gan, model.options, config.seed))
    interval = _rounds_between_grids(job, config)

    def after(row: dict) -> None:
        number = row["round"]
        listener("rounds", number, rounds)
        if interval and number % interval == 0 and number < rounds:
            trained.assign(saved.load()[0].weights)
            write_grid(gan, mix, grid(number), config.seed)

    def grid(number: int) -> Path:
        return folder / TRAINING / f"samples-{number:04d}.png"

    state = gan_by_rounds(
        model,
        layout,
        clients,
        model.initial(),
        options_of_rounds(config, rounds),
        LocalTraining(steps=config.local_steps, batch_size=job.batch_size),
        folder,
        {"options": config.to_dict(), **({} if privacy else {"data": dataset.fingerprint()})},
        replace(watch, after=after),
        steps,
    )
    if privacy:
        privacy.complete()
    else:
        history = read_csv(folder / TRAINING / "history.csv", keep_default_na=True)
        save(loss_figure(history), folder / TRAINING / "losses.png")
    trained.assign(state.weights)
    # Not in `after`: killed behind the last checkpoint there is no round to come.
    write_grid(gan, mix, grid(rounds), config.seed)
    return rounds


def _written(client: Client, job: GanJob, layout: Layout, folder: Path, config, listener) -> ClientData:
    data = written(client, job.plan, layout, folder, config.is_private, partial(listener, f"read {client.name}"))
    if not config.is_private:
        return data
    # It weighs by what is told of it.
    return replace(with_key(data, config.dp_seed), examples=_told_size(client, config))


def _rounds_between_grids(job: GanJob, config) -> int:
    steps = config.sample_every * job.plan.steps_per_epoch
    return max(1, round(steps / config.local_steps)) if steps else 0


def _notes(job: GanJob, config) -> list[str]:
    statistics = (
        "its number of training patients, rounded down to 1, 2 or 5 times a power of ten, and how many steps of the "
        "batch take them all once"
        if config.is_private
        else "its number of training images, how many images and patients are of each class, and the images' form "
        "(size, grey or colour, bits)"
    )
    notes = [
        f"trained across {len(job.clients)} clients by {job.rounds} rounds of {config.local_steps} steps of "
        f"{job.batch_size} {'patients, on average,' if config.is_private else 'images'} each (FedGAN, Rasouli et "
        "al. 2020), all simulated in one process; the clients sent both networks with Adam's moments, and no image",
        f"before the first round each client told {statistics}",
    ]
    if config.is_private:
        notes.append("all classes are made equally often: how frequent they are was not asked")
    return notes
