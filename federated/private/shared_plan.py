"""Noise and rounds of sites that share the noise: alike at all of them, and known to all of them by the options."""

from collections.abc import Mapping
from dataclasses import replace

from federated.engine.records import ClientData
from federated.private.noise_shares import NoiseShares
from federated.private.site_plan import SitePlan, check_site
from federated.private.steps import SiteMechanism
from medimg.errors import InputError
from medimg.privacy.budget import Budget
from medimg.privacy.sampling import steps_per_pass


def shared_plan_of(
    data: ClientData,
    rounds: int,
    shares: NoiseShares,
    config,
    previous: tuple = (),
    noise_multiplier: float | None = None,
) -> SitePlan:
    """A site's plan: one step a round, of all its patients.

    Args:
        data: of the site, with its number of patients.
        rounds: that it is asked in.
        shares: what the sites have agreed on.
        config: `FederateConfig`.
        previous: DpEvents that the budget also covers.
        noise_multiplier: of its rounds so far, where it goes on; None: it begins.

    Raises:
        InputError: delta is not below one over the patients, the budget does not allow a round, or the site's numbers
            might not fit in the sum.
    """
    check_site(data, config)
    settled = Budget(config.dp_epsilon, config.dp_delta, previous).plan(
        shares.mechanism(), rounds, noise_multiplier or config.dp_noise_multiplier
    )
    noise = settled.mechanism.noise_multiplier
    # What is public of its patients: the steps of a pass.
    shares.check_room(steps_per_pass(data.units, config.batch_size) * config.batch_size, noise)
    site = SiteMechanism(data.units, config.batch_size, noise)
    return SitePlan(site, 1, rounds, settled.steps, shares.mechanism(noise))


def alike(plans: Mapping[str, SitePlan], shares: NoiseShares) -> dict[str, SitePlan]:
    """The plans, each with the mechanism of the sum.

    Args:
        plans: client -> its plan, of this program or as a site has told it.
        shares: what the sites have agreed on.

    Raises:
        InputError: their noise differs, so that the sum would have another than each counts on.
    """
    noises = {plan.site.noise_multiplier for plan in plans.values()}
    if len(noises) > 1 or any(plan.steps_per_round != 1 for plan in plans.values()):
        raise InputError(
            "--noise distributed: the sites have settled on noise that differs, by what each has spent before; use "
            "--noise local"
        )
    mechanism = shares.mechanism(noises.pop())
    return {name: replace(plan, summed=mechanism) for name, plan in plans.items()}
