"""policy.yaml: every entry refuses what it says, by name, and the words that 'policy check' says are those."""

from dataclasses import replace
from datetime import datetime, time

import pytest
import yaml

from federated.config import FederateConfig
from federated.flower import keys
from federated.flower.policy import Policy
from federated.flower.policy_words import sentences
from federated.flower.runs import approve
from federated.secure.terms import SumTerms
from medimg.errors import InputError

CONFIG = FederateConfig(model="logistic", rounds=5)
PRIVATE = replace(CONFIG, dp="patient", dp_epsilon=3.0, dp_delta=1e-5)
MASKED = replace(CONFIG, secure="masking")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Folder with key files of a coordinator and three sites."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("coordinator", "paris", "rome", "oslo"):
        keys.make(name, folder)
    return folder


@pytest.fixture
def policy(known):
    """(entries) -> Policy of such a file."""

    def read(**entries):
        path = known / "policy.yaml"
        path.write_text(yaml.safe_dump({"coordinators": ["coordinator.pub"], **entries}))
        return Policy.read(path)

    return read


def roster(folder, *names):
    return {name: keys.Party.read(folder / f"{name}.pub").identity.hex() for name in names}


# Entry and value, options that it refuses, those that it lets by, and the refusal.
PLANS = [
    ({"models": ["mlp"]}, CONFIG, replace(CONFIG, model="mlp"), "models: logistic is not among mlp"),
    ({"strategies": ["fedprox"]}, CONFIG, replace(CONFIG, strategy="fedprox"), "strategies: fedavg is not among"),
    ({"max_rounds": 4}, CONFIG, replace(CONFIG, rounds=4), "max_rounds: 5 are asked for, 4 allowed"),
    ({"secure": "required"}, CONFIG, MASKED, "secure: updates of this site leave in a secure sum alone"),
    ({"dp": {"unit": "patient"}}, CONFIG, PRIVATE, "dp: this site trains with --dp patient alone"),
    (
        {"dp": {"unit": "patient"}},
        replace(CONFIG, dp="client", dp_epsilon=3.0),
        PRIVATE,
        "dp: this site trains with --dp patient alone",
    ),
    ({"dp": {"epsilon": 2}}, PRIVATE, replace(PRIVATE, dp_epsilon=2.0), "dp epsilon: 3.0 is asked for, 2 allowed"),
    (
        {"dp": {"epsilon": 2}},
        replace(PRIVATE, dp_epsilon=None, dp_noise_multiplier=0.1),
        replace(PRIVATE, dp_epsilon=1.0),
        "dp epsilon: None is asked for, 2 allowed",
    ),
    ({"dp": {"delta": 1e-6}}, PRIVATE, replace(PRIVATE, dp_delta=1e-6), "dp delta: 1e-05 is asked for, 1e-06 allowed"),
]


@pytest.mark.parametrize(("entries", "refused", "allowed", "why"), PLANS)
def test_each_entry_refuses_what_it_says_and_no_more(policy, tmp_path, entries, refused, allowed, why):
    found = policy(**entries)
    with pytest.raises(InputError, match=why) as error:
        found.check_plan(refused, "run", {}, tmp_path)
    assert "\n" not in str(error.value)
    found.check_plan(allowed, "run", {}, tmp_path)
    # It is the entry that refuses.
    policy().check_plan(refused, "run", {}, tmp_path)


