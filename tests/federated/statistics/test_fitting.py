"""Preprocessing from sums over clients: equal to the pooled fit, whatever the clients hold, and no rows on the way."""

import dataclasses
import json
from itertools import count

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_selection import f_classif

from federated.config import FederateConfig
from federated.partition import partition
from federated.secure.keys import identities
from federated.secure.whole import whole_sum
from federated.statistics import Schema, agreed, answer, disclosed, fit, training_rows
from federated.statistics.keys import to_keys, to_values
from federated.statistics.moments import Moments
from federated.statistics.names import SKETCHES
from federated.statistics.search import MANY
from federated.statistics.selection import anova
from federated.statistics.sketch import NAME_BYTES, cells_for, names_in, sketch
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.tables.fit import complete_rows
from medimg.tables.fit import fit as pooled_fit
from medimg.tables.preprocessing import Preprocessing

SITES = ("north", "south", "west")
FEATURES = (
    Feature("weight", "continuous"),
    Feature("visits", "integer"),
    Feature("offset", "continuous"),
    Feature("seen", "date"),
    Feature("stage", "ordinal", ("I", "II", "III", "IV")),
    Feature("grade", "ordinal"),
    Feature("pain", "categorical"),
    Feature("colour", "categorical"),
    Feature("same", "continuous"),
    Feature("never", "continuous"),
)
OPTIONS = [
    {},
    {"scale": "min-max", "impute": "most-frequent"},
    {"scale": "none", "impute": "constant", "encode": "ordinal", "missing_indicators": False},
    {"impute": "constant"},
    {"missing": "drop-rows"},
    {"missing": "drop-columns", "missing_limit": 0.15},
    {"select": "variance", "select_count": 6, "scale": "min-max"},
    {"select": "anova", "select_count": 5},
    {"select": "anova", "select_count": 5, "scale": "none", "encode": "ordinal"},
    {"select": "anova", "select_count": 500},
]


def table(n: int = 120, seed: int = 0, classes=("a", "b", "c")) -> Dataset:
    """Numbers far from 0 and below it, dates with times, orders, categories; a tenth of everything is missing."""
    draw = np.random.default_rng(seed)
    times = np.datetime64("2019-12-30T00:00:00") + draw.integers(0, 10**8, n).astype("m8[s]")
    columns = {
        "weight": draw.normal(-3, 40, n).round(1),
        "visits": draw.integers(0, 4, n).astype(float),
        "offset": 1e6 + draw.normal(0, 3, n),
        "seen": times.astype(str),
        "stage": draw.choice(["I", "II", "IV"], n),
        "grade": draw.choice(["1", "2", "10"], n),
        "pain": draw.choice(["none", "typical", "atypical"], n, p=[0.2, 0.5, 0.3]),
        "colour": draw.choice(["red", "blue"], n),
    }
    for name, values in columns.items():
        empty = np.nan if values.dtype.kind == "f" else ""
        columns[name] = np.where(draw.random(n) < 0.1, empty, values)
    roles = {
        "row": [f"r{i}" for i in range(n)],
        "label": draw.choice(classes, n),
        "patient": [f"p{i}" for i in range(n)],
        "site": draw.choice(SITES, n),
        "split": draw.choice(["train", "test"], n, p=[0.8, 0.2]),
    }
    manifest = pd.DataFrame({**roles, **columns, "same": 7.5, "never": np.nan})
    return Dataset("t", "t", "multiclass", tuple(classes), manifest, features=FEATURES)


def divided(dataset: Dataset) -> dict[str, Dataset]:
    """The dataset of each site."""
    return {name: dataclasses.replace(dataset, manifest=rows) for name, rows in dataset.manifest.groupby("site")}


def asking(clients: dict[str, Dataset], log: list | None = None):
    """The sum as over a network: questions are JSON, answers alike in shape."""

    def total(request: dict, size: int) -> np.ndarray:
        sent = json.dumps(request, allow_nan=False)
        answers = {name: answer(own, json.loads(sent)) for name, own in sorted(clients.items())}
        assert len({own.shape for own in answers.values()}) == 1
        if log is not None:
            log.append((request["kind"], answers))
        return np.sum(list(answers.values()), axis=0)

    return total


def of(clients, schema, log=None, **options) -> Preprocessing:
    return fit(asking(clients, log), schema, TrainConfig(model="logistic", **options))


def of_pool(dataset: Dataset, **options) -> Preprocessing:
    config = TrainConfig(model="logistic", **options)
    return pooled_fit(dataset, dataset.rows("train", labelled=True), config)


