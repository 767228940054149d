"""A coordinator that has an allowed key and wants a patient; a site that lies to its coordinator.

The attackers write bytes straight to `Site.answer`, as Flower's link would hand them over.
"""

import json
import secrets
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from federated.audit_log.head import witnessed
from federated.config import FederateConfig
from federated.flower import calls, keys, pool, protocol
from federated.flower.control import Node
from federated.flower.description import described
from federated.flower.envelope import Envelope, WireError, opened, signed
from federated.flower.grid import Replies
from federated.flower.once import Once
from federated.flower.own_metrics import DECIMALS
from federated.flower.policy import Policy, PolicyError
from federated.flower.site import Site
from federated.flower.site_privacy import plan_told
from federated.secure.errors import RejectedError
from federated.secure.keys import Exchange, signed_by
from federated.secure.terms import SumTerms, check_vector
from federated.statistics.sketch import names_in
from medimg.errors import InputError
from medimg.privacy.clipping import LEAST_CLIP, check_mechanism
from tests.datasets import write_table

CONFIG = FederateConfig(model="logistic", rounds=2, batch_size=8, comparison=False)
MASKED = replace(CONFIG, secure="masking")
CKKS = replace(CONFIG, secure="ckks")
PRIVATE = replace(CONFIG, dp="patient", dp_epsilon=4.0, dp_delta=1e-4, model_arg={"l2": "0"})
SITE, OTHER = "s0", "s1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "data", n=160)


@pytest.fixture
def sites(data, tmp_path):
    """(**entries of the policy) -> the attacker, who has an allowed key, with two sites in its reach."""
    made = []

    def make(**policy):
        made.append(Attacker(data, tmp_path / str(len(made)), policy))
        return made[-1]

    yield make
    for attacker in made:
        for site in attacker.sites.values():
            site.close()


class Attacker:
    """A coordinator by key alone: it says what it likes.

    Attributes:
        said: lines of the sites' own logs.
    """

    def __init__(self, data, root, policy, names=(SITE, OTHER)):
        self.data, self.root, self.said, self._count = data, root, [], count(1)
        root.mkdir()
        for name in ("boss", *names):
            keys.make(name, root)
        self.boss, self.session = keys.load(root / "boss.key"), secrets.token_hex(16)
        entries = {"coordinators": ["boss.pub"], "statistics": True, **policy}
        (root / "policy.yaml").write_text(json.dumps(entries))
        self.parties = {name: keys.Party.read(root / f"{name}.pub") for name in names}
        self.sites = {}
        for name in self.parties:
            self.restart(name)

    def restart(self, name=SITE):
        if name in self.sites:
            self.sites[name].close()
        policy, secret = Policy.read(self.root / "policy.yaml"), keys.load(self.root / f"{name}.key")
        self.sites[name] = Site(self.data, secret, policy, self.root / f"at-{name}", self.said.append)

    def ask(self, kind, fields=None, arrays=None, to=SITE, boss=None) -> Envelope:
        boss = boss or self.boss
        request = Envelope(kind, boss.name, to, self.session, next(self._count), fields or {}, arrays or {})
        raw = self.sites[to].answer(signed(request, boss.identity()))
        return opened(raw, to, self.parties[to].identity, boss.name)

    def refusal(self, *of, **more) -> str:
        return self.ask(*of, **more).fields.get(protocol.REFUSED, "")

    def describe(self, private=False, run="run", to=SITE, seed=0, **more):
        self.session = secrets.token_hex(16) if to == SITE else self.session
        return self.ask(protocol.DESCRIBE, {"seed": seed, "private": private, "run": run}, to=to, **more)

    def statistics(self, kind, **request):
        from federated.statistics import Schema

        request = {"kind": kind, "schema": Schema.of(self.data).to_dict(), **request}
        return self.ask(protocol.STATISTICS, {"request": request})

    def plan(self, config=CONFIG):
        """Fields and arrays of a plan that an honest coordinator would send."""
        from federated.clients.plan import ClientPlan
        from federated.statistics import Schema
        from medimg.training import table

        training = config.training("row")
        description = table.described(self.data, training, table.public_preprocessing(self.data, training))
        schema = Schema.of(self.data)
        names = [feature.name for feature in schema.features]
        plan = ClientPlan(description, training.to_dict(), 8, config.dp == "patient", schema.to_dict(), names)
        self.weights = plan.trained.get_weights()
        roster = {name: party.identity.hex() for name, party in self.parties.items()}
        fields = {"plan": plan.to_dict(), "config": config.to_dict(), "roster": roster, "start": ""}
        return fields, {"initial": plan.model.get_weights()}

    def planned(self, config=CONFIG, names=(SITE,)):
        """Sites that are ready to train."""
        fields = self.plan(config)
        for name in names:
            self.describe(config.is_private, to=name)
            answer = self.ask(protocol.PLAN, *fields, to=name)
            assert protocol.REFUSED not in answer.fields

    def train(self, number=1, shift=0.0, part=1.0, to=SITE, head="0" * 64):
        weights = [array + np.float32(shift) for array in self.weights]
        fields = {"round": number, "part": part, "head": head}
        return self.ask(protocol.TRAIN, fields, {"weights": weights, "shared": []}, to=to)

    def advertise(self, start, to=SITE, threshold=2, number=1, **more):
        of_all = {"clients": tuple(self.parties), "length": sum(array.size for array in self.weights)}
        server = Exchange.generate(secrets.token_bytes).public.hex()
        terms = SumTerms(round=number, threshold=threshold, server=server, start=start, **of_all, **more)
        content = {"content": [np.frombuffer(terms.to_bytes(), np.uint8)]}
        return self.ask(protocol.MASK, {"round": number, "stage": "advertise"}, content, to=to)

    def start(self, fields, shift=0.0, noise=None):
        """What `SumTerms.start` must be of a round from these weights, of sites that have settled on that noise."""
        message = Envelope(protocol.PLAN, "", "", "", 0, *fields)
        of_round = {"weights": [array + np.float32(shift) for array in self.weights], "shared": []}
        return protocol.start_digest(protocol.plan_digest(message), replace(message, arrays=of_round), noise)