def test_a_share_of_the_noise_where_the_policy_says_so(policy, known, tmp_path):
    """Local noise is more, and always let by; of sites that anybody could invent none is counted on."""
    shared = replace(PRIVATE, secure="masking", noise="distributed")
    named = roster(known, "paris", "rome", "oslo")
    listed = {"sites": [f"{name}.pub" for name in named]}
    found = policy(dp={"noise": "distributed"}, **listed)
    found.check_plan(shared, "run", named, tmp_path)
    found.check_plan(replace(shared, noise="local"), "run", named, tmp_path)
    with pytest.raises(
        InputError, match="sites: noise in shares counts on the other sites, and this policy lists none"
    ):
        policy(dp={"noise": "distributed"}).check_plan(shared, "run", named, tmp_path)
    for closed in (policy(dp={"noise": "local"}, **listed), policy(dp={"epsilon": 3}, **listed), policy(**listed)):
        with pytest.raises(InputError, match="dp noise: this site adds all its noise by itself"):
            closed.check_plan(shared, "run", named, tmp_path)
    assert "all noise by itself, or a share of it" in " ".join(sentences(found))
    assert "as long as fewer than half of the sites of 'sites' collude" in " ".join(sentences(found))
    assert "share" not in " ".join(sentences(policy(dp={"noise": "local"}, **listed)))
    with pytest.raises(InputError, match="'dp': must be one of local, distributed"):
        policy(dp={"noise": "none"})


def test_a_choice_among_the_sites_that_share_the_noise(policy, known, tmp_path):
    """Of five sites two may collude; a coordinator that asks three of them chooses those two."""
    shared = replace(PRIVATE, secure="masking", noise="distributed")
    for name in ("bern", "wien"):
        keys.make(name, known)
    every = ("paris", "rome", "oslo", "bern", "wien")
    found = policy(dp={"noise": "distributed"}, sites=[f"{name}.pub" for name in every])
    for asked in (every[:3], every[:4]):
        with pytest.raises(InputError, match=f"sites: of the 5 .* 2 may collude, and a federation of {len(asked)} "):
            found.check_plan(shared, "run", roster(known, *asked), tmp_path)
    found.check_plan(shared, "run", roster(known, *every), tmp_path)
    # Local noise counts on nobody.
    found.check_plan(replace(shared, noise="local"), "run", roster(known, *every[:3]), tmp_path)
    # Of four sites one may collude, as of three.
    four = policy(dp={"noise": "distributed"}, sites=[f"{name}.pub" for name in every[:4]])
    four.check_plan(shared, "run", roster(known, *every[:3]), tmp_path)


def test_strangers_among_the_sites_of_a_sum(policy, known, tmp_path):
    found = policy(sites=["paris.pub", "rome.pub"])
    with pytest.raises(InputError, match="sites: oslo are not those that this site sums securely with"):
        found.check_plan(MASKED, "run", roster(known, "paris", "rome", "oslo"), tmp_path)
    # A known name with another's key.
    with pytest.raises(InputError, match="sites: rome are not"):
        found.check_plan(MASKED, "run", {**roster(known, "paris"), "rome": roster(known, "oslo")["oslo"]}, tmp_path)
    found.check_plan(MASKED, "run", roster(known, "paris", "rome"), tmp_path)


def test_too_few_sites_in_a_sum_and_sums_of_other_updates(policy):
    found = policy(min_sites=3)
    two, three = (SumTerms(round=1, clients=tuple("abc"), threshold=n, length=4, start="s") for n in (2, 3))
    with pytest.raises(InputError, match="min_sites: a secure sum of 2 or more of 3 sites, 3 are needed"):
        found.check_terms(two, 1, "s")
    with pytest.raises(InputError, match="round 2: the secure sum is of round 1"):
        found.check_terms(three, 2, "s")
    with pytest.raises(InputError, match="round 1: other sites were given another plan, another question"):
        found.check_terms(three, 1, "t")
    found.check_terms(three, 1, "s")


def test_too_few_patients(policy):
    found = policy(min_patients=50)
    with pytest.raises(InputError, match="min_patients: this site has fewer than 50") as error:
        found.check_patients(37)
    # How many there are is nobody's affair.
    assert "37" not in str(error.value)
    found.check_patients(50)


