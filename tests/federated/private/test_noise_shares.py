"""What sites that share the noise agree on: who is counted on, what fits, and what is refused in one line."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from federated.config import FederateConfig
from federated.engine import records
from federated.private.noise_shares import NoiseShares, colluding, threshold_of
from federated.private.patient import PatientPrivacy, check
from federated.private.shared_plan import shared_plan_of
from federated.private.site_key import with_key
from federated.report.words import accounting
from federated.secure.fixed_point import FixedPoint
from medimg.errors import InputError
from medimg.privacy import ledger
from medimg.privacy.accounting import pld_epsilon
from medimg.privacy.card import privacy_section
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.statement import summary
from medimg.privacy.summed_mechanism import SummedMechanism

CONFIG = FederateConfig(
    model="logistic",
    dp="patient",
    dp_epsilon=4.0,
    dp_delta=1e-3,
    batch_size=20,
    rounds=4,
    secure="masking",
    secure_threshold=4,
    noise="distributed",
)


def shares(clients, threshold, **more) -> NoiseShares:
    return NoiseShares(
        **{"clients": clients, "threshold": threshold, "clip": 0.01, "dimension": 9, "limit": 1e3} | more
    )


@pytest.mark.parametrize(
    ("clients", "threshold", "honest"),
    [(3, 3, 2), (4, 3, 2), (4, 4, 3), (5, 4, 2), (5, 5, 3), (7, 6, 3), (7, 7, 4), (50, 38, 14)],
)
def test_who_is_counted_on(clients, threshold, honest):
    found = shares(clients, threshold)
    assert found.shares == honest
    # Fewer than half of all sites collude.
    assert 1 <= colluding(clients) < clients / 2
    assert found.mechanism(2.0).shares == honest


@pytest.mark.parametrize("clients", range(3, 30))
def test_no_two_lists_of_a_round_are_confirmed(clients):
    """By brute force over how the honest sites could be split between two lists, of which each confirms one."""
    false, least = colluding(clients), threshold_of(0, clients)

    def two_lists(threshold):
        honest = clients - false
        return any(here + false >= threshold and honest - here + false >= threshold for here in range(honest + 1))

    assert not two_lists(least)
    # It is the fewest of which that holds.
    assert two_lists(least - 1) or least - 1 - false < 2
    assert shares(clients, least).shares >= 2


@pytest.mark.parametrize(
    ("clients", "threshold", "why"),
    [
        (2, 2, "of 2 sites one may collude, and the other then has to add all the noise, as with --noise local"),
        (4, 5, "--secure-threshold 5: there are 4 sites; give 4 or less"),
        (3, 2, "has one honest share for certain.* nothing is gained over --noise local; give 3 or more"),
        (5, 3, "--secure-threshold 3: a sum of 3 of 5 sites, 2 of whom may collude"),
        (6, 4, "two sums of a round could be opened, whose difference is the update of a site.*; give 5 or more"),
    ],
)
def test_where_nothing_is_gained_or_a_share_would_show(clients, threshold, why):
    with pytest.raises(InputError, match=why) as error:
        shares(clients, threshold)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("clip", [0.3, 1.0, 1 / 320, 7e-7, 1234.5])
def test_the_grid_is_one_that_masking_holds(clip):
    found = shares(4, 4, clip=clip)
    assert 2**20 <= found.sensitivity < 2**21
    assert Fraction(found.unit) * found.sensitivity <= Fraction(clip)
    fixed = FixedPoint(found.limit, 1.0, 4, 64)
    assert (Fraction(found.unit) / Fraction(fixed.unit)).denominator == 1


def test_numbers_that_do_not_hold_the_grid():
    with pytest.raises(InputError, match="--secure-bits 64 or lower the limit"):
        shares(4, 4, bits=32)
    with pytest.raises(InputError, match="do not hold steps of"):
        shares(4, 4, clip=1e-30)
    roomy = shares(4, 4, limit=2.0)
    roomy.check_room(190, 1.0)
    # 200 patients of 0.01 reach the limit without noise, 199 with it.
    with pytest.raises(InputError, match="--secure-limit 2: the update of a site with its noise may reach"):
        roomy.check_room(199, 1.0)
    with pytest.raises(InputError, match="--secure-limit 2"):
        roomy.check_room(1, 100.0)


REFUSED = [
    ({"secure": "none"}, "--secure none"),
    ({"secure": "ckks"}, "--secure ckks"),
    ({"strategy": "fedprox"}, "--strategy fedprox"),
    ({"strategy": "scaffold"}, "--strategy scaffold"),
    ({"strategy": "fedbn"}, "--strategy fedbn"),
    ({"local_epochs": 2}, "--local-epochs 2"),
    ({"local_steps": 3}, "--local-steps 3"),
    ({"client_optimizer": "adam"}, "--client-optimizer adam"),
    ({"client_fraction": 0.5}, "--client-fraction 0.5"),
    ({"dp_budget": "dataset"}, "--dp-budget dataset"),
]


@pytest.mark.parametrize(("options", "named"), REFUSED)
def test_options_that_go_against_it(options, named):
    with pytest.raises(InputError, match=named) as error:
        check(FederateConfig(**{**CONFIG.given(), **options}))
    assert "\n" not in str(error.value)
    assert "--noise distributed" in str(error.value)


@pytest.mark.parametrize("strategy", ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_whatever_the_server_makes_of_the_sum(strategy):
    check(replace(CONFIG, strategy=strategy))


@pytest.fixture
def sites(tmp_path):
    made = []
    for name, patients in {"a": 100, "b": 50, "c": 12, "d": 30}.items():
        owners = [f"{name}{i // 2}" for i in range(2 * patients)]
        folder = tmp_path / "records" / name
        made.append(
            with_key(records.write(folder, name, np.zeros((len(owners), 1)), np.zeros(len(owners), int), units=owners))
        )
    return made


@pytest.fixture
def private(tmp_path, dataset, sites):
    agreed = NoiseShares.of(CONFIG, 4, 3)
    return PatientPrivacy(tmp_path / "run", dataset, sites, CONFIG, CONFIG.rounds, shares=agreed)


def test_every_site_counts_the_sum_in_full(private, tmp_path, dataset):
    """By hand: rounds of one release of the honest shares; in the ledger of the Dataset too."""
    for number in (1, 2, 3, 4):
        private.before_round(number, list("abcd"), {})
    told = ledger.read(tmp_path / "run")
    mechanism = private.plans["a"].mechanism
    assert (mechanism.shares, mechanism.dimension) == (3, 3)
    spent = pld_epsilon([mechanism.event([(0, 4)])], CONFIG.dp_delta)
    assert 3.95 < spent <= 4.0
    for site in told["sites"].values():
        assert (site["epsilon"]["pld"], site["steps"]) == (spent, 4)
    assert told["epsilon"]["pld"] == spent
    # As if each patient were at every site.
    assert pld_epsilon(DatasetLedger(dataset.root).events(), CONFIG.dp_delta) == pytest.approx(
        pld_epsilon([mechanism.event([(0, 16)])], CONFIG.dp_delta), rel=1e-12
    )
    assert "Distributed discrete Gaussian" in told["mechanism"]
    for event in told["events"]:
        assert event["event"]["event"]["type"] == "SummedNoiseDpEvent"
        assert event["event"]["event"]["shares"] == 3


def test_what_it_rests_on_is_said(private, tmp_path):
    private.before_round(1, list("abcd"), {})
    told = ledger.read(tmp_path / "run")
    said = " ".join(told["assumptions"])
    assert "masked sum of 4 or more of them carries 3 shares for certain" in said
    assert "at most 1 of the sites collude" in said
    assert "Not covered: more colluding sites than that" in said
    # What holds of other noise alone is not said.
    for other in ("Poisson sampling", "floating point", "not cryptographic", "given noisy updates only"):
        assert other not in said
    assert any("at most 1 of the sites collude" in line for line in private.sentences())
    words = summary(told, "row")
    assert "by Renyi accounting" in words
    assert "privacy loss distributions" not in words
    assert "every one that takes part" in words
    card = privacy_section(told, "row")
    assert "by Renyi accounting, which is the claim" in card
    assert "privacy loss distributions" not in card
    assert accounting(private.summary())["pld"] == "by Rényi accounting, which is the claim"
    assert accounting({"sites": {"a": {}}})["pld"] == accounting(None)["pld"] == "by privacy loss distributions"


def test_sites_whose_noise_differs_make_no_sum(tmp_path, dataset, sites):
    agreed = NoiseShares.of(CONFIG, 4, 3)
    plans = {site.name: shared_plan_of(site, 4, agreed, CONFIG) for site in sites}
    less = replace(CONFIG, dp_epsilon=None, dp_noise_multiplier=0.5)
    plans["b"] = shared_plan_of(sites[1], 4, agreed, less)
    with pytest.raises(InputError, match="--noise distributed: the sites have settled on noise that differs"):
        PatientPrivacy(tmp_path / "run", dataset, sites, CONFIG, 4, site_plans=plans, shares=agreed)


def test_noise_is_the_same_however_many_patients(sites):
    agreed = NoiseShares.of(CONFIG, 4, 3)
    plans = [shared_plan_of(site, 4, agreed, CONFIG) for site in sites]
    assert len({plan.site.noise_multiplier for plan in plans}) == 1
    assert all(isinstance(plan.mechanism, SummedMechanism) for plan in plans)
    assert {(plan.steps_per_round, plan.rounds, plan.steps) for plan in plans} == {(1, 4, 4)}
