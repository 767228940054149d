"""Comparisons of Runs written by hand, through files."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from medimg.comparison.compare import compare
from medimg.comparison.config import CompareConfig
from medimg.comparison.delong import delong
from medimg.comparison.figure import forest_figure
from medimg.errors import InputError
from medimg.evaluation.intervals import cluster_weights
from medimg.style.words import signed
from tests.command import medimg
from tests.medimg.comparison.conftest import scores, write_run

QUICK = CompareConfig(bootstrap=200)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A good Run, a poor one whose rows are in another order, and one that is the good one again."""
    root = tmp_path_factory.mktemp("three")
    truth, good = scores(strength=3.0)
    _, poor = scores(seed=1, strength=0.3)
    patients = [f"p{i // 2}" for i in range(len(truth))]
    shuffled = np.random.default_rng(2).permutation(len(truth))
    runs = [
        write_run(root / "good", truth, good, patients=patients),
        write_run(
            root / "poor",
            truth[shuffled],
            poor[shuffled],
            names=[f"r{i}" for i in shuffled],
            patients=[patients[i] for i in shuffled],
        ),
        write_run(root / "again", truth, good, patients=patients, options={"dropout": 0.5}),
    ]
    seen = []
    result = compare(runs, root / "out", QUICK, lambda *done: seen.append(done))
    return root / "out", result, truth, {"good": good, "poor": poor, "again": good}, patients, seen


def test_a_perfect_model_has_the_exact_interval(tmp_path):
    truth = np.arange(40) % 2
    patients = [f"p{i // 4}" for i in range(40)]
    runs = [
        write_run(tmp_path / name, truth, 0.1 + s * truth, patients=patients) for name, s in (("a", 0.8), ("b", 0.7))
    ]
    result = compare(runs, tmp_path / "out", QUICK)
    # Each of 10 patients has rows of both kinds: 5 pairs without a patient in two.
    low = binomtest(5, 5).proportion_ci(method="exact").low
    found = result["models"][0]["metrics"]["auroc"]
    assert found == {"value": 1.0, "low": pytest.approx(low), "high": 1.0, "interval": "exact"}
    assert any(note.startswith("exact interval") for note in result["notes"])
    assert result["positive_class"] == result["classes"][1]


def test_files_agree_with_each_other(three):
    out, result, *_ = three
    assert sorted(path.name for path in out.iterdir()) == [
        f"comparison.{end}" for end in ("csv", "html", "json", "png")
    ]
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(result))
    table = pd.read_csv(out / "comparison.csv", index_col="model")
    assert list(table.index) == ["good", "poor", "again", "majority class"]
    for model in result["models"]:
        for metric, measured in model["metrics"].items():
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
                written = table.loc[model["name"], metric + end]
                assert written == pytest.approx(measured[key], nan_ok=True) or np.isnan(written)


@pytest.mark.parametrize("reversed_order", [False, True])
def test_figure_table_and_text_say_the_same_with_one_sign(tmp_path, reversed_order):
    truth, good = scores(strength=3.0)
    _, poor = scores(seed=1, strength=0.3)
    _, fair = scores(seed=2, strength=2.9)
    named = [("good", good), ("poor", poor), ("fair", fair)]
    named = named[::-1] if reversed_order else named
    runs = [write_run(tmp_path / name, truth, score, options={"a": name}) for name, score in named]
    result = compare(runs, tmp_path / "out", QUICK)
    _, right = forest_figure(result).axes
    drawn = {float(line.get_xdata()[0]) for line in right.lines if line.get_marker() == "s"}
    page = (tmp_path / "out" / "comparison.html").read_text()
    values = {model["name"]: model["metrics"]["auroc"]["value"] for model in result["models"]}
    beside = [pair for pair in result["pairs"] if pair["first"] == result["reference"]]
    assert len(beside) == 2
    for pair in beside:
        value = values[pair["first"]] - values[pair["second"]]
        assert pair["bootstrap"]["value"] == pytest.approx(value)
        assert any(drawn_at == pytest.approx(value) for drawn_at in drawn)
        assert signed(value) in [text.get_text() for text in right.texts]
        words = f"{pair['first']} less {pair['second']} {signed(value)} (95% interval"
        assert any(words in sentence for sentence in result["verdict"])
        assert f"<td>{signed(value)}<small>" in page
    assert right.get_title().startswith(f"{result['reference']} less the model")


