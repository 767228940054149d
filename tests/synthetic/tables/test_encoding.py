"""Columns and matrix: there and back, nothing from beyond the training rows, nothing of a patient in a public fit."""

import numpy as np
import pandas as pd
import pytest
import torch

from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.privacy.draws import keyed
from medimg.tables.public import public_of
from synthetic.tables import columns as learnt
from synthetic.tables import frames
from synthetic.tables.conditions import Conditions
from synthetic.tables.encoding import Encoding
from synthetic.tables.spans import Spans
from tests.synthetic.tables.conftest import BOUNDS, CATEGORIES


@pytest.fixture(scope="module")
def rows(small_clinic):
    return small_clinic.rows("train", labelled=True).reset_index(drop=True)


@pytest.fixture(scope="module")
def encoding(small_clinic, rows):
    return Encoding.fit(rows, small_clinic.inputs, seed=0)


def test_columns_there_and_back(small_clinic, rows):
    columns = learnt.learn(rows, small_clinic.inputs, {})
    frame = frames.to_frame(rows, columns, np.random.default_rng(0))
    back = frames.from_frame(frame, columns, len(rows))
    names = [feature.name for feature in small_clinic.inputs]
    pd.testing.assert_frame_equal(back[names], rows[names], check_dtype=False)
    kinds = {column.name: column.kind for column in columns}
    assert kinds["device"] == kinds["never"] == "constant"
    assert kinds["grade"] == "category"
    assert kinds["age"] == kinds["seen"] == "number"


def test_what_comes_back_stays_inside(small_clinic, rows):
    columns = learnt.learn(rows, small_clinic.inputs, {})
    frame = frames.to_frame(rows, columns, np.random.default_rng(0))
    for name in frame:
        if name.startswith("number"):
            frame[name] = np.linspace(-1e6, 1e6, len(frame)) + 0.123456
    back = frames.from_frame(frame, columns, len(frame))
    assert back["age"].min() == rows["age"].min()
    assert back["age"].max() == rows["age"].max()
    assert (back["seen"].min(), back["seen"].max()) == (rows["seen"].min(), rows["seen"].max())
    pressure = back["pressure"].dropna()
    np.testing.assert_array_equal(pressure, np.round(pressure, 1))


def test_doses_are_among_those_that_exist():
    draw = np.random.default_rng(0)
    doses = draw.choice([2.5, 5, 7.5, 10], 60)
    rows = pd.DataFrame(
        {"dose": doses, "level": np.tile(np.arange(12) + 0.5, 5), "few": np.append(doses[:19], [np.nan] * 41)}
    )
    features = tuple(Feature(name, "continuous") for name in rows)
    dose, level, few = learnt.learn(rows, features, {})
    assert (dose.kind, dose.levels) == ("category", (2.5, 5.0, 7.5, 10.0))
    # Twelve values are a measurement; four that 19 patients share may be theirs alone.
    assert (level.kind, few.kind) == ("number", "number")
    # In private nothing but what is stated counts.
    stated = learnt.declared((Feature("dose", "continuous", bound=(0.0, 20.0)),))[0]
    assert (stated.kind, stated.levels) == ("number", ())


def test_matrix_there_and_back(encoding, small_clinic, rows):
    back = encoding.code.decode(encoding.matrix)
    for name in ("grade", "pain", "stage", "device"):
        assert back[name].tolist() == rows[name].tolist()
    assert back["pressure"].isna().equals(rows["pressure"].isna())
    # Values further than 4 standard deviations from their mode are cut.
    assert (back["age"] - rows["age"]).abs().max() <= 3
    ends = [span.start + span.size for span in encoding.spans]
    assert [span.start for span in encoding.spans] == [0, *ends[:-1]]
    assert ends[-1] == encoding.matrix.shape[1]


