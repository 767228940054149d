"""Partitions: every patient at one client, parts kept, proportions as the paper or the arithmetic says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from federated.clients.client import pooled
from federated.partition import partition
from federated.partition.dirichlet import dirichlet
from federated.partition.patients import patients_of, place_in_class
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from tests.datasets import write_table


def options(partition="iid", **given):
    defaults = {"clients": 5, "alpha": 0.5, "min_size": 5, "shards": 2, "seed": 0}
    return SimpleNamespace(partition=partition, **{**defaults, **given})


def images(counts, root, images_each=1, task="multiclass", parts=(70, 15, 15)):
    """A Dataset without files: class -> patients, parts in percent within each class."""
    rows = []
    for name, count in counts.items():
        split = np.repeat(["train", "val", "test"], np.diff([0, *np.cumsum(parts) * count // 100]))
        for i in range(count):
            patient = f"{name}{i}"
            rows += [
                (f"images/{patient}-{j}.png", name, patient, f"s{i % 3}", split[i])
                for j in range(images_each if isinstance(images_each, int) else images_each[i])
            ]
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    classes = tuple(dict.fromkeys(part for name in counts for part in name.split("|") if part))
    return Dataset(root=root, name="made", task=task, classes=classes, manifest=manifest)


def counted(clients, columns=("label", "split")):
    """Rows by class and part (rows) and client (columns)."""
    table = {c.name: c.dataset.manifest.groupby(list(columns)).size() for c in clients}
    return pd.DataFrame(table).fillna(0).astype(int)


def assert_whole(dataset, clients):
    """Every row once, every patient at one client, in one part."""
    rows = pd.concat([c.dataset.manifest.assign(client=c.name) for c in clients])
    assert sorted(rows[dataset.unit]) == sorted(dataset.manifest[dataset.unit])
    assert rows.groupby("patient")["client"].nunique().max() == 1
    assert rows.groupby("patient")["split"].nunique().max() == 1


@pytest.mark.parametrize("kind", ["site", "iid", "dirichlet", "shards"])
def test_every_row_is_at_one_client_and_the_pooled_parts_are_the_datasets(kind, tmp_path):
    dataset = write_table(tmp_path / "data", n=600)
    # Milder than the default: no client is so small that it must take its test rows from train.
    clients = partition(dataset, options(kind, alpha=5.0))
    assert_whole(dataset, clients)
    again = pooled(dataset, clients)
    pd.testing.assert_frame_equal(again.manifest, dataset.manifest)
    assert again.fingerprint() == dataset.fingerprint()


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shards"])
def test_the_seed_decides(kind, tmp_path):
    dataset = images({"a": 200, "b": 200}, tmp_path)
    first, same, other = (partition(dataset, options(kind, seed=seed)) for seed in (1, 1, 2))
    assert [c.dataset.fingerprint() for c in first] == [c.dataset.fingerprint() for c in same]
    assert [c.dataset.fingerprint() for c in first] != [c.dataset.fingerprint() for c in other]


def test_iid_spreads_each_class_and_part_to_within_one_patient(tmp_path):
    dataset = images({"a": 103, "b": 61, "c": 38}, tmp_path)
    clients = partition(dataset, options("iid", clients=7))
    by_part, by_class = counted(clients), counted(clients, ["label"])
    assert (by_part.max(axis=1) - by_part.min(axis=1)).max() <= 1
    assert (by_class.max(axis=1) - by_class.min(axis=1)).max() <= 1
    # 103 = 7 * 14 + 5: every row beyond 14 is listed, and no other.
    told = [note for c in clients for note in c.notes if note.startswith("beyond the equal share")]
    beyond = by_part.sub(by_part.sum(axis=1) // 7, axis=0).to_numpy().sum()
    assert sum(note.count("1 '") for note in told) == beyond == (by_part.sum(axis=1) % 7).sum()


def test_iid_evens_out_patients_of_many_images(tmp_path):
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 12, 120)
    dataset = images({"a": 120, "b": 120}, tmp_path, images_each=sizes)
    by_part = counted(partition(dataset, options("iid", clients=4)))
    # Small patients level out what large ones left.
    assert (by_part.max(axis=1) - by_part.min(axis=1)).max() <= 2


def test_a_patient_of_two_classes_counts_for_the_rarer_and_unlabelled_rows_say_nothing(tmp_path):
    dataset = images({"common": 30, "rare": 5, "": 4}, tmp_path)
    extra = dataset.manifest.iloc[[0, 1]].assign(image=["x.png", "y.png"], label=["rare", ""])
    dataset = replace(dataset, manifest=pd.concat([dataset.manifest, extra], ignore_index=True))
    table = patients_of(dataset).set_index("patient")
    assert table.loc["common0", "label"] == "rare"
    assert table.loc["common0", "rows"] == 2
    assert table.loc["common1", "label"] == "common"
    assert table.loc["common1", "train"] == 1
    assert table["label"].value_counts().to_dict() == {"common": 29, "rare": 6, "": 4}


def test_any_stretch_of_a_class_holds_its_share_of_every_part(tmp_path):
    table = patients_of(images({"a": 200, "b": 100}, tmp_path))
    place = place_in_class(table, seed=3)
    assert np.allclose(np.sort(place[table["label"] == "b"]), (np.arange(100) + 0.5) / 100)
    for low in np.linspace(0, 0.8, 9):
        inside = (place >= low) & (place < low + 0.2)
        held = table[inside].groupby(["label", "split"], observed=True).size()
        whole = table.groupby(["label", "split"], observed=True).size()
        assert (held.reindex(whole.index, fill_value=0) - 0.2 * whole).abs().max() <= 2


def test_dirichlet_divides_each_class_in_the_drawn_proportions(tmp_path):
    dataset = images({"a": 4000, "b": 2000}, tmp_path)
    clients = partition(dataset, options("dirichlet", clients=4, alpha=1.0, min_size=1, seed=7))
    shares = counted(clients, ["label"]).apply(lambda row: row / row.sum(), axis=1)
    # Drawn class by class from the documented stream.
    draw = np.random.default_rng((7, 1))
    expected = [draw.dirichlet(np.ones(4)) for _ in range(2)]
    assert np.abs(shares.to_numpy() - expected).max() < 1e-3
    # The same proportions in each part.
    by_part = counted(clients).apply(lambda row: row / row.sum(), axis=1)
    for part in ("train", "val", "test"):
        assert np.abs(by_part.xs(part, level="split").to_numpy() - expected).max() < 0.01


def test_dirichlet_shares_have_the_distributions_variance(tmp_path):
    table = patients_of(images({"a": 500}, tmp_path))
    alpha, clients = 0.5, 4
    shares = [np.bincount(dirichlet(table, clients, alpha, 1, seed), minlength=clients) / 500 for seed in range(300)]
    # Of Dirichlet(alpha, ...): m (1 - m) / (K alpha + 1); draws with an empty client are few but left out.
    expected = 0.25 * 0.75 / (clients * alpha + 1)
    assert np.var(shares) == pytest.approx(expected, rel=0.2)


def test_dirichlet_keeps_the_least_size_or_says_what_to_do(tmp_path):
    dataset = images({"a": 150, "b": 150}, tmp_path)
    for seed in range(5):
        config = options("dirichlet", alpha=0.3, min_size=20, seed=seed)
        assert min(client.examples for client in partition(dataset, config)) >= 20
    with pytest.raises(InputError, match=r"--alpha 0.01: in 1000 draws .* 40 labelled .*raise"):
        partition(dataset, options("dirichlet", alpha=0.01, min_size=40))
    with pytest.raises(InputError, match=r"--min-size 50: 5 clients need 250 .* there are 210"):
        partition(dataset, options("dirichlet", min_size=50))
    with pytest.raises(InputError, match="--alpha"):
        partition(dataset, options("dirichlet", alpha=0.0))


def test_shards_give_each_client_few_classes_and_equal_sizes(tmp_path):
    counts = dict.fromkeys("abcdefghij", 60)
    clients = partition(images(counts, tmp_path), options("shards", clients=10, shards=2))
    sizes = [len(client.dataset.manifest) for client in clients]
    assert sizes == [60] * 10
    # 20 shards of 30 patients of ten classes of 60: none holds two classes.
    for client in clients:
        learnt = set(client.dataset.rows("train")["label"])
        assert 1 <= len(learnt) <= 2
        assert set(client.dataset.rows("test")["label"]) == learnt
        absent = [note for note in client.notes if note.startswith("no image of")]
        assert len(absent) == 1
        assert absent[0].count("'") == 2 * (10 - len(learnt))


def test_shards_need_patients(tmp_path):
    dataset = images({"a": 10, "b": 10}, tmp_path)
    with pytest.raises(InputError, match="6 clients of 4 shards need 24 patients, there are 20"):
        partition(dataset, options("shards", clients=6, shards=4))


def test_sites_of_the_heart_disease_hospitals(medical_data, tmp_path):
    dataset = prepare("heart", medical_data / "heart_disease", tmp_path / "heart", PrepareConfig())
    clients = partition(dataset, options("site"))
    assert [client.name for client in clients] == ["cleveland", "hungarian", "switzerland", "va"]
    assert_whole(dataset, clients)
    expected = dataset.manifest["site"].value_counts().sort_index().tolist()
    assert [len(client.dataset.manifest) for client in clients] == expected
    assert pooled(dataset, clients).fingerprint() == dataset.fingerprint()


def test_rows_without_site_and_patients_of_two_sites_are_refused(tmp_path):
    dataset = images({"a": 20, "b": 20}, tmp_path)
    manifest = dataset.manifest.copy()
    manifest.loc[[3, 8], "site"] = ""
    with pytest.raises(InputError, match="row 5: site is empty, as in 2 of 40 rows"):
        partition(replace(dataset, manifest=manifest), options("site"))
    manifest = dataset.manifest.copy()
    manifest.loc[0, "patient"] = "a1"
    with pytest.raises(InputError, match="1 patients are at more than one site: 'a1' at s0 and s1"):
        partition(replace(dataset, manifest=manifest), options("site"))


def test_a_site_of_one_class_is_kept_and_noted(tmp_path):
    dataset = images({"a": 30, "b": 30}, tmp_path)
    rows = dataset.manifest
    kept = rows[(rows["label"] == "a") | (rows["site"] != "s1")].reset_index(drop=True)
    clients = partition(replace(dataset, manifest=kept), options("site"))
    assert [client.notes for client in clients] == [(), ("no image of 'b' in train",), ()]


def test_a_site_without_training_rows_is_refused(tmp_path):
    dataset = images({"a": 30, "b": 30}, tmp_path)
    manifest = dataset.manifest.copy()
    manifest.loc[manifest["site"] == "s2", "split"] = "test"
    with pytest.raises(InputError, match="'s2' has no labelled image in train, of 20"):
        partition(replace(dataset, manifest=manifest), options("site"))


def test_a_client_without_val_and_test_takes_training_patients_for_them(tmp_path):
    dataset = images({"a": 90, "b": 90}, tmp_path, images_each=2)
    manifest = dataset.manifest.copy()
    manifest.loc[manifest["site"] == "s1", "split"] = "train"
    manifest.loc[manifest["site"] == "s2", "split"] = np.where(
        manifest.loc[manifest["site"] == "s2", "split"] == "test", "test", "train"
    )
    dataset = replace(dataset, manifest=manifest)
    clients = partition(dataset, options("site"))
    assert_whole(dataset, clients)
    untouched, both, val = clients
    assert untouched.notes == ()
    assert both.notes == tuple(
        f"no labelled image in {part} of the Dataset: {n} of {n // 2} patients taken from train"
        for part, n in ((p, len(both.dataset.rows(p))) for p in ("val", "test"))
    )
    # 15% of 120 images for each part, both classes in each.
    assert [len(both.dataset.rows(part)) for part in ("val", "test")] == [18, 18]
    assert all(set(both.dataset.rows(p)["label"]) == {"a", "b"} for p in ("val", "test"))
    before = dataset.manifest.loc[val.dataset.manifest.index]
    assert (before["split"] == "test").equals(val.dataset.manifest["split"] == "test")
    # The Dataset's test rows are all in the pooled test; what was added was in train.
    whole = pooled(dataset, clients).manifest
    assert (whole["split"][manifest["split"] == "test"] == "test").all()
    moved = whole["split"] != manifest["split"]
    assert set(manifest["split"][moved]) == {"train"}
    had = (before["split"] == "train").sum()
    assert abs(moved.sum() - 36 - 0.15 * had) <= 2


def test_what_belongs_together_never_crosses_parts_of_the_pooled_data(tmp_path):
    dataset = images({"a": 60, "b": 60}, tmp_path)
    manifest = dataset.manifest.assign(split="train")
    first, second = (manifest["site"] == site for site in ("s0", "s1"))
    # s0 keeps its parts; s1 has train only; the first ten images of s1 are copies of images of s0.
    manifest.loc[first, "split"] = dataset.manifest.loc[first, "split"]
    manifest.loc[~first & ~second, "split"] = dataset.manifest.loc[~first & ~second, "split"]
    manifest["pixels"] = [f"h{i}" for i in range(len(manifest))]
    train_of_first = manifest.index[first & (manifest["split"] == "train")][:10]
    manifest.loc[manifest.index[second][:10], "pixels"] = manifest.loc[train_of_first, "pixels"].to_numpy()
    # And s1's families are groups that prepare kept in one part.
    manifest["family"] = manifest["patient"]
    manifest.loc[manifest.index[second], "family"] = [f"f{i // 2}" for i in range(second.sum())]
    dataset = replace(dataset, manifest=manifest, preparation={"group_by": "family"})
    taken = 0
    for seed in range(5):
        whole = pooled(dataset, partition(dataset, options("site", seed=seed))).manifest
        for column in ("pixels", "family"):
            assert whole.groupby(column)["split"].nunique().max() == 1
        taken += int((whole.loc[second, "split"] != "train").sum())
    assert taken > 0


def test_a_client_of_too_few_patients_says_so(tmp_path):
    dataset = images({"a": 3, "b": 3}, tmp_path, parts=(100, 0, 0))
    clients = partition(dataset, options("iid", clients=6))
    for client in clients:
        assert len(client.dataset.rows("train")) == 1
        assert "no labelled image in test, and too few patients in train to take one from" in client.notes


def test_multilabel_clients_hold_every_class(tmp_path):
    dataset = images({"a": 200, "a|b": 60, "b|c": 20}, tmp_path, task="multilabel")
    clients = partition(dataset, options("iid", clients=4))
    by_part = counted(clients)
    assert_whole(dataset, clients)
    for name in "abc":
        held = by_part[by_part.index.get_level_values(0).str.contains(name)].sum()
        assert held.max() - held.min() <= 3


def test_names_sort_as_they_count_and_patients_limit_the_clients(tmp_path):
    dataset = images({"a": 30, "b": 30}, tmp_path)
    names = [client.name for client in partition(dataset, options("iid", clients=12))]
    assert names[0] == "client-01"
    assert names == sorted(names)
    with pytest.raises(InputError, match="--clients 61: from 1 to 60"):
        partition(dataset, options("iid", clients=61))
    with pytest.raises(InputError, match="--partition city: choose one of site, iid"):
        partition(dataset, options("city"))
    (only,) = partition(dataset, options("iid", clients=1))
    assert only.dataset.fingerprint() == dataset.fingerprint()
    assert only.examples == 42


def copied(root, sites=("a", "b")):
    """Measurements of 60 people, each twice under another name, made into a Dataset by hand."""
    dataset = write_table(root, n=60, missing=0)
    table = dataset.manifest.assign(patient=[f"p{i}" for i in range(60)], split="train")
    twice = pd.concat([table.assign(site=site) for site in sites], ignore_index=True)
    names = [f"r{i}" for i in range(120)]
    twice = twice.assign(row=names, patient=names)
    replace(dataset, manifest=twice).save()
    return Dataset.load(root)


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shards"])
def test_copies_of_a_row_are_at_one_client(tmp_path, kind):
    dataset = copied(tmp_path / "data")
    held = partition(dataset, options(kind, clients=3, min_size=1), measured=False)
    ages = [set(client.dataset.manifest["age"]) for client in held]
    assert sum(len(one) for one in ages) == 60
    assert len(set.union(*ages)) == 60
    assert sum(len(client.dataset.manifest) for client in held) == 120


def test_a_row_copied_at_two_sites_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"at a and b.*--on-duplicates drop"):
        partition(copied(tmp_path / "data"), options("site"))