def test_a_run_has_one_seed(sites):
    """By the seed a site draws rows, their order and its noise: with another it would answer a round anew, unpaid."""
    for private in (True, False):
        attacker = sites()
        attacker.describe(private)
        assert "two would tell too much" in attacker.describe(private, seed=1).fields[protocol.REFUSED]
        assert "two would tell too much" in attacker.describe(not private).fields[protocol.REFUSED]
        attacker.restart()
        assert attacker.describe(private).fields["clients"]
        assert attacker.describe(private, run="another", seed=1).fields["clients"]


def test_a_run_has_one_set_of_rows(tmp_path):
    """A patient who was added since would be the difference of two answers."""
    own = write_table(tmp_path / "data", n=160)
    attacker = Attacker(own, tmp_path / "attack", {})
    attacker.describe()
    assert "answer" in attacker.statistics("missing").arrays
    rows = own.manifest
    last = rows.index[(rows["split"] == "train") & (rows["site"] == SITE)][-1]
    replace(own, manifest=rows.drop(index=last)).save()
    attacker.describe()
    assert "the site's rows: was answered" in attacker.statistics("missing").fields[protocol.REFUSED]
    assert "the site's rows: was answered" in attacker.refusal(protocol.PLAN, *attacker.plan())
    attacker.sites[SITE].close()
    attacker.sites[OTHER].close()


def test_a_head_is_signed_with_the_one_before(sites):
    """A site answers a round again; its signatures can't be had for another log without naming the first."""
    attacker = sites()
    attacker.planned()
    heads = ["1" * 64, "1" * 64, "2" * 64]
    told = [attacker.train(head=head).fields for head in heads]
    attacker.restart()
    attacker.planned()
    told.append(attacker.train(head="3" * 64).fields)
    assert [one["before"] for one in told] == ["", "", "1" * 64, "2" * 64]
    for one, head in zip(told, [*heads, "3" * 64], strict=True):
        statement = witnessed(SITE, "run", head, one["before"])
        assert signed_by(attacker.parties[SITE].identity, bytes.fromhex(one["countersigned"]), statement)


# What no coordinator learns: columns that nobody learns from, rows by difference, statistics beside privacy.


def test_names_of_patients_are_no_column(sites):
    attacker = sites()
    for name, kind in (("patient", "categorical"), ("mrn", "categorical"), ("row", "ordinal"), ("site", "date")):
        attacker.describe(run=name)
        schema = {"features": [[name, kind, []]], "task": "binary", "classes": ["healthy", "disease"], "negative": ""}
        request = {"kind": "categories", "schema": schema, "columns": [name], "cells": 99}
        answer = attacker.ask(protocol.STATISTICS, {"request": request})
        assert "can't be answered" in answer.fields[protocol.REFUSED]
        assert not answer.arrays
        assert not any(f"{mark}{i}" in json.dumps(answer.fields) for mark in "pmr" for i in range(20))


def test_a_column_that_a_site_does_not_learn_from_is_not_there(data):
    from federated.statistics import Schema, answer

    schema = Schema.of(data).to_dict()
    schema["features"].append(["mrn", "categorical", []])
    told = answer(data, {"kind": "categories", "schema": schema, "columns": ["mrn", "stage"], "cells": 99})
    assert {column for column, _ in names_in(told.astype(np.int64), 99)} == {1}


