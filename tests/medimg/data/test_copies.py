"""Copies of one patient are told from rows that chance makes equal, by the values alone."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import datasets

from medimg.data.copies import find_copies, join_copies
from tests.datasets import HEART


def judged(table):
    """The table as a manifest holds it, every row a patient, and what is found."""
    table = table.reset_index(drop=True)
    table = table.astype({name: float for name in table if table[name].dtype.kind in "iufb"})
    columns = list(table)
    return find_copies(table.assign(patient=[f"p{i}" for i in range(len(table))]), columns)


def answers(n, questions, levels, together, seed):
    """A questionnaire whose answers go together by one cause."""
    draw = np.random.default_rng(seed)
    cause = together * draw.normal(size=(n, 1))
    values = cause + np.sqrt(1 - together**2) * draw.normal(size=(n, questions))
    levelled = np.minimum((norm.cdf(values) * levels).astype(int), levels - 1)
    return pd.DataFrame(levelled, columns=[f"q{i}" for i in range(questions)]).astype(str)


def body(n, seed, age=True):
    """Height and weight in whole numbers; two columns follow from them."""
    draw = np.random.default_rng(seed)
    height = np.round(draw.normal(170, 8, n))
    weight = np.round(70 + 0.8 * (height - 170) + draw.normal(0, 10, n))
    columns = {"sex": draw.integers(0, 2, n).astype(str), "height": height, "weight": weight}
    columns["bmi"] = np.round(weight / (height / 100) ** 2, 1)
    columns["surface"] = np.round(np.sqrt(height * weight / 3600), 2)
    return pd.DataFrame(columns).assign(**{"age": draw.integers(30, 70, n)} if age else {})


@pytest.fixture(scope="module")
def heart(medical_data):
    path = medical_data / "heart_disease" / "processed.cleveland.data"
    return pd.read_csv(path, names=HEART, na_values="?").dropna().drop(columns="num")


def copied(heart):
    return pd.concat([heart] * 4).sample(int(3.4 * len(heart)), random_state=0)


@pytest.mark.parametrize("n", [200, 1000, 5000])
@pytest.mark.parametrize("together", [0, 0.6, 0.9])
@pytest.mark.parametrize(("questions", "levels"), [(5, 2), (5, 5), (8, 4), (20, 5), (30, 2)])
def test_questionnaires_are_not_accused(n, together, questions, levels):
    table = answers(n, questions, levels, together, seed=questions)
    assert not judged(table)
    aged = table.assign(age=np.random.default_rng(0).integers(18, 90, n))
    assert not judged(aged)


def test_the_questionnaires_have_equal_rows_at_all():
    equal = [judged(answers(1000, q, v, t, q)).equal for q, v, t in ((5, 2, 0), (20, 5, 0.9))]
    assert equal[0] == 1000
    assert equal[1] > 50


@pytest.mark.parametrize("n", [300, 1000, 5000])
@pytest.mark.parametrize("age", [True, False])
def test_columns_that_follow_from_others_accuse_nobody(n, age):
    assert not judged(body(n, seed=n, age=age))


def test_a_category_in_several_columns_accuses_nobody():
    draw = np.random.default_rng(0)
    table = pd.get_dummies(pd.DataFrame(draw.integers(0, 4, (1000, 4)).astype(str)))
    assert judged(table).equal > 900
    assert not judged(table)


def test_mostly_missing_measurements_accuse_nobody():
    draw = np.random.default_rng(1)
    table = pd.DataFrame(draw.normal(size=(400, 4))).where(draw.random((400, 4)) < 0.2)
    table = table.assign(sex=draw.choice(["f", "m"], 400)).rename(columns=str)
    found = judged(table)
    assert found.equal > 100
    assert not found


def lesions(n, healthy, seed):
    """Volumes in eight regions: none in the healthy, measured in all others."""
    draw = np.random.default_rng(seed)
    values = np.round(draw.gamma(2, 30, (n, 8)), 1)
    values[draw.random(n) < healthy] = 0.0
    return pd.DataFrame(values).rename(columns=str)


@pytest.mark.parametrize("healthy", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("n", [200, 3000])
def test_patients_without_any_lesion_are_not_one(n, healthy):
    table = lesions(n, healthy, n)
    found = judged(table)
    assert found.equal > 0.02 * n
    assert not found
    # A limit of detection, and a word for it.
    assert not judged(table.clip(lower=2.5).where(table > 0, 2.5))
    worded = table.astype(str).where(table > 0, "not seen")
    assert healthy < 0.5 or not judged(worded)


@pytest.mark.parametrize("copies", [1, 30])
def test_copies_among_them_are_still_found(copies):
    """Also one patient more often than the healthy are: that patient has not nothing everywhere."""
    table = lesions(300, 0.05, 1)
    ill = table[(table > 0).any(axis=1)]
    found = judged(pd.concat([table, *[ill[:3]] * copies]))
    assert (found.group > 0).sum() == 3 * (copies + 1)


def test_iris_has_a_natural_pair():
    found = judged(datasets.load_iris(as_frame=True).data)
    assert found.equal == 2
    assert not found


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_measured_tables_are_accused_when_copied_and_only_then(name):
    table = getattr(datasets, f"load_{name}")(as_frame=True).data
    assert not judged(table)
    found = judged(pd.concat([table, table]))
    assert (found.group > 0).all()
    assert found.group.nunique() == len(table)


def test_kaggles_heart(heart):
    assert not judged(heart)
    found = judged(copied(heart))
    assert (found.group > 0).mean() > 0.99
    assert found.group.nunique() == len(copied(heart).drop_duplicates())
    assert found.expected < 0.01
    assert found.observed > 100


def test_one_column_and_few_others_are_enough():
    draw = np.random.default_rng(2)
    table = pd.DataFrame({"x": draw.normal(size=400), "stage": draw.choice(list("abc"), 400)})
    assert not judged(table)
    found = judged(pd.concat([table, table[:120]]))
    assert (found.group > 0).sum() == 240


def test_a_number_of_the_row_does_not_hide_copies(heart):
    table = copied(heart)
    found = judged(table.assign(number=np.arange(len(table))))
    assert found.apart == ("number",)
    assert (found.group > 0).mean() > 0.99
    text = judged(table.assign(key=[f"visit {i}" for i in range(len(table))]))
    assert text.apart == ("key",)
    assert (text.group > 0).mean() > 0.99


def test_another_last_digit_and_another_order_of_columns_hide_nothing(heart):
    table = copied(heart).reset_index(drop=True)
    table["chol"] = table["chol"] / 38.67
    other = table.copy()
    other["chol"] += np.random.default_rng(0).choice([0, 1e-9], len(other))
    assert (judged(other).group > 0).mean() > 0.99
    turned = judged(table[table.columns[::-1]])
    assert (turned.group > 0).equals(judged(table).group > 0)
    # Whole numbers are codes: the seventh digit counts.
    codes = pd.DataFrame({"code": 1234567 + np.arange(60) // 2, "x": np.arange(60) / 7})
    assert not judged(codes).equal


def test_equal_rows_of_one_patient_are_no_copies(heart):
    table = pd.concat([heart, heart], ignore_index=True)
    table["patient"] = np.tile([f"p{i}" for i in range(len(heart))], 2)
    assert not find_copies(table, list(heart))


def test_joined_patients_take_their_other_rows_along(heart):
    table = pd.concat([heart, heart[:60], heart[100:110]], ignore_index=True)
    patient = [f"p{i}" for i in range(len(table))]
    patient[-1] = patient[-11]
    table["patient"] = patient
    joined = join_copies(table, list(heart))
    first = len(heart)
    assert list(joined["patient"][first : first + 59]) == patient[:59]
    # The last two of the patients who hold copies are one person, so all four rows are.
    assert len({joined["patient"][i] for i in (59, first + 59, 109, len(table) - 1)}) == 1
    assert list(joined["patient_given"]) == patient
    assert join_copies(joined, list(heart)) is joined
    assert join_copies(heart.assign(patient="p"), list(heart)).columns.tolist()[-1] == "patient"


def test_a_large_table_is_judged_by_a_sample():
    draw = np.random.default_rng(0)
    table = pd.DataFrame(np.round(draw.normal(size=(60_000, 8)), 2)).rename(columns=str)
    assert not judged(table)
    found = judged(pd.concat([table, table[-500:]]))
    assert (found.group > 0).sum() == 1000
