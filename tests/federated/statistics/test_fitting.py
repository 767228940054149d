"""Preprocessing from sums over clients: equal to the pooled fit, whatever the clients hold, and no rows on the way."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_selection import f_classif

from federated.partition import partition
from federated.statistics import Schema, agreed, answer, disclosed, fit, training_rows
from federated.statistics.keys import to_keys, to_values
from federated.statistics.median import BINS
from federated.statistics.moments import Moments
from federated.statistics.selection import anova
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
    """`ask` as over a network: JSON both ways, NaN refused."""

    def ask(request: dict) -> dict[str, dict]:
        sent = json.dumps(request, allow_nan=False)
        answers = {name: json.dumps(answer(own, json.loads(sent)), allow_nan=False) for name, own in clients.items()}
        if log is not None:
            log.append((request["kind"], answers))
        return {name: json.loads(text) for name, text in answers.items()}

    return ask


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
    assert [kind for kind, _ in log[:2]] == ["missing", "summaries"]
    assert 0 < len(log) - 2 <= np.ceil(32 / np.log2(BINS))


def test_moments_merge_like_the_whole():
    draw = np.random.default_rng(0)
    values = 1e8 + draw.normal(size=1000)
    parts = np.split(values, [0, 3, 500, 500, 999])
    merged = sum(map(Moments.of, parts), Moments())
    assert merged.count == 1000
    assert (merged.low, merged.high) == (values.min(), values.max())
    np.testing.assert_allclose(merged.mean, values.mean(), rtol=1e-15)
    # Sums of squares less the squared mean would be wrong in the first digit here.
    np.testing.assert_allclose(merged.variance, values.var(), rtol=1e-7)
    codes = draw.integers(0, 5, 300).astype(float)
    counted = Moments.of(np.arange(6.0), np.bincount(codes.astype(int), minlength=6))
    np.testing.assert_allclose(counted.to_list(), Moments.of(codes).to_list(), rtol=1e-12)
    assert Moments.from_list(json.loads(json.dumps(merged.to_list()))) == merged


def test_answers_do_not_grow_with_the_rows():
    def numbers(value) -> int:
        if isinstance(value, dict | list):
            return sum(map(numbers, value.values() if isinstance(value, dict) else value))
        return 1

    def largest(n: int) -> dict[str, int]:
        whole, log = table(n), []
        of(divided(whole), Schema.of(whole), log, select="anova", select_count=5)
        return {
            kind: max(numbers(json.loads(text)) for text in answers.values())
            for kind, answers in log
            if kind != "counts"
        }

    # 200 rows of 8 known columns are 1280 training values.
    few = largest(200)
    assert few == largest(800)
    assert max(few[kind] for kind in ("missing", "summaries")) < 50


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
    assert found["rows"] == rows
    assert found["missing"][:2] == [rows, 0]
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
        ("missing", lambda given: {"rows": given["rows"]}),
        ("missing", lambda given: {**given, "rows": -1}),
        ("missing", lambda given: {**given, "missing": [10**6] * len(given["missing"])}),
        ("summaries", lambda given: {**given, "columns": given["columns"][1:]}),
        (
            "summaries",
            lambda given: {**given, "columns": [{"moments": [9, float("nan"), 1.0, 0.0, 1.0]}, *given["columns"][1:]]},
        ),
        (
            "summaries",
            lambda given: {**given, "columns": [{"moments": [9, 1e9, 1.0, 0.0, 1.0]}, *given["columns"][1:]]},
        ),
        ("counts", lambda given: {"counts": [row[1:] for row in given["counts"]]}),
        ("counts", lambda given: {"counts": [[0.5] * BINS for _ in given["counts"]]}),
        ("classes", lambda given: {**given, "squares": None}),
    ],
)
def test_an_unusable_answer_is_refused_by_name(kind, change):
    whole = table()
    honest = asking(divided(whole))

    def ask(request):
        answers = honest(request)
        if request["kind"] == kind:
            answers["south"] = change(answers["south"])
        return answers

    config = TrainConfig(model="logistic", select="anova", select_count=5)
    with pytest.raises(InputError, match=f"client 'south': its answer to '{kind}' can't be used"):
        fit(ask, Schema.of(whole), config)


def test_counts_at_odds_and_clients_that_come_and_go_are_refused():
    whole = table()
    clients = divided(whole)
    honest = asking(clients)

    def liar(request):
        answers = honest(request)
        if request["kind"] == "counts":
            answers["west"]["counts"][0][0] += 1
        return answers

    config = TrainConfig(model="logistic")
    with pytest.raises(InputError, match="the clients counted"):
        fit(liar, Schema.of(whole), config)

    def leaving(request):
        answers = honest(request)
        if request["kind"] != "missing":
            del answers["north"]
        return answers

    for options in ({}, {"missing": "drop-rows"}):
        with pytest.raises(InputError, match="'north' answers only some"):
            fit(leaving, Schema.of(whole), TrainConfig(model="logistic", **options))
    with pytest.raises(InputError, match="no client answers"):
        fit(lambda request: {}, Schema.of(whole), config)


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
    with pytest.raises(InputError, match=r"'weight' has 1200 different values.*--impute median"):
        of({"a": whole}, Schema.of(whole), impute="most-frequent")


def test_the_report_says_what_was_told():
    told = " ".join(disclosed(TrainConfig(impute="most-frequent", select="anova")))
    assert "every different value" in told
    assert "in each class" in told
    plain = " ".join(disclosed(TrainConfig(impute="constant")))
    assert "every different value" not in plain
    assert "median" not in plain
