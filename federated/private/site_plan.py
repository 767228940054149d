"""Noise and steps of every site, settled before the first round, so that no site's budget is ever passed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData
from federated.private.steps import SiteMechanism, steps_of
from federated.rounds.participation import participants
from medimg.errors import InputError
from medimg.privacy.budget import Budget
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import joined
from medimg.privacy.summed_mechanism import SummedMechanism


@dataclass(frozen=True)
class SitePlan:
    """What one site may do.

    Attributes:
        site: its mechanism.
        steps_per_round: when it does all its steps.
        rounds: that it is asked in.
        steps: allowed in all.
        summed: of a step, where sites share the noise of their sum; None: the site adds all of it by itself.
    """

    site: SiteMechanism
    steps_per_round: int
    rounds: int
    steps: int
    summed: SummedMechanism | None = None

    @property
    def mechanism(self) -> Mechanism:
        """Of a step, as the accountants need it."""
        return self.summed or Mechanism.poisson(self.site.sampling_probability, self.site.noise_multiplier)


def plan_of(
    data: ClientData,
    rounds: int,
    local: LocalTraining,
    config,
    previous: tuple = (),
    noise_multiplier: float | None = None,
) -> SitePlan:
    """A site's plan.

    Args:
        data: of the site, with its number of patients.
        rounds: that it is asked in.
        local: what it does in a round; `batch_size` counts patients.
        config: `FederateConfig`.
        previous: DpEvents that the budget also covers: of this Run on other terms, of others.
        noise_multiplier: of its steps so far, where it goes on; None: it begins.

    Raises:
        InputError: delta is not below one over the patients, or the budget does not allow a round.
    """
    check_site(data, config)
    # Of a small site, too, the sum is divided by the batch size: divided by its patients it would tell their number.
    bare = SiteMechanism(data.units, local.batch_size, 0.0)
    per_round = steps_of(local, bare)
    budget = Budget(config.dp_epsilon, config.dp_delta, previous)
    settled = budget.plan(
        Mechanism.poisson(bare.sampling_probability), rounds * per_round, noise_multiplier or config.dp_noise_multiplier
    )
    if settled.steps < per_round:
        raise InputError(
            f"--dp-epsilon {config.dp_epsilon}: not enough for one round of client {data.name} with "
            f"--dp-noise-multiplier {config.dp_noise_multiplier}; give more noise, fewer --local-epochs or a larger "
            "epsilon"
        )
    site = SiteMechanism(data.units, bare.expected_patients, settled.mechanism.noise_multiplier)
    return SitePlan(site, per_round, rounds, settled.steps)


def check_site(data: ClientData, config) -> None:
    """Refuse a site whose patients are not known, or too many for --dp-delta.

    Args:
        data: of the site, with its number of patients.
        config: `FederateConfig`.

    Raises:
        InputError: names the option or the client.
    """
    if data.units < 1:
        raise InputError(f"client {data.name}: its patients are not known; prepare its records anew")
    if config.dp_delta >= 1 / data.units:
        raise InputError(
            f"--dp-delta {config.dp_delta:g}: client {data.name} has {data.units} patients, and delta must be below "
            f"1 / {data.units}, or a patient's data may be published outright within it; give "
            f"{0.1 / data.units:.1g} or less"
        )


def rounds_of(names: Sequence[str], rounds: int, fraction: float, seed: int) -> dict[str, int]:
    """Rounds that each client is asked in; who is asked depends on the seed alone and is public."""
    counts = dict.fromkeys(names, 0)
    for number in range(1, rounds + 1):
        for name in participants(names, fraction, number, seed):
            counts[name] += 1
    return counts


def asked_steps(
    per_round: Mapping[str, int], rounds: int, fraction: float, seed: int, first: int = 0
) -> dict[str, tuple[tuple[int, int], ...]]:
    """The steps that each client makes in the rounds that it is asked in, numbered as if it were asked in all.

    Args:
        per_round: client -> its steps in a round.
        rounds: from the first.
        fraction: of the clients that are asked.
        seed: of the run.
        first: steps of every client before the first round.

    Returns:
        Client -> disjoint ascending [first step, one past the last).
    """
    ranges_of = {name: [(0, first)] for name in per_round}
    for number in range(1, rounds + 1):
        for name in participants(list(per_round), fraction, number, seed):
            start = first + (number - 1) * per_round[name]
            ranges_of[name].append((start, start + per_round[name]))
    return {name: joined(ranges) for name, ranges in ranges_of.items()}


def rounds_within(
    names: Sequence[str], rounds: int, fraction: float, seed: int, most_rounds: Callable[[str], int]
) -> int:
    """The rounds, from the first, that no client is asked in more often than it is allowed."""
    counts = dict.fromkeys(names, 0)
    for number in range(1, rounds + 1):
        for name in participants(names, fraction, number, seed):
            counts[name] += 1
            if counts[name] > most_rounds(name):
                return number - 1
    return rounds
