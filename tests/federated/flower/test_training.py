"""Trainings with sites of their own, over a stand-in for the link: what they come to, and what leaves the sites."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from federated.audit_log import verify
from federated.audit_log.head import read_head, write_head
from federated.flower.keys import Party
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.dataset_ledger import DatasetLedger
from tests.command import medimg
from tests.federated.flower.conftest import CKKS, MARKED, MASKED, PRIVATE, QUICK, AwayError, largest, rounds, told
from tests.federated.flower.conftest import header as head_of

pytestmark = [pytest.mark.usefixtures("sparing"), pytest.mark.slow]


class Trained:
    """A training, its sites, and the updates that they held or sent: (site, round) -> arrays."""

    def __init__(self, apart, config, execution, out, **policy):
        from federated.flower.envelope import opened

        self.apart, self.updates, self.keys = apart(config, **policy), {}, []
        link = self.apart.link
        parties = {party.name: party for party in self.apart.parties}

        def wire(name, head, deliver):
            answer = deliver()
            if head["kind"] == "train":
                held = link.sites[name]._training.held
                found = opened(answer, name, parties[name].identity, "coordinator").arrays
                self.updates[name, head["fields"]["round"]] = [held[1]] if held else found["vectors"]
                self.keys += [path.read_bytes() for path in self.apart.folders[name].rglob("*.ckks")]
            return answer

        link.wire = wire
        self.run = self.apart.federate(out, config, execution)


@pytest.fixture(scope="module")
def plain(apart, execution, tmp_path_factory):
    return Trained(apart, QUICK, execution, tmp_path_factory.mktemp("plain") / "run", gain=True)


@pytest.fixture(scope="module")
def masked(apart, execution, tmp_path_factory):
    return Trained(apart, MASKED, execution, tmp_path_factory.mktemp("masked") / "run")


@pytest.fixture(scope="module")
def ckks(apart, execution, tmp_path_factory):
    return Trained(apart, CKKS, execution, tmp_path_factory.mktemp("ckks") / "run")


@pytest.fixture(scope="module")
def private(apart, execution, tmp_path_factory):
    return Trained(apart, PRIVATE, execution, tmp_path_factory.mktemp("private") / "run", max_runs=2)


def in_files(root, content: bytes) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_plain_and_secure_are_the_simulation(plain, masked, ckks, simulated):
    here = simulated()
    for trained in (plain, masked, ckks):
        assert largest(trained.run, here) < 1e-5
    start = plain.run.model().get_weights()
    assert any(np.abs(array).max() > 1e-3 for array in start)
    for name in ("s0", "s1", "s2"):
        for trained in (masked, ckks):
            assert rounds(trained.run, name) == dict.fromkeys((1, 2, 3), "ok")
    assert [told(trained.run)["secure"]["kind"] for trained in (masked, ckks)] == ["masking", "ckks"]


def test_the_coordinator_has_no_key_of_ckks(ckks):
    """One secret context, at the sites alone, and gone with the training; what passes by is encrypted."""
    from federated.secure.ckks_keys import CkksKeys

    # It stays as it is handed on: in no message, though the public one of the same keys is.
    assert ckks.keys
    for content in ckks.keys:
        kept = CkksKeys.from_bytes(content)
        assert kept.public in ckks.apart.link.bytes
        for piece in (kept.tags, kept.secret[-4000:-3000]):
            assert piece not in ckks.apart.link.bytes
            assert not in_files(ckks.run.root, piece)
    assert len(set(ckks.keys)) == 1
    assert not list(ckks.apart.root.rglob("*.ckks"))


KINDS = ["plain", "masked", "ckks", pytest.param("private", marks=pytest.mark.slow)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_leaves_a_site_and_under_masking_no_update(kind, request, table):
    trained = request.getfixturevalue(kind)
    row = table.manifest.iloc[0]
    assert (row["split"], row["age"]) == ("train", MARKED["age"])
    sent, at_coordinator = trained.apart.link.bytes, trained.run.root
    marks = [text.encode() for text in list(MARKED.values())[:3]] + [b"61.2837"]
    marks += [np.array(MARKED["age"], kind).tobytes() for kind in ("<f4", "<f8")]
    for mark in marks:
        assert mark not in sent
        assert not in_files(at_coordinator, mark)
    # The search itself finds.
    assert in_files(trained.apart.folders["s0"] / "data", marks[0])
    assert len(trained.updates) == 3 * trained.run.config["options"]["rounds"]
    for arrays in trained.updates.values():
        for piece in pieces(arrays):
            # In the open they are on the wire, so that the search finds them.
            assert (piece in sent) == (kind == "plain")
            assert not in_files(at_coordinator, piece)


@pytest.mark.parametrize("kind", ["plain", "masked", "ckks"])
def test_under_a_secure_sum_no_site_answers_a_question_alone(kind, request):
    """The plain run's answers are on its wire, the others' are not, and each Run and log says which it was."""
    from federated.flower.envelope import opened

    trained, plain = request.getfixturevalue(kind), request.getfixturevalue("plain")
    parties, answers = {party.name: party for party in plain.apart.parties}, []
    for name, raw, answer in plain.apart.link.carried:
        if head_of(raw)["kind"] == "statistics":
            answers += opened(answer, name, parties[name].identity, "coordinator").arrays["answer"]
    assert len(answers) >= 3 * 6
    sent = trained.apart.link.bytes
    # Of those that are no zeros but a few; a count of few bins may be any site's.
    said = [answer for answer in answers if np.count_nonzero(answer) >= 3]
    assert all((answer.tobytes() in sent) == (kind == "plain") for answer in said)
    leaves = {r["leaves"] for r in trained.apart.log("s0") if r.get("kind") == "statistics"}
    assert leaves == {"as it is" if kind == "plain" else "in a masked sum"}
    sentences = " ".join(told(trained.run)["statistics"])
    assert ("as they are" in sentences) == (kind == "plain")
    assert ("in masked sums" in sentences) == (kind != "plain")
    assert "In the simulation" not in sentences


def pieces(arrays):
    """Runs of four numbers of an update that say something."""
    flat = np.ravel(arrays[0]).astype("<f4")
    runs = [flat[i : i + 4] for i in range(0, len(flat) - 3, 4)]
    found = [run.tobytes() for run in runs if np.count_nonzero(run) == 4]
    assert found
    return found


def test_epsilon_is_the_simulations_and_the_sites_own(private, simulated):
    here, there = simulated(PRIVATE), private.run
    one, other = told(here, "privacy.json"), told(there, "privacy.json")
    assert one["epsilon"] == other["epsilon"]
    assert one["epsilon"]["pld"] > 0
    for name, folder in private.apart.folders.items():
        assert one["sites"][name]["epsilon"] == other["sites"][name]["epsilon"]
        of_dataset = epsilon_of(DatasetLedger(folder / "data").events(), PRIVATE.dp_delta)
        assert of_dataset == other["sites"][name]["epsilon"]
        (own,) = (folder / "ledger").glob("*/privacy.json")
        assert json.loads(own.read_text())["epsilon"] == other["sites"][name]["epsilon"]


def test_a_private_sites_numbers_stay(private):
    answers = [answer for _, raw, answer in private.apart.link.carried]
    trained = [head_of(a) for a in answers if head_of(a)["kind"] == "train"]
    assert len(trained) == 6
    assert all(set(head["fields"]["measures"].values()) == {None} for head in trained)
    rows = pd.read_csv(private.run.root / "rounds.csv")
    assert rows[["examples", "loss", "accuracy", "seconds"]].isna().all(axis=None)
    described = [head_of(a) for a in answers if head_of(a)["kind"] == "describe"]
    for head in described:
        (client,) = head["fields"]["clients"].values()
        assert (client["patients"], client["examples"]["train"], client["fingerprint"]) == (0, 0, "")


def test_metrics_are_measured_at_the_sites(plain, table):
    from federated.flower.description import client_of
    from medimg.data.dataset import Dataset

    measured = told(plain.run)["measured_at_sites"]
    assert set(measured) == {"s0", "s1", "s2"}
    for name, found in measured.items():
        rows = client_of(Dataset.load(plain.apart.folders[name] / "data"), name, 0, False).rows("test", labelled=True)
        assert (found["n"], found["patients"]) == (len(rows), rows["patient"].nunique())
        auroc = found["metrics"]["auroc"]
        assert 0 <= auroc["low"] <= auroc["value"] <= auroc["high"] <= 1
        gain = found["gain"]
        assert gain["difference"]["value"] == pytest.approx(auroc["value"] - gain["alone"]["value"], abs=2e-3)
        assert gain["difference"]["low"] <= gain["difference"]["value"] <= gain["difference"]["high"]
    # On the same rows the coordinator measures the same.
    sites = told(plain.run, "metrics.json")["sites"]
    for name, found in measured.items():
        assert found["metrics"]["auroc"]["value"] == pytest.approx(sites[name]["auroc"]["value"], abs=5e-4)


def test_a_site_alone_is_the_simulations(plain, masked, simulated):
    places = told(simulated(replace(QUICK, comparison=True)))["comparison"]["gain"]["places"]
    alone = {place["name"]: place["values"]["local"]["value"] for place in places if place["kind"] == "site"}
    for name, found in told(plain.run)["measured_at_sites"].items():
        assert found["gain"]["alone"]["value"] == pytest.approx(alone[name], abs=5e-4)
    assert not any("gain" in found for found in told(masked.run)["measured_at_sites"].values())


@pytest.mark.parametrize("kind", KINDS)
def test_logs_tell_the_same(kind, request):
    trained = request.getfixturevalue(kind)
    logs = [folder / "audit.jsonl" for folder in trained.apart.folders.values()]
    found = verify(trained.run.root / "audit.jsonl", site_logs=logs)
    assert found.ok, found.problems
    assert sum("rounds of" in note for note in (*found.notes, *found.compared)) >= 3
    answers = {hashlib.sha256(answer).hexdigest() for _, _, answer in trained.apart.link.carried}
    assert {r["answer"] for r in trained.apart.log("s0") if r["event"] == "message"} <= answers


def test_a_dossier_tells_of_each_site_by_its_own_log(masked, tmp_path):
    from federated.report.dossier import dossier

    logs = [folder / "audit.jsonl" for folder in masked.apart.folders.values()]
    made = dossier(masked.run.root, tmp_path / "out", site_logs=logs)
    text, kept = made.read_text(), json.loads((made.parent / "dossier.json").read_text())
    assert set(kept["sites"]) == set(masked.apart.folders)
    for name, site in kept["sites"].items():
        assert site["messages"]["train"]["answered"] == MASKED.rounds
        assert f"{name} by its own log" in text
        # Five messages a question; none as it is.
        masked_ = site["messages"]["statistics (in a masked sum)"]["answered"]
        assert masked_ >= 5 * 6
        assert masked_ % 5 == 0
        assert "statistics (as it is)" not in site["messages"]
        assert "statistics (in a masked sum)" in text
        assert (made.parent / site["log"]).is_file()
    assert "coordinator's word" not in text


def rewritten(log, out, change, sign=lambda record, head: None):
    """A coordinator's log told anew at its own times, whole in itself; `sign` is called as each record is added."""
    from federated.audit_log.chain import GENESIS, canonical
    from federated.audit_log.head import Head, write_head

    entries = [json.loads(line) for line in log.open()]
    records, head, lines = [entry["record"] for entry in entries], GENESIS, []
    change(records)
    for number, (entry, record) in enumerate(zip(entries, records, strict=False), start=1):
        sign(record, head)
        content = {"number": number, "at": entry["at"], "previous": head, "record": record}
        head = hashlib.sha256(canonical(content)).hexdigest()
        lines.append(canonical({**content, "hash": head}) + b"\n")
    out.write_bytes(b"".join(lines))
    write_head(out, Head(len(lines), head))
    return out