def test_statistics_leave_as_updates_do(policy):
    """Where updates leave in secure sums alone, so do they."""
    open_, closed = (
        policy(statistics=True),
        [policy(statistics=True, secure=s) for s in ("required", "masking", "ckks")],
    )
    open_.check_statistics(False)
    for found in (open_, *closed):
        found.check_statistics(True)
    for found in closed:
        with pytest.raises(
            InputError, match="secure: statistics of this site leave in masked sums alone; give --secure"
        ):
            found.check_statistics(False)
        assert "in masked sums of all sites, of 2 or more, never alone" in " ".join(sentences(found))
    assert "else its own as they are" in " ".join(sentences(open_))
    for found in (policy(), policy(statistics=True, dp={"epsilon": 1})):
        for masked in (True, False):
            with pytest.raises(InputError, match="statistics"):
                found.check_statistics(masked)
        assert "No counts and sums of its training rows leave." in sentences(found)


def test_metrics_stay(policy):
    with pytest.raises(InputError, match="metrics: none of this site's own test part leave"):
        policy(metrics=False).check_metrics()
    policy(metrics=True).check_metrics()


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("18:00-06:00", ["18:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "17:59"]),
        ("08:30-17:00", ["08:30", "16:59"], ["00:00", "08:29", "17:00", "23:59"]),
    ],
)
def test_hours_over_midnight_too(policy, hours, inside, outside):
    found = policy(hours=hours)

    def at(text):
        return datetime.combine(datetime(2026, 1, 1), time.fromisoformat(text))

    for text in inside:
        found.check_now(at(text))
    for text in outside:
        with pytest.raises(InputError, match=f"hours: this site answers from {hours[:5]} to {hours[6:]}"):
            found.check_now(at(text))
    policy().check_now(at("03:00"))


def test_runs_are_counted_once_each_and_for_ever(policy, tmp_path):
    found = policy(max_runs=2)
    for run in ("a", "b", "a", "b"):
        found.check_plan(CONFIG, run, {}, tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match="max_runs: this site has taken part in 2, and may in no more"):
            policy(max_runs=2).check_plan(CONFIG, "c", {}, tmp_path)
    found.check_plan(CONFIG, "a", {}, tmp_path)


def test_a_refused_run_is_not_counted(policy, tmp_path):
    found = policy(max_runs=1, models=["mlp"])
    with pytest.raises(InputError, match="models"):
        found.check_plan(CONFIG, "a", {}, tmp_path)
    found.check_plan(replace(CONFIG, model="mlp"), "b", {}, tmp_path)


def test_a_person_approves_by_name(policy, tmp_path):
    found = policy(approval=True)
    with pytest.raises(InputError, match="approval: a person at this site must allow run abc"):
        found.check_plan(CONFIG, "abc", {}, tmp_path)
    approve("other", tmp_path)
    with pytest.raises(InputError, match="approval"):
        found.check_plan(CONFIG, "abc", {}, tmp_path)
    approve("abc", tmp_path)
    found.check_plan(CONFIG, "abc", {}, tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"taken": 5, "approved": []}'])