def same(ours: Preprocessing, pooled: Preprocessing) -> None:
    assert ours.raw == pooled.raw
    assert ours.names == pooled.names
    assert ours.dropped == pooled.dropped
    for one, other in zip(ours.columns, pooled.columns, strict=True):
        assert (one.source, one.kind, one.category) == (other.source, other.kind, other.category)
        assert one.fill == other.fill, one.name
        np.testing.assert_allclose((one.offset, one.scale), (other.offset, other.scale), rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def heart(medical_data, tmp_path_factory) -> Dataset:
    out = tmp_path_factory.mktemp("heart") / "data"
    return prepare("heart", medical_data / "heart_disease", out, PrepareConfig())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_four_hospitals_learn_what_their_pool_would(heart, options):
    config = dataclasses.make_dataclass("C", [("partition", str, "site"), ("seed", int, 0)])()
    clients = {client.name: client.dataset for client in partition(heart, config)}
    assert len(clients) == 4
    # Switzerland measured no cholesterol at all.
    rows = clients["switzerland"].rows("train")
    assert rows["chol"].isna().all()
    same(of(clients, Schema.of(heart), **options), of_pool(heart, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_made_up_tables_of_which_one_lacks_columns(options, seed):
    whole = table(seed=seed)
    at_west = whole.manifest["site"] == "west"
    manifest = whole.manifest.copy()
    manifest.loc[at_west, ["offset", "same"]] = np.nan
    manifest.loc[at_west, ["seen", "grade", "colour"]] = ""
    pool = dataclasses.replace(whole, manifest=manifest)
    clients = divided(pool)
    absent = ["offset", "same", "seen", "grade", "colour"]
    west = clients["west"]
    clients["west"] = dataclasses.replace(
        west, manifest=west.manifest.drop(columns=absent), features=tuple(f for f in FEATURES if f.name not in absent)
    )
    same(of(clients, Schema.of(pool), **options), of_pool(pool, **options))


def test_the_order_and_number_of_clients_do_not_matter():
    whole = table()
    clients = divided(whole)
    reverse = dict(reversed(clients.items()))
    assert of(clients, Schema.of(whole)) == of(reverse, Schema.of(whole))
    same(of({"one": whole}, Schema.of(whole)), of_pool(whole))
    few = dataclasses.replace(whole, manifest=whole.manifest[:24])
    alone = {f"c{i}": dataclasses.replace(whole, manifest=whole.manifest[i : i + 1]) for i in range(24)}
    same(of(alone, Schema.of(few)), of_pool(few))


def test_anova_over_several_labels():
    whole = table(classes=("a", "b", "a|b", "n"))
    whole = dataclasses.replace(whole, task="multilabel", classes=("a", "b"), negative="n")
    options = {"select": "anova", "select_count": 4}
    same(of(divided(whole), Schema.of(whole), **options), of_pool(whole, **options))


def test_anova_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    target = draw.integers(0, 3, 200)
    matrix = draw.normal(size=(200, 6)) + np.outer(target, draw.normal(size=6))
    groups = [matrix[target == k] for k in (0, 1, 2)]
    groups.append(matrix[:0])
    found = anova(
        np.array([len(g) for g in groups]),
        np.array([g.sum(axis=0) for g in groups]),
        np.array([(g**2).sum(axis=0) for g in groups]),
    )
    np.testing.assert_allclose(found, f_classif(matrix, target)[0], rtol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "date"])
def test_keys_keep_the_order_and_come_back(kind):
    draw = np.random.default_rng(0)
    if kind == "date":
        values = np.r_[draw.integers(-(10**10), 10**10, 200) / 86400, 0.0]
    else:
        tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
        values = np.r_[draw.normal(size=200) * 10.0 ** draw.integers(-30, 30, 200), 0.0, tiny, huge]
        values = np.r_[values, -values].astype(np.float32).astype(np.float64)
    keys = to_keys(values, kind)
    np.testing.assert_array_equal(to_values(keys, kind), values)
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), np.argsort(values, kind="stable"))
    assert to_keys(np.array([-0.0]), kind) == to_keys(np.array([0.0]), kind)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 51])