def test_preprocessing_reads_no_foreign_column(sites):
    attacker = sites()
    fields, arrays = attacker.plan()
    text = json.dumps(fields["plan"]["description"]["preprocessing"]).replace('"noise"', '"mrn"')
    fields["plan"]["description"]["preprocessing"] = json.loads(text)
    attacker.describe()
    assert "can't be answered" in attacker.refusal(protocol.PLAN, fields, arrays)
    assert "nobody learns from" in attacker.said[-2]


def test_one_set_of_rows_is_counted_in_a_run(sites):
    attacker = sites()
    attacker.describe()
    sums = {"columns": [["age", 50.0, 50.0]], "power": 1}
    assert "answer" in attacker.statistics("sums", **sums, known=["noise"]).arrays
    # The same again, as after a restart; also from a new session of the run.
    assert "answer" in attacker.statistics("sums", **sums, known=["noise"]).arrays
    attacker.restart()
    attacker.describe()
    # Neither by another list of columns nor by columns that mean something else, and by no other kind of question.
    others = [
        attacker.statistics("sums", **sums, known=["noise", "pain"]),
        attacker.statistics("counts", intervals=[["age", 0, 9**9]], bins=64),
        attacker.statistics("categories", columns=["pain"], cells=99, known=["noise"], schema=fewer_columns(attacker)),
    ]
    assert all("two would tell too much" in other.fields[protocol.REFUSED] for other in others)
    asked = [attacker.statistics("counts", intervals=[["age", i, 9**9]], bins=64, known=["noise"]) for i in range(9)]
    assert [protocol.REFUSED in one.fields for one in asked] == [False] * 7 + [True] * 2


def fewer_columns(attacker):
    from federated.statistics import Schema

    schema = Schema.of(attacker.data).to_dict()
    return {**schema, "features": [feature for feature in schema["features"] if feature[0] != "noise"]}


def test_statistics_count_as_a_run_and_need_its_approval(sites):
    attacker = sites(max_runs=1)
    attacker.describe(run="first")
    assert "answer" in attacker.statistics("missing").arrays
    attacker.describe(run="second")
    assert "max_runs" in attacker.statistics("missing").fields[protocol.REFUSED]
    attacker = sites(approval=True)
    attacker.describe()
    assert "approval" in attacker.statistics("missing").fields[protocol.REFUSED]


def test_a_class_of_few_patients_is_not_summed(sites):
    attacker = sites(min_patients=15)
    attacker.describe()
    fields, _ = attacker.plan()
    preprocessing = fields["plan"]["description"]["preprocessing"]
    encoded = {"preprocessing": preprocessing}
    encoded |= {"shifts": [0.0] * len(preprocessing["columns"]), "scales": [1.0] * len(preprocessing["columns"])}
    of_all = attacker.statistics("classes", **encoded, by="all")
    assert "answer" in of_all.arrays
    attacker.describe(run="another")
    by_class = attacker.statistics("classes", **encoded, by="class", fewest=1)
    assert "min_patients: a class has fewer than 15 patients" in by_class.fields[protocol.REFUSED]


@pytest.mark.parametrize(("policy", "private"), [({"dp": {"unit": "patient"}}, False), ({}, True)])
def test_no_statistics_beside_privacy(sites, policy, private):
    attacker = sites(**policy)
    told = attacker.describe(private).fields["clients"][SITE]
    assert (told["patients"], told["examples"]["train"], told["fingerprint"]) == (0, 0, "")
    assert protocol.REFUSED in attacker.statistics("missing").fields


def test_statistics_leave_only_where_the_policy_says_so(sites):
    attacker = sites(statistics=False)
    attacker.describe()
    assert attacker.statistics("missing").fields[protocol.REFUSED].startswith("statistics:")


def test_a_private_plan_in_an_open_session(sites):
    attacker = sites()
    attacker.describe(private=False)
    assert "began without privacy" in attacker.refusal(protocol.PLAN, *attacker.plan(PRIVATE))


# A plan says what its options say, and nothing else.


def test_only_the_options_decide(sites):
    attacker = sites(strategies=["fedavg"], models=["logistic"])
    fields, arrays = attacker.plan()
    fields["strategy"] = {"name": "fedsgd"}
    fields["local"] = {"epochs": 1, "steps": 1, "batch_size": 1, "learning_rate": 1e9}
    fields["plan"]["training"] |= {"model": "mlp", "batch_size": 1}
    attacker.describe()
    assert protocol.REFUSED not in attacker.ask(protocol.PLAN, fields, arrays).fields
    training = attacker.sites[SITE]._training
    assert training.plan.config.model == "logistic"
    assert training.rounds._work.strategy.name == "fedavg"
    assert training.rounds._work.local.batch_size == CONFIG.batch_size


