"""Statistics in masked sums against a coordinator that has an allowed key and wants one site's, or one patient's."""

import json
import secrets
from dataclasses import replace

import numpy as np
import pytest

from federated.flower import protocol
from federated.secure import masking
from federated.secure.client import STAGES
from federated.secure.errors import RefusedError
from federated.secure.keys import Exchange
from federated.secure.messages import pack
from federated.secure.terms import SumTerms
from federated.secure.whole import from_words, to_words, whole_terms
from federated.statistics import Schema, answer
from tests.datasets import write_table
from tests.federated.flower.test_attacks import MASKED, Attacker

NAMES = ("s0", "s1", "s2")
ONE, TWO, THREE = NAMES


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "data", n=160)


class Asking(Attacker):
    """Says what it likes, in any order, to any of three sites."""

    def question(self, kind="missing", **more):
        return {"kind": kind, "schema": Schema.of(self.data).to_dict(), **more}

    def roster(self, names=NAMES):
        return {name: self.parties[name].identity.hex() for name in names}

    def own(self, name, request):
        """What a site would answer by itself."""
        return answer(self.sites[name]._session.client, request)

    def terms(self, request, number=1, roster=None, clients=NAMES, exchange=None, size=None, run="run"):
        fields = {"request": request, "roster": roster or self.roster()}
        start = protocol.question_digest(run, fields)
        size = len(self.own(ONE, request)) if size is None else size
        return whole_terms(number, clients, 0, size, start, exchange or Exchange.generate(secrets.token_bytes))

    def stage(self, name, stage, content, number=1, **first):
        """What a site answers to a stage: content, or why it refuses."""
        fields = {"question": number, "stage": stage, **first}
        answer = self.ask(protocol.STATISTICS, fields, {"content": [np.frombuffer(content, np.uint8)]}, to=name)
        if protocol.REFUSED in answer.fields:
            return answer.fields[protocol.REFUSED]
        return answer.arrays["content"][0].tobytes()

    def advertise(self, name, terms, request, number=1, roster=None):
        first = {"request": request, "roster": roster or self.roster()}
        return self.stage(name, "advertise", terms.to_bytes(), number, **first)

    def all_described(self, run="run"):
        for name in self.parties:
            self.session = secrets.token_hex(16) if name == ONE else self.session
            self.ask(protocol.DESCRIBE, {"seed": 0, "private": False, "run": run}, to=name)

    def summed(self, request, number=1, until=None, change=None, **of_terms):
        """An honest server's part, which ends before a stage, or changes what a site is sent.

        Returns:
            The sum; or site -> what it said last.
        """
        exchange, said = Exchange.generate(secrets.token_bytes), {}
        terms = self.terms(request, number, exchange=exchange, **of_terms)
        known = {name: self.parties[name].identity for name in terms.clients}

        def ask(stage, inbound):
            said.clear()
            for name, content in inbound.items():
                first = {"request": request, "roster": self.roster()} if stage == STAGES[0] else {}
                sent = change(stage, name, content) if change else content
                said[name] = self.stage(name, stage, sent, number, **first)
                yield name, said[name] if isinstance(said[name], bytes) else RefusedError(name, said[name])
            if stage == until:
                raise StopAsking

        try:
            return from_words(masking.summed(terms, known, exchange, ask).total, len(terms.clients))
        except (StopAsking, ValueError):
            return said


class StopAsking(Exception):  # noqa: N818
    """Enough was seen."""


@pytest.fixture
def asking(data, tmp_path):
    made = []

    def make(**policy):
        made.append(Asking(data, tmp_path / str(len(made)), policy, NAMES))
        made[-1].all_described()
        return made[-1]

    yield make
    for attacker in made:
        for site in attacker.sites.values():
            site.close()


def test_a_sum_is_that_of_all_sites_and_no_answer_of_one_passes_by(asking):
    attacker = asking(secure="required", sites=[f"{name}.pub" for name in NAMES])
    for number, request in enumerate(
        (
            attacker.question(),
            attacker.question("counts", intervals=[["age", 0, (1 << 32) - 1]], bins=64),
            attacker.question("sums", columns=[["age", 50.0, 50.0], ["noise", 0.0, 5.0]], power=1),
        ),
        start=1,
    ):
        passed = []

        def change(stage, name, content, passed=passed):
            passed.append(content)
            return content

        found = attacker.summed(request, number, change=change)
        own = {name: attacker.own(name, request) for name in NAMES}
        np.testing.assert_allclose(found, sum(own.values()), rtol=1e-15)
        masked = b"".join(passed)
        for values in own.values():
            # Runs of numbers that say something, in either form.
            assert values.tobytes() not in masked
            assert to_words(values, len(NAMES)).tobytes() not in masked
    # The sites' logs say how they left.
    records = [json.loads(line)["record"] for line in (attacker.root / f"at-{ONE}/audit.jsonl").open()]
    told = [record for record in records if record.get("kind") == "statistics"]
    assert {record["leaves"] for record in told} == {"in a masked sum"}
    assert [record["question"] for record in told] == [1] * 5 + [2] * 5 + [3] * 5