def test_medians_are_exact_in_few_rounds(n):
    draw = np.random.default_rng(n)
    columns = {
        "wide": draw.normal(size=n) * 10.0 ** draw.integers(-20, 20, n),
        "narrow": 1000 + draw.normal(size=n),
        "ties": draw.choice([-1.0, 0.0, 2.0], n),
    }
    columns = {k: v.astype(np.float32).astype(np.float64) for k, v in columns.items()}
    columns["vary"] = np.arange(n, dtype=float)
    manifest = table(n).manifest[["row", "label", "patient", "site"]].assign(split="train")
    features = tuple(Feature(name, "continuous") for name in columns)
    whole = Dataset("t", "t", "multiclass", ("a", "b", "c"), manifest.assign(**columns))
    whole = dataclasses.replace(whole, features=features)
    clients, log = divided(whole), []
    if n == 1:
        with pytest.raises(InputError, match=r"no feature is left .*the same in every training row"):
            of(clients, Schema.of(whole))
        return
    fitted = of(clients, Schema.of(whole), log)
    fills = {column.name: column.fill for column in fitted.columns}
    for name, values in columns.items():
        if name in fills:
            assert fills[name] == np.median(values)
    kinds = [kind for kind, _ in log]
    counts = kinds.count("counts")
    assert kinds == ["missing", *["counts"] * counts, "sums", "sums"]
    assert 0 < counts <= np.ceil(32 / np.log2(MANY))


def test_moments_merge_like_the_whole():
    draw = np.random.default_rng(0)
    values = 1e8 + draw.normal(size=1000)
    parts = [Moments.of(part, np.ones(len(part))) for part in np.split(values, [0, 3, 500, 500, 999])]
    merged = sum(parts, Moments())
    assert merged.count == 1000
    assert (merged.low, merged.high) == (values.min(), values.max())
    np.testing.assert_allclose(merged.mean, values.mean(), rtol=1e-15)
    # Sums of squares less the squared mean would be wrong in the first digit here.
    np.testing.assert_allclose(merged.variance, values.var(), rtol=1e-7)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_spreads_keep_their_digits_beside_outliers_and_far_from_0(masked):
    """Units of the range lose none where one value is a million times as far as the others are."""
    draw, n = np.random.default_rng(3), 90
    far = 1e6 + draw.normal(0, 1e-1, n)
    skewed = np.where(np.arange(n) == 7, 3e7, draw.normal(0, 1, n))
    columns = {"far": far, "skewed": skewed, "tiny": 1e-30 * draw.normal(size=n), "huge": 1e30 * draw.normal(size=n)}
    manifest = table(n).manifest[["row", "label", "patient", "site"]].assign(split="train", **columns)
    features = tuple(Feature(name, "continuous") for name in columns)
    whole = Dataset("t", "t", "multiclass", ("a", "b", "c"), manifest, features=features)
    total = masking(divided(whole)) if masked else asking(divided(whole))
    same(fit(total, Schema.of(whole), TrainConfig(model="logistic")), of_pool(whole))


def masking(clients):
    """The sum under masks, all parties here."""
    known, number = identities(clients), count(1)

    def total(request, size):
        return whole_sum({name: answer(own, request) for name, own in clients.items()}, known, next(number))

    return total


@pytest.mark.parametrize("options", OPTIONS[::3], ids=str)
def test_under_masks_it_is_the_same(options):
    whole = table()
    clients = divided(whole)
    config = TrainConfig(model="logistic", **options)
    masked = fit(masking(clients), Schema.of(whole), config)
    same(masked, of_pool(whole, **options))
    same(masked, of(clients, Schema.of(whole), **options))


def test_answers_grow_with_neither_rows_nor_what_is_in_them():
    """Their sizes follow from the questions, so that they can be added up and tell nothing by themselves."""

    def largest(n: int, **options) -> dict[str, int]:
        whole, log = table(n), []
        of(divided(whole), Schema.of(whole), log, **options)
        sizes = {}
        for kind, answers in log:
            assert len({own.size for own in answers.values()}) == 1
            sizes[kind] = max(sizes.get(kind, 0), *(own.size for own in answers.values()))
        return sizes

    options = {"select": "anova", "select_count": 5}
    few, more = largest(200, **options), largest(800, **options)
    # Of four intervals of each of six columns at most; how many are the same, the sums tell.
    assert max(few.pop("counts"), more.pop("counts")) <= 4 * 6 * MANY
    assert few == more
    assert few["missing"] == 1 + len(FEATURES)
    assert set(few) == {"missing", "categories", "sums", "classes"}


def test_many_categories_are_found_by_a_larger_sketch():
    n = 900
    draw = np.random.default_rng(0)
    names = {"pain": [f"t{i % 700} ä" for i in range(n)], "colour": draw.choice(["red", "blue"], n)}
    whole = dataclasses.replace(table(n), manifest=table(n).manifest.assign(split="train", **names))
    log = []
    same(of(divided(whole), Schema.of(whole), log), of_pool(whole))
    assert 1 < [kind for kind, _ in log].count("categories") <= SKETCHES