def test_public_fit_knows_ranges_alone(small_clinic, rows):
    features = public_of(small_clinic.inputs, BOUNDS, CATEGORIES)
    keys = keyed.row_keys(b"key", rows["patient"])
    other = rows.assign(age=rows["age"] * 9, pain="never stated", pressure=np.nan)
    fits = [Encoding.apart(r, features, keys) for r in (rows, other)]
    assert repr(fits[0].code.columns) == repr(fits[1].code.columns)
    mid = np.zeros((4, fits[0].matrix.shape[1]), np.float32)
    pd.testing.assert_frame_equal(fits[0].code.decode(mid), fits[1].code.decode(mid))
    assert (fits[0].code.columns[0].low, fits[0].code.columns[0].high) == (0.0, 120.0)
    back = fits[1].code.decode(fits[1].matrix)
    assert set(back["pain"]) == {""}
    assert back["pressure"].isna().all()
    assert back["age"].max() <= 120
    # Rows that are stated come back as they were; no row depends on the others.
    back = fits[0].code.decode(fits[0].matrix)
    for name in ("pain", "stage", "device", "grade"):
        assert back[name].tolist() == rows[name].tolist()
    assert back["pressure"].isna().equals(rows["pressure"].isna())
    assert (back["pressure"] - rows["pressure"]).abs().max() < 1
    few = rows.iloc[5:].reset_index(drop=True)
    alone = Encoding.apart(few, features, keyed.row_keys(b"key", few["patient"]))
    kept = ~rows["patient"].iloc[5:].isin(rows["patient"].iloc[:5]).to_numpy()
    assert kept.sum() > 40
    np.testing.assert_array_equal(alone.matrix[kept], fits[0].matrix[5:][kept])


def test_refusals(small_clinic, rows):
    with pytest.raises(InputError, match="--bound pain"):
        Encoding.fit(rows, small_clinic.inputs, 0, {"pain": (0.0, 1.0)})
    with pytest.raises(InputError, match="nothing to learn"):
        Encoding.fit(rows, (Feature("device", "categorical"), Feature("never", "continuous")), 0)
    many = pd.DataFrame({"name": [f"n{i}" for i in range(1001)]})
    with pytest.raises(InputError, match="column 'name': 1001 categories"):
        learnt.learn(many, (Feature("name", "categorical"),), {})


def test_softmax_of_all_spans_is_that_of_each(encoding):
    spans = Spans(encoding.spans)
    logits = torch.randn(7, encoding.matrix.shape[1], generator=torch.Generator().manual_seed(0))
    one_hot = [s for s in encoding.spans if s.kind != "value"]
    each = [logits[:, s.start : s.start + s.size].log_softmax(1) for s in one_hot]
    torch.testing.assert_close(spans.log_softmax(logits), torch.cat(each, dim=1))
    torch.manual_seed(0)
    active = spans.activate(logits)
    for span in encoding.spans:
        part = active[:, span.start : span.start + span.size]
        if span.kind == "value":
            torch.testing.assert_close(part[:, 0], torch.tanh(logits[:, span.start]))
        else:
            torch.testing.assert_close(part.sum(1), torch.ones(7))


def test_drawn_as_often_as_probable(encoding):
    spans = Spans(encoding.spans)
    span = max((s for s in encoding.spans if s.kind != "value"), key=lambda s: s.size)
    logits = torch.randn(encoding.matrix.shape[1], generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    share = spans.drawn(logits.repeat(40_000, 1)).mean(0)[span.start : span.start + span.size]
    expected = logits[span.start : span.start + span.size].softmax(0)
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)


def test_conditions_hold_for_their_rows(encoding, rows):
    targets = (rows["label"] == "ill").to_numpy(int)
    conditions = Conditions(encoding.matrix, encoding.spans, targets, 2)
    random = np.random.default_rng(0)
    drawn, told = conditions.draw(20_000, random)
    assert (conditions.cells[drawn][told > 0] == 1).all()
    # Of the columns that can be picked the label is one, picked as often as any, its classes by log frequency.
    alone = told[told.sum(1) == 1]
    columns = 1 + sum(span.kind == "category" for span in encoding.spans)
    assert len(alone) / len(told) == pytest.approx(1 / columns, abs=0.02)
    weight = np.log1p(np.bincount(targets))
    assert alone[:, 1].mean() == pytest.approx(weight[1] / weight.sum(), abs=0.03)
    # For sampling, categories are as frequent as in the class.
    wanted = np.ones(20_000, int)
    told = conditions.of_classes(wanted, random)
    assert (told[:, :2] == [0, 1]).all()
    cells = conditions.cells[targets == 1][:, 2:].mean(0)
    np.testing.assert_allclose(told[:, 2:].mean(0) * columns, cells, atol=0.06)
