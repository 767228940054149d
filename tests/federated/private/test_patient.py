from dataclasses import replace

import numpy as np
import pytest

from federated.config import FederateConfig
from federated.engine import records
from federated.private.patient import PatientPrivacy, check, check_model
from federated.private.site_key import FILE, with_key
from medimg.audit.claim import claim_of
from medimg.errors import InputError
from medimg.models.tabular import build_tabular
from medimg.privacy import ledger
from medimg.privacy.accounting import pld_epsilon
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment
from medimg.privacy.statement import summary

DELTA = 1e-3
CONFIG = FederateConfig(dp="patient", dp_epsilon=4.0, dp_delta=DELTA, batch_size=20, local_epochs=2)
PATIENTS = {"a": 100, "b": 50, "c": 12}


@pytest.fixture
def sites(tmp_path):
    found = []
    for name, patients in PATIENTS.items():
        folder = tmp_path / "records" / name
        rows = 2 * patients
        owners = [f"{name}{i // 2}" for i in range(rows)]
        data = records.write(folder, name, np.zeros((rows, 1)), np.zeros(rows, int), units=owners)
        found.append(with_key(data))
    return found


@pytest.fixture
def make(tmp_path, dataset, sites):
    def private(config=CONFIG, rounds=4, data=None):
        config = replace(config, rounds=rounds)
        return PatientPrivacy(tmp_path / "run", dataset, data or sites, config, rounds)

    return private


def content(tmp_path):
    return ledger.read(tmp_path / "run")