def test_a_sketch_adds_up_and_tells_counts_of_names():
    draw = np.random.default_rng(0)
    names = [(int(draw.integers(0, 9)), "".join(draw.choice(list("abcé 1"), draw.integers(0, 40)))) for _ in range(60)]
    parts = [{name: int(draw.integers(1, 10**5)) for name in draw.permutation(60)[:40]} for _ in range(4)]
    parts = [{names[i]: times for i, times in part.items()} for part in parts]
    cells = cells_for(60)
    total = sum(sketch(part, cells) for part in parts).astype(np.int64)
    expected = {}
    for part in parts:
        for name, times in part.items():
            expected[name] = expected.get(name, 0) + times
    assert names_in(total, cells) == expected
    assert names_in(np.zeros_like(total), cells) == {}
    # Too many for the table, and what is no sketch.
    crowded = sketch({(0, str(i)): 1 for i in range(999)}, cells_for(0)).astype(np.int64)
    assert names_in(crowded, cells_for(0)) is None
    total[5] += 1
    assert names_in(total, cells) is None


def test_a_site_in_another_form_takes_the_agreed_one():
    schema = Schema.of(table())
    text = table().manifest.assign(weight="?", visits="2", extra="z")
    own = Dataset("w", "w", "multiclass", ("c", "b", "a"), text, features=(Feature("visits", "categorical"),))
    known = agreed(own, schema)
    assert known.features == FEATURES
    assert known.classes == ("a", "b", "c")
    one = known.rows("train")
    expected = [("a", "b", "c").index(label) for label in one["label"]]
    assert known.targets(one).tolist() == expected
    found = answer(own, {"kind": "missing", "schema": schema.to_dict()})
    rows = len(own.rows("train"))
    assert found[:3].tolist() == [rows, rows, 0]
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_rows_that_a_site_learns_from_are_those_of_the_pool():
    whole = table()
    at_west = whole.manifest["site"] == "west"
    pool = dataclasses.replace(whole, manifest=whole.manifest.assign(offset=whole.manifest["offset"].mask(at_west)))
    expected = complete_rows(pool, pool.rows("train"))
    known = [feature.name for feature in FEATURES if feature.name != "never"]
    ours = [training_rows(own, known) for own in divided(pool).values()]
    assert sorted(pd.concat(ours).index) == sorted(expected.index)
    assert ours[2].empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: dataclasses.replace(own, features=()), "holds images"),
        (
            lambda own: dataclasses.replace(own, manifest=own.manifest.drop(columns=[f.name for f in FEATURES])),
            "none of the federation's columns",
        ),
        (
            lambda own: dataclasses.replace(own, manifest=own.manifest.assign(label="d")),
            "label 'd' is no class of the federation",
        ),
        (
            lambda own: dataclasses.replace(own, manifest=own.manifest.assign(weight="heavy")),
            "column 'weight': 'heavy' is not a number",
        ),
    ],
)
def test_a_site_that_does_not_fit_says_so(change, message):
    whole = table()
    clients = divided(whole)
    clients["south"] = change(clients["south"])
    with pytest.raises(InputError, match=message):
        of(clients, Schema.of(whole))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("missing", lambda given: given[:-1]),
        ("missing", lambda given: given - 1000),
        ("missing", lambda given: given + np.eye(len(given))[1] * 10**6),
        ("missing", lambda given: given + 0.5),
        ("categories", lambda given: given + 1),
        ("categories", np.zeros_like),
        ("counts", lambda given: given[1:]),
        ("counts", lambda given: given + np.eye(len(given))[0]),
        ("counts", lambda given: given - 1),
        ("sums", lambda given: given * np.nan),
        ("classes", lambda given: given[:0]),
    ],
)
def test_an_unusable_sum_is_refused(kind, change):
    whole = table()
    honest = asking(divided(whole))

    def total(request, size):
        found = honest(request, size)
        return change(found) if request["kind"] == kind else found

    config = TrainConfig(model="logistic", select="anova", select_count=5)
    with pytest.raises(InputError, match=f"statistics '{kind}': the sum of the clients' answers can't be used"):
        fit(total, Schema.of(whole), config)


def test_nothing_to_learn_from_is_refused():
    whole = table()
    manifest = whole.manifest.assign(split="test")
    tested = dataclasses.replace(whole, manifest=manifest)
    with pytest.raises(InputError, match="no client has labelled rows in train"):
        of({"a": tested}, Schema.of(whole))
    lacking = whole.manifest.copy()
    lacking.loc[::2, "weight"] = np.nan
    lacking.loc[1::2, "visits"] = np.nan
    pool = dataclasses.replace(whole, manifest=lacking)
    with pytest.raises(InputError, match="drop-rows: every training row of the federation"):
        of(divided(pool), Schema.of(whole), missing="drop-rows")


