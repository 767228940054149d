"""Parts by patient: against brute force over the rows and closed-form shares."""

import numpy as np
import pandas as pd
import pytest

from medimg.data.splits import lots, missing_classes, parse_split, split_groups
from medimg.data.units import units
from medimg.errors import InputError

SHARES = (0.7, 0.15, 0.15)


def test_parse():
    assert parse_split("70/15/15") == pytest.approx(SHARES)
    assert parse_split("80/20/0") == pytest.approx((0.8, 0.2, 0))
    assert parse_split("official") is None


@pytest.mark.parametrize("text", ["", "70/30", "70/15/16", "a/b/c", "0/50/50", "120/-10/-10", "nan/50/50"])
def test_parse_refuses(text):
    with pytest.raises(InputError, match="--split"):
        parse_split(text)


@pytest.mark.parametrize("seed", range(5))
def test_shares_by_class_and_no_group_in_two_parts(seed):
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(400), draw.integers(1, 6, 400))
    labels = draw.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1])[groups]
    parts = split_groups(labels, groups, SHARES, seed)
    for group in range(400):
        assert len(set(parts[groups == group])) == 1
    for name in "abc":
        for part, share in zip(("train", "val", "test"), SHARES, strict=True):
            assert np.mean(parts[labels == name] == part) == pytest.approx(share, abs=0.02)


def test_shares_of_several_labels_at_once():
    draw = np.random.default_rng(3)
    prevalence = {"a": 0.4, "b": 0.2, "c": 0.05, "d": 0.02}
    labels = ["|".join(n for n, p in prevalence.items() if draw.random() < p) or "none" for _ in range(3000)]
    groups = np.arange(3000) // 2
    parts = split_groups(labels, groups, SHARES, 0)
    for name in (*prevalence, "none"):
        held = np.array([name in label.split("|") for label in labels])
        for part, share in zip(("train", "val", "test"), SHARES, strict=True):
            assert np.mean(parts[held] == part) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("seed", range(10))
def test_a_class_of_three_patients_is_in_every_part(seed):
    labels = ["common"] * 200 + ["rare"] * 3
    parts = split_groups(labels, range(203), SHARES, seed)
    assert set(parts[-3:]) == {"train", "val", "test"}
    assert missing_classes(labels, parts) == []


def test_scarce_classes_go_to_train_first_then_test():
    labels = ["common"] * 50 + ["single", "double", "double"]
    parts = split_groups(labels, range(53), SHARES, 0)
    assert parts[50] == "train"
    assert set(parts[51:]) == {"train", "test"}
    assert missing_classes(labels, parts) == [("double", "val", 2), ("single", "val", 1), ("single", "test", 1)]


def test_a_part_of_nothing_gets_nothing():
    parts = split_groups(["a", "b"] * 50, range(100), (0.8, 0.2, 0.0), 0)
    assert set(parts) == {"train", "val"}
    assert np.sum(parts == "val") == 20


def test_a_large_patient_does_not_overfill_a_small_part():
    groups = np.r_[np.zeros(60, int), np.arange(1, 41)]
    parts = split_groups(["a"] * 100, groups, SHARES, 0)
    assert set(parts[:60]) == {"train"}
    assert np.sum(parts == "val") == np.sum(parts == "test") == 15


def test_the_seed_decides_and_repeats():
    labels, groups = ["a", "b"] * 100, range(200)
    first, again, other = (split_groups(labels, groups, SHARES, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_units_equal_brute_force():
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {"patient": draw.integers(0, 60, 80).astype(str), "pixels": draw.integers(0, 90, 80).astype(str)}
    )
    table.loc[draw.random(80) < 0.3, "pixels"] = ""
    expected = list(range(80))
    for _ in range(80):
        for i in range(80):
            for j in range(80):
                same = table["patient"][i] == table["patient"][j]
                same |= table["pixels"][i] == table["pixels"][j] != ""
                if same:
                    expected[i] = expected[j] = min(expected[i], expected[j])
        if expected == [expected[k] for k in expected]:
            break
    found = units(table, ["patient", "pixels"])
    assert all((found[i] == found[j]) == (expected[i] == expected[j]) for i in range(80) for j in range(80))


def test_a_lot_moves_nobody_else():
    names = [f"p{i // 2}" for i in range(400)]
    drawn = dict(zip(names, lots(names, (0.7, 0.15, 0.15), 3), strict=True))
    for left_out in ("p0", "p77", "p199"):
        rest = [name for name in names if name != left_out]
        alone = dict(zip(rest, lots(rest, (0.7, 0.15, 0.15), 3), strict=True))
        assert alone == {name: part for name, part in drawn.items() if name != left_out}
    many = lots([f"q{i}" for i in range(20_000)], (0.7, 0.15, 0.15), 0)
    assert np.abs(np.bincount(many) / 20_000 - (0.7, 0.15, 0.15)).max() < 0.015
    assert (lots(names, (0.5, 0.5), 1) != lots(names, (0.5, 0.5), 2)).any()
    assert (lots(names, (0.5, 0.5), 1) != lots(names, (0.5, 0.5), 1, "fold")).any()


def shares(parts, by) -> pd.DataFrame:
    """Share of each value's rows in train, val and test."""
    table = pd.crosstab(np.asarray(by), parts, normalize="index")
    return table.reindex(columns=["train", "val", "test"], fill_value=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_sites_have_their_share_in_every_part(seed):
    draw = np.random.default_rng(seed)
    site = draw.choice(list("abcd"), 455, p=[0.33, 0.32, 0.12, 0.23])
    ill = draw.random(455) < pd.Series(site).map({"a": 0.46, "b": 0.36, "c": 0.93, "d": 0.74}).to_numpy()
    labels = np.where(ill, "disease", "healthy")
    parts = split_groups(labels, range(455), SHARES, seed, site)
    # The smallest site has some 55 patients: within one of them.
    assert np.abs(shares(parts, site) - SHARES).to_numpy().max() < 0.02
    assert np.abs(shares(parts, labels) - SHARES).to_numpy().max() < 0.01
    alone = split_groups(labels, range(455), SHARES, seed)
    assert np.abs(shares(alone, site) - SHARES).to_numpy().max() > 0.03


def test_sites_of_patients_with_many_images():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), draw.integers(1, 6, 200))
    site = draw.integers(0, 5, 200).astype(str)[groups]
    labels = draw.choice(["a", "b"], 200)[groups]
    parts = split_groups(labels, groups, SHARES, 0, site)
    assert all(len(set(parts[groups == group])) == 1 for group in range(200))
    assert np.abs(shares(parts, site) - SHARES).to_numpy().max() < 0.05
    assert np.abs(shares(parts, labels) - SHARES).to_numpy().max() < 0.02


def test_sites_of_a_few_patients_take_no_room():
    site = np.repeat(np.arange(20), 3).astype(str)
    parts = split_groups(["a"] * 60, range(60), SHARES, 0, site)
    # As without sites, to one patient.
    assert pd.Series(parts).value_counts().to_dict() == pytest.approx({"train": 42, "val": 9, "test": 9}, abs=1)


def test_one_site_is_none():
    labels = ["a", "b", "b"] * 30
    assert (split_groups(labels, range(90), SHARES, 0, ["x"] * 90) == split_groups(labels, range(90), SHARES, 0)).all()