def test_without_out_no_comparison_replaces_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth, good = scores(strength=3.0)
    runs = [write_run(tmp_path / name, truth, good, options={"a": name}) for name in ("one", "two")]
    roots = [run.root for run in runs]
    for words, folder in ((roots, "comparison"), (roots[::-1], "comparison-2"), ((*roots, "--out", "mine"), "mine")):
        done = medimg("compare", *words, "--bootstrap", 20)
        assert done.exit_code == 0, done.output
        assert done.output.splitlines()[-1] == f"comparison in {folder}"
    first = json.loads((tmp_path / "comparison" / "comparison.json").read_text())["reference"]
    assert first != json.loads((tmp_path / "comparison-2" / "comparison.json").read_text())["reference"]
    mine = (tmp_path / "mine" / "comparison.json").read_bytes()
    refused = medimg("compare", *roots[::-1], "--bootstrap", 20, "--out", "mine")
    assert refused.exit_code == 2
    assert "error: --out mine: holds the result of other data or options; give another folder" in refused.stderr
    assert medimg("compare", *roots, "--bootstrap", 20, "--out", "mine").exit_code == 0
    assert (tmp_path / "mine" / "comparison.json").read_bytes() == mine


def test_values_are_those_of_the_rows_whatever_their_order(three):
    _, result, truth, score, *_ = three
    for model in result["models"][:3]:
        expected = roc_auc_score(truth, score[model["name"]])
        assert model["metrics"]["auroc"]["value"] == pytest.approx(expected)
        right = ((score[model["name"]] >= 0.5) == truth).mean()
        assert model["metrics"]["accuracy"]["value"] == pytest.approx(right)
    constant = result["models"][3]["metrics"]
    assert (constant["auroc"]["value"], constant["accuracy"]["value"]) == (0.5, 0.6)


def test_difference_is_measured_on_the_same_resampled_patients(three):
    _, result, truth, score, patients, _ = three
    gaps = []
    for weights in np.concatenate(list(cluster_weights(patients, 200, seed=0))):
        a, b = (roc_auc_score(truth, score[n], sample_weight=weights) for n in ("good", "poor"))
        gaps.append(a - b)
    found = result["pairs"][0]["bootstrap"]
    assert (found["low"], found["high"]) == pytest.approx(np.quantile(gaps, [0.025, 0.975]))
    expected = delong(truth == 1, score["good"], score["poor"], patients)
    assert result["pairs"][0]["delong"]["p"] == pytest.approx(expected.p)


def test_evidence_follows_the_corrected_p(three):
    _, result, *_ = three
    pairs = {(pair["first"], pair["second"]): pair for pair in result["pairs"]}
    assert list(pairs) == [("good", "poor"), ("good", "again"), ("poor", "again")]
    assert [pair["evidence"] for pair in pairs.values()] == [True, False, True]
    same = pairs["good", "again"]
    assert (same["bootstrap"]["p"], same["delong"]["p"], same["mcnemar"]["p"]) == (1.0, 1.0, 1.0)
    # Three pairs: the smallest p-values are tripled, then doubled, and stay in order.
    raw = sorted(pair["bootstrap"]["p"] for pair in pairs.values())
    corrected = sorted(pair["bootstrap"]["p_holm"] for pair in pairs.values())
    assert corrected[0] == pytest.approx(3 * raw[0])


def test_verdict_names_the_better_and_never_says_equal(three):
    _, result, *_ = three
    text = "\n".join(result["verdict"])
    assert "2 of 3 pairs show evidence" in text
    assert "good has a higher AUROC than poor" in text
    assert "again has a higher AUROC than poor" in text
    assert "No evidence of a difference between good and again" in text
    assert not re.search(r"\b(are|is) (equal|the same)", text)


