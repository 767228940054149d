"""A DCGAN across sites of their own (`--engine flower`): rounds by signed messages, images that stay where they are.

The coordinator's Dataset has none of the sites' training images; of them it is told how many there are, how deep and
colourful, and the rounds' updates, which `--secure` sums.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from federated.engine.local_training import LocalTraining
from federated.flower.description import Description
from federated.flower.link_folder import LinkFolder
from federated.flower.pool import FlowerPool
from federated.rounds.averaging import unused_rounds
from federated.rounds.rounds import Watch
from federated.secure.exposure import who_could_see
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.run import Run
from medimg.training.start import start_of
from synthetic.config import SynthesizeConfig
from synthetic.dataset import Made
from synthetic.federation import NAME, aggregation
from synthetic.federation.apart import check_apart, options_of_sites, rounds_of_sites, same_as
from synthetic.federation.images.model import Averaged, GanModel
from synthetic.federation.images.records import layout_of
from synthetic.federation.images.rounds import gan_by_rounds
from synthetic.federation.images.training import SMALLEST_BATCH
from synthetic.images.classes import equal_mix
from synthetic.images.dcgan import TRAINING, gan_of, made, secret_for, settled
from synthetic.images.networks import Gan, halvings
from synthetic.images.plan import BATCH, FEWEST_IMAGES, GanPlan, check_turns, settled_for
from synthetic.images.samples import write_grid
from synthetic.images.step import NetworkSteps


def check(dataset: Dataset, config: SynthesizeConfig) -> None:
    """Refuse what sites apart do not do, before any is asked.

    Args:
        dataset: the coordinator's own, of the sites' task and classes; its images are not learnt from.
        config: with `--engine flower`.

    Raises:
        InputError: names the option.
    """
    check_apart(config)
    for applies, reason in (
        (config.class_mix != "equal", "--class-mix train: how frequent classes are stays at the sites; give equal"),
        (config.image_size is None, "--image-size: is read off no site's images; give it, e.g. 64"),
    ):
        if applies:
            raise InputError(reason)
    halvings(config.image_size)


def fit_and_sample(
    dataset: Dataset, folder: Path, config: SynthesizeConfig, listener: Callable[[str, int, int], None]
) -> Made:
    """Train across the sites and draw images; goes on where an earlier call was killed.

    Args:
        dataset: the coordinator's own.
        folder: of the synthetic Dataset.
        config: with `--engine flower`.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: a site is not there or refuses, or an option does not fit.
    """
    check(dataset, config)
    place, folder = LinkFolder.of(config), Path(folder)
    options, name = rounds_of_sites(config, 1, config.local_steps, SMALLEST_BATCH), Run.load(folder).environment()[NAME]
    with FlowerPool(place.grid(), place.coordinator(), place.parties(config.site), options, name) as sites:
        description = sites.describe()
        plan, batch, rounds = _settled(dataset, description, config)
        aggregation.check(replace(config, partition="site"), len(description.clients))
        gan, mix = gan_of(plan, dataset, config), equal_mix(dataset)
        _train(sites, plan, batch, rounds, gan, folder, config, lambda number: listener("rounds", number, rounds))
    write_grid(gan, mix, folder / TRAINING / f"samples-{rounds:04d}.png", config.seed)
    notes = [
        f"trained across {len(description.clients)} sites by {rounds} rounds of {config.local_steps} steps of {batch} "
        "images each (FedGAN, Rasouli et al. 2020), each at its own site; the sites sent both networks with Adam's "
        "moments, and no image",
        "before the first round each site told its number of training images and patients and the images' form (grey "
        "or colour, bits)",
        *unused_rounds(folder / TRAINING),
    ]
    federation = {
        "clients": {name: client["examples"]["train"] for name, client in description.clients.items()},
        "rounds": rounds,
        "local_steps": config.local_steps,
        "batch_size": batch,
        "who_could_see": who_could_see(config.secure, apart=True),
    }
    secret = secret_for(dataset, folder, config)
    return made(folder, gan, mix, plan, config, secret, notes, listener, federation=federation)


def _settled(dataset: Dataset, description: Description, config: SynthesizeConfig) -> tuple[GanPlan, int, int]:
    """Plan, batch of a site, rounds.

    Raises:
        InputError: the sites hold something else than the coordinator's Dataset is of, or too little.
    """
    same_as(dataset, description)
    images = sum(client["examples"]["train"] for client in description.clients.values())
    if images < FEWEST_IMAGES:
        raise InputError(f"sites: have {images} labelled training images; at least {FEWEST_IMAGES} are needed")
    count, channels = len(description.clients), max(client["channels"] for client in description.clients.values())
    batch = config.batch_size or max(SMALLEST_BATCH, round(BATCH / count))
    plan = settled_for(images, config.image_size, channels, replace(config, batch_size=batch * count))
    rounds = config.rounds or math.ceil(plan.epochs * plan.steps_per_epoch / config.local_steps)
    check_turns(plan, rounds * config.local_steps)
    return plan, max(1, plan.batch_size // count), rounds


def _train(
    sites: FlowerPool,
    plan: GanPlan,
    batch: int,
    rounds: int,
    gan: Gan,
    folder: Path,
    config: SynthesizeConfig,
    after: Callable[[int], None],
) -> None:
    """The rounds; the networks of `gan` are the trained ones afterwards."""
    model, description = GanModel(gan, settled(config, plan)), sites.describe()
    layout = layout_of(plan, description, max(client.get("bits") or 8 for client in description.clients.values()))
    options, initial = rounds_of_sites(config, rounds, config.local_steps, batch), model.initial()
    plan_sent = {"gan": plan.to_dict(), "options": options_of_sites(config), "layout": list(asdict(layout).values())}
    clients = sites.prepare(options, plan_sent, initial, True, start_of(initial, plan_sent))
    state = gan_by_rounds(
        model,
        layout,
        clients,
        initial,
        options,
        LocalTraining(steps=config.local_steps, batch_size=batch),
        folder,
        {"options": config.to_dict()},
        Watch(after=lambda row: after(row["round"])),
        sites=sites,
    )
    Averaged(NetworkSteps(gan, model.options, config.seed)).assign(state.weights)
