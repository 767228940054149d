"""A table of copies from prepare to compare: one patient stays one, in parts, folds, clients, intervals and tests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medimg.comparison.delong import delong
from medimg.comparison.paired import mcnemar
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.folds import in_fold
from medimg.data.leakage import find_leakage, require_no_leakage
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.copied_rows import equal_note
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from medimg.inspection.inspect import inspect
from medimg.preparation.prepare import prepare
from medimg.report.write import write
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.datasets import HEART


@pytest.fixture(scope="module")
def heart(medical_data, tmp_path_factory):
    """A table as Kaggle's heart.csv: the rows of Cleveland, each three or four times, without a patient's name."""
    path = medical_data / "heart_disease" / "processed.cleveland.data"
    rows = pd.read_csv(path, names=HEART, na_values="?").dropna()
    rows["target"] = (rows.pop("num") > 0).astype(int)
    out = tmp_path_factory.mktemp("heart") / "heart.csv"
    pd.concat([rows] * 4).sample(int(3.4 * len(rows)), random_state=0).to_csv(out, index=False)
    return out


def prepared(heart, out, **options) -> Dataset:
    return prepare("table", heart, out, PrepareConfig(label_column="target", **options))


@pytest.fixture(scope="module")
def settled(heart, tmp_path_factory):
    """The Dataset of each remedy."""
    root = tmp_path_factory.mktemp("settled")
    return {how: prepared(heart, root / how, on_duplicates=how) for how in ("drop", "group")}


def by_hand(heart, root) -> Dataset:
    """The same rows made into a Dataset without prepare, every row a patient, parts as they fall."""
    table = pd.read_csv(heart)
    label = table.pop("target").astype(str)
    parts = np.random.default_rng(0).choice(["train", "train", "val", "test"], len(table))
    features = tuple(Feature(name, "continuous") for name in table)
    names = [f"r{i}" for i in range(len(table))]
    head = {"row": names, "label": label, "patient": names, "site": "", "split": parts}
    manifest = pd.concat([pd.DataFrame(head), table], axis=1)
    root.mkdir()
    Dataset(root, "hand", "binary", ("0", "1"), manifest, features=features).save()
    return Dataset.load(root)


def content(dataset):
    names = [feature.name for feature in dataset.inputs]
    return pd.util.hash_pandas_object(dataset.manifest[names], index=False)


def test_prepare_stops_and_names_rows_and_remedy(heart, tmp_path):
    with pytest.raises(InputError, match=r"heart-\d+ .*= heart-\d+ .*--on-duplicates drop or group"):
        prepared(heart, tmp_path / "data")
    listed = pd.read_csv(tmp_path / "data" / "duplicates.csv")
    assert len(listed) == len(pd.read_csv(heart))
    assert not (tmp_path / "data/dataset.yaml").exists()
    # The answer goes on where the question stopped.
    assert len(prepared(heart, tmp_path / "data", on_duplicates="drop").manifest) < len(listed) / 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["drop", "group"])
def test_both_remedies_give_what_the_patients_give(settled, how, tmp_path):
    data = settled[how]
    assert not find_leakage(data)
    assert content(data).groupby(content(data)).ngroups == 149
    run = train(data.root, tmp_path / "run", TrainConfig(model="logistic"))
    metrics = evaluate(run, EvaluateConfig(bootstrap=200))
    assert 0.80 <= metrics["metrics"]["auroc"]["value"] <= 0.94
    told = "rows are copies of" in " ".join(metrics["notes"])
    assert told == ("copies" in metrics) == (how == "group")
    assert metrics["patients"] == metrics["bootstrap"]["units"]
    if told:
        tested = content(data)[data.manifest["split"] == "test"]
        assert metrics["copies"] == {"rows": len(tested), "distinct": tested.nunique()}
        assert metrics["patients"] == tested.nunique()
        assert "rows are copies of" in write(run).read_text()
        predicted = pd.read_csv(run.root / "predictions.csv")
        assert predicted["patient"].nunique() == tested.nunique()


def test_the_gate_refuses_a_dataset_made_by_hand(heart, tmp_path):
    data = by_hand(heart, tmp_path / "data")
    with pytest.raises(InputError, match=r"groups of identical rows are in more than one part: r\d+ in"):
        require_no_leakage(data)
    with pytest.raises(InputError, match="--on-duplicates drop or group settles identical rows"):
        train(data.root, tmp_path / "run", TrainConfig(model="logistic"))
    found = inspect(data, tmp_path / "page")
    assert len(found.problems) == 1
    assert "identical rows" in found.problems[0]
    assert "Copied rows in more than one part" in (tmp_path / "page/inspection.html").read_text()


def test_a_part_changed_after_the_join_is_refused(settled):
    data = settled["group"]
    manifest = data.manifest.copy()
    row = manifest.index[manifest["split"] == "train"][0]
    manifest.loc[row, "split"] = "test"
    assert len(find_leakage(replace(data, manifest=manifest)).images) == 1


@pytest.mark.slow
def test_folds_of_a_dataset_made_by_hand(heart, tmp_path):
    data = by_hand(heart, tmp_path / "data")
    assert data.manifest["patient"].nunique() == content(data).nunique()
    for fold in (1, 2, 3):
        part = in_fold(data, 3, fold, seed=0)
        assert part.manifest["split"].groupby(content(part)).nunique().max() == 1
    config = TrainConfig(model="logistic", folds=3)
    metrics = cross_validate(data.root, tmp_path / "run", config)
    assert metrics["copies"] == {"rows": len(data.manifest), "distinct": 149}
    assert 0.80 <= metrics["metrics"]["auroc"]["value"] <= 0.94
    assert "rows are copies of 149 distinct ones" in metrics["notes"][0]


def test_another_table_of_the_training_rows_is_an_overlap(settled, heart, tmp_path):
    run = train(settled["drop"].root, tmp_path / "run", TrainConfig(model="logistic", epochs=2))
    other = by_hand(heart, tmp_path / "other")
    metrics = evaluate(run, EvaluateConfig(data=str(other.root), split="all", bootstrap=0))
    seen = settled["drop"].manifest["split"] != "test"
    copies = other.manifest.merge(settled["drop"].manifest[seen], on=["age", "trestbps", "chol", "thalach", "oldpeak"])
    assert f"{len(copies)} of {len(other.manifest)} rows overlap" in " ".join(metrics["notes"])


@pytest.fixture(scope="module")
def judged():
    """Two models' predictions of 150 rows, and the rows of each four times."""
    draw = np.random.default_rng(3)
    truth = np.arange(150) % 3 == 0
    scores = [np.clip(0.4 + 0.2 * truth + draw.normal(0, 0.2, 150), 0, 1) for _ in range(2)]

    def predictions(times):
        return [
            Predictions(
                "binary", ("a", "b"), np.repeat(truth, times).astype(np.int64),
                np.repeat(np.stack([1 - score, score], 1), times, axis=0), 0.5,
            )
            for score in scores
        ]  # fmt: skip

    return predictions, np.arange(150)