def test_privacy_is_that_of_the_options(sites):
    """More local steps than the account has, a clip of its own, no units: all are taken from one place."""
    attacker = sites()
    fields, arrays = attacker.plan(PRIVATE)
    fields["local"] = {"epochs": 1, "steps": 1000, "batch_size": 8}
    fields["plan"] |= {"private": False}
    attacker.describe(private=True)
    told = attacker.ask(protocol.PLAN, fields, arrays).fields["privacy"]
    training = attacker.sites[SITE]._training
    assert training.data.units
    assert training.rounds._work.local.steps is None
    planned = training.rounds._work.steps.planned(training.rounds._work.local, training.data, 0, 1)
    assert len(planned) == told["steps_per_round"]


def test_no_clip_whose_noise_is_none(sites):
    """Of 2e-38 float32 has clipped gradients and no noise beside them, whatever the account says."""
    attacker = sites()
    attacker.describe(private=True)
    told = attacker.refusal(protocol.PLAN, *attacker.plan(replace(PRIVATE, dp_clip=2e-38)))
    assert "can't be answered (InputError)" in told
    assert "its noise is lost in rounding" in attacker.said[-2]
    check_mechanism(LEAST_CLIP, 1.0, 8)


def test_no_step_of_a_row(sites):
    attacker = sites()
    attacker.describe()
    for config in (replace(CONFIG, batch_size=1), replace(CONFIG, batch_size=1, local_steps=1)):
        assert attacker.refusal(protocol.PLAN, *attacker.plan(config)).startswith("min_batch")


def test_a_plan_is_not_changed_within_a_run(sites):
    attacker = sites()
    attacker.planned()
    attacker.describe()
    other = attacker.plan(replace(CONFIG, learning_rate=9.0))
    assert "two would tell too much" in attacker.refusal(protocol.PLAN, *other)
    # More rounds are no other plan: that is how a training is resumed.
    assert not attacker.refusal(protocol.PLAN, *attacker.plan(replace(CONFIG, rounds=3)))


# Rounds: none too many, none again from elsewhere, and the account has all of them.


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, pytest.param(PRIVATE, marks=pytest.mark.slow)])
def test_a_round_is_answered_from_one_start(sites, config):
    attacker = sites()
    attacker.planned(config)
    assert "measures" in attacker.train().fields
    first = attacker.train().arrays["vectors"]
    assert "two would tell too much" in attacker.train(shift=0.1).fields[protocol.REFUSED]
    assert "two would tell too much" in attacker.train(part=0.5).fields[protocol.REFUSED]
    for number in (0, -1, 3):
        assert "none of the 2" in attacker.train(number).fields[protocol.REFUSED]
    attacker.restart()
    attacker.planned(config)
    assert "two would tell too much" in attacker.train(shift=0.1).fields[protocol.REFUSED]
    again = attacker.train().arrays["vectors"]
    # What is repeated has the same noise, so that it is no second look.
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_another_coordinator_has_no_part_in_a_run(sites, data):
    attacker = sites()
    keys.make("thief", attacker.root)
    (attacker.root / "policy.yaml").write_text(json.dumps({"coordinators": ["boss.pub", "thief.pub"]}))
    thief = keys.load(attacker.root / "thief.key")
    attacker.restart()
    attacker.planned()
    # It knows the session: the link's operator sees it.
    weights = {"weights": attacker.weights, "shared": []}
    answer = attacker.ask(protocol.TRAIN, {"round": 1, "part": 1.0, "head": ""}, weights, boss=thief)
    assert answer.fields == {protocol.UNPLANNED: True}
    assert "coordinator: was answered" in attacker.describe(boss=thief).fields[protocol.REFUSED]


# Secure sums.


def test_all_sites_of_a_sum_start_from_the_same(sites):
    """Model inconsistency (Pasquini et al. 2022): weights that silence the others leave one update in the sum."""
    attacker = sites()
    attacker.planned(MASKED, (SITE, OTHER))
    fields = attacker.plan(MASKED)
    honest = attacker.start(fields)
    attacker.train(to=SITE)
    attacker.train(to=OTHER, shift=1e3)
    assert "content" in attacker.advertise(honest, SITE).arrays
    assert "other weights than this one" in attacker.advertise(honest, OTHER).fields[protocol.REFUSED]
    # Each its own digest: then their messages are of two rounds, and neither takes the other's.
    assert "content" in attacker.advertise(attacker.start(fields, 1e3), OTHER).arrays


