"""Seeds without a value, bounds that are met exactly, differences of the same patients against brute force."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

from medimg.evaluation.intervals import Measured
from medimg.evaluation.predictions import Predictions
from medimg.run import Run
from medimg.studies import measured, outcome, page
from medimg.studies.course import Course
from medimg.studies.declared import Cell, PublishedClaim, Study
from medimg.studies.measured import FAILS, HOLDS, OPEN
from medimg.studies.outcome import StudyOutcome
from medimg.studies.running import Done, Runner, Scale
from medimg.studies.steps import Shared, train
from tests.datasets import write_dataset

RESAMPLES = 200


def of(study: Study, done: dict[str, list[Done]], bootstrap: int = RESAMPLES) -> StudyOutcome:
    return StudyOutcome(study, 3, Course(Scale(), done, (), {}, 0.0), {}, ("d",), "medimg study", bootstrap)


def test_a_seed_without_a_value_keeps_its_place():
    """Else the second seed of one cell would be held against the first of another."""

    def done(*values):
        return [Done({"judge": {"m": v}}, {}, {}, "") for v in values]

    cells = (Cell("", "a", ()), Cell("", "b", ()), Cell("", "c", ()))
    study = Study("s", "", "", (), 3, cells, {"m": "judge.m", "rank": {"m": "most"}}, ("m",))
    ours = of(study, {"a": done(None, 0.5, 0.7), "b": done(0.1, 0.4, 0.6), "c": done(None, None, None)})
    values = ours.values()
    assert [one.value for one in values["a"]["m"]] == [None, 0.5, 0.7]
    assert values["c"]["m"] == []
    gaps = measured.differences(values["a"]["m"], values["b"]["m"])
    assert measured.over_seeds(gaps).value == pytest.approx(0.1)
    # Two seeds have a value: Student's t says nothing of so few, and the table says how many they are.
    assert measured.over_seeds(gaps).low is None
    row = page._rows(ours)[0]
    assert row["seeds"] == 3
    assert page.worded(row["metrics"]["m"]) == "0.600 (of 2 seeds)"
    assert "seeds" not in page._rows(ours)[1]["metrics"]["m"]


def test_an_analysis_of_variance_is_scipys_without_seeds_that_have_no_value():
    draw = np.random.default_rng(3)
    groups = {name: draw.normal(centre, 0.1, 4) for name, centre in (("a", 0.4), ("b", 0.6), ("c", 0.5))}
    cells = {name: {"m": [Measured(float(v)) for v in values]} for name, values in groups.items()}
    cells["b"]["m"].insert(1, Measured())
    expected = f_oneway(*groups.values())
    verdict = measured.judge(PublishedClaim("", "m", at_most=expected.pvalue * 1.01), cells)
    assert verdict.verdict == HOLDS
    assert f"F(2, 9) = {expected.statistic:.2f}" in verdict.measured
    assert measured.judge(PublishedClaim("", "m", at_most=expected.pvalue * 0.99), cells).verdict == OPEN


@pytest.mark.parametrize(
    ("low", "high", "bounds", "verdict"),
    [
        # Of 100 patients 80 less 79 is 0.010000000000000009.
        (0.79 - 0.80, 0.80 - 0.79, {"at_least": -0.01, "at_most": 0.01}, HOLDS),
        (0.8 - 0.75, 0.9 - 0.75, {"at_most": 0.05}, OPEN),
        (0.01, 0.2, {"at_least": 0.01}, HOLDS),
        (-0.2, 0.01, {"at_least": 0.01}, OPEN),
        # More than nothing is not shown where nothing is in the interval, be it its end.
        (0.0, 0.2, {"more_than": 0.0}, OPEN),
        (0.01, 0.2, {"more_than": 0.0}, HOLDS),
        (-0.2, 0.0, {"more_than": 0.0}, FAILS),
        (-0.2, 0.1, {"more_than": 0.0}, OPEN),
    ],
)
def test_a_bound_that_is_met_exactly(low, high, bounds, verdict):
    cells = {"a": {"m": [Measured((low + high) / 2, low, high)]}}
    assert measured.judge(PublishedClaim("", "m", "a", **bounds), cells).verdict == verdict


@pytest.mark.parametrize("truth", [(0, 0, 0), (1, 1, 1)])
def test_a_test_part_of_one_class_has_no_sensitivity_at_a_specificity(truth):
    scores = np.array([0.2, 0.6, 0.9])
    predictions = Predictions("binary", ("no", "yes"), np.array(truth), np.column_stack([1 - scores, scores]), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train._sensitivity(predictions, 0.9) is None
    both = dataclasses.replace(predictions, targets=np.array([0, 1, 1]))
    assert train._sensitivity(both, 0.9) == 1.0


def test_a_cell_that_was_run_without_the_metric_is_not_said_to_be_missing():
    cells = {"a": {"m": [], "n": [Measured(0.5)]}, "b": {"m": [], "n": []}}
    assert measured.judge(PublishedClaim("", "m", "a", at_least=0.1), cells).measured == "a has no m"
    assert measured.judge(PublishedClaim("", "m", "b", at_least=0.1), cells).measured == "b was not measured"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two cells of two seeds on the same images."""
    folder = tmp_path_factory.mktemp("paired")
    data = write_dataset(folder / "images", 48)
    options = {"model": "baseline_cnn", "model_arg": {"width": "4", "stages": "1"}, "image_size": 32, "epochs": 1}
    cells = (Cell("", "a", (("train", options),)), Cell("", "b", (("train", {**options, "learning_rate": 0.03}),)))
    with Shared() as shared:
        runner = Runner([data.root], folder / "out", RESAMPLES, shared)
        done = {cell.label: [runner.run(cell, seed) for seed in range(2)] for cell in cells}
    where = {"accuracy": "train.metrics.accuracy", "AUROC": "train.metrics.auroc"}
    return of(Study("s", "", "", (), 2, cells, where, ("accuracy",)), done)