def test_a_damaged_record_of_runs_is_refused(policy, tmp_path, content):
    (tmp_path / "runs.json").write_text(content)
    with pytest.raises(InputError, match="damaged, and with it which runs"):
        policy(max_runs=1).check_plan(CONFIG, "a", {}, tmp_path)
    with pytest.raises(InputError, match="damaged"):
        approve("a", tmp_path)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"max_round": 5}, "'max_round' is no entry; there are coordinators, sites, models"),
        ({"coordinators": []}, "'coordinators' must list"),
        ({"coordinators": "coordinator.pub"}, "'coordinators': must be a list of public key files"),
        ({"coordinators": ["nobody.pub"]}, "'coordinators': .*nobody.pub: can't be read"),
        ({"coordinators": ["paris.key"]}, "'coordinators': .*paris.key: no public key"),
        ({"sites": ["paris.pub", "paris.pub"]}, "'sites': names somebody twice"),
        ({"models": ["gpt"]}, "'models': gpt is not known; there are"),
        ({"models": []}, "'models': must be a list of names"),
        ({"models": [["mlp"]]}, "'models': .* is not known"),
        ({"strategies": ["best"]}, "'strategies': best is not known"),
        ({"max_rounds": 0}, "'max_rounds': must be a whole number from 1"),
        ({"max_rounds": "5"}, "'max_rounds': must be a whole number"),
        ({"max_rounds": 1.5}, "'max_rounds': must be a whole number"),
        ({"max_rounds": True}, "'max_rounds': must be a whole number"),
        ({"max_runs": -1}, "'max_runs': must be a whole number from 0"),
        ({"secure": "yes"}, "'secure': must be one of required, optional"),
        ({"min_sites": 1}, "'min_sites': must be a whole number from 2"),
        ({"min_patients": 0}, "'min_patients': must be a whole number from 1"),
        ({"metrics": "no"}, "'metrics': must be one of true, false"),
        ({"approval": None}, "'approval': must be one of true, false"),
        ({"hours": "9-17"}, "'hours': must be a text like '18:00-06:00'"),
        ({"hours": 1080}, "'hours': must be a text like"),
        ({"hours": "08:00-08:00"}, "'hours': must be a text like"),
        ({"dp": 3}, "'dp': must be a mapping of unit, epsilon, delta, budget"),
        ({"dp": {"epsilon": 3, "clip": 1}}, "'dp': must be a mapping"),
        ({"dp": {"epsilon": 3, "noise": 1}}, "'dp': must be one of local, distributed"),
        ({"dp": {"unit": "client"}}, "'dp': unit must be patient"),
        ({"dp": {"epsilon": 0}}, "'dp': must be a number from"),
        ({"dp": {"epsilon": float("nan")}}, "'dp': must be a number from"),
        ({"dp": {"delta": 0.9}}, "'dp': must be a number from"),
        ({"dp": {"budget": "8"}}, "'dp': must be a number from"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_entry(policy, entries, told):
    with pytest.raises(InputError, match=told) as error:
        policy(**entries)
    assert "policy.yaml: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "5", "- a", "coordinators: [", "!!python/object/apply:os.getcwd []", "5: 5"])
def test_what_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "policy.yaml").write_text(content)
    with pytest.raises(InputError, match=r"policy\.yaml"):
        Policy.read(tmp_path / "policy.yaml")


def test_every_entry_is_said_in_words(policy):
    entries = {
        "sites": (["paris.pub", "rome.pub"], "Sums with paris, rome alone."),
        "models": (["mlp"], "Models: mlp."),
        "strategies": (["fedprox"], "Strategies: fedprox."),
        "max_rounds": (7, "At most 7 rounds a run."),
        "max_runs": (4, "At most 1000 rounds a run, in at most 4 runs ever."),
        "secure": ("required", "Updates leave in secure sums of at least 2 sites, never alone."),
        "min_sites": (5, "a secure sum needs at least 5 sites"),
        "min_patients": (50, "Takes part with 50 or more training patients"),
        "metrics": (False, "No metric of its own test part leaves."),
        "gain": (True, "leave, with intervals, and what it gains."),
        "min_batch": (9, "in steps of 9 or more."),
        "statistics": (True, "Counts and sums of its training rows leave"),
        "hours": ("18:00-06:00", "Answers from 18:00 to 06:00, local time."),
        "approval": (True, "A person approves every run."),
        "dp": (
            {"epsilon": 3, "delta": 1e-5, "budget": 8},
            "patients alone: epsilon at most 3 a run, delta at most 1e-05, epsilon at most 8 over all runs",
        ),
    }
    from federated.flower.policy_entries import _ENTRIES

    assert {*entries, "coordinators"} == {*_ENTRIES, "dp"}
    default = "\n".join(sentences(policy()))
    assert "Answers coordinator alone" in default
    assert "it could invent some" in default
    for name, (value, sentence) in entries.items():
        assert sentence in "\n".join(sentences(policy(**{name: value}))), name
        assert sentence not in default, name


def test_the_digest_is_the_files(policy):
    assert policy(max_runs=1).digest != policy(max_runs=2).digest
    assert policy(max_runs=1).digest == policy(max_runs=1).digest


def test_approvals_at_the_same_time_are_all_put_down(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from federated.flower import runs

    names = [f"run-{i}" for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: runs.approve(name, tmp_path), names))
    assert runs.read(tmp_path)["approved"] == sorted(names)