def test_a_site_does_not_send_free_text_or_all_of_a_long_column():
    n = 1200
    manifest = table(n).manifest.assign(split="train", pain=[f"t{i}" for i in range(n)])
    whole = dataclasses.replace(table(n), manifest=manifest)
    with pytest.raises(InputError, match="'pain' has 1200 categories"):
        of({"a": whole}, Schema.of(whole), encode="ordinal")
    manifest = table(n).manifest.assign(split="train", weight=np.arange(n) / 7)
    whole = dataclasses.replace(table(n), manifest=manifest)
    with pytest.raises(InputError, match=r"'weight' has more than 1000 different values.*--impute median"):
        of({"a": whole}, Schema.of(whole), impute="most-frequent")
    manifest = table(n).manifest.assign(split="train", pain=["x" * (NAME_BYTES + 1)] * n)
    whole = dataclasses.replace(table(n), manifest=manifest)
    with pytest.raises(InputError, match="'pain': a category of more than 120 bytes is text"):
        of({"a": whole}, Schema.of(whole))


def test_no_question_chooses_few_rows():
    """Whoever asks names the columns that a row must know, and so whose rows are summed."""
    whole = table()
    manifest = whole.manifest.copy()
    manifest["offset"] = manifest["offset"].where(manifest.index == manifest[manifest["split"] == "train"].index[3])
    whole = dataclasses.replace(whole, manifest=manifest)
    request = {"schema": Schema.of(whole).to_dict(), "known": ["offset"], "fewest": 5}
    for kind in ("complete", "categories", "counts", "sums", "classes"):
        asked = {"kind": kind, "columns": [], "cells": 3, "intervals": [], "bins": 1, "power": 1, **ENCODED}
        with pytest.raises(InputError, match="fewer than 5 patients have rows"):
            answer(whole, {**request, **asked})
    # Nor leaves few out, of whom the difference to all would tell.
    nearly = dataclasses.replace(whole, manifest=manifest.assign(offset=manifest["offset"].isna().astype(float)))
    lacking = nearly.manifest["offset"].where(nearly.manifest["offset"] == 1)
    nearly = dataclasses.replace(nearly, manifest=nearly.manifest.assign(offset=lacking))
    with pytest.raises(InputError, match="fewer than 5 patients have rows that lack one of them"):
        answer(nearly, {**request, "kind": "complete"})
    # None is as good as all lacking it, and all are asked for without it.
    nobody = dataclasses.replace(whole, manifest=manifest.assign(offset=np.nan))
    assert not answer(nobody, {**request, "kind": "complete"}).any()
    assert answer(whole, {**request, "kind": "missing"})[0] == (manifest["split"] == "train").sum()


ENCODED = {"preprocessing": of_pool(table()).to_dict(), "shifts": [], "scales": [], "by": "all"}


@pytest.mark.parametrize(
    ("shift", "scale"), [(3.0, 0.0), (3.0, float("nan")), (float("inf"), 1.0), (3.0, -1.0), (3.0, 5e-324)]
)
def test_no_shift_or_scale_asks_for_a_value(shift, scale):
    """A quotient that is no number, or too large for a sum, would tell by a refusal who has which value."""
    whole = table()
    manifest = whole.manifest.assign(weight=3.0, split="train")
    request = {"kind": "sums", "power": 2, "columns": [["weight", shift, scale]], "schema": Schema.of(whole).to_dict()}
    said = set()
    for weight in (3.0, 4.0):
        own = dataclasses.replace(whole, manifest=manifest.assign(weight=weight))
        try:
            (found,) = answer(own, request).tolist()
            assert 0 <= found <= len(manifest)
            said.add("answered")
        except InputError as error:
            said.add(str(error))
    assert len(said) == 1


def test_the_report_says_what_was_told():
    frequent = FederateConfig(impute="most-frequent", select="anova", engine="flower")
    told = " ".join(disclosed(frequent))
    assert "every different value" in told
    assert "in each class" in told
    assert "the answers of each site as they are" in told
    plain = " ".join(disclosed(dataclasses.replace(frequent, impute="constant")))
    assert "every different value" not in plain
    assert "median" not in plain
    for secure in ("masking", "ckks"):
        masked = " ".join(disclosed(dataclasses.replace(frequent, secure=secure)))
        assert "masked sums" in masked
        assert "as they are" not in masked