@pytest.mark.slow
def test_differences_are_those_of_the_same_resamples_of_saved_predictions(trained):
    for seed, gap in enumerate(trained.paired("a", "b", "accuracy")):
        tables = [
            pd.read_csv(Path(trained.done[name][seed].folders["train"], "predictions.csv"), dtype=str) for name in "ab"
        ]
        first, second = ((table["predicted"] == table["label"]).to_numpy(float) for table in tables)
        assert gap.value == pytest.approx(first.mean() - second.mean())
        names, number = np.unique(tables[0]["patient"], return_inverse=True)
        drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
        gaps = []
        for patients in drawn:
            rows = np.concatenate([np.flatnonzero(number == one) for one in patients])
            gaps.append(first[rows].mean() - second[rows].mean())
        low, high = np.quantile(gaps, [0.025, 0.975])
        if low < high:
            assert (gap.low, gap.high) == pytest.approx((low, high))


@pytest.mark.slow
def test_patients_who_all_agree_show_no_more_than_their_number(trained):
    """A model held against itself: no resample shows a difference, and a dozen patients can't rule out a small one."""
    patients = Run.load(trained.done["a"][0].folders["train"])
    n = len(outcome.read(patients).rows["patient"].unique())
    (gap, _) = trained.paired("a", "a", "accuracy")
    reach = 1 - 0.025 ** (1 / n)
    assert gap == pytest.approx((0.0, -reach, reach))
    claim = PublishedClaim("", "accuracy", "a", less="a", at_least=-0.01, at_most=0.01)
    assert measured.judge(claim, trained.values(), trained.paired).verdict == OPEN
    wide = dataclasses.replace(claim, at_least=-0.5, at_most=0.5)
    assert measured.judge(wide, trained.values(), trained.paired).verdict == HOLDS
