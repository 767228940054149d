"""Group comparisons on private rows where nothing differs, and the warning."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from medimg.data.schema import Feature
from synthetic.judge import discoveries
from synthetic.judge.findings import Finding
from synthetic.judge.rows import load
from synthetic.judge.verdict import guaranteed
from tests.synthetic.judge.conftest import as_real, as_synthetic, mixed_rows

DELTA = 1e-5


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """1,500 patients, of whom 700 are trained on."""
    return as_real(mixed_rows(1500, 0), tmp_path_factory.mktemp("wards") / "ward", (700, 700, 100))


def found(real, made, folder, **privacy):
    told = {"privacy": privacy} if privacy else {}
    subject = load(as_synthetic(real, made, folder, **told).root, real.root)
    return discoveries.measure(subject, guaranteed(subject), 0)


def warned(measured) -> list[Finding]:
    return list(discoveries.findings(measured))


def test_few_private_rows_are_warned_of_with_the_measured_share(heart, tmp_path):
    measured = found(heart, heart.rows("val"), tmp_path, epsilon=1.0, delta=DELTA)
    # Far more than one in twenty on the made rows, one in twenty on the real ones.
    assert measured["synthetic"]["low"] > 0.15
    assert measured["real"]["value"] == pytest.approx(0.05, abs=0.05)
    assert measured["comparisons"] > 200
    (warning,) = warned(measured)
    assert (warning.part, warning.grade) == ("utility", "care")
    assert "don't test hypotheses" in warning.text
    assert f"{measured['synthetic']['value']:.3f}" in warning.text
    assert f"here {measured['training_rows']}" in warning.text


@pytest.mark.slow
def test_rows_without_noise_worth_the_name_are_sound(ward, tmp_path):
    measured = found(ward, ward.rows("val"), tmp_path, epsilon=300.0, delta=DELTA)
    # As many rows as patients have twice the variance: 1.96 is 1.39 deviations.
    assert measured["without_noise"] == pytest.approx(0.166, abs=0.001)
    assert measured["synthetic"]["value"] == pytest.approx(measured["without_noise"], abs=0.06)
    assert warned(measured) == []


@pytest.mark.slow
def test_many_rows_are_warned_of_where_the_errors_are_many(ward, tmp_path):
    measured = found(ward, ward.rows("val"), tmp_path, epsilon=0.3, delta=DELTA)
    assert min(measured["rows"], measured["training_rows"]) >= 500
    assert measured["synthetic"]["low"] > 0.2
    assert len(warned(measured)) == 1


@pytest.mark.slow
def test_few_rows_made_of_many_are_warned_of(ward, tmp_path):
    assert len(warned(found(ward, ward.rows("val").head(200), tmp_path, epsilon=300.0, delta=DELTA))) == 1


def test_rows_that_are_not_private_are_not_warned_of(heart, tmp_path):
    measured = found(heart, heart.rows("val"), tmp_path)
    assert measured is None
    assert warned(measured) == []


def test_p_is_mann_whitneys_and_of_categories_chi_squares():
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"x": draw.normal(size=90), "kind": draw.choice(["", "a", "b"], 90), "one": 7.0})
    rows.loc[:9, "x"] = np.nan
    labels = draw.choice(["ill", "well", "rare"], 90, p=[0.5, 0.45, 0.05])
    features = (Feature("x", "continuous"), Feature("kind", "categorical"), Feature("one", "continuous"))
    found = discoveries.p_values(rows, labels, features)
    parts = [rows["x"][labels == name].dropna() for name in ("ill", "well")]
    assert found[0] == pytest.approx(mannwhitneyu(*parts, method="asymptotic").pvalue)
    # A column that does not vary can't differ.
    assert len(found) == 2
    days = pd.DataFrame({"seen": np.where(rows["x"].isna(), "", "2020-01-01")})
    days.loc[10:, "seen"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(rows["x"][10:].rank(), "D")).dt.strftime("%F")
    assert discoveries.p_values(days, labels, (Feature("seen", "date"),))[0] == pytest.approx(found[0])
    sure = rows.assign(kind=np.where(labels == "ill", "a", "b"))
    assert discoveries.p_values(sure, labels, features)[1] < 1e-9


def test_a_class_that_is_not_made_leaves_nothing_to_compare(heart, tmp_path):
    rows = heart.rows("val")
    measured = found(heart, rows[rows["label"] == rows["label"].iloc[0]], tmp_path, epsilon=1.0, delta=DELTA)
    assert measured["synthetic"] is None
    (warning,) = warned(measured)
    assert "how often was not measured" in warning.text


def test_errors_of_one_deal_are_no_surer_than_none():
    deals = [[0.5] * 10 for _ in range(20)]
    none = discoveries._share(deals)
    one = discoveries._share([[0.001, *deals[0][1:]], *deals[1:]])
    assert 0 < none["high"] <= one["high"]
    # The same share in every deal is of twenty, no certainty.
    half = discoveries._share([[0.001, 0.5]] * 20)
    assert half["low"] < 0.3
    assert half["high"] > 0.7
