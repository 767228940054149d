"""A coordinator that chooses whose rows count, and so would have few patients' by the difference, or by themselves."""

from dataclasses import replace

import numpy as np
import pytest

from federated.flower import protocol
from federated.statistics import Schema
from medimg.data.dataset import Dataset
from tests.datasets import write_table
from tests.federated.flower.test_attacks import CONFIG, PRIVATE, SITE, Attacker


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """(manifest -> manifest, **of the Dataset) -> a table on disk, changed."""
    made = write_table(tmp_path_factory.mktemp("table") / "data")

    def change(of, **more):
        root = tmp_path_factory.mktemp("changed") / "data"
        root.mkdir()
        replace(made, root=root, manifest=of(made.manifest.copy()), **more).save()
        return Dataset.load(root)

    return change


@pytest.fixture
def sites(tmp_path):
    made = []

    def make(data, **policy):
        made.append(Attacker(data, tmp_path / str(len(made)), policy, (SITE,)))
        return made[-1]

    yield make
    for attacker in made:
        attacker.sites[SITE].close()


def lone(manifest, column, value, other):
    """One patient alone has a value in train."""
    first = manifest.loc[manifest["split"] == "train", "patient"].iloc[0]
    return manifest.assign(**{column: np.where(manifest["patient"] == first, value, other)})


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_a_class_is_not_hidden_among_rows_of_none(changed, sites, task):
    """Sums over the others and over all would differ by the one patient of a class that the schema leaves out."""
    three = {"task": "multiclass", "classes": ("healthy", "disease", "rare")}
    attacker = sites(changed(lambda rows: lone(rows, "label", "rare", rows["label"]), **three))
    attacker.describe()
    classes = ("healthy", "disease")
    schema = Schema(attacker.data.inputs, task, classes, "rare").to_dict()
    description = attacker.plan()[0]["plan"]["description"]["preprocessing"]
    size = len(description["columns"])
    asked = {"preprocessing": description, "shifts": [0.0] * size, "scales": [1.0] * size, "by": "class"}
    told = attacker.statistics("classes", **asked, schema=schema).fields[protocol.REFUSED]
    assert "task and classes are not those of this site's Dataset" in told
    fields, arrays = attacker.plan()
    fields["plan"]["schema"] = schema
    assert "task and classes are not those" in attacker.refusal(protocol.PLAN, fields, arrays)


def test_a_plan_does_not_choose_few_rows(changed, sites):
    """The update of the rows that know a rare column would be one patient's."""
    attacker = sites(changed(lambda rows: lone(rows, "noise", 1.0, np.nan)))
    attacker.describe()
    fields, arrays = attacker.plan(replace(CONFIG, missing="drop-rows"))
    fields["plan"]["known"] = ["noise"]
    assert "min_patients: fewer than 5 patients have rows" in attacker.refusal(protocol.PLAN, fields, arrays)
    attacker.describe(run="another")
    fields["plan"]["known"] = ["stage"]
    assert attacker.refusal(protocol.PLAN, fields, arrays) == ""


def test_statistics_of_a_model_that_the_policy_does_not_allow(changed, sites):
    attacker = sites(changed(lambda rows: rows), models=["logistic"])
    attacker.describe()
    told = attacker.statistics("generator known", model="ctgan").fields[protocol.REFUSED]
    assert told == "models: ctgan is not among logistic"
    # What a classifier is scaled by names no model.
    assert "answer" in attacker.statistics("missing").arrays


def test_a_private_site_takes_no_patient_of_train_for_its_metrics(changed, sites):
    data = changed(lambda rows: rows[rows["split"] == "train"].assign(site="").reset_index(drop=True))
    for private, taken in ((True, False), (False, True)):
        told = sites(data).describe(private).fields["clients"][SITE]["examples"]
        assert (told["val"] > 0, told["test"] > 0) == (taken, taken)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"balance": "class-weight"}, "--balance class-weight: the weights are exact class counts"),
        ({"personalize_epochs": 1}, "--personalize-epochs 1: fine-tunes without noise"),
        ({"weighting": "examples"}, "--weighting examples: the exact number"),
    ],
)
def test_what_goes_against_privacy_is_refused_by_the_site_and_says_why(changed, sites, options, why):
    attacker = sites(changed(lambda rows: rows))
    attacker.describe(private=True)
    assert why in attacker.refusal(protocol.PLAN, *attacker.plan(replace(PRIVATE, **options)))


def test_no_private_run_without_a_ledger_of_all_runs(changed, sites):
    """Else each of any number of runs would be the first on the Dataset, whatever the budget."""
    data = changed(lambda rows: rows)
    ledger = data.root / "privacy_ledger.jsonl"
    # As of a folder that can't be written, which for root there is none.
    ledger.symlink_to("missing/ledger.jsonl")
    attacker = sites(data, dp={"unit": "patient", "budget": 4.5})
    attacker.describe(private=True)
    assert "ledger of this site's Dataset can't be written" in attacker.refusal(protocol.PLAN, *attacker.plan(PRIVATE))
    ledger.unlink()
    attacker.describe(private=True, run="another")
    assert attacker.refusal(protocol.PLAN, *attacker.plan(PRIVATE)) == ""
    attacker.describe(private=True, run="a third", seed=7)
    assert "dp budget" in attacker.refusal(protocol.PLAN, *attacker.plan(PRIVATE))