def test_plans_that_differ_by_site_make_no_sum(sites):
    attacker = sites()
    slow = attacker.plan(replace(MASKED, learning_rate=1e-30))
    fields = attacker.plan(MASKED)
    attacker.describe()
    assert not attacker.refusal(protocol.PLAN, *slow)
    attacker.train()
    assert "another plan" in attacker.advertise(attacker.start(fields)).fields[protocol.REFUSED]


def test_a_sum_of_fewer_than_the_policy_says(sites):
    attacker = sites(min_sites=3)
    attacker.planned(MASKED)
    attacker.train()
    assert "min_sites" in attacker.advertise(attacker.start(attacker.plan(MASKED))).fields[protocol.REFUSED]


def test_a_limit_is_that_of_the_plan_and_a_round_has_one_step(sites):
    """By limits that halve a coordinator would find a site's largest value, by other steps more than one sum."""
    attacker = sites()
    attacker.planned(MASKED)
    attacker.train()
    start = attacker.start(attacker.plan(MASKED))
    for more in ({"limit": 1e-3}, {"bits": 32, "max_weight": 64.0}):
        assert "another limit than the plan" in attacker.advertise(start, **more).fields[protocol.REFUSED]
    assert "content" in attacker.advertise(start, max_weight=512.0).arrays
    assert "on other terms before" in attacker.advertise(start, max_weight=1024.0).fields[protocol.REFUSED]
    assert "content" in attacker.advertise(start, max_weight=512.0).arrays


def test_what_stays_beside_a_sum(sites):
    """State of a client would travel bare; a limit tells how large an update is."""
    attacker = sites()
    attacker.describe()
    assert "beside a secure sum" in attacker.refusal(
        protocol.PLAN, *attacker.plan(replace(MASKED, strategy="scaffold", client_optimizer="sgd"))
    )
    terms = SumTerms(1, ("a", "b"), 2, 3, limit=1e-9)
    with pytest.raises(RejectedError) as raised:
        check_vector("a", np.array([0.0, 0.123, 0.0], np.float32), 1.0, terms)
    assert "0.123" not in str(raised.value)


LISTED = {"sites": [f"{SITE}.pub", f"{OTHER}.pub"]}


def of_arrays(answer):
    return [array.tobytes() for array in answer.arrays["content"]]


def key(attacker, stage, to=SITE, *content):
    arrays = {"content": [np.frombuffer(raw, np.uint8) for raw in content]}
    return attacker.ask(protocol.KEY, {"stage": stage, "max_weight": 1000.0}, arrays, to=to)


def with_keys(attacker):
    """Both sites with a key in common; the coordinator's public context."""
    attacker.planned(CKKS, (SITE, OTHER))
    key(attacker, "want")
    (wanted,) = of_arrays(key(attacker, "want", OTHER))
    answer = key(attacker, "hand", SITE, wanted)
    assert protocol.REFUSED not in key(attacker, "take", OTHER, *of_arrays(answer)).fields
    return answer.arrays["public"][0].tobytes()


def stage(attacker, name, number, content, to):
    arrays = {"content": [np.frombuffer(content, np.uint8)]}
    answer = attacker.ask(protocol.MASK, {"round": number, "stage": name}, arrays, to=to)
    return answer.fields.get(protocol.REFUSED) or of_arrays(answer)[0]


@pytest.mark.slow
def test_a_coordinator_has_no_single_sites_ciphertext_decrypted(sites):
    """It adds and signs what it likes; the site that is asked once more after that opens nothing of the run."""
    import tenseal

    from federated.secure.ckks_keys import BESIDE
    from federated.secure.messages import pack, unpack, verified_message

    attacker = sites(**LISTED)
    public = tenseal.context_from(with_keys(attacker))
    start = attacker.start(attacker.plan(CKKS))
    length = sum(array.size for array in attacker.weights)
    for number in (1, 2):
        terms = SumTerms(number, (SITE, OTHER), 2, length, max_weight=1000.0, start=start, session=attacker.session)
        confirmed, sent = {}, {}
        for name in (SITE, OTHER):
            attacker.train(number, to=name)
            raw = stage(attacker, "encrypt", number, terms.to_bytes(), name)
            if number == 2:
                assert name == OTHER or "opens none of this run again" in raw
                continue
            body = verified_message(raw, name, attacker.parties[name].identity, terms.id, "encrypt").body
            sent[name] = tenseal.ckks_vector_from(public, unpack(bytes(body))[0])
        if number == 2:
            break
        for name in (SITE, OTHER):
            confirmed[name] = stage(attacker, "confirm", number, json.dumps([SITE, OTHER]).encode(), name)
        alone = sent[OTHER] + tenseal.ckks_vector(public, [0.0] * length + [0.0, 1.0] + [0.0] * (BESIDE - 2))
        words = json.dumps([SITE, OTHER]).encode(), pack(confirmed.values())
        asked = pack([*words, pack([alone.serialize()])])
        assert "is not the sum of the confirmed list" in stage(attacker, "decrypt", number, asked, SITE)
        honest = pack([*words, pack([(sent[SITE] + sent[OTHER]).serialize()])])
        assert "second decryption" in stage(attacker, "decrypt", number, honest, SITE)
        assert isinstance(stage(attacker, "decrypt", number, honest, OTHER), bytes)
    attacker.restart()
    attacker.planned(CKKS)
    attacker.train(2)
    assert "opens none of this run again" in stage(attacker, "encrypt", 2, b"", SITE)