def test_page_stands_alone_and_tells_that_rows_are_clustered(three):
    out, result, *_ = three
    html = (out / "comparison.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert all(sentence.replace("'", "&#39;") in html for sentence in result["verdict"])
    assert "120 images of 60 patients: DeLong" in html


def test_progress_reaches_its_end(three):
    seen = three[-1]
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_lower_is_better_for_the_brier_score(tmp_path):
    truth, good = scores(strength=4.0)
    runs = [write_run(tmp_path / "worse", truth, 1 - good), write_run(tmp_path / "better", truth, good)]
    result = compare(runs, tmp_path / "out", CompareConfig(metric="brier", bootstrap=200))
    assert result["pairs"][0]["bootstrap"]["value"] > 0
    assert "better has a lower Brier score than worse" in result["verdict"][0]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_several_classes(tmp_path, task):
    draw = np.random.default_rng(0)
    classes = ("a", "b", "c")
    labels = draw.integers(0, 3, 90)
    truth = labels if task == "multiclass" else draw.random((90, 3)) < 0.4
    member = np.eye(3)[labels] if task == "multiclass" else truth * 1.0
    noise = [draw.dirichlet(np.ones(3), 90) for _ in range(2)]
    extra = {"task": task, "classes": classes, "negative": "none"}
    if task == "multilabel":
        extra["threshold"] = np.full(3, 0.4)
    runs = [
        write_run(tmp_path / f"r{i}", truth, share * member + (1 - share) * noise[i], **extra)
        for i, share in enumerate((0.5, 0.2))
    ]
    result = compare(runs, tmp_path / "out", QUICK)
    pair = result["pairs"][0]
    assert "delong" not in pair
    assert ("mcnemar" in pair) == (task == "multiclass")
    per_class = [roc_auc_score(member[:, i], 0.5 * member[:, i] + 0.5 * noise[0][:, i]) for i in range(3)]
    value = result["models"][0]["metrics"]["auroc"]["value"]
    assert value == pytest.approx(np.mean(per_class))


def test_seeds_of_one_model_are_replicates(tmp_path):
    truth, _ = scores()
    runs = []
    for model, strength in (("strong", 3.0), ("weak", 1.0)):
        for seed in range(3):
            _, score = scores(seed=10 * seed + len(model), strength=strength)
            options = {"model": model, "seed": seed}
            runs.append(write_run(tmp_path / f"{model}{seed}", truth, score, options=options))
    result = compare(runs, tmp_path / "out", QUICK)
    names = ["strong (3 seeds)", "weak (3 seeds)"]
    assert [model["name"] for model in result["models"][:2]] == names
    each = [roc_auc_score(truth, pd.read_csv(run.root / "predictions.csv")["p_ill"]) for run in runs]
    assert result["models"][0]["seeds"]["values"] == pytest.approx(each[:3])
    assert result["models"][0]["metrics"]["auroc"]["value"] == pytest.approx(np.mean(each[:3]))
    assert result["seeds"]["df"] == (1, 4)
    assert result["seeds"]["p"] < 0.05
    assert "Over seeds" in result["verdict"][-1]
    assert "delong" not in result["pairs"][0]


def test_the_same_seed_twice_is_no_replicate(tmp_path):
    truth, score = scores()
    runs = [write_run(tmp_path / name / "run", truth, score) for name in ("one", "two")]
    result = compare(runs, tmp_path / "out", QUICK)
    assert [model["name"] for model in result["models"][:2]] == ["one/run", "two/run"]
    assert result["seeds"] is None


def cross_validated(tmp_path, **changes):
    truth, good = scores(n=150, strength=2.5)
    folds = np.arange(150) % 5 + 1
    _, poor = scores(n=150, seed=4, strength=0.5)
    first = write_run(tmp_path / "first", truth, good, folds=folds)
    second = write_run(tmp_path / "second", truth, poor, **{"folds": folds, **changes})
    return first, second, truth, good, poor, folds


def test_folds_are_compared_within_folds(tmp_path):
    first, second, truth, good, poor, folds = cross_validated(tmp_path)
    result = compare([first, second], tmp_path / "out", QUICK)
    each = [[roc_auc_score(truth[folds == k], s[folds == k]) for k in range(1, 6)] for s in (good, poor)]
    for model, values in zip(result["models"], each, strict=False):
        assert model["folds"]["values"] == pytest.approx(values)
    pair = result["pairs"][0]
    gap = np.subtract(*each)
    # The data are not there: 30 rows tested against the 120 others.
    t = gap.mean() / np.sqrt((1 / 5 + 30 / 120) * gap.var(ddof=1))
    assert pair["decisive"] == "corrected_t"
    assert pair["corrected_t"]["t"] == pytest.approx(t)
    assert any("validation too" in note for note in result["notes"])
    assert result["folds"]["df"] == (1, 4)
    assert "(means over folds)" in result["verdict"][0]


def test_other_folds_leave_the_bootstrap(tmp_path):
    first, second, *_ = cross_validated(tmp_path, folds=np.arange(150) // 30 + 1)
    result = compare([first, second], tmp_path / "out", QUICK)
    assert result["folds"] is None
    assert result["pairs"][0]["decisive"] == "bootstrap"
    assert any("different folds" in note for note in result["notes"])


def test_many_pairs_need_more_resamples(tmp_path):
    truth, _ = scores()
    runs = [write_run(tmp_path / f"r{i}", truth, scores(seed=i)[1], options={"a": i}) for i in range(4)]
    result = compare(runs, tmp_path / "out", CompareConfig(bootstrap=100))
    assert any("--bootstrap 241" in note for note in result["notes"])


def change(**new):
    def make(root, truth, score):
        return write_run(root, **{"truth": truth, "score": score, **new})

    return make


REFUSED = {
    "differ in task: binary and multilabel": change(
        task="multilabel", truth=np.eye(2)[np.arange(120) % 2] > 0, threshold=np.full(2, 0.5)
    ),
    "differ in classes: healthy, ill and ill, healthy": change(classes=("ill", "healthy")),
    "different images: 120 of 120": change(names=[f"q{i}" for i in range(120)]),
    "'r0' has patient 'p0' in the first and 'p9'": change(patients=["p9"] * 120),
    "'r0' has label 'ill' in the first and 'healthy'": change(truth=np.arange(120) > 5),
    "cross-validated and": change(folds=np.arange(120) % 3 + 1),
    "one is of images": change(unit="row"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_runs_that_can_not_be_compared(tmp_path, message):
    truth, score = scores()
    first = write_run(tmp_path / "first", truth, score)
    second = REFUSED[message](tmp_path / "second", truth, score)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        compare([first, second], tmp_path / "out", QUICK)
    assert str(first.root) in str(caught.value)
    assert str(second.root) in str(caught.value)
    assert not (tmp_path / "out").exists()


def spoil(run, name, edit):
    path = run.root / name
    path.write_text(edit(path.read_text())) if edit else path.unlink()


SPOILT = {
    "evaluate it first: medimg evaluate": ("predictions.csv", None),
    "metrics.json: missing; evaluate it first": ("metrics.json", None),
    "not readable as JSON": ("metrics.json", lambda text: text[:20]),
    "'task' is missing": ("metrics.json", lambda text: text.replace('"task"', '"tusk"')),
    "a probability is no number": ("predictions.csv", lambda text: re.sub(r",[0-9.]+\n", ",nan\n", text, count=1)),
    "119 rows (119 names), metrics.json has 120": ("predictions.csv", lambda text: text[: text.rindex("r119,")]),
    "'unwell' is not a class": ("predictions.csv", lambda text: text.replace("ill,", "unwell,", 1)),
    "column 'p_ill' is missing": ("predictions.csv", lambda text: text.replace("p_ill", "p")),
    "not readable as CSV": ("predictions.csv", lambda text: ""),
}


@pytest.mark.parametrize("message", SPOILT)
def test_spoilt_files_are_named(tmp_path, message):
    truth, score = scores()
    runs = [write_run(tmp_path / name, truth, score) for name in ("one", "two")]
    spoil(runs[1], *SPOILT[message])
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        compare(runs, tmp_path / "out", QUICK)
    assert str(runs[1].root) in str(caught.value)


def test_nothing_to_compare(tmp_path):
    truth, score = scores()
    one = write_run(tmp_path / "one", truth, score)
    with pytest.raises(InputError, match="one Run is given"):
        compare([one], tmp_path / "out", QUICK)
    other = write_run(tmp_path / "other", truth, score, options={"seed": 1})
    with pytest.raises(InputError, match="differ in --seed only"):
        compare([one, other], tmp_path / "out", QUICK)
    with pytest.raises(InputError, match="given twice"):
        compare([one, one], tmp_path / "out", QUICK)
    table = write_run(tmp_path / "table", truth, score, unit="row")
    with pytest.raises(InputError, match="one Run is given"):
        compare([table], tmp_path / "out", CompareConfig(baseline=("none",)))
    with pytest.raises(InputError, match=r"its data are not at /nowhere/data.*--baseline none"):
        compare([table], tmp_path / "out", QUICK)


def test_one_label_everywhere_and_an_undefined_metric(tmp_path):
    truth, score = scores()
    for name, labels in (("single", np.ones(120, int)), ("never", truth)):
        probability = np.minimum(score, 0.4) if name == "never" else score
        runs = [write_run(tmp_path / f"{name}{i}", labels, probability, options={"a": i}) for i in range(2)]
        config = CompareConfig(bootstrap=50, metric="precision")
        message = "same label" if name == "single" else "never0: precision is undefined on these"
        with pytest.raises(InputError, match=message):
            compare(runs, tmp_path / "out", config)


def test_options_and_folder(tmp_path):
    truth, score = scores()
    runs = [write_run(tmp_path / f"r{i}", truth, score, options={"a": i}) for i in range(2)]
    with pytest.raises(InputError, match="--metric kappa: choose one of auroc"):
        compare(runs, tmp_path / "out", CompareConfig(metric="kappa"))
    with pytest.raises(InputError, match="--baseline xgboost: choose"):
        compare(runs, tmp_path / "out", CompareConfig(baseline=("xgboost",)))
    with pytest.raises(InputError, match="--baseline none alone"):
        compare(runs, tmp_path / "out", CompareConfig(baseline=("none", "random-forest")))
    with pytest.raises(InputError, match="is a Run"):
        compare(runs, runs[0].root, QUICK)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        compare(runs, tmp_path / "file", QUICK)


def test_one_patient_has_no_interval(tmp_path):
    truth, score = scores()
    runs = [write_run(tmp_path / f"r{i}", truth, score, patients=["p"] * 120, options={"a": i}) for i in range(2)]
    result = compare(runs, tmp_path / "out", QUICK)
    assert result["pairs"][0]["bootstrap"]["p"] is None
    assert "no intervals: all rows are of one patient" in result["notes"]
    assert "too few resamples" in result["verdict"][0]


def test_models_that_answer_alike_are_not_certainly_equal(tmp_path):
    truth, score = scores(40, strength=3.0)
    runs = [write_run(tmp_path / name, truth, score) for name in ("a", "b")]
    for metric, counted in (("accuracy", len(truth)), ("auroc", min(truth.sum(), (1 - truth).sum()))):
        result = compare(runs, tmp_path / metric, CompareConfig(bootstrap=50, metric=metric))
        (pair,) = result["pairs"]
        reach = binomtest(0, int(counted)).proportion_ci(method="exact").high
        test = pair["bootstrap"]
        assert (test["value"], test["low"], test["high"], test["p"]) == (
            0,
            pytest.approx(-reach),
            pytest.approx(reach),
            1,
        )
        assert f"95% interval {signed(-reach)} to {signed(reach)}" in " ".join(result["verdict"])
