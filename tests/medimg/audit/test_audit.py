"""The audit end to end, on Runs that gave everything away, nothing, or no more than a claim."""

import dataclasses
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.audit.attacked import run_attacks
from medimg.audit.audit import audit, cost
from medimg.audit.canary import canaries
from medimg.audit.config import AuditConfig
from medimg.audit.lira import memberships
from medimg.audit.members import subject
from medimg.audit.twin import differences
from medimg.commands import printing
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.holdout import hold_out, strata
from medimg.errors import InputError
from medimg.privacy.ledger import read
from medimg.run import Run
from medimg.training.train import train
from tests.datasets import write_dataset
from tests.medimg.audit.conftest import OVERFITTED, write_noise_table

pytestmark = pytest.mark.slow

QUICK = AuditConfig(bootstrap=200)
MEASURES = ("auc", "advantage", "tpr_at_fpr_0.001", "tpr_at_fpr_0.01")


@pytest.fixture(scope="module")
def private(coins, tmp_path_factory):
    """The same training at epsilon 1."""
    config = dataclasses.replace(OVERFITTED, epochs=12, dp_epsilon=1.0, dp_delta=1e-3, dp_seed=0)
    return train(coins.root, tmp_path_factory.mktemp("runs") / "private", config)


@pytest.fixture(scope="module")
def audited(overfitted):
    """The result, and the steps that were told."""
    said = []
    return audit(overfitted, QUICK, lambda *step: said.append(step)), said


def test_overfitted_model_gives_its_members_away(audited):
    result, said = audited
    assert result["members"] == result["non_members"] == 200
    for name in ("threshold", "logistic-regression"):
        found = result["attacks"][name]
        assert found["auc"]["low"] > 0.7
        assert found["auc"]["value"] > found["auc"]["chance"]
        for measure in MEASURES:
            assert 0 <= found[measure]["low"] <= found[measure]["value"] <= found[measure]["high"]
        assert set(found["by_class"]) == {"well", "ill"}
        assert set(found["by_site"]) == {"s0", "s1"}
        assert found["by_site"]["s0"]["members"] == 100
        assert found["by_class"]["ill"]["auc"]["value"] > 0.7
    assert result["claimed_epsilon"] is None
    assert result["epsilon_lower_bound"] > 0.5
    assert not result["attacks"]["threshold"]["tpr_at_fpr_0.001"]["resolved"]
    assert any("0.1% is less than one" in note for note in result["notes"])
    assert said[-1] == ("answers", 400, 400)