def test_the_key_of_ckks_goes_to_listed_sites_alone(sites):
    from federated.secure.ckks_keys import CkksKeys
    from federated.secure.handing import Receiver

    attacker = sites()
    attacker.describe()
    assert attacker.refusal(protocol.PLAN, *attacker.plan(CKKS)).startswith("sites: --secure ckks hands its key")
    attacker = sites(**LISTED)
    public = with_keys(attacker)
    posing = Receiver(replace(attacker.boss.identity(), name=OTHER), {}, "ab" * 32).advertise()
    assert protocol.REFUSED in key(attacker, "hand", SITE, posing).fields
    # A key of the coordinator's own making, and one of before.
    key(attacker, "want", OTHER)
    attacker.describe(to=OTHER)
    attacker.ask(protocol.PLAN, *attacker.plan(CKKS), to=OTHER)
    made = CkksKeys.generate(2, 1024.0, 1000.0).to_bytes()
    assert "was not asked for" in key(attacker, "take", OTHER, made).fields[protocol.REFUSED]
    assert key(attacker, "hand", OTHER).arrays["public"][0].tobytes() == public


def test_a_policy_names_the_kind_of_sum(sites):
    for kind, config in (("masking", CKKS), ("ckks", MASKED), ("required", CONFIG)):
        attacker = sites(secure=kind, **LISTED)
        attacker.describe()
        assert attacker.refusal(protocol.PLAN, *attacker.plan(config)).startswith("secure: updates of this site")


# Metrics.


def test_one_model_is_measured_in_a_run(sites, monkeypatch):
    monkeypatch.setattr("federated.flower.own_metrics.RESAMPLES", 20)
    attacker = sites()
    attacker.planned()
    told = attacker.ask(protocol.EVALUATE, {}, {"weights": attacker.weights}).fields
    assert told["metrics"]
    for one in told["metrics"].values():
        assert all(value is None or value == round(value, DECIMALS) for value in one.values())
    assert attacker.ask(protocol.EVALUATE, {}, {"weights": attacker.weights}).fields == told
    crafted = [array + 1 for array in attacker.weights]
    assert "two would tell too much" in attacker.refusal(protocol.EVALUATE, {}, {"weights": crafted})


def test_one_model_that_the_site_came_to_alone_is_measured_in_a_run(sites, monkeypatch):
    monkeypatch.setattr("federated.flower.own_metrics.RESAMPLES", 20)
    attacker = sites(gain=True)
    attacker.planned()
    assert "gain" in attacker.ask(protocol.EVALUATE, {}, {"weights": attacker.weights}).fields
    attacker.planned(replace(CONFIG, rounds=1))
    assert "two would tell too much" in attacker.refusal(protocol.EVALUATE, {}, {"weights": attacker.weights})


# Nothing ends a site, fills its log or gets its words.


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("train", {"round": "\ud800\n", "part": 1.0, "head": "\ud800" * 9}),
        ("train", {"round": 1e308, "part": [], "head": {"a": "x" * 1_000_000}}),
        ("train", {"round": 1e308, "part": -1e308}),
        ("mask", {"round": 1, "stage": ["\n"]}),
        ("evaluate", {}),
        ("plan", {}),
        ("plan", {"config": {"model": []}, "roster": 1}),
        ("statistics", {"request": []}),
        ("statistics", {"request": {"kind": {"a": 1}}}),
        ("\ud800", {}),
        ("__init__", {}),
        ("describe", {"seed": 10**400, "private": 0, "run": "r"}),
        ("describe", {"seed": 0, "private": 0, "run": "r" * 10_000_000}),
    ],
)
def test_whatever_is_asked_the_next_is_answered(sites, kind, fields):
    attacker = sites()
    attacker.describe()
    attacker.ask(kind, fields)
    assert attacker.describe().fields["clients"]
    lines = (attacker.root / f"at-{SITE}/audit.jsonl").read_text().splitlines()
    assert max(map(len, lines)) < 4000
    assert all(json.loads(line) for line in lines)
    assert all("\n" not in line for line in attacker.said)