def test_a_rewritten_log_contradicts_a_sites(plain, tmp_path):
    site = plain.apart.folders["s1"] / "audit.jsonl"
    changed = rewritten(plain.run.root / "audit.jsonl", tmp_path / "audit.jsonl", CHANGES["an option"])
    alone = verify(changed)
    against = verify(changed, site_logs=[site])
    assert any(problem.startswith("site s1: ") for problem in against.problems), against
    # Without it, by what the sites have signed in it.
    assert any("site s1 has not signed" in problem for problem in alone.problems), alone


def unsigned(records):
    for record in records:
        for site in record["sites"].values() if record["event"] == "round" else ():
            del site["countersigned"]


def lost(records):
    """As if no site had been there after the record that is changed."""
    records[0]["options"].update(seed=77)
    for record in records:
        if record["event"] == "round":
            record["sites"] = {}
    records[-1]["countersigned"] = {}


def stripped(records):
    """As of a training without sites."""
    for record in records:
        record.pop("sites", None)
        record.pop("signers", None)


CHANGES = {
    "an option": lambda records: records[0]["options"].update(seed=77),
    "the last round": lambda records: records[-4].update(model="0" * 64),
    "the end": lambda records: records[-2]["files"].update({"model.keras": "0" * 64}),
    "unsigned": unsigned,
    "lost": lost,
    "stripped": stripped,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_sites_have_signed_can_not_be_told_anew(masked, tmp_path, change):
    log, site = masked.run.root / "audit.jsonl", masked.apart.folders["s1"] / "audit.jsonl"
    assert [json.loads(line)["record"]["event"] for line in log.open()][-4:] == ["round", "metrics", "end", "sites"]
    whole = verify(log)
    assert whole.ok, whole.problems
    assert any("up to record 6 the log is countersigned: s0 (key " in note for note in whole.notes), whole.notes
    assert not any("no site has signed" in note for note in whole.notes)
    changed = rewritten(log, tmp_path / "audit.jsonl", CHANGES[change])
    found = verify(changed)
    signed = [problem for problem in found.problems if "has not signed" in problem]
    # Whoever takes the sites out altogether is found by their logs alone.
    assert bool(signed) == (change != "stripped"), found
    assert any(problem.startswith("site s1: ") for problem in verify(changed, site_logs=[site]).problems)


def test_the_coordinators_key_has_signed_the_head(masked, simulated, tmp_path):
    log, public = masked.run.root / "audit.jsonl", masked.apart.place.root / "coordinator.pub"
    key = Party.read(public).identity.hex()
    assert verify(log, public_key=key).ok
    told_by = medimg("federate", "verify", masked.run.root, "--public-key", public)
    assert (told_by.exit_code, "audit log intact: " in told_by.output) == (0, True), told_by.output
    assert medimg("federate", "verify", masked.run.root, "--public-key", key).exit_code == 0
    other = Party.read(next(masked.apart.folders["s1"].glob("*.pub"))).identity.hex()
    assert "not signed with the key" in " ".join(verify(log, public_key=other).problems)
    # Whoever lacks it makes log and head anew, and can but leave the signature as it was, or take it off.
    changed = rewritten(log, tmp_path / "audit.jsonl", CHANGES["stripped"])
    head = read_head(changed)
    with pytest.raises(InputError, match="has no signed head"):
        verify(changed, public_key=key)
    write_head(changed, replace(read_head(log), number=head.number, hash=head.hash))
    assert "not signed with the key" in " ".join(verify(changed, public_key=key).problems)
    for run, given in ((simulated().root, key), (masked.run.root, tmp_path / "no.pub"), (masked.run.root, "abc")):
        told_by = medimg("federate", "verify", run, "--public-key", given)
        assert (told_by.exit_code, told_by.output.count("rror: ")) == (2, 1), told_by.output


def test_keys_of_a_rewriters_own_are_not_the_sites(masked, tmp_path):
    from federated.audit_log.head import witnessed
    from federated.secure.keys import identities

    log, site = masked.run.root / "audit.jsonl", masked.apart.folders["s1"] / "audit.jsonl"
    posing, run = identities(masked.apart.folders), json.loads(log.open().readline())["record"]["run"]

    def change(records):
        records[0] |= {"signers": {name: posing[name].public.hex() for name in posing}}

    def sign(record, head):
        made = {name: posing[name].sign(witnessed(name, run, head)).hex() for name in posing}
        for name, told_ in record["sites"].items() if record["event"] == "round" else ():
            told_ |= {"countersigned": made[name], "before": None}
        if record["event"] == "sites":
            record |= {"countersigned": made, "before": {}}

    changed = rewritten(log, tmp_path / "audit.jsonl", change, sign)
    found = verify(changed)
    assert not any("has not signed" in problem for problem in found.problems), found.problems
    assert any("Compare them with the sites' public files, or give --site-log" in gap for gap in found.cannot_show)
    assert any("names another key of it" in problem for problem in verify(changed, site_logs=[site]).problems)


def test_a_renewed_key_is_the_sites_own(apart, execution, tmp_path):
    """After a training by the old one; each log is held against the run of its key."""
    from federated.flower import keys
    from federated.flower.keys import Party

    there, once = apart(replace(QUICK, rounds=1), max_runs=2), replace(QUICK, rounds=1)
    before = there.federate(tmp_path / "before", once, execution)
    folder, place = there.folders["s1"], there.place.root
    (folder / "s1.key").unlink()
    public = keys.make("s1", folder).with_suffix(".pub")
    for known in (*there.root.glob("*.pub"), place / "sites" / "s1.pub"):
        if Party.read(known).name == "s1":
            known.write_bytes(public.read_bytes())
    there.link._parties["s1"] = Party.read(public)
    for name in there.folders:
        there.start(name)
    after = there.federate(tmp_path / "after", once, execution)
    logs = [folder / "audit.jsonl" for folder in there.folders.values()]
    for run in (before, after):
        assert not verify(run.root / "audit.jsonl", site_logs=logs).problems


def test_what_sites_sign_again_does_not_make_another_log_theirs(masked, tmp_path):
    """A coordinator that has a log of its own making signed by the sites themselves, which answer a round again."""
    from federated.audit_log.head import witnessed
    from federated.flower import keys

    log = masked.run.root / "audit.jsonl"
    run, folders = json.loads(log.open().readline())["record"]["run"], masked.apart.folders
    secrets = {name: keys.load(folder / f"{name}.key").identity() for name, folder in folders.items()}
    # What each was told last: a site signs that with whatever it is told next.
    last = dict.fromkeys(secrets, json.loads(log.read_text().splitlines()[-1])["previous"])

    def sign(record, head):
        if record["event"] not in ("round", "sites"):
            return
        made = {}
        for name, identity in secrets.items():
            signature = identity.sign(witnessed(name, run, head, last[name])).hex()
            made[name] = {"countersigned": signature, "before": last[name]}
            last[name] = head
        if record["event"] == "sites":
            for key in ("countersigned", "before"):
                record[key] = {name: one[key] for name, one in made.items()}
        for name, told_ in record["sites"].items() if record["event"] == "round" else ():
            told_.update(made[name])

    changed = rewritten(log, tmp_path / "audit.jsonl", CHANGES["an option"], sign)
    problems = verify(changed).problems
    assert not any("has not signed" in problem for problem in problems), problems
    for name in secrets:
        assert any(f"site {name} was told before of a record that is not in this log" in one for one in problems)


def test_each_site_has_signed_no_further_than_it_took_part(masked, tmp_path):
    """One that is in league with the coordinator signs what it likes, for itself."""
    from federated.audit_log.head import witnessed
    from federated.flower import keys

    log = masked.run.root / "audit.jsonl"
    run = json.loads(log.open().readline())["record"]["run"]
    identity = keys.load(masked.apart.folders["s0"] / "s0.key").identity()
    rounds = []

    def change(records):
        rounds.extend(record for record in records if record["event"] == "round")
        rounds[1].update(model="0" * 64)
        for record in rounds[1:]:
            record.update(included=["s0"], sites={"s0": {}})
        records[-1].update(countersigned={"s0": ""}, before={})

    def sign(record, head):
        made = identity.sign(witnessed("s0", run, head)).hex()
        if record["event"] == "sites":
            record["countersigned"] = {"s0": made}
        elif record in rounds[1:]:
            record["sites"]["s0"] = {"countersigned": made}

    found = verify(rewritten(log, tmp_path / "audit.jsonl", change, sign))
    signed = [note for note in found.notes if "countersigned" in note]
    assert "s1" not in signed[0]
    assert "up to record 6" in signed[0]
    assert "up to record 1 the log is countersigned: s1 (key" in signed[1]


def test_a_cut_log_is_no_more_signed_to_its_end(masked, tmp_path):
    changed = rewritten(masked.run.root / "audit.jsonl", tmp_path / "audit.jsonl", lambda records: records.pop())
    assert any("no site has signed the records from" in note for note in verify(changed).notes)


def test_a_cut_and_a_changed_site_log_are_found(plain, tmp_path):
    lines = (plain.apart.folders["s1"] / "audit.jsonl").read_bytes().splitlines(keepends=True)
    cut, changed = tmp_path / "cut.jsonl", tmp_path / "changed.jsonl"
    last_train = max(i for i, line in enumerate(lines) if b'"train"' in line)
    cut.write_bytes(b"".join(lines[:last_train]))
    changed.write_bytes(b"".join(line.replace(b'"train"', b'"other"') for line in lines))
    for path, words in ((cut, "was cut or made anew"), (changed, "site s1: ")):
        found = verify(plain.run.root / "audit.jsonl", site_logs=[path])
        assert not found.ok
        assert any(words in problem for problem in found.problems), found.problems
    assert any("round 3 has an update" in p for p in verify(plain.run.root / "audit.jsonl", site_logs=[cut]).problems)


def test_a_measured_run_is_not_made_longer(plain, execution):
    longer, before = replace(QUICK, rounds=5), len(plain.apart.link.carried)
    with pytest.raises(InputError, match=r"--rounds 5: the sites of .* measure one a run; train another"):
        plain.apart.federate(plain.run.root, longer, execution, resume=True)
    assert len(plain.apart.link.carried) == before


def test_a_site_away_for_two_rounds_and_back(apart, execution, tmp_path):
    """Its updates are left out, masked as plain, and it goes on with the model of then."""
    runs = []
    for config in (QUICK, MASKED):
        there = apart(config)

        def wire(name, head, deliver, there=there):
            if head["kind"] == "train":
                there.link.away = {"s1"} if head["fields"]["round"] in (2, 3) else set()
            return deliver()

        there.link.wire = wire
        rounds_4 = replace(config, rounds=4, site_patience=0.1)
        for name in there.folders:
            there.allow(name, max_rounds=4)
            there.start(name)
        runs.append(there.federate(tmp_path / config.secure, rounds_4, execution))
        status = rounds(runs[-1], "s1")
        assert (status[1], status[4]) == ("ok", "ok")
        assert all(status[number] != "ok" for number in (2, 3)), status
        assert list(runs[-1].history()["participants"]) == [3, 2, 2, 3]
    assert largest(*runs) < 1e-5


def test_dropouts_at_every_stage_of_a_sum(apart, execution, tmp_path):
    stages = ("advertise", "share", "mask", "confirm", "reveal")
    there = apart(MASKED, max_rounds=len(stages))

    def wire(name, head, deliver):
        fields = head["fields"]
        if name == "s1" and head["kind"] == "mask" and fields["stage"] == stages[fields["round"] - 1]:
            raise AwayError
        return deliver()

    there.link.wire = wire
    run = there.federate(tmp_path / "run", replace(MASKED, rounds=len(stages)), execution)
    status = rounds(run, "s1")
    # In the sum it is once its masked vector has arrived.
    assert [status[number] == "ok" for number in range(1, 6)] == [False, False, False, True, True], status
    assert list(run.history()["participants"]) == [2, 2, 2, 3, 3]


@pytest.mark.parametrize("config", [MASKED, CKKS], ids=["masked", "ckks"])
def test_a_round_with_too_few_for_a_sum_teaches_nothing(apart, execution, tmp_path, config):
    there = apart(config)

    def wire(name, head, deliver):
        there.link.away.clear()
        if name != "s1" and head["kind"] == "train" and head["fields"]["round"] == 1:
            there.link.away.add(name)
            raise AwayError
        return deliver()

    there.link.wire = wire
    run = there.federate(tmp_path / "run", replace(config, rounds=2, site_patience=0.1), execution)
    assert list(run.history()["participants"]) == [0, 3]


def starting_anew(there, done, kind="train"):
    """The link of a site that is started anew once, in round 2, after its work and before its answer arrives.

    With another kind of message, so then.
    """

    def wire(name, head, deliver):
        if name == "s1" and head["kind"] == kind and head["fields"].get("round", 2) == 2 and not done:
            done.append(name)
            deliver()
            there.start(name)
            raise AwayError
        return deliver()

    return wire


def test_a_site_away_at_any_stage_of_statistics_is_waited_for(apart, simulated, execution, tmp_path):
    """Before its numbers are in the sum is asked for anew, afterwards it is opened without it; once by each stage."""
    there, gone, config = apart(MASKED), [], replace(MASKED, rounds=1)

    def wire(name, head, deliver):
        fields = head["fields"]
        stages = {1: "advertise", 2: "share", 3: "mask", 4: "confirm", 5: "reveal"}
        number = fields.get("question")
        if name == "s1" and number in stages and fields["stage"] == stages[number] and number not in gone:
            gone.append(number)
            if number % 2:
                # Its work is done and lost with it.
                deliver()
                there.start(name)
            raise AwayError
        return deliver()

    there.link.wire = wire
    run = there.federate(tmp_path / "run", config, execution)
    assert gone == [1, 2, 3, 4, 5]
    assert told(run, "model.json")["preprocessing"] == told(simulated(MASKED), "model.json")["preprocessing"]
    # Asked anew: questions 1 to 3, from their first stage on.
    first = [head["fields"]["question"] for head in questions(there, "s2") if head["fields"]["stage"] == "advertise"]
    assert [first.count(number) for number in (1, 2, 3, 4, 5)] == [2, 2, 2, 1, 1]


def test_a_site_that_stays_away_from_statistics_ends_it_in_one_line(apart, execution, tmp_path):
    """No sum of those that are left, which a next one of all would differ from by its answers alone."""
    there = apart(MASKED)

    def wire(name, head, deliver):
        if head["fields"].get("question") == 2 and head["fields"]["stage"] == "mask" and name == "s1":
            there.link.away = {"s1"}
            raise AwayError
        return deliver()

    there.link.wire = wire
    with pytest.raises(InputError, match="--site s1: not connected to the link") as error:
        there.federate(tmp_path / "run", replace(MASKED, site_patience=0.1), execution)
    assert "\n" not in str(error.value)
    assert not any(head["fields"]["stage"] == "confirm" for head in questions(there, "s2")[5:])


def questions(there, name):
    """Headers of the masked sums' messages that a site was sent."""
    heads = [head_of(raw) for to, raw, _ in there.link.carried if to == name]
    return [head for head in heads if head["kind"] == "statistics"]


SLOWER = [pytest.param(config, marks=pytest.mark.slow) for config in (MASKED, CKKS)]


@pytest.mark.parametrize("config", [QUICK, *SLOWER], ids=["plain", "masked", "ckks"])
def test_a_site_started_anew_goes_on(apart, simulated, execution, tmp_path, config):
    there, done = apart(config), []
    there.link.wire = starting_anew(there, done)
    run = there.federate(tmp_path / "run", config, execution)
    assert done
    assert largest(run, simulated()) < 1e-5
    assert set(rounds(run, "s1").values()) == {"ok"}


@pytest.mark.parametrize("kind", ["describe", "statistics", "plan", "evaluate", "finish"])
def test_a_site_started_anew_at_any_stage_goes_on(apart, execution, tmp_path, kind):
    there, done = apart(replace(QUICK, rounds=1)), []
    there.link.wire = starting_anew(there, done, kind)
    run = there.federate(tmp_path / "run", replace(QUICK, rounds=1), execution)
    assert done
    assert set(rounds(run, "s1").values()) == {"ok"}
    ended = told(run)
    assert set(ended["measured_at_sites"]) == {"s0", "s1", "s2"}
    assert "why" not in ended["measured_at_sites"]["s1"]
    logs = [folder / "audit.jsonl" for folder in there.folders.values()]
    assert not verify(run.root / "audit.jsonl", site_logs=logs).problems


class KilledError(BaseException):
    """The coordinator is gone, with all that it knew and had not written."""


@pytest.mark.parametrize("kind", ["statistics", "plan", "train", "mask", "finish"])
def test_a_coordinator_killed_at_any_stage_goes_on(apart, simulated, execution, tmp_path, kind):
    """Before there is a Run by the same words, else by --resume; to the weights that it would have come to."""
    there, done, run = apart(MASKED, max_runs=1), [], tmp_path / "run"

    def wire(name, head, deliver):
        answer = deliver()
        if name == "s1" and head["kind"] == kind and head["fields"].get("round", 2) == 2 and not done:
            done.append(name)
            raise KilledError
        return answer

    there.link.wire = wire
    with pytest.raises(KilledError):
        there.federate(run, MASKED, execution)
    made = there.federate(run, MASKED, execution, resume=run.exists())
    assert list(made.history()["round"]) == [1, 2, 3]
    assert largest(made, simulated(MASKED)) < 1e-5
    logs = [folder / "audit.jsonl" for folder in there.folders.values()]
    assert not verify(made.root / "audit.jsonl", site_logs=logs).problems


def test_a_private_site_started_anew_counts_no_step_twice_and_none_less(apart, private, execution, tmp_path):
    there, done = apart(PRIVATE), []
    there.link.wire = starting_anew(there, done)
    run = there.federate(tmp_path / "run", PRIVATE, execution)
    assert done
    spent = epsilon_of(DatasetLedger(there.folders["s1"] / "data").events(), PRIVATE.dp_delta)
    # Its key is made anew with it, and so are its draws: what it had answered counts beside.
    assert spent["pld"] >= told(run, "privacy.json")["sites"]["s1"]["epsilon"]["pld"]


# How a site may lie in a round, by number, and what is said of it.
LIES = {
    1: ("shapes", "lost: site s1: its update has other shapes"),
    2: ("numbers", "lost: message from s1: array 'vectors' holds NaN"),
    3: ("name", "lost: message from s1: its signature is not"),
    4: ("replay", "lost: site s1: its answer is to another request"),
    5: ("silence", "lost: site s1: does not answer"),
    6: ("form", "lost: site s1: its answer has another form"),
    7: ("garbage", "lost: message from s1: its signature is not"),
    8: ("none", "ok"),
}


def lied(how, answer, parties, identities, before):
    """A train message's answer of s1, with a lie in it."""
    from federated.flower.envelope import opened, signed

    honest = opened(answer, "s1", parties["s1"].identity, "coordinator")
    vectors = honest.arrays["vectors"]
    if how == "shapes":
        return signed(replace(honest, arrays={**honest.arrays, "vectors": [v[:-1] for v in vectors]}), identities["s1"])
    if how == "numbers":
        bad = [np.full_like(v, np.nan) for v in vectors]
        return signed(replace(honest, arrays={**honest.arrays, "vectors": bad}), identities["s1"])
    if how == "name":
        return signed(replace(honest, sender="s2"), identities["s2"])
    if how == "form":
        return signed(replace(honest, fields={"measures": {"examples": "many"}}), identities["s1"])
    return {"replay": before, "silence": b"", "garbage": b"\0" * 500, "none": answer}[how]


def test_a_site_that_lies_is_left_out_by_name(apart, simulated, execution, tmp_path):
    from federated.flower import keys

    there, before = apart(max_rounds=len(LIES)), []
    parties = {party.name: party for party in there.parties}
    identities = {name: keys.load(folder / f"{name}.key").identity() for name, folder in there.folders.items()}

    def wire(name, head, deliver):
        answer = deliver()
        if name != "s1" or head["kind"] != "train":
            return answer
        before.append(answer)
        return lied(LIES[head["fields"]["round"]][0], answer, parties, identities, before[0])

    there.link.wire = wire
    run = there.federate(tmp_path / "run", replace(QUICK, rounds=len(LIES)), execution)
    status = rounds(run, "s1")
    for number, (how, said) in LIES.items():
        assert status[number].startswith(said), how
    assert list(run.history()["participants"]) == [2] * 7 + [3]
    assert all(np.isfinite(array).all() for array in run.model().get_weights())


def test_a_replayed_request_is_not_answered(apart, execution, tmp_path):
    there, earlier = apart(), {}

    def wire(name, head, deliver):
        answer = deliver()
        assert answer
        if head["kind"] == "describe":
            earlier[name] = deliver
        if head["kind"] == "plan":
            assert earlier[name]() == b""
        # Delivered twice by the link, the last one has the same answer; nothing is computed or put down anew.
        before = len(there.log(name))
        assert deliver() == answer
        assert len(there.log(name)) == before
        return answer

    there.link.wire = wire
    with pytest.MonkeyPatch.context() as patched:
        # Nothing is to be trained for this.
        patched.setattr("federated.flower.pool.FlowerPool.updates", ended)
        with pytest.raises(InputError, match="enough"):
            there.federate(tmp_path / "run", QUICK, execution)
    assert sum("comes after number" in line for line in there.said) == 3


def ended(*_):
    raise InputError("enough")


# Asks for no statistics first.
PRIVATE_OPEN = replace(PRIVATE, secure="none")


@pytest.mark.parametrize(
    ("config", "policy", "told_"),
    [
        (QUICK, {"secure": "required"}, "secure: statistics of this site leave in masked sums alone"),
        (PRIVATE_OPEN, {"secure": "required"}, "secure: updates of this site leave in a secure sum alone"),
        (QUICK, {"min_patients": 1000}, "min_patients: this site has fewer than 1000"),
        (QUICK, {"max_rounds": 2}, "max_rounds: 3 are asked for, 2 allowed"),
        (QUICK, {"approval": True}, "approval: a person at this site must allow run"),
        (PRIVATE, {"dp": {"epsilon": 1}}, "dp epsilon: 6.0 is asked for, 1 allowed"),
        (PRIVATE, {"dp": {"budget": 1}}, "dp budget: with this training epsilon over all runs"),
        (MASKED, {"sites": ["../0.pub", "../1.pub"]}, "sites: s2 are not those that this site sums securely with"),
    ],
)
def test_a_policy_is_the_sites_own_and_its_words_reach_both_sides(apart, execution, tmp_path, config, policy, told_):
    there = apart(config)
    there.allow("s1", **policy)
    there.start("s1")
    with pytest.raises(InputError, match=f"site s1: .*{told_}") as error:
        there.federate(tmp_path / "run", config, execution)
    assert "\n" not in str(error.value)
    assert any("refused" in line and told_ in line for line in there.said)
    assert any(told_ in record.get("refused", "") for record in there.log("s1"))
    assert not any(head["kind"] == "train" for head in map(headers, there.link.carried))
    # What it refused costs its patients nothing.
    assert not DatasetLedger(there.folders["s1"] / "data").events()


def headers(carried):
    return head_of(carried[1])


def test_a_run_that_a_person_allows_goes_on_under_the_name_that_was_allowed(apart, execution, tmp_path):
    """The first start ends at a table's statistics, before there is a Run."""
    there, config = apart(QUICK, approval=True, max_runs=2), replace(QUICK, rounds=1)
    for name in ("s0", "s1", "s2"):
        with pytest.raises(InputError, match=f"site {name}: approval: .* must allow run") as error:
            there.federate(tmp_path / "run", config, execution)
        run = re.search(r"allow run ([0-9a-f]+)", str(error.value))[1]
        assert medimg("federate", "policy", "approve", run, "--folder", there.folders[name]).exit_code == 0
    assert len(there.federate(tmp_path / "run", config, execution).history()) == 1
    with pytest.raises(InputError, match="approval") as error:
        there.federate(tmp_path / "other", config, execution)
    assert run not in str(error.value)


def test_a_coordinator_that_no_policy_names_is_not_answered(apart, execution, tmp_path):
    from federated.flower import keys

    there = apart()
    for path in (there.place.root / "coordinator.key", there.place.root / "coordinator.pub"):
        path.unlink()
    keys.make("coordinator", there.place.root)
    with pytest.raises(InputError, match="site s0: does not answer this coordinator; its own log says why"):
        there.federate(tmp_path / "run", QUICK, execution)
    assert all(answer == b"" for _, _, answer in there.link.carried)
    assert any("not answered: message from coordinator: its signature" in line for line in there.said)


def test_the_budget_is_over_all_runs_on_the_sites_dataset(private, execution, tmp_path):
    """After all that look at this training: a site's policy is another from here on."""
    there = private.apart
    spent = epsilon_of(DatasetLedger(there.folders["s1"] / "data").events(), PRIVATE.dp_delta)["pld"]
    there.allow("s1", dp={"budget": 1.2 * spent})
    there.start("s1")
    with pytest.raises(InputError, match="site s1: dp budget: with this training epsilon over all runs"):
        there.federate(tmp_path / "second", PRIVATE, execution)
    after = epsilon_of(DatasetLedger(there.folders["s1"] / "data").events(), PRIVATE.dp_delta)["pld"]
    assert after == spent


def test_a_site_with_other_data_stops_the_training(apart, execution, tmp_path):
    from medimg.data.dataset import Dataset

    there, done = apart(), []

    def wire(name, head, deliver):
        if name == "s1" and head["kind"] == "train" and head["fields"]["round"] == 2 and not done:
            done.append(name)
            data = Dataset.load(there.folders[name] / "data")
            replace(data, manifest=data.manifest.iloc[2:]).save()
            there.start(name)
            raise AwayError
        return deliver()

    there.link.wire = wire
    with pytest.raises(InputError, match="site s1: came back with other data; start anew with --overwrite, or"):
        there.federate(tmp_path / "run", QUICK, execution)


@pytest.mark.parametrize("strategy", ["scaffold", "fedprox", "fedadam"])
def test_strategies(apart, simulated, execution, tmp_path, strategy):
    config = replace(QUICK, strategy=strategy, model="mlp", model_arg={"width": "8"})
    assert largest(apart(config).federate(tmp_path / "run", config, execution), simulated(config)) < 1e-5


@pytest.mark.parametrize(
    "given", [{"secure": "masking", "normalize": "pca"}, {"strategy": "fedbn"}], ids=["masked", "fedbn"]
)
def test_images(apart, simulated, noise, execution, tmp_path, given):
    options = {"model": "baseline_cnn", "model_arg": {"width": "4", "stages": "1"}, "image_size": 16, "rounds": 1}
    config = replace(QUICK, **options, **given)
    there = apart(config, noise)
    run = there.federate(tmp_path / "run", config, execution)
    here = simulated(config, noise.root)
    assert largest(run, here) < 1e-5
    images = [path.read_bytes() for path in (noise.root / "images").iterdir()]
    assert not any(image[200:260] in there.link.bytes for image in images)
    assert told(run, "model.json").get("normalize") == told(here, "model.json").get("normalize")
    assert ("normalize" in told(run, "model.json")) == ("normalize" in given)
    # Five messages of the one question on colours.
    assert len(questions(there, "s1")) == (5 if "normalize" in given else 0)
    if "strategy" in given:
        import tensorflow as tf

        pairs = zip(*(sorted((r.root / "sites").glob("*.keras")) for r in (run, here)), strict=True)
        for one, other in pairs:
            assert one.name == other.name
            pair = (tf.keras.models.load_model(path, compile=False).get_weights() for path in (one, other))
            assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(*pair, strict=True))
