"""Heterogeneity: closed forms on made-up clients, chance on clients that differ by chance, files on a real table."""

import itertools
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from federated.clients.client import Client
from federated.partition import partition
from federated.partition.heterogeneity import POOLED, heterogeneity
from federated.report.partition import write
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.preparation.prepare import prepare
from medimg.tables.shift import site_shift
from tests.datasets import write_table

pytestmark = pytest.mark.final_figures


def made(tables, root, task="multiclass", images_each=1):
    """Clients from class -> training patients, each with one val and one test patient besides."""
    names = list(dict.fromkeys(part for t in tables for name in t for part in name.split("|")))
    clients, start = [], 0
    for i, table in enumerate(tables):
        labels = [name for name, count in table.items() for _ in range(count)]
        split = ["train"] * len(labels) + ["val", "test"]
        labels += [names[0], names[0]]
        rows = [
            (f"{i}-{j}-{k}.png", label, f"{i}-{j}", f"s{i}", part)
            for j, (label, part) in enumerate(zip(labels, split, strict=True))
            for k in range(images_each)
        ]
        manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
        manifest.index += start
        start += len(manifest)
        clients.append(Client(f"c{i}", Dataset(root, "made", task, tuple(names), manifest)))
    return clients


def test_clients_of_one_class_each_in_closed_form(tmp_path):
    measured = heterogeneity(made([{"a": 20}, {"b": 20}], tmp_path))
    table = measured.clients.set_index("client")
    assert table.loc[["c0", "c1"], "effective_classes"].tolist() == pytest.approx([1, 1])
    assert table.loc[POOLED, "effective_classes"] == pytest.approx(2)
    assert table.loc["c0", "total_variation"] == pytest.approx(0.5)
    # JS divergence of (1, 0) and (1/2, 1/2) in bits: H(3/4, 1/4) - H(1/2) / 2.
    expected = np.sqrt(entropy([0.75, 0.25], base=2) - 0.5)
    assert table.loc["c0", "jensen_shannon"] == pytest.approx(expected)
    assert table.loc[POOLED, ["total_variation", "jensen_shannon"]].tolist() == [0, 0]
    assert table.loc["c1", "classes_present"] == 1
    assert measured.effective_clients == pytest.approx(2)


def test_equal_mixes_are_at_no_distance_whatever_the_sizes(tmp_path):
    measured = heterogeneity(made([{"a": 5, "b": 10}, {"a": 20, "b": 40}], tmp_path))
    assert measured.total_variation == pytest.approx(0)
    assert measured.jensen_shannon == pytest.approx(0, abs=1e-7)
    assert measured.effective_clients == pytest.approx(75**2 / (15**2 + 60**2))


def test_means_are_weighted_by_training_rows(tmp_path):
    measured = heterogeneity(made([{"a": 30}, {"a": 15, "b": 5}, {"b": 10}], tmp_path))
    whole = np.array([45, 15]) / 60
    mixes = np.array([[1, 0], [0.75, 0.25], [0, 1]])
    variation = np.abs(mixes - whole).sum(axis=1) / 2
    assert measured.total_variation == pytest.approx(np.average(variation, weights=[30, 20, 10]))
    assert np.allclose(measured.mixes, mixes)
    assert measured.clients["train"].tolist() == [30, 20, 10, 60]
    assert measured.clients["patients"].tolist() == [32, 22, 12, 66]


def test_chance_equals_all_dealings_of_few_patients(tmp_path):
    clients = made([{"a": 3}, {"a": 1, "b": 3}], tmp_path)
    # Every way to give 3 of the 7 patients (4 of a, 3 of b) to the first client.
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    values = []
    for chosen in itertools.combinations(range(7), 3):
        first = labels[list(chosen)].mean()
        second = np.delete(labels, chosen).mean()
        values.append((3 * abs(first - 3 / 7) + 4 * abs(second - 3 / 7)) / 7)
    assert heterogeneity(clients, seed=1).by_chance == pytest.approx(np.mean(values), abs=0.03)


def test_dealing_whole_patients_leaves_more_to_chance(tmp_path):
    table = [{"a": 20, "b": 20}, {"a": 20, "b": 20}]
    single = heterogeneity(made(table, tmp_path))
    several = heterogeneity(made(table, tmp_path, images_each=5))
    # The same patients with five images each: shares vary no less for there being more images.
    assert several.by_chance == pytest.approx(single.by_chance)
    assert several.clients["train"].tolist() == [200, 200, 400]


def test_a_random_partition_is_within_chance_and_a_skewed_one_is_not(tmp_path):
    dataset = write_table(tmp_path / "data", n=600)
    options = {"clients": 6, "alpha": 0.2, "min_size": 5, "shards": 2, "seed": 0}
    alike, skewed = (
        heterogeneity(partition(dataset, SimpleNamespace(partition=kind, **options))) for kind in ("iid", "dirichlet")
    )
    assert alike.total_variation < alike.by_chance_high
    assert skewed.total_variation > 2 * skewed.by_chance_high


def test_multilabel_mixes_are_shares_of_labels(tmp_path):
    measured = heterogeneity(made([{"a": 4, "a|b": 4}, {"b": 8}], tmp_path, task="multilabel"))
    assert np.allclose(measured.mixes, [[8 / 12, 4 / 12], [0, 1]])
    counts = measured.counts.set_index(["client", "split", "class"])
    assert counts.loc[("c0", "train", "a"), "rows"] == 8
    assert measured.clients["train"].tolist() == [8, 8, 16]


def test_files_of_the_heart_disease_hospitals(medical_data, tmp_path):
    dataset = prepare("heart", medical_data / "heart_disease", tmp_path / "heart", PrepareConfig())
    clients = partition(dataset, SimpleNamespace(partition="site", seed=0))
    measured = write(clients, tmp_path / "out")
    # Hardly any patient of Switzerland is healthy; at Cleveland the classes are nearer to each other.
    table = pd.read_csv(tmp_path / "out" / "partition.csv").set_index("client")
    assert table.loc["switzerland", "total_variation"] > 0.25
    assert table.loc["switzerland", "effective_classes"] < 1.5
    assert table.loc["cleveland", "effective_classes"] > 1.8
    assert table.loc[POOLED, "train"] == len(dataset.rows("train", labelled=True))
    assert measured.total_variation > measured.by_chance_high
    counts = pd.read_csv(tmp_path / "out" / "partition_counts.csv")
    rows = dataset.manifest.groupby(["site", "split", "label"]).size()
    found = counts.set_index(["client", "split", "class"])["rows"]
    assert found[found > 0].to_dict() == rows.to_dict()
    shift = pd.read_csv(tmp_path / "out" / "feature_shift.csv", index_col="feature")
    expected = site_shift(dataset.rows("train"), dataset.inputs, shift.columns)
    pd.testing.assert_frame_equal(shift, expected, check_names=False)
    picture = cv2.imread(str(tmp_path / "out" / "figures" / "partition.png"))
    assert picture.shape[1] > 1000
    assert len(np.unique(picture)) > 50


@pytest.mark.slow
def test_a_figure_of_more_clients_and_classes_than_can_be_read(tmp_path):
    tables = [{f"a rather long name of class {i}": 2 + (i * j) % 3 for i in range(11)} for j in range(60)]
    measured = write(made(tables, tmp_path), tmp_path / "out")
    assert len(measured.clients) == 61
    assert (tmp_path / "out" / "figures" / "partition.png").stat().st_size > 10_000
