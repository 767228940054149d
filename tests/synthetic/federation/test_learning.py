"""What a table's columns are, by sums over clients: that of all rows together, and of few patients nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from federated.clients.client import Client
from federated.clients.totals import totals_of
from federated.config import FederateConfig
from federated.statistics import Schema
from federated.statistics.asking import Asking
from federated.statistics.few import FewPatientsError
from medimg.errors import InputError
from synthetic.federation.tables.answers import COUNT, KNOWN, NAMES, PLACES, answer, columns_from, columns_told
from synthetic.federation.tables.learning import columns_of
from synthetic.tables.columns import learn
from tests.synthetic.tables.conftest import clinic


def asking(dataset, parts, secure="none", log=None) -> Asking:
    """Clients who have these rows each."""
    schema = Schema(dataset.inputs, dataset.task, dataset.classes)
    clients = [Client(f"c{i}", replace(dataset, manifest=own)) for i, own in enumerate(parts)]
    total = totals_of(clients, FederateConfig(secure=secure), answer)

    def noted(request, size):
        (log if log is not None else []).append(request)
        return total(request, size)

    return Asking(noted, {"schema": schema.to_dict()})


@pytest.fixture(scope="module")
def small_clinic(tmp_path_factory):
    return clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="module")
def rows(small_clinic):
    """Of a date known once, and of numbers that float32 does not hold, too."""
    rows = small_clinic.rows("train", labelled=True).reset_index(drop=True)
    return rows.assign(age=rows["age"] + 2.0**30, pressure=rows["pressure"].mul(-1e-7).round(12))


@pytest.mark.parametrize("secure", ["none", "masking"])
@pytest.mark.parametrize("bounds", [{}, {"age": (0.0, 120.0), "grade": (0.0, 9.0)}])
def test_columns_are_those_of_all_rows(small_clinic, rows, bounds, secure):
    # One client of a row, one of another, one of the rest: none tells by itself what all do.
    parts = [rows.iloc[[0]], rows.iloc[[1]], rows.iloc[2:]]
    log = []
    found = columns_of(asking(small_clinic, parts, secure, log), small_clinic.inputs, bounds)
    # NaN among the levels is equal to nothing.
    assert repr(found) == repr(learn(rows, small_clinic.inputs, bounds))
    asked = [request["kind"] for request in log]
    assert {kind: asked.count(kind) for kind in (KNOWN, NAMES, PLACES)} == {KNOWN: 1, NAMES: 1, PLACES: 8}
    # Of a bounded column nobody counts values.
    places = {name for request in log if request["kind"] == PLACES for name, _, _ in request["intervals"]}
    assert places == {"age", "pressure", "grade", "seen"} - bounds.keys()
    with pytest.raises(InputError, match="--bound pain"):
        columns_of(asking(small_clinic, parts), small_clinic.inputs, {"pain": (0.0, 1.0)})


@pytest.mark.parametrize("day", ["2020-03-01", "2020-03-01T12:00:30"])
def test_columns_of_one_value_or_none(small_clinic, rows, day):
    lacking = rows["seen"].where(np.arange(len(rows)) % 2 == 0, "")
    one = rows.assign(seen=lacking.where(lacking == "", day), pain="", pressure=0.1 + 0.2)
    parts = [one[:9], one[9:]]
    found = columns_of(asking(small_clinic, parts), small_clinic.inputs, {})
    assert repr(found) == repr(learn(one, small_clinic.inputs, {}))
    back = columns_from(columns_told(found))
    assert repr(back) == repr(found)


def test_answers_that_do_not_fit_are_named(small_clinic, rows):
    def more(request, size):
        return total(request, size) + (request["kind"] == NAMES) * np.eye(1, size)[0]

    total = asking(small_clinic, [rows[:9], rows[9:]])._total
    schema = {"schema": Schema(small_clinic.inputs, "binary", small_clinic.classes).to_dict()}
    with pytest.raises(InputError, match=r"generator names.*every site honest"):
        columns_of(Asking(more, schema), small_clinic.inputs, {})


def question(dataset, kind, names, **more):
    features = tuple(replace(f, name=name) for f, name in zip(dataset.inputs, names, strict=False))
    return {"kind": kind, "schema": Schema(features, dataset.task, dataset.classes).to_dict(), **more}


def test_a_generator_asks_for_no_name(small_clinic):
    for name in ("patient", "row", "site"):
        with pytest.raises(InputError, match="nothing learns from it"):
            answer(small_clinic, question(small_clinic, KNOWN, ["age", name]))
    # A column that the site does not learn from is not there.
    hidden = question(small_clinic, NAMES, ["age", "pressure", "grade", "note"], columns=["note"], cells=99)
    assert not answer(small_clinic, hidden).any()
    column = {"name": "note", "type": "categorical", "kind": "category", "levels": ["a", "b"]}
    asked = question(small_clinic, COUNT, ["age"], columns=[column], edges=[], categories=True)
    with pytest.raises(ValueError, match="nobody learns from"):
        answer(small_clinic, asked)


def test_of_a_class_of_few_patients_a_generator_is_told_nothing(small_clinic):
    """`min_patients` of the site's policy: the counts of one patient's class are its row, and so is what is left."""
    rows = small_clinic.rows("train", labelled=True)
    fewest = int(rows.groupby("label")["patient"].nunique().min())
    names = [feature.name for feature in small_clinic.inputs]
    for kind, more in (
        (KNOWN, {}),
        (NAMES, {"columns": ["pain"], "cells": 99}),
        (PLACES, {"intervals": [["age", 0, 2**63 - 1]], "bins": 64}),
        (COUNT, {"columns": [], "edges": [], "categories": True}),
    ):
        asked = question(small_clinic, kind, names, **more)
        assert answer(small_clinic, {**asked, "fewest": fewest}).any()
        with pytest.raises(FewPatientsError, match="of whom none is told"):
            answer(small_clinic, {**asked, "fewest": fewest + 1})
        # Nor of those that are left when a class is not named.
        asked["schema"]["classes"] = ["well"]
        asked["schema"]["task"] = "multiclass"
        asked["schema"]["negative"] = "ill"
        with pytest.raises(InputError, match="is no class of the federation"):
            answer(small_clinic, asked)


def test_a_client_that_lacks_a_column_counts_as_not_knowing_it(small_clinic, rows):
    without = replace(
        small_clinic,
        manifest=rows[:20].drop(columns="pain"),
        features=tuple(f for f in small_clinic.features if f.name != "pain"),
    )
    schema = Schema(small_clinic.inputs, small_clinic.task, small_clinic.classes)
    clients = [Client("a", without), Client("b", replace(small_clinic, manifest=rows[20:]))]
    ask = Asking(totals_of(clients, FederateConfig(), answer), {"schema": schema.to_dict()})
    expected = learn(pd.concat([rows[:20].assign(pain=""), rows[20:]]), small_clinic.inputs, {})
    assert repr(columns_of(ask, small_clinic.inputs, {})) == repr(expected)
