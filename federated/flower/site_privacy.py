"""`--dp patient` at a site of its own: it settles, draws, clips, adds noise and keeps the account by itself.

What the coordinator is told is what its own account needs: noise, steps of a pass and of a round, and how many it may
ask for; not how many patients there are.
"""

from pathlib import Path

from federated.config import FederateConfig
from federated.engine.records import ClientData
from federated.flower.description import whole_number
from federated.flower.policy import PolicyError
from federated.private.noise_shares import NoiseShares
from federated.private.patient import PatientPrivacy
from federated.private.site_plan import SitePlan
from federated.private.steps import SiteMechanism
from medimg.data.dataset import Dataset
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.sampling import steps_per_pass


def protect(
    dataset: Dataset,
    data: ClientData,
    config: FederateConfig,
    folder: Path,
    start: str,
    budget: float | None,
    shares: NoiseShares | None = None,
) -> PatientPrivacy:
    """Settle what a training costs this site's patients, and set it aside in the Dataset's ledger.

    Args:
        dataset: at the site.
        data: its records, with the site's key.
        config: options.
        folder: for the account of this training.
        start: what it begins with.
        budget: most epsilon over all trainings on the Dataset, by the site's policy; None: no limit.
        shares: of the noise, with `--noise distributed`.

    Raises:
        InputError: options that go against privacy, or more than the budget.
    """
    if config.client_fraction < 1:
        raise PolicyError("--client-fraction: with --dp patient at sites of their own, all take part; leave it out")
    folder.mkdir(parents=True, exist_ok=True)
    privacy = PatientPrivacy(folder, dataset, [data], config, config.rounds, also={"start": start}, shares=shares)
    if privacy.ledger.spending.unwritten:
        # Another run would not know of this one.
        raise PolicyError("dp: the ledger of this site's Dataset can't be written; make it writable there")
    if budget is not None:
        delta = config.dp_delta
        spent = min(epsilon_of(DatasetLedger(dataset.root).events(), delta).values())
        if spent > budget:
            privacy.ledger.spending.release()
            raise PolicyError(
                f"dp budget: with this training epsilon over all runs on the site's Dataset would be {spent:.3g} at "
                f"delta {delta:g}, {budget:g} are allowed"
            )
    return privacy


def plan_summary(privacy: PatientPrivacy, name: str) -> dict:
    """What the coordinator is told of a site's plan."""
    plan = privacy.plans[name]
    return {
        "expected_patients": plan.site.expected_patients,
        "noise_multiplier": plan.site.noise_multiplier,
        "steps_per_pass": steps_per_pass(plan.site.patients, plan.site.expected_patients),
        "steps_per_round": plan.steps_per_round,
        "rounds": min(plan.rounds, privacy.rounds),
        "steps": plan.steps,
    }


def plan_told(values: dict) -> SitePlan:
    """The plan that `plan_summary` is of, with the largest number of patients that has its steps of a pass.

    Raises:
        KeyError, TypeError, ValueError: it is something else, or of numbers that no account can be made of.
    """
    names = ("expected_patients", "steps_per_pass", "steps_per_round", "rounds", "steps")
    numbers = {name: whole_number(values[name], least=1) for name in names}
    expected, noise = numbers["expected_patients"], float(values["noise_multiplier"])
    if noise and not 1e-9 <= noise <= 1e9:
        raise ValueError("no noise")
    site = SiteMechanism(numbers["steps_per_pass"] * expected, expected, noise)
    return SitePlan(site, numbers["steps_per_round"], numbers["rounds"], numbers["steps"])