def test_a_failure_tells_its_kind_alone(sites, monkeypatch):
    attacker = sites()
    for error in (
        InputError("images/p17.png"),
        OSError("/srv/p17"),
        MemoryError("p17"),
        RuntimeError("p17"),
    ):
        attacker.describe()

        def failing(*_, error=error):
            raise error

        monkeypatch.setattr("federated.statistics.answer", failing)
        told = attacker.statistics("missing").fields[protocol.REFUSED]
        assert "p17" not in told
        assert type(error).__name__ in told
        assert "p17" in attacker.said[-2]


def test_a_sites_folder_is_its_own(sites):
    attacker = sites()
    assert (attacker.root / f"at-{SITE}").stat().st_mode & 0o077 == 0


def test_what_was_answered_outlasts_a_restart(tmp_path):
    Once(tmp_path / "once.json").settle("round 1", "a")
    again = Once(tmp_path / "once.json")
    again.settle("round 1", "a")
    with pytest.raises(PolicyError):
        again.settle("round 1", "b")
    (tmp_path / "once.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        Once(tmp_path / "once.json")


@pytest.mark.parametrize(
    "entry", ["sites: []", "secure: yes", "metrics: 1", "approval: 0", "min_patients: true", "max_rounds: .inf"]
)
def test_a_policy_means_what_it_says_or_is_refused(sites, entry):
    attacker = sites()
    path = attacker.root / "policy.yaml"
    path.write_text(f"coordinators: [boss.pub]\n{entry}\n")
    with pytest.raises(InputError, match=entry.split(":")[0]):
        Policy.read(path)


# A site against its coordinator.

MEASURES = ("examples", "loss", "accuracy", "seconds")
GOOD = {
    "task": "binary",
    "classes": ["a", "b"],
    "negative": "",
    "features": {"age": "continuous"},
    "version": "1",
    "clients": {SITE: {"examples": {"train": 1, "val": 1, "test": 1}, "patients": 1, "fingerprint": "", "notes": []}},
}


class OneSite:
    """A grid with a site that answers as it likes."""

    def __init__(self, party, secret, answers):
        self._party, self._secret, self._answers = party, secret, answers
        self.node = Node(1, "now")

    def online(self):
        return {self._party.node: self.node}

    def ask(self, requests, patience, timeout):
        asked = header(requests[self.node])
        fields, arrays = self._answers[asked["kind"]]
        if asked["kind"] in ("train", "finish"):
            statement = witnessed(SITE, "run", asked["fields"]["head"], "")
            fields = {"countersigned": self._secret.identity().sign(statement).hex(), "before": "", **fields}
        answer = Envelope(asked["kind"], SITE, "boss", asked["session"], asked["number"], fields, arrays)
        return Replies({self.node: signed(answer, self._secret.identity())}, set())

    def close(self):
        pass


def header(raw):
    return json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])


@pytest.mark.parametrize(
    "change",
    [
        {"clients": {OTHER: GOOD["clients"][SITE]}},
        {"clients": {**GOOD["clients"], OTHER: GOOD["clients"][SITE]}},
        {"clients": []},
        {"clients": {SITE: {**GOOD["clients"][SITE], "examples": {"train": 10**30, "val": 1, "test": 1}}}},
        {"clients": {SITE: {**GOOD["clients"][SITE], "patients": -1}}},
        {"clients": {SITE: {**GOOD["clients"][SITE], "channels": "3"}}},
        {"clients": {SITE: {**GOOD["clients"][SITE], "notes": ["x" * 1_000_000]}}},
        {"features": []},
        {"classes": 5},
        {"task": None},
        {"more": 1},
    ],
)
def test_a_site_describes_itself_alone_and_in_form(change):
    assert described(GOOD, SITE).clients[SITE]["patients"] == 1
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        described({**GOOD, **change}, SITE)