@pytest.mark.slow
def test_every_site_stays_within_the_budget_and_the_total_is_the_largest(make, tmp_path):
    private = make()
    for number in (1, 2, 3, 4):
        private.before_round(number, list(PATIENTS), {})
    told = content(tmp_path)
    for name, patients in PATIENTS.items():
        site, passes = told["sites"][name], -(-patients // 20)
        q = 1 / passes
        steps = 4 * 2 * passes
        event = Mechanism.poisson(q, site["noise_multiplier"]).event([(0, steps)])
        assert site["steps"] == steps
        # Whoever reads it learns the steps of a pass, and not the number of patients.
        assert "patients" not in site
        assert site["sampling_probability"] == pytest.approx(q)
        assert site["epsilon"]["pld"] == pytest.approx(pld_epsilon([event], DELTA), rel=1e-6)
        # The least noise: all of the budget is used, and no more.
        assert 3.95 < site["epsilon"]["pld"] <= 4.0
    assert told["epsilon"]["pld"] == max(s["epsilon"]["pld"] for s in told["sites"].values())
    assert told["epsilon"]["pld_without_amplification"] > told["epsilon"]["pld"]
    assert told["unit"] == "patient"
    assert "units" not in told
    # A small site pays with more noise for a step, not with its patients' privacy.
    noises = [told["sites"][name]["noise_multiplier"] for name in "abc"]
    assert noises == sorted(noises)


def test_what_reads_ledgers_reads_this_one(make, tmp_path):
    private = make()
    private.before_round(1, ["a", "b"], {})
    run = type("Run", (), {"root": tmp_path / "run"})
    told = content(tmp_path)
    assert claim_of(run).epsilon == pytest.approx(told["epsilon"]["pld"])
    text = summary(told)
    assert "162" not in text
    assert "parallel composition" in text
    assert told["sites"]["c"]["epsilon"]["pld"] == 0
    assert {segment.phase for segment in ledger.segments_of(told)} == {"a", "b"}
    assert any("simulated in one process" in text for text in told["assumptions"])
    assert not any("history.csv" in text for text in told["assumptions"])
    summed = private.summary()
    assert summed["total"]["epsilon"] == told["epsilon"]
    assert "events" not in summed["sites"]["a"]


def test_a_round_is_written_down_first_and_repeated_for_nothing(make, tmp_path):
    private = make()
    private.before_round(1, list(PATIENTS), {})
    before = content(tmp_path)
    # Killed, and begun again.
    again = make()
    assert again.plans == private.plans
    assert again.training == private.training
    again.before_round(1, list(PATIENTS), {})
    assert content(tmp_path) == before
    again.before_round(2, ["a"], {})
    steps = {name: site["steps"] for name, site in content(tmp_path)["sites"].items()}
    assert steps["a"] == 2 * before["sites"]["a"]["steps"]
    assert steps["b"] == before["sites"]["b"]["steps"]


def test_the_audit_log_is_told_what_the_round_spends(make, tmp_path):
    private = make()
    private.before_round(1, ["a", "b"], {})
    private.before_round(2, ["b"], {})
    told = private.events(2)["privacy"]
    assert told["epsilon"] == content(tmp_path)["epsilon"]
    assert told["unit"] == "patient"
    assert list(told["events"]) == ["b"]
    assert told["events"]["b"]["count"] == 6
    assert told["events"]["b"]["event"]["type"] == "PoissonSampledDpEvent"


def test_a_straggler_spends_the_steps_that_it_does(make, tmp_path):
    private = make()
    private.before_round(1, ["a", "b"], {"a": 0.5})
    sites = content(tmp_path)["sites"]
    assert sites["a"]["steps"] == 5
    assert sites["b"]["steps"] == 6


@pytest.mark.slow
def test_a_lost_key_is_a_new_draw_that_the_budget_still_covers(make, tmp_path, sites):
    first = make()
    first.before_round(1, ["a"], {})
    (tmp_path / "records" / "a" / FILE).unlink()
    anew = make(data=[with_key(site) for site in sites])
    assert anew.plans["a"].site.noise_multiplier > first.plans["a"].site.noise_multiplier
    assert anew.plans["b"] == first.plans["b"]
    for number in (1, 2, 3, 4):
        anew.before_round(number, ["a"], {})
    told = content(tmp_path)["sites"]["a"]
    assert told["steps"] == 5 * 10
    assert 3.9 < told["epsilon"]["pld"] <= 4.0


def test_rounds_end_with_the_budget_of_a_given_noise(make, sites):
    config = replace(CONFIG, dp_noise_multiplier=3.0)
    private = make(config, rounds=40, data=sites[2:])
    assert 0 < private.rounds < 40
    allowed = min(plan.steps // plan.steps_per_round for plan in private.plans.values())
    assert private.rounds == allowed
    assert any(f"allows {private.rounds} of 40 rounds" in text for text in private.sentences())
    for number in range(1, private.rounds + 1):
        private.before_round(number, ["c"], {})
    with pytest.raises(InputError, match=r"client c: round .* would pass its privacy budget"):
        private.before_round(private.rounds + 1, ["c"], {})


def test_clients_plan_for_the_rounds_that_they_are_asked_in(make):
    given = replace(CONFIG, dp_epsilon=None, dp_noise_multiplier=3.0)
    plans = make(replace(given, client_fraction=0.34), rounds=6).plans
    assert sum(plan.rounds for plan in plans.values()) == 6
    assert all(plan.steps == plan.rounds * plan.steps_per_round for plan in plans.values())
    assert {plan.rounds for plan in make(given, rounds=6).plans.values()} == {6}


@pytest.mark.slow
def test_a_budget_of_the_dataset_covers_other_runs_and_is_reserved(make, tmp_path, dataset, sites):
    shared = DatasetLedger(dataset.root)
    before = Segment("other", "train", "d", Mechanism.poisson(0.2, 2.0), ((0, 20),))
    shared.append(before)
    config = replace(CONFIG, dp_budget="dataset", rounds=4)
    private = make(config)
    for plan in private.plans.values():
        events = [before.event(), plan.mechanism.event([(0, plan.steps)])]
        assert 3.9 < pld_epsilon(events, DELTA) <= 4.0
    # Before the first round: nothing is left for whoever starts now.
    held = {s.phase: s.steps for s in shared.entries().reserved}
    assert held == {name: plan.steps for name, plan in private.plans.items()}
    with pytest.raises(InputError, match="already spent"):
        PatientPrivacy(tmp_path / "second", dataset, sites, config, 4)
    private.before_round(1, list(PATIENTS), {})
    # Killed, it goes on as it was planned.
    again = make(config)
    assert again.plans == private.plans
    again.before_round(2, list(PATIENTS), {})
    again.complete()
    assert shared.entries().reserved == ()


def test_the_end_counts_the_datasets_runs(make, tmp_path, dataset):
    private = make()
    private.before_round(1, list(PATIENTS), {})
    private.complete()
    told = content(tmp_path)
    assert told["status"] == "complete"
    assert told["dataset"]["runs"] == 1
    # Alone on the Dataset, the Run's own parallel total.
    assert told["dataset"]["epsilon"] == told["epsilon"]
    assert {s.phase for s in DatasetLedger(dataset.root).entries().recorded} == set(PATIENTS)
    # Killed before its report, it is begun again with nothing left to train.
    again = make()
    assert again.plans == private.plans
    again.complete()
    assert content(tmp_path) == told


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"strategy": "fedsgd"}, "--strategy fedsgd"),
        ({"strategy": "mimelite"}, "--strategy mimelite"),
        ({"personalize_epochs": 2}, "--personalize-epochs 2"),
        ({"dp_clip": float("inf")}, "--dp-clip inf"),
        ({"dp_epsilon": None}, "--dp-epsilon"),
    ],
)
def test_options_against_privacy(options, named):
    with pytest.raises(InputError, match=named):
        check(replace(CONFIG, **options))


def test_delta_is_below_one_over_the_patients_of_every_site(make):
    with pytest.raises(InputError, match=r"--dp-delta 0\.015: client a has 100 patients"):
        make(replace(CONFIG, dp_delta=0.015))


def test_a_penalty_on_weights_is_refused():
    with pytest.raises(InputError, match="--model-arg l2=0"):
        check_model(build_tabular("logistic", 3, 2, 0.0, {"l2": 0.1}))
    check_model(build_tabular("logistic", 3, 2, 0.0, {"l2": 0.0}))


def test_numbers_are_finite(make):
    private = make()
    assert all(np.isfinite(plan.site.noise_multiplier) for plan in private.plans.values())
    assert len(private.sentences()) == 1 + len(PATIENTS)
    steps = private.engine_arguments()["steps"]
    # Of a small site, too: its own number would tell how many patients it has.
    assert steps.sites["c"].expected_patients == 20
