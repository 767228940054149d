"""The served graph: the same text, dates and numbers as training, by name and by position."""

import dataclasses
import datetime

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data import schema
from medimg.evaluation.prediction import predict
from medimg.serving import table_columns
from medimg.serving.table_columns import hard_rows, inputs_of
from medimg.serving.tables import ServedTable, canonical, days_since_1970
from medimg.tables.fit import fit

TEXTS = [
    *("", " ", "a", " a b ", "\ta\n", "3", "3.0", " 3.000 ", "+3.", "-0.0", "3.5", ".0", "3.0.0", "1e3"),
    *("?", "NA", "n/A", " #N/A", "NaN", "<na>", "None", "null", "NIL", "-", ".", "--", "n\\a", "nana"),
    *("\xa0x\u2003", "\u3000", "\x1c5.0\x1f", "\x85y", "Größe ", "İ", "N\u0130L", "3.0\n4.0", "x|y"),
]


def test_text_is_read_as_schema_reads_it():
    expected = schema.as_text(pd.Series(TEXTS)).tolist()
    served = [text.decode() for text in canonical(tf.constant(TEXTS)).numpy()]
    assert served == expected


def test_dates_are_days_of_pythons_calendar():
    draw = np.random.default_rng(0)
    start = datetime.datetime(1970, 1, 1)
    moments = [start + datetime.timedelta(seconds=int(s)) for s in draw.integers(-6e10, 9e10, 500)]
    moments += [datetime.datetime(y, m, 28 + d) for y in (1600, 1900, 2000, 2023) for m, d in ((2, 0), (12, 3))]
    moments += [datetime.datetime(2000, 2, 29), datetime.datetime(1, 1, 1)]
    texts = [moment.isoformat() for moment in moments] + ["1969-12-31", ""]
    expected = [(moment - start).total_seconds() / 86400 for moment in moments] + [-1.0, np.nan]
    days, bad = days_since_1970(tf.constant(texts))
    np.testing.assert_allclose(days, expected, rtol=0, atol=1e-9)
    assert not bad.numpy().any()


@pytest.mark.parametrize(
    "text", ["2020", "01/02/2020", "2021-02-29", "2020-13-01", "2020-00-10", "2020-01-01T24:00:00", "x"]
)
def test_a_date_that_cannot_be_read_is_found_alone(text):
    days, bad = days_since_1970(tf.constant([["2020-01-01", text]]))
    assert bad.numpy().tolist() == [[False, True]]
    np.testing.assert_array_equal(days, [[18262.0, np.nan]])


def model_of(columns: int) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input((columns,))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(2)(inputs))


def served_and_run(dataset, rows, thresholds=(0.5, 0.5), **options):
    """Probabilities by the served graph and as the Run computes them."""
    preprocessing = fit(dataset, dataset.rows("train"), TrainConfig(model="logistic", **options))
    description = {"task": dataset.task, "classes": list(dataset.classes), "preprocessing": preprocessing.to_dict()}
    model = model_of(len(preprocessing.names))
    served = ServedTable(model, description, list(thresholds))
    rows = pd.concat([rows, hard_rows(preprocessing)], ignore_index=True)
    inputs = inputs_of(rows, served.columns)
    answer = served.from_raw(**{name: tf.constant(value) for name, value in inputs.items()})
    direct = served.from_features(tf.constant(preprocessing.transform(rows)))
    np.testing.assert_array_equal(direct["probabilities"], answer["probabilities"])
    return answer, predict(model, dataset, rows, description)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"impute": "constant", "scale": "min-max"},
        {"encode": "ordinal", "impute": "most-frequent", "missing_indicators": False},
        {"select": "anova", "select_count": 3},
        {"scale": "none"},
    ],
)
def test_served_rows_get_the_runs_probabilities(small_table, options):
    answer, expected = served_and_run(small_table, small_table.manifest, **options)
    assert len(expected) == len(small_table.manifest) + 3
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_label_takes_the_threshold_and_classes_repeat(small_table):
    answer, expected = served_and_run(small_table, small_table.manifest, thresholds=(0.7, 0.3))
    wanted = [b"disease" if p >= np.float32(0.3) else b"healthy" for p in expected[:, 1]]
    assert answer["label"].numpy().tolist() == wanted
    assert answer["classes"].numpy().tolist() == [[b"healthy", b"disease"]] * len(expected)


def test_infinity_is_missing(small_table):
    rows = small_table.manifest.head(2).assign(age=[np.inf, np.nan])
    rows.iloc[1] = rows.iloc[1].where(rows.columns == "age", rows.iloc[0])
    answer, _ = served_and_run(small_table, rows)
    first, second = answer["probabilities"].numpy()[:2]
    np.testing.assert_array_equal(first, second)


def test_columns_by_position_give_the_same(small_table, monkeypatch):
    by_name, expected = served_and_run(small_table, small_table.manifest)
    monkeypatch.setattr(table_columns, "MOST_INPUTS", 2)
    answer, _ = served_and_run(small_table, small_table.manifest)
    np.testing.assert_array_equal(answer["probabilities"], by_name["probabilities"])
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


@pytest.mark.parametrize("kept", [("age", "noise"), ("pain", "stage"), ("day",)])
@pytest.mark.parametrize("most", [1, 1000])
def test_tables_of_one_kind_of_column(small_table, monkeypatch, kept, most):
    monkeypatch.setattr(table_columns, "MOST_INPUTS", most)
    features = tuple(feature for feature in small_table.features if feature.name in kept)
    narrow = dataclasses.replace(small_table, features=features)
    answer, expected = served_and_run(narrow, narrow.manifest.head(20))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_the_graph_does_not_grow_with_the_columns(small_table):
    def operations(count):
        names = [f"g{i}" for i in range(count)]
        values = np.random.default_rng(0).normal(size=(len(small_table.manifest), count))
        manifest = pd.concat([small_table.manifest, pd.DataFrame(values, columns=names)], axis=1)
        features = tuple(schema.Feature(name, "continuous") for name in names)
        wide = dataclasses.replace(small_table, manifest=manifest, features=features)
        preprocessing = fit(wide, wide.rows("train"), TrainConfig(model="logistic"))
        description = {"task": "binary", "classes": ["a", "b"], "preprocessing": preprocessing.to_dict()}
        served = ServedTable(model_of(count), description, [0.5, 0.5])
        return len(served.from_raw.graph.get_operations())

    assert operations(1500) == operations(1200)
    # Below the limit each column has its placeholder and nothing more.
    assert operations(60) - operations(20) == 40