def test_two_sums_that_differ_by_a_site_can_not_be_had(asking):
    """Not by a shorter list of the sum, not by fewer clients of it, not by another list of sites, nor after a loss."""
    attacker = asking()
    request = attacker.question()
    without = json.dumps([ONE, TWO]).encode()

    def dropping(stage, name, content):
        return without if stage == "confirm" else content

    said = attacker.summed(request, change=dropping, until="confirm")
    assert all("of all clients or none" in said[name] for name in (ONE, TWO))
    fewer = attacker.terms(request, clients=(ONE, TWO))
    assert "not of all sites on the list" in attacker.advertise(ONE, fewer, request)
    roster = attacker.roster((ONE, TWO))
    fewer = attacker.terms(request, clients=(ONE, TWO), roster=roster)
    assert "the sites: was answered before" in attacker.advertise(ONE, fewer, request, roster=roster)
    # Nor under another number, in another session, or after a restart.
    for number in (2, 3):
        attacker.restart(ONE)
        attacker.all_described()
        said = attacker.summed(request, number, change=dropping, until="confirm")
        assert "of all clients or none" in said[ONE]
        assert "the sites: was answered before" in attacker.advertise(ONE, fewer, request, roster=roster)
    # The same question of all of them is answered again, by the same sum.
    attacker.all_described()
    np.testing.assert_array_equal(attacker.summed(request), sum(attacker.own(name, request) for name in NAMES))


def test_another_run_has_no_other_list_of_sites_until_a_person_says_so(asking):
    """Statistics have no noise: of two runs on the same rows the sums would differ by the site that one lacks."""
    attacker = asking(sites=[f"{name}.pub" for name in NAMES])
    request, roster = attacker.question(), attacker.roster((ONE, TWO))
    everybody = attacker.summed(request)
    attacker.all_described("another")
    fewer = attacker.terms(request, clients=(ONE, TWO), roster=roster, run="another")
    for name in (ONE, TWO):
        assert "were summed with other sites before" in attacker.advertise(name, fewer, request, roster=roster)
    attacker.all_described("again")
    np.testing.assert_array_equal(attacker.summed(request, run="again"), everybody)
    # Whoever may change the policy.
    path = attacker.root / "policy.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sites": [f"{ONE}.pub", f"{TWO}.pub"]}))
    attacker.restart(ONE)
    attacker.all_described("third")
    fewer = attacker.terms(request, clients=(ONE, TWO), roster=roster, run="third")
    assert isinstance(attacker.advertise(ONE, fewer, request, roster=roster), bytes)


def test_a_training_has_the_sites_of_its_statistics(asking):
    attacker = asking()
    attacker.summed(attacker.question())
    fields, arrays = attacker.plan(MASKED)
    fewer = {**fields, "roster": attacker.roster((ONE, TWO))}
    assert "the sites: was answered before" in attacker.refusal(protocol.PLAN, fewer, arrays)


def test_no_sum_with_sites_that_the_coordinator_invents(asking):
    attacker = asking(sites=[f"{name}.pub" for name in NAMES])
    request = attacker.question()
    invented = {ONE: attacker.roster()[ONE], **{name: attacker.boss.identity().public.hex() for name in (TWO, THREE)}}
    terms = attacker.terms(request, roster=invented)
    assert "are not those that this site sums securely with" in attacker.advertise(ONE, terms, request, roster=invented)
    stranger = attacker.terms(request, clients=(ONE, "x"), roster=attacker.roster())
    assert "other clients than it knows" in attacker.advertise(ONE, stranger, request)
    posing = {**attacker.roster(), ONE: attacker.roster()[TWO]}
    attacker = asking()
    terms = attacker.terms(request, roster=posing)
    assert "another key of this one" in attacker.advertise(ONE, terms, request, roster=posing)


def test_no_sum_of_few_sites_or_of_chosen_patients(asking):
    attacker = asking(min_sites=3)
    assert "min_sites" in attacker.advertise(ONE, attacker.terms(attacker.question()), attacker.question())
    # By the columns that a row must know somebody alone is left: of nobody else are all these known.
    attacker = asking(min_patients=5)
    manifest = attacker.data.manifest
    one = manifest[(manifest["split"] == "train") & manifest["age"].notna()].iloc[0]
    alone = manifest.assign(age=manifest["age"].where(manifest["row"] == one["row"]))
    site = attacker.sites[one["site"]]._session
    site.client = replace(attacker.data, manifest=alone[alone["site"] == one["site"]])
    request = attacker.question("sums", columns=[["noise", 0.0, 5.0]], power=1, known=["age"])
    terms = attacker.terms(request, size=1)
    assert "min_patients: fewer than 5 patients have rows that know" in attacker.advertise(one["site"], terms, request)