def test_files_hold_what_is_returned(overfitted):
    result = audit(overfitted, QUICK)
    assert json.loads((overfitted.root / "audit.json").read_text()) == result
    for name in ("audit_roc", "audit_losses"):
        picture = cv2.imread(str(overfitted.root / f"figures/{name}.png"))
        assert picture.std() > 5
    page = _Page()
    page.feed((overfitted.root / "audit.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.images) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert all(sentence in page.text for sentence in result["verdict"])


def test_data_that_were_moved_are_found_where_they_are_now(overfitted, audited, coins, tmp_path):
    moved = Run(
        shutil.copytree(overfitted.root, tmp_path / "run"), {**overfitted.config, "data": str(tmp_path / "gone")}
    )
    with pytest.raises(InputError, match="--data"):
        audit(moved, QUICK)
    found = audit(moved, dataclasses.replace(QUICK, data=str(coins.root)))
    assert found["attacks"]["threshold"] == audited[0]["attacks"]["threshold"]


def test_same_seed_same_audit(overfitted, audited):
    assert audit(overfitted, QUICK) == audited[0]


def test_model_that_saw_nobody_gives_nobody_away(coins, tmp_path):
    run = train(coins.root, tmp_path / "run", dataclasses.replace(OVERFITTED, epochs=0))
    found = audit(run, QUICK)
    for attack in found["attacks"].values():
        assert attack["auc"]["low"] < 0.5 < attack["auc"]["high"]
    assert found["epsilon_lower_bound"] < 0.1


def test_private_run_beside_its_twin(private, overfitted):
    result = audit(private, dataclasses.replace(QUICK, twin=str(overfitted.root)))
    claim = read(private.root)["epsilon"]["pld"]
    assert result["claimed_epsilon"] == claim <= 1.0
    assert result["epsilon_lower_bound"] <= claim
    threshold = result["attacks"]["threshold"]
    assert threshold["auc"]["value"] <= 0.55
    assert result["allowed"]["auc"] > threshold["auc"]["value"]
    twin = result["twin"]
    assert twin["attacks"]["threshold"]["auc"]["value"] > 0.7
    gap = twin["difference"]["threshold"]["auc"]
    expected = twin["attacks"]["threshold"]["auc"]["value"] - threshold["auc"]["value"]
    assert gap["value"] == pytest.approx(expected)
    assert gap["low"] > 0.1
    assert "does not contradict" in " ".join(result["verdict"])


def test_claim_that_is_refuted_is_said_to_be(overfitted, private, tmp_path):
    # The ledger of the private training beside the model that learnt by heart.
    liar = tmp_path / "liar"
    liar.mkdir()
    for name in ("config.yaml", "environment.json", "model.json", "model.keras", "history.csv"):
        (liar / name).write_bytes((overfitted.root / name).read_bytes())
    ledger = read(private.root)
    # Noise that was never drawn: what a forger can write, and only an attack can find.
    for event in ledger["events"]:
        event["mechanism"]["noise_multiplier"] *= 5.0
    ledger["epsilon"] |= {"pld": 0.3, "rdp": 0.4}
    (liar / "privacy.json").write_text(json.dumps(ledger))
    result = audit(Run.load(liar), QUICK)
    assert result["epsilon_lower_bound"] > 0.3
    assert any("above the claim of 0.3" in sentence for sentence in result["verdict"])


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Half of the training patients held out; the others known by heart."""
    folder = tmp_path_factory.mktemp("runs")
    dataset = write_noise_table(folder / "data")
    # Validation, which chooses the epoch, holds copies of those who are learnt from alone.
    drawn = hold_out(dataset, 0.5, 0).rows("audit")["patient"].str.replace("train", "val")
    kept = dataset.manifest[~dataset.manifest["patient"].isin(drawn)]
    dataclasses.replace(dataset, manifest=kept).save()
    config = dataclasses.replace(OVERFITTED, audit_holdout=0.5)
    return train(dataset.root, folder / "held-out", config)


def shifted(root, sick: float = 0.5, moved: float = 0.0) -> Dataset:
    """The table of coins, but test has another share of sick patients or another first column."""
    dataset = write_noise_table(root)
    manifest, draw = dataset.manifest.copy(), np.random.default_rng(3)
    for split, share in (("train", 1 - sick), ("test", sick)):
        rows = manifest["split"] == split
        manifest.loc[rows, "label"] = np.where(draw.random(rows.sum()) < share, "ill", "well")
    manifest.loc[manifest["split"] == "test", "x0"] += moved
    dataset = dataclasses.replace(dataset, manifest=manifest)
    dataset.save()
    return dataset


def test_held_out_patients_are_the_non_members(held_out, private, tmp_path):
    result = audit(held_out, QUICK)
    found = subject(held_out)
    drawn = set(held_out.dataset().rows("audit")["patient"])
    patients = pd.Series(found.patients)
    assert set(patients[~found.member]) <= drawn
    assert set(patients[found.member]) <= set(held_out.dataset().rows("train")["patient"])
    assert result["member_patients"] == result["non_member_patients"] >= 0.8 * min(len(drawn), 100 - len(drawn))
    # As many of each set of labels.
    labels = strata(found.rows)
    kinds = pd.Series(found.member, index=patients).groupby(level=0).first()
    assert (labels[kinds].value_counts() == labels[~kinds].value_counts()).all()
    assert result["non_members_from"] == "audit"
    assert result["exchangeability"]["basis"] == "audit-holdout"
    assert result["attacks"]["threshold"]["auc"]["low"] > 0.7
    assert result["epsilon_lower_bound"] > 0
    assert audit(held_out, QUICK) == result
    other = subject(held_out, seed=1)
    assert set(other.patients) != set(found.patients)
    # A private twin holds the same patients out.
    config = dataclasses.replace(OVERFITTED, epochs=2, audit_holdout=0.5, dp_epsilon=1.0, dp_delta=1e-3, dp_seed=0)
    quiet = train(Path(held_out.config["data"]), tmp_path / "quiet", config)
    beside = audit(quiet, dataclasses.replace(QUICK, twin=str(held_out.root)))
    assert beside["twin"]["difference"]["threshold"]["auc"]["low"] > 0.1
    with pytest.raises(InputError, match="--audit-holdout"):
        audit(private, dataclasses.replace(QUICK, twin=str(held_out.root)))


@pytest.mark.parametrize("how", [{"sick": 0.2}, {"moved": 2.0}])
def test_parts_that_differ_give_no_bound(tmp_path, capsys, how):
    dataset = shifted(tmp_path / "data", **how)
    config = dataclasses.replace(OVERFITTED, epochs=0)
    run = train(dataset.root, tmp_path / "run", config)
    result = audit(run, QUICK)
    assert result["exchangeability"]["shift_found"]
    assert result["exchangeability"]["p"] < 0.05
    assert result["epsilon_lower_bound"] is None is result["bound"]["value"]
    assert "differ in their" in result["epsilon_lower_bound_reason"]
    for found in result["attacks"].values():
        assert found["epsilon_lower_bound"]["value"] is None
        assert found["epsilon_lower_bound"]["reason"] == result["epsilon_lower_bound_reason"]
    said = " ".join(result["verdict"])
    assert "no bound of epsilon is given" in said
    assert "psilon is at least" not in said
    assert "the model tells members" not in said
    page = (run.root / "audit.html").read_text(encoding="utf-8")
    assert "no bound" in page
    assert "psilon is at least" not in page
    printing.attacks(result)
    printed = " ".join(capsys.readouterr().out.split())
    assert "no lower bound of epsilon; nothing is claimed" in printed
    assert "epsilon is at least" not in printed
    # The same data, with members and non-members drawn from one part: the bound is back, and shows nothing.
    again = train(dataset.root, tmp_path / "again", dataclasses.replace(config, audit_holdout=0.5))
    held = audit(again, QUICK)
    assert held["epsilon_lower_bound"] < 0.3
    assert held["exchangeability"]["p"] is None


def test_a_bound_says_what_it_rests_on(overfitted):
    result = audit(overfitted, QUICK)
    assert not result["exchangeability"]["shift_found"]
    assert "no test can prove" in " ".join(result["verdict"])
    assert set(result["exchangeability"]["tests"]) == {"content", "label mix", "site mix"}


def test_pooled_stands_beside_classes(overfitted):
    result = audit(overfitted, QUICK)
    for found in result["attacks"].values():
        assert set(found["pooled"]) == {"raw", "within_class", "within_site"}
        areas = [group["auc"]["value"] for group in found["by_class"].values()]
        pooled = found["pooled"]["within_class"]
        assert min(areas) <= pooled["value"] <= max(areas)
        assert pooled["low"] <= pooled["value"] <= pooled["high"]
        assert found["pooled"]["raw"]["value"] == found["auc"]["value"]
    page = (overfitted.root / "audit.html").read_text(encoding="utf-8")
    assert page.count("Pooled within") == 2
    assert "pooled within classes" in " ".join(result["verdict"])


def test_images_and_sites(tmp_path):
    dataset = write_dataset(tmp_path / "data", n=120, size=16)
    config = TrainConfig(image_size=16, model_arg={"width": "4", "stages": "1"}, epochs=1)
    run = train(dataset.root, tmp_path / "run", config)
    result = audit(run, AuditConfig(attack=("threshold", "entropy"), bootstrap=100))
    assert (result["unit"], result["members"], result["non_members"]) == ("image", 60, 30)
    assert set(result["attacks"]) == {"threshold", "entropy"}
    assert set(result["attacks"]["entropy"]["by_site"]) == {"s0", "s1", "s2"}
    held = train(dataset.root, tmp_path / "held", dataclasses.replace(config, audit_holdout=0.4))
    result = audit(held, AuditConfig(attack=("threshold",), bootstrap=100))
    assert result["member_patients"] == result["non_member_patients"] >= 8


@pytest.mark.slow
def test_lira_with_shadow_models_kept_between_audits(overfitted):
    config = dataclasses.replace(QUICK, attack=("threshold", "lira"), shadow_models=8)
    done = []
    result = audit(overfitted, config, lambda *step: done.append(step))
    assert ("shadow models", 8, 8) in done
    # Shadow models see half of the pool and stop elsewhere, which misleads the online ratio more.
    assert result["attacks"]["lira"]["auc"]["low"] > 0.5
    assert result["attacks"]["lira-offline"]["auc"]["low"] > 0.7
    # Train and test were drawn alike: what is left over is chance.
    assert result["shift"]["low"] < 0.5 < result["shift"]["high"]
    kept = sorted((overfitted.root / "audit").iterdir())
    assert len(kept) == 8
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert audit(overfitted, config)["attacks"] == result["attacks"]
    assert [path.stat().st_mtime_ns for path in kept] == stamps


@pytest.mark.slow
def test_shadow_models_learn_from_all_patients_the_attack_is_on_some(coins, tmp_path):
    config = dataclasses.replace(OVERFITTED, audit_holdout=0.3)
    run = train(coins.root, tmp_path / "run", config)
    result = audit(run, dataclasses.replace(QUICK, attack=("lira",), shadow_models=8))
    assert result["members"] == result["non_members"] < 80
    assert result["attacks"]["lira-offline"]["auc"]["low"] > 0.5
    assert any("each trained on half of the 200 rows" in note for note in result["notes"])


@pytest.mark.slow
def test_canaries_are_recognised_by_a_model_that_learns_by_heart(coins, overfitted):
    # The best epoch is chosen on copies of training rows; canaries have none, and are learnt all the same.
    result = audit(overfitted, dataclasses.replace(QUICK, attack=("threshold",), canaries=200))
    found = result["canaries"]
    assert found["count"] == 200
    assert found["auc"] > 0.7
    assert 0.5 < found["epsilon_lower_bound"]["value"] <= found["epsilon_lower_bound"]["most"]
    assert result["bound"]["confidence"] == pytest.approx(0.975)
    assert not list((overfitted.root / "audit").glob("work-*"))


@pytest.mark.slow
def test_canaries_of_a_private_training_stay_below_its_claim(private):
    result = audit(private, dataclasses.replace(QUICK, attack=("threshold",), canaries=200))
    found = result["canaries"]
    assert found["claimed_epsilon"] <= 1.0
    assert found["epsilon_lower_bound"]["value"] <= found["claimed_epsilon"]
    assert read(private.root)["dataset"]["runs"] == 1


def test_canaries_are_new_patients_under_other_labels(coins, tmp_path):
    images = write_dataset(tmp_path / "data", n=120, size=16)
    rows = canaries(images, 30, 0)
    labels = dict(zip(images.manifest["image"], images.manifest["label"], strict=True))
    assert all(label != labels[image] for label, image in zip(rows["label"], rows["image"], strict=True))
    assert rows["image"].is_unique
    assert not set(rows["patient"]) & set(images.manifest["patient"])
    assert set(rows["image"]) <= set(images.rows("test")["image"])
    table = canaries(coins, 500, 0)
    assert table["row"].is_unique
    assert table["patient"].is_unique
    assert set(table["x0"]) <= set(coins.rows("test")["x0"])
    whole = set(map(tuple, coins.manifest[["x0", "x1", "x2"]].to_numpy()))
    assert not set(map(tuple, table[["x0", "x1", "x2"]].to_numpy())) & whole


def test_cost_is_told_before(overfitted):
    assert cost(overfitted, QUICK) is None
    config = AuditConfig(attack=("lira",), shadow_models=16, canaries=100)
    assert cost(overfitted, config).startswith("17 models are trained, in about")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": ("treshold",)}, "--attack treshold: choose among"),
        ({"attack": ("lira",), "shadow_models": 4}, "--shadow-models 4: lira needs an even number"),
        ({"shadow_models": 8}, "--shadow-models: is for --attack lira; leave it out"),
        ({"canaries": 3}, "--canaries 3: too few"),
    ],
)
def test_options_that_can_not_be(overfitted, options, message):
    with pytest.raises(InputError, match=message):
        audit(overfitted, AuditConfig(**options))


def test_twin_of_other_data(overfitted, tmp_path):
    other = write_noise_table(tmp_path / "data", seed=1)
    twin = train(other.root, tmp_path / "twin", dataclasses.replace(OVERFITTED, epochs=0))
    with pytest.raises(InputError, match=r"--twin .*trained on other data"):
        audit(overfitted, AuditConfig(twin=str(twin.root)))


def test_run_without_enough_non_members_or_with_changed_data(tmp_path):
    dataset = write_noise_table(tmp_path / "data")
    keep = (dataset.manifest["split"] != "test") | (dataset.manifest["patient"] == "test0")
    few = dataclasses.replace(dataset, manifest=dataset.manifest[keep])
    few.save()
    run = train(dataset.root, tmp_path / "run", dataclasses.replace(OVERFITTED, epochs=0))
    with pytest.raises(InputError, match="1 patients with labels in split 'test'"):
        audit(run, QUICK)
    dataset.save()
    with pytest.raises(InputError, match="have changed since its training"):
        audit(run, QUICK)


def test_rows_with_gaps_that_training_left_out_are_no_members(tmp_path):
    dataset = write_noise_table(tmp_path / "data")
    gaps = dataset.manifest.copy()
    gaps.loc[gaps.groupby("split").head(10).index, "x3"] = np.nan
    dataclasses.replace(dataset, manifest=gaps).save()
    config = dataclasses.replace(OVERFITTED, epochs=0, missing="drop-rows")
    run = train(dataset.root, tmp_path / "run", config)
    result = audit(run, dataclasses.replace(QUICK, attack=("threshold",)))
    assert (result["members"], result["non_members"]) == (190, 190)
    assert any("20 rows with missing values are left out" in note for note in result["notes"])


def test_shadow_halves_cover_members_and_others(coins):
    rows = Dataset.load(coins.root).manifest
    pool = rows[rows["split"] != "val"]["patient"].to_numpy(str)
    inside = memberships(pool, 8, 0)
    assert (inside.sum(axis=1) == 200).all()


class _Page(HTMLParser):
    """Tags still open, images' sources and the text."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.images, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        elif tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_twin_that_answers_alike_is_not_certainly_equal(overfitted):
    attacked = run_attacks(subject(overfitted), QUICK, lambda *_: None)
    members, patients = attacked.subject.member, np.asarray(attacked.subject.patients)
    reach = 1 - 0.025 ** (1 / min(len(set(patients[members])), len(set(patients[~members]))))
    for gap in differences(attacked, attacked, QUICK).values():
        assert gap["auc"] == pytest.approx({"value": 0.0, "low": -reach, "high": reach})
