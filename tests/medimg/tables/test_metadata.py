"""Columns beside pixels that say too much."""

import numpy as np
import pandas as pd
import pytest

from medimg.errors import InputError
from medimg.tables.metadata import require_honest

DRAW = np.random.default_rng(0)


@pytest.fixture
def rows() -> pd.DataFrame:
    """60 rows of 40 patients, the label by a coin."""
    patients = [f"p{i % 40}" for i in range(60)]
    labels = dict(zip(patients[:40], DRAW.choice(["ill", "well"], 40), strict=True))
    return pd.DataFrame({"patient": patients, "label": [labels[p] for p in patients], "site": patients})


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (lambda rows: rows["label"] + "-scan", "tells the label of every training row"),
        (lambda rows: (rows["label"] == "ill").astype(int), "tells the label of every training row"),
        (lambda rows: rows["label"].where(rows.index % 3 > 0, ""), "tells the label of every training row"),
        (lambda rows: "MRN " + rows["patient"], "has 40 values in 40 patients' rows: whose they are"),
    ],
    ids=["words", "numbers", "with gaps", "a patient's number"],
)
def test_a_label_or_a_patient_by_another_name_is_refused(rows, column, words):
    with pytest.raises(InputError, match=f"--metadata x: {words}"):
        require_honest(rows.assign(x=column(rows)), ["site", "x"])


def test_what_says_something_of_the_patient_is_taken(rows):
    ill = rows["label"] == "ill"
    honest = {
        # Ages hardly repeat, so that each has one label tells nothing.
        "age": np.round(DRAW.normal(50, 5, 60) + 20 * ill, 1),
        "sex": DRAW.choice(["F", "M", ""], 60),
        "mostly": np.where(ill != (rows["patient"] == "p3"), "ill", "well"),
        "nothing": "",
    }
    require_honest(rows.assign(**honest), [*honest, "site"])
    # Of six patients sex may tell the label by chance.
    few = rows[rows["patient"].isin(["p0", "p1", "p2", "p3", "p4", "p6"])]
    require_honest(few.assign(sex=few["label"]), ["sex"])