def test_all_sites_are_asked_the_same(asking):
    """A question that is answered by nothing at the other sites would leave one alone in the sum."""
    attacker = asking()
    bins = {"bins": 64}
    honest = attacker.question("counts", intervals=[["age", 0, 1 << 31]], **bins)
    empty = attacker.question("counts", intervals=[["age", 0, 1]], **bins)
    terms = attacker.terms(honest)
    assert isinstance(attacker.advertise(ONE, terms, honest), bytes)
    assert "another question or other weights than this one" in attacker.advertise(TWO, terms, empty)
    assert "another question or other weights than this one" in attacker.advertise(
        TWO, attacker.terms(honest, run="other"), honest
    )
    assert "the secure sum is of round 1" in attacker.advertise(TWO, terms, honest, number=2)
    # Of terms of its own for each: then their messages are of two sums, and none takes the other's.
    other = attacker.terms(empty)
    said = {TWO: attacker.advertise(TWO, other, empty), THREE: attacker.advertise(THREE, other, empty)}
    mixed = pack([attacker.advertise(ONE, attacker.terms(honest), honest), *said.values()])
    assert "belongs to another round (a replay?)" in attacker.stage(ONE, "share", mixed)


def test_sessions_are_not_mixed_and_stages_not_repeated(asking):
    attacker = asking()
    request = attacker.question()
    old = {name: attacker.advertise(name, attacker.terms(request), request) for name in NAMES}
    terms = attacker.terms(request)
    new = {name: attacker.advertise(name, terms, request) for name in NAMES}
    mixed = pack([new[ONE], old[TWO], new[THREE]])
    assert "belongs to another round (a replay?)" in attacker.stage(ONE, "share", mixed)
    # A stage that failed is not tried again, nor one that was passed over.
    assert "out of order or again" in attacker.stage(ONE, "share", pack(new.values()))
    assert "out of order or again" in attacker.stage(TWO, "confirm", json.dumps(NAMES).encode())
    assert "was not begun" in attacker.stage(THREE, "share", pack(new.values()), number=2)
    assert "was not begun" in attacker.stage(THREE, "__init__", b"")
    assert all("no run has as many" in attacker.stage(THREE, "share", b"", number=number) for number in (0, -1, 10**9))
    # The same terms, whose masks would be the same, are taken once.
    assert "was answered in this session" in attacker.advertise(THREE, terms, request)
    attacker.restart(THREE)
    attacker.all_described()
    assert "was answered in this session" in attacker.advertise(THREE, terms, request)


def test_terms_are_those_of_all_statistics(asking):
    """By limits that halve a coordinator would find a site's largest number; a length that is not the question's."""
    attacker = asking()
    request = attacker.question()
    honest = attacker.terms(request)
    for change in ({"limit": 100.0}, {"max_weight": 2.0}, {"length": honest.length + 2}, {"bits": 32, "limit": 1.0}):
        terms = SumTerms(**{**vars_of(honest), **change})
        assert "another limit or length than all have" in attacker.advertise(ONE, terms, request)
    assert isinstance(attacker.advertise(ONE, honest, request), bytes)


def vars_of(terms):
    fields = json.loads(terms.to_bytes())
    return {**fields, "clients": tuple(fields["clients"])}


def test_a_question_leaves_in_one_way(asking):
    attacker = asking()
    request = attacker.question()
    attacker.summed(request)
    bare = attacker.ask(protocol.STATISTICS, {"request": request})
    assert "leave: was answered before" in bare.fields[protocol.REFUSED]
    assert not bare.arrays
    for kind in ("required", "masking", "ckks"):
        attacker = asking(secure=kind, sites=[f"{name}.pub" for name in NAMES])
        bare = attacker.ask(protocol.STATISTICS, {"request": request})
        assert bare.fields[protocol.REFUSED].startswith("secure: statistics of this site leave in masked sums alone")
        assert not bare.arrays
        assert isinstance(attacker.summed(request), np.ndarray)


@pytest.mark.parametrize("policy", [{"statistics": False}, {"dp": {"unit": "patient"}}, {"approval": True}])
def test_a_mask_is_no_way_round_the_policy(asking, policy):
    attacker = asking(**policy)
    terms = attacker.terms(attacker.question())
    assert isinstance(attacker.advertise(ONE, terms, attacker.question()), str)


def test_whose_rows_are_summed_is_settled_under_masks_too(asking):
    attacker = asking()
    sums = {"columns": [["age", 50.0, 50.0]], "power": 1}
    assert isinstance(attacker.summed(attacker.question("sums", **sums, known=["noise"])), np.ndarray)
    other = attacker.question("sums", **sums, known=["noise", "pain"])
    assert "two would tell too much" in attacker.advertise(ONE, attacker.terms(other, 2), other, 2)
    again = attacker.question("sums", **sums, known=["noise"])
    assert "question 1: was answered before" in attacker.advertise(ONE, attacker.terms(other), other)
    assert isinstance(attacker.summed(again), np.ndarray)
