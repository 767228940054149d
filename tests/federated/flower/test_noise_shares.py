"""Noise in shares between sites of their own: the simulation's account and weights, and a coordinator that thins it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.flower import protocol
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.dataset_ledger import DatasetLedger
from tests.datasets import write_table
from tests.federated.flower.conftest import QUICK, AwayError, largest, rounds, told
from tests.federated.flower.test_attacks import Attacker

SHARED = replace(
    QUICK,
    secure="masking",
    secure_threshold=3,
    rounds=2,
    dp="patient",
    dp_epsilon=6.0,
    dp_delta=1e-2,
    noise="distributed",
)
# So little noise that what is left of two Runs' difference is not it.
QUIET = replace(SHARED, dp_epsilon=None, dp_noise_multiplier=1e-6)
PLAN = FederateConfig(
    model="logistic",
    rounds=2,
    batch_size=8,
    secure="masking",
    secure_threshold=3,
    dp="patient",
    dp_epsilon=0.1,
    dp_delta=1e-4,
    noise="distributed",
    model_arg={"l2": "0"},
)
SITES = ("s0", "s1", "s2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "data", n=160)


@pytest.fixture
def attacker(data, tmp_path):
    policy = {"dp": {"noise": "distributed"}, "sites": [f"{name}.pub" for name in SITES]}
    made = Attacker(data, tmp_path / "attack", policy, SITES)
    yield made
    for site in made.sites.values():
        site.close()


def trained(attacker):
    """A site that has trained the first round and holds its update; the digest of what it started from."""
    attacker.planned(PLAN)
    assert protocol.REFUSED not in attacker.train().fields
    return start_at(attacker, "s0")


def start_at(attacker, name, plan=PLAN):
    """Of the first round, as of a site with the noise that it has settled on."""
    noise = attacker.sites[name]._training._privacy.shared_step().mechanism.noise_multiplier
    return attacker.start(attacker.plan(plan), noise=noise)


def test_a_site_holds_whole_numbers_and_sends_none(attacker):
    trained(attacker)
    training = attacker.sites["s0"]._training
    _, held, _ = training.held
    in_steps = held / training._privacy.shares.unit
    assert held.dtype == np.float64
    assert (in_steps == np.rint(in_steps)).all()
    # float32, in which other updates are held, would have rounded some.
    assert (held.astype(np.float32) != held).any()


def test_a_lowered_threshold_is_refused_by_the_site(attacker):
    """The sum of two sites would open with two shares, and one of the two may be the coordinator's own."""
    start = trained(attacker)
    refused = attacker.advertise(start, threshold=2, max_weight=1.0).fields[protocol.REFUSED]
    assert "round 1: the secure sum opens from 2 sites on, and the noise is that of 3" in refused
    assert "content" in attacker.advertise(start, threshold=3, max_weight=1.0).arrays


def test_a_sum_in_coarser_steps_is_refused_by_the_site(attacker):
    """Each site's share would be rounded by itself: of steps as large as the noise little is left of it."""
    start = trained(attacker)
    refused = attacker.advertise(start, threshold=3, max_weight=2.0**30).fields[protocol.REFUSED]
    assert "coarser steps than the noise was drawn on" in refused


def test_a_site_started_anew_holds_the_same_and_counts_it_once(attacker):
    """Other noise on the same sums would be a second release."""
    trained(attacker)
    before = attacker.sites["s0"]._training.held[1]
    attacker.restart()
    trained(attacker)
    training = attacker.sites["s0"]._training
    assert (training.held[1] == before).all()
    assert training._privacy.ledger.steps("s0") == 1


def test_sites_that_were_told_of_other_rounds_are_in_no_sum_together(attacker):
    """A plan may go on for more rounds; whoever is told of few adds less noise than those of many count on."""
    long = replace(PLAN, rounds=40)
    for name, plan in (("s0", long), ("s1", PLAN)):
        attacker.planned(plan, [name])
        assert protocol.REFUSED not in attacker.train(to=name).fields
    variances = [attacker.sites[n]._training._privacy.shared_step().mechanism.share_variance for n in ("s0", "s1")]
    assert variances[0] > 10 * variances[1]
    theirs, its = start_at(attacker, "s1"), start_at(attacker, "s0", long)
    refused = attacker.advertise(theirs, threshold=3, max_weight=1.0).fields[protocol.REFUSED]
    assert "round 1: other sites were given another plan" in refused
    assert "content" in attacker.advertise(its, threshold=3, max_weight=1.0).arrays
    assert "content" in attacker.advertise(theirs, to="s1", threshold=3, max_weight=1.0).arrays