def test_four_copies_of_each_row_leave_the_interval_as_wide(judged):
    predictions, patients = judged

    def width(times, clusters, seed):
        measured = cluster_bootstrap(predictions(times)[0].measure, clusters, 2000, seed)
        interval = percentile_interval(measured[:, 0, METRICS.index("auroc")])
        return interval.high - interval.low

    distinct = width(1, patients, 0)
    # With 2000 resamples the width has a standard error of about 3%.
    assert width(4, np.repeat(patients, 4), 1) == pytest.approx(distinct, rel=0.1)
    assert width(4, np.arange(600), 1) < 0.6 * distinct


def test_paired_tests_take_copies_for_one_patient(judged):
    predictions, patients = judged
    (one, other), (one4, other4) = predictions(1), predictions(4)
    fourfold = np.repeat(patients, 4)
    alone = delong(one.truth[:, 1], one.probabilities[:, 1], other.probabilities[:, 1])
    four = one4.truth[:, 1], one4.probabilities[:, 1], other4.probabilities[:, 1]
    grouped = delong(*four, fourfold)
    assert (grouped.z, grouped.p, grouped.low) == pytest.approx((alone.z, alone.p, alone.low))
    assert abs(delong(*four).z) > 1.9 * abs(alone.z)
    expected = mcnemar(one, other)
    assert mcnemar(one4, other4, fourfold).p == pytest.approx(expected.p)
    assert mcnemar(one4, other4).p < expected.p
    assert mcnemar(one4, other4, fourfold).first_only == 4 * expected.first_only


def test_rows_that_equal_training_rows_are_said_where_chance_may_have_made_them(tmp_path):
    """A questionnaire of four answers: nobody can tell copies, so the report says how many rows there are."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({f"q{i}": draw.choice(["yes", "no"], 200) for i in range(4)})
    rows = rows.assign(row=[str(i) for i in range(200)], label=draw.choice(["a", "b"], 200), site="")
    rows = rows.assign(patient=rows["row"], split=["train"] * 100 + ["test"] * 100)
    features = tuple(Feature(f"q{i}", "categorical") for i in range(4))
    data = Dataset(tmp_path, "answers", "binary", ("a", "b"), rows, features=features)
    names = ["label", *(feature.name for feature in features)]
    known = {tuple(row) for row in data.rows("train")[names].values}
    expected = sum(tuple(row) in known for row in data.rows("test")[names].values)
    assert equal_note(data, data.rows("test"))[0].startswith(f"{expected} of 100 rows equal a training row in every")
    different = replace(data, manifest=rows.assign(q0=rows["row"]))
    assert equal_note(different, different.rows("test")) == []
