"""Clients of a private simulation: no patient's client or part depends on who else is there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.job import Job
from federated.partition import partition
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from tests.datasets import write_table

PRIVATE = FederateConfig(model="logistic", dp="patient", dp_epsilon=4.0, dp_delta=1e-3, clients=4)
SITES = {"site": {}, "iid": {"partition": "iid"}, "dirichlet": {"partition": "dirichlet"}}


def people(count=400, classes=("a", "b", "c"), without=None) -> Dataset:
    """A patient has one to three rows; patient 3 alone is of class c."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            {"patient": f"p{i:03d}", "label": "c" if i == 3 else "ab"[label], "place": place}
            for i, label in enumerate(draw.integers(0, 2, count))
            for place in range(1 + i % 3)
        ]
    )
    number = rows["patient"].str[1:].astype(int)
    rows["image"] = [f"{i}.png" for i in range(len(rows))]
    rows["split"] = np.array(["train", "train", "val", "test"])[number % 4]
    rows["site"] = np.array(["north", "south"])[number % 3 // 2]
    rows = rows.drop(columns="place")
    rows = rows[rows["patient"] != without].reset_index(drop=True)
    return Dataset(Path("folder"), "d", "multiclass", classes, rows)


def places(dataset: Dataset, config) -> dict[str, tuple[str, str]]:
    """Patient -> client and part."""
    return {
        row.patient: (client.name, row.split)
        for client in partition(dataset, config)
        for row in client.dataset.manifest.itertuples()
    }


@pytest.mark.parametrize("kind", SITES)
def test_nobody_moves_when_a_patient_is_left_out(kind):
    config = replace(PRIVATE, **SITES[kind])
    everyone = places(people(), config)
    # The only one of a class, one of the first and the last rows, one of val.
    for without in ("p003", "p000", "p399", "p002"):
        rest = places(people(without=without), config)
        assert rest == {name: place for name, place in everyone.items() if name != without}


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_dealt_without_privacy_others_do_move(kind):
    """Else the test above could not fail."""
    config = replace(PRIVATE, dp="none", dp_epsilon=None, min_size=1, **SITES[kind])
    everyone, rest = places(people(), config), places(people(without="p003"), config)
    assert any(place != everyone[name] for name, place in rest.items())


def test_each_client_is_as_likely_as_any_other_in_iid():
    config = replace(PRIVATE, partition="iid")
    found = pd.Series([client for client, _ in places(people(4000), config).values()])
    counts = found.value_counts()
    assert len(counts) == 4
    # Four standard deviations of a binomial of 4000 and 1/4.
    assert (counts - 1000).abs().max() < 4 * np.sqrt(4000 * 0.25 * 0.75)
    other = places(people(4000), replace(config, seed=1))
    alike = np.mean([other[name] == place for name, place in places(people(4000), config).items()])
    assert alike == pytest.approx(0.25, abs=0.04)


def test_dirichlet_draws_by_the_proportions_of_the_class():
    config = replace(PRIVATE, partition="dirichlet", alpha=1.0, seed=5)
    shares = np.random.default_rng((5, 1)).dirichlet(np.ones(4), 4)
    dataset = people(6000)
    label = dataset.manifest.drop_duplicates("patient").set_index("patient")["label"]
    found = pd.Series({name: client for name, (client, _) in places(dataset, config).items()})
    for i, name in enumerate("ab"):
        here = (
            found[label == name]
            .value_counts(normalize=True)
            .reindex([f"client-{k}" for k in range(1, 5)], fill_value=0)
        )
        assert np.abs(here.to_numpy() - shares[i]).max() < 0.04


@pytest.mark.parametrize("unit", ["patient", "client"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"partition": "shards"}, "--partition shards"),
        ({"partition": "dirichlet", "min_size": 3}, "--min-size 3"),
        ({"partition": "dirichlet", "alpha": float("inf")}, "--alpha"),
    ],
)
def test_what_depends_on_others_is_refused(unit, options, named, tmp_path):
    dataset = write_table(tmp_path / "data", n=240)
    with pytest.raises(InputError, match=named):
        Job.of(dataset, replace(PRIVATE, dp=unit, **options))


def test_a_site_of_protected_patients_alone_is_refused_and_no_site_takes_any_from_train(tmp_path):
    dataset = write_table(tmp_path / "data", n=240)
    manifest = dataset.manifest
    no_test = manifest[(manifest["site"] != "s1") | (manifest["split"] != "test")]
    private = Job.of(replace(dataset, manifest=no_test), PRIVATE)
    taken = Job.of(replace(dataset, manifest=no_test), FederateConfig(model="logistic"))
    assert private.pooled.manifest["split"].equals(no_test["split"])
    assert not taken.pooled.manifest["split"].equals(no_test["split"])
    assert not any(client.notes for client in private.clients)
    untested = manifest[manifest["split"] != "test"]
    with pytest.raises(InputError, match="no labelled row in split 'test'"):
        Job.of(replace(dataset, manifest=untested), PRIVATE)
    alone = no_test[(no_test["site"] != "s1") | (no_test["split"] == "train")]
    with pytest.raises(InputError, match="site 's1' occurs in split 'train' alone"):
        Job.of(replace(dataset, manifest=alone), PRIVATE)


def test_an_empty_client_is_refused_without_a_number():
    with pytest.raises(InputError, match="has no labelled image in train; use fewer") as told:
        partition(people(8), replace(PRIVATE, partition="iid", clients=100))
    assert " of " not in str(told.value).split("has no")[1]