@pytest.mark.parametrize(
    "answers",
    [
        {"plan": ({"examples": 10**30}, {})},
        {"plan": ({"examples": True}, {})},
        {"plan": ({}, {})},
        {"train": ({}, {})},
        {"train": ({"measures": dict.fromkeys(MEASURES, 1), "countersigned": "00" * 64}, {})},
        {"train": ({"measures": dict.fromkeys(MEASURES, 1), "countersigned": 5}, {})},
        {"train": ({"measures": dict.fromkeys(MEASURES, 1)}, {"own": [np.zeros(3, np.float32)]})},
        {"train": ({"measures": dict.fromkeys(MEASURES, 1), "privacy": json.loads("[" * 400 + "]" * 400)}, {})},
        {"train": ({"measures": dict.fromkeys(MEASURES, 1), "privacy": {"events": "x" * 9**6}}, {})},
        {"train": ({"measures": []}, {})},
        {"train": ({"measures": {"examples": 10**30, "loss": 1, "accuracy": 1, "seconds": 1}}, {})},
        {"train": ({"measures": {"examples": 1, "loss": {}, "accuracy": 1, "seconds": 1}}, {})},
        {"train": ({"measures": {"examples": 1, "loss": 1, "accuracy": 1, "seconds": 1, "x": "y" * 9**6}}, {})},
        {"mask": ({}, {})},
        {"mask": ({}, {"content": []})},
        {"evaluate": ({"n": "many", "patients": 1, "metrics": {}}, {})},
        {"evaluate": ({"n": 1, "patients": 1, "metrics": {"auroc": "x" * 9**6}}, {})},
        {"finish": ({"head": "x" * 9**6}, {})},
    ],
)
def test_no_answer_ends_the_coordinator(sites, answers):
    attacker = sites()
    honest = {
        "describe": (GOOD, {}),
        "plan": ({"examples": 5}, {}),
        "train": ({"measures": dict.fromkeys(MEASURES, 1)}, {}),
    }
    (kind,) = answers
    grid = OneSite(attacker.parties[SITE], keys.load(attacker.root / f"{SITE}.key"), {**honest, **answers})
    config = replace(MASKED, site_patience=0.1)
    asking = pool.FlowerPool(grid, attacker.boss, [attacker.parties[SITE]], config, "run")
    attacker.plan()
    from federated.clients.plan import ClientPlan

    told = attacker.plan()[0]["plan"]
    ready = config, told, ClientPlan.from_dict(told).model.get_weights(), True, ""
    if kind == "plan":
        with pytest.raises(WireError, match=f"site {SITE}: its answer has another form"):
            asking.prepare(*ready)
        return
    asking.prepare(*ready)
    asking.start([], [], SimpleNamespace(head=SimpleNamespace(hash="")))
    from federated.engine.state import State

    found, lost = asking.updates(State(0, attacker.weights, [], [], {}), [SITE], 1, {})
    assert bool(found) == (kind != "train"), lost
    if kind == "train":
        assert f"site {SITE}" in lost[SITE]
        return
    if kind == "mask":
        assert [type(answer).__name__ for _, answer in asking.sums.ask(1)("advertise", {SITE: b""})] == ["RefusedError"]
    elif kind == "evaluate":
        assert "another form" in asking.evaluate(lambda name: attacker.weights)[SITE]["why"]
    else:
        assert len(asking.finish()["heads"][SITE]) < 100


TOLD = {
    "expected_patients": 8,
    "noise_multiplier": 1.2,
    "steps_per_pass": 4,
    "steps_per_round": 4,
    "rounds": 3,
    "steps": 12,
}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("noise_multiplier", (float("nan"), float("inf"), -1.0, 1e-300, 1e300, [], None)),
        ("steps_per_round", (10**30, 0, True, 1.0, "1")),
        ("expected_patients", (10**30,)),
    ],
)
def test_a_plan_of_privacy_is_of_numbers_that_an_account_can_have(name, values):
    assert plan_told(TOLD).steps == 12
    for value in values:
        with pytest.raises(WireError, match="another form"), calls.reading(SITE):
            plan_told({**TOLD, name: value})


# Whoever has the link, without a key.


def test_junk_at_the_link_ends_neither_side(monkeypatch):
    from flwr.proto.appio_pb2 import PullAppMessagesResponse
    from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse

    from federated.flower import arriving, fleet, grid

    monkeypatch.setattr(arriving, "inflate_object_from_contents", _raising)
    message = SimpleNamespace(metadata=SimpleNamespace(run_id=1, message_id="m"))
    tree, nothing = ObjectTree(object_id="m"), lambda *_: None
    received = fleet.Fleet((1, lambda: (message, tree), nothing, None, None, lambda *_: b"", nothing, nothing))
    assert received.receive() is None
    assert not received.expects
    # A site's own junk is no answer of its, and the others' are taken.
    told = PullAppMessagesResponse()
    told.messages_list.add().metadata.message_id = "m"
    told.message_object_trees.append(tree)
    stub = SimpleNamespace(
        PullMessages=lambda _: told,
        PullObject=lambda _: PullObjectResponse(object_found=True, object_available=True),
        ConfirmMessageReceived=nothing,
    )
    here = grid.Grid.__new__(grid.Grid)
    here._grid, here._arriving = SimpleNamespace(_stub=stub, node=None, run=SimpleNamespace(run_id=1)), {}
    assert here._pulled("m") == [None]


def _raising(*_):
    # As Flower does on content that is no message.
    raise ValueError("no message")