def test_a_round_has_one_share_of_a_site(attacker):
    """Another Run clears the records away, and the key: two sums with the same shares of others halve the new one's."""
    plan = replace(PLAN, dp_epsilon=None, dp_noise_multiplier=60.0)
    attacker.planned(plan, ["s0"])
    assert protocol.REFUSED not in attacker.train().fields
    key, held = attacker.sites["s0"]._training.data.key, attacker.sites["s0"]._training.held[1]
    # The same again is the same.
    attacker.restart("s0")
    attacker.planned(plan, ["s0"])
    assert protocol.REFUSED not in attacker.train().fields
    assert (attacker.sites["s0"]._training.held[1] == held).all()
    attacker.describe(private=True, run="another")
    assert protocol.REFUSED not in attacker.ask(protocol.PLAN, *attacker.plan(plan)).fields
    attacker.planned(plan, ["s0"])
    assert attacker.sites["s0"]._training.data.key != key
    assert "update of round 1: was answered before" in attacker.train().fields[protocol.REFUSED]
    assert attacker.sites["s0"]._training.held is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"secure_threshold": 2}, "nothing is gained over --noise local"),
        ({"secure_threshold": 0}, "the plan has no --secure-threshold"),
        ({"secure": "ckks"}, "--secure ckks"),
        ({"secure": "none"}, "--secure none"),
        ({"secure_bits": 32}, "--secure-bits 64"),
        ({"local_steps": 5}, "--local-steps 5"),
    ],
)
def test_a_plan_that_goes_against_it_is_refused_by_the_site(attacker, options, why):
    attacker.describe(private=True)
    assert why in attacker.refusal(protocol.PLAN, *attacker.plan(replace(PLAN, **options)))


def test_an_invented_site_is_refused_by_the_policy(attacker):
    fields, arrays = attacker.plan(PLAN)
    fields["roster"]["s3"] = fields["roster"]["s0"]
    attacker.describe(private=True)
    assert "sites: s3 are not those" in attacker.refusal(protocol.PLAN, fields, arrays)


@pytest.mark.usefixtures("sparing")
@pytest.mark.slow
class TestTraining:
    """Over the stand-in for the link."""

    def test_it_is_the_simulation(self, apart, simulated, execution, tmp_path):
        run = apart(QUIET).federate(tmp_path / "run", QUIET, execution)
        assert largest(run, simulated(QUIET)) < 1e-5
        start = run.model().get_weights()
        assert max(np.abs(array).max() for array in start) > 1e-2

    def test_the_account_is_the_simulations_and_the_sites_own(self, apart, simulated, execution, tmp_path):
        there = apart(SHARED)
        run = there.federate(tmp_path / "run", SHARED, execution)
        one, other = told(simulated(SHARED), "privacy.json"), told(run, "privacy.json")
        assert one["epsilon"] == other["epsilon"]
        assert 5.9 < one["epsilon"]["pld"] <= 6.0
        for name, folder in there.folders.items():
            assert one["sites"][name]["epsilon"] == other["sites"][name]["epsilon"]
            # Its Dataset counts the sum in full, as if it had added all the noise by itself.
            assert epsilon_of(DatasetLedger(folder / "data").events(), 1e-2) == other["sites"][name]["epsilon"]
            (own,) = (folder / "ledger").glob("*/privacy.json")
            assert "at most 1 of the sites collude" in " ".join(json.loads(own.read_text())["assumptions"])
        # The weights differ by noise: every site draws its own.
        assert largest(run, simulated(SHARED)) > 1e-3

    def test_a_site_that_is_lost_leaves_no_sum_below_the_threshold(self, apart, execution, tmp_path):
        there = apart(SHARED)

        def wire(name, head, deliver):
            gone = name == "s1" and head["kind"] == "mask" and head["fields"] == {"round": 1, "stage": "mask"}
            if gone:
                there.link.away.add(name)
                raise AwayError
            if head["kind"] == "train":
                there.link.away.clear()
            return deliver()

        there.link.wire = wire
        config = replace(SHARED, site_patience=0.1)
        run = there.federate(tmp_path / "run", config, execution)
        rows = pd.read_csv(run.root / "history.csv")
        # Nothing was learnt in the first round, and it counts all the same.
        assert rows["participants"].tolist()[0] == 0
        assert told(run, "privacy.json")["sites"]["s0"]["steps"] == 2


@pytest.mark.parametrize("delivered", [True, False], ids=["its answer is lost", "it was never asked"])
@pytest.mark.parametrize("noise", ["local", "distributed"])
def test_a_site_counts_what_it_was_asked_and_the_coordinator_what_it_asked(
    apart, execution, tmp_path, noise, delivered
):
    there = apart(replace(SHARED, noise=noise))

    def wire(name, head, deliver):
        there.link.away.clear()
        if name == "s1" and head["kind"] == "train" and head["fields"]["round"] == 2:
            there.link.away.add(name)
            if delivered:
                deliver()
            raise AwayError
        return deliver()

    there.link.wire = wire
    run = there.federate(tmp_path / "run", replace(SHARED, noise=noise, site_patience=0.1), execution)
    assert rounds(run, "s1")[2] != "ok"
    # Of three sites two open no sum of three, and what is counted is counted.
    assert list(run.history()["participants"]) == [3, 0]
    sites = told(run, "privacy.json")["sites"]
    for name, folder in there.folders.items():
        own = sum(segment.steps for segment in DatasetLedger(folder / "data").entries().recorded)
        per_round = sites[name]["steps"] // 2
        assert sites[name]["steps"] == 2 * per_round
        assert own == (2 if name != "s1" or delivered else 1) * per_round
