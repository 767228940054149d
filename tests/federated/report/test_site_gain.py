"""Values and intervals against scikit-learn on repeated rows; words where the answer is known."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, roc_auc_score

from federated.report.site_gain import MEAN, POOLED, site_gain
from federated.report.site_gain_figure import site_gain_figure
from medimg.comparison.candidates import constant
from medimg.evaluation.intervals import cluster_weights
from medimg.evaluation.predictions import Predictions
from medimg.style.figures import save

pytestmark = pytest.mark.final_figures

SIZES = {"east": 60, "north": 40, "west": 50}


def binary(truth, score, threshold=0.5):
    return Predictions("binary", ("healthy", "ill"), truth, np.stack([1 - score, score], axis=1), threshold)


def material(sizes=SIZES, prevalence=0.4):
    sites = np.repeat(list(sizes), list(sizes.values()))
    truth = np.concatenate([np.arange(n) < round(prevalence * n) for n in sizes.values()])
    # Two rows a patient.
    patients = np.array([f"{site}-{i // 2}" for i, site in enumerate(sites)])
    return sites, truth.astype(int), patients


def knowing(truth, strength, seed):
    noise = np.random.default_rng(seed).normal(size=len(truth))
    return 1 / (1 + np.exp(-(strength * (truth - 0.5) + noise)))


def three(sizes=SIZES, local=(0.3, 1.5, 4.0), federated=2.5, relabelled=None):
    sites, truth, patients = material(sizes)
    if relabelled:
        site, labels = relabelled
        truth[sites == site] = labels
    strength = dict(zip(sizes, local, strict=True))
    models = {
        "local": binary(truth, knowing(truth, np.array([strength[s] for s in sites]), 1)),
        "federated": binary(truth, knowing(truth, federated, 2)),
        "centralised": binary(truth, knowing(truth, federated + 0.2, 3)),
    }
    return {"majority": constant(models["local"]).members[0], **models}, sites, patients


def at(result, name):
    return next(place for place in result["places"] if place["name"] == name)


def test_a_site_may_be_called_as_all_of_them_are():
    found = {}
    # In one order, and so of the same draws of patients.
    for names in (("east", "north", "west"), (POOLED, MEAN, "west")):
        sites, truth, patients = material(dict(zip(names, SIZES.values(), strict=True)))
        models = {name: binary(truth, np.where(truth, 0.9, 0.1)) for name in ("local", "federated")}
        places = site_gain(models, sites, patients, resamples=50)["places"]
        found[names] = [{**place, "name": ""} for place in places]
    first, second = found.values()
    assert first == second


def test_a_perfect_model_is_not_certain_at_a_site():
    sites, truth, patients = material()
    models = {name: binary(truth, np.where(truth, 0.9, 0.1)) for name in ("local", "federated")}
    result = site_gain(models, sites, patients, resamples=50)
    lows = []
    for site in SIZES:
        here = sites == site
        whole = [len(set(patients[here & (truth == kind)])) for kind in (0, 1)]
        pairs = min(*whole, len(set(patients[here])) // 2)
        found = at(result, site)["values"]["federated"]
        lows.append(binomtest(pairs, pairs).proportion_ci(method="exact").low)
        assert (found["low"], found["high"]) == (pytest.approx(lows[-1]), 1.0)
    # Of sites that err independently (MOVER): all of them at their lowest at once is as good as never.
    mean = 1 - np.sqrt(((1 - np.array(lows)) ** 2).sum()) / len(lows)
    assert at(result, MEAN)["values"]["federated"]["low"] == pytest.approx(mean)
    assert at(result, POOLED)["values"]["federated"]["low"] > max(lows)


def test_a_perfect_site_of_few_leaves_the_mean_as_unsure_as_it_is():
    """The other sites' resamples differ, so that the mean's do; of the perfect one's they say nothing."""
    sites, truth, patients = material()
    scores = np.where(truth, 0.9, 0.1)
    worse = np.clip(0.5 + 0.2 * truth + np.random.default_rng(0).normal(0, 0.2, len(truth)), 0, 1)
    perfect = next(iter(SIZES))
    scores = np.where(sites == perfect, scores, worse)
    result = site_gain({"federated": binary(truth, scores)}, sites, patients, resamples=100)
    mean, site = (at(result, name)["values"]["federated"] for name in (MEAN, perfect))
    assert mean["value"] - mean["low"] >= (site["value"] - site["low"]) / len(SIZES)


def test_values_are_scikit_learns():
    models, sites, patients = three()
    for metric, reference in (("auroc", roc_auc_score), ("accuracy", accuracy_score)):
        result = site_gain(models, sites, patients, metric, resamples=20)
        means = []
        for site in SIZES:
            here = sites == site
            for name in ("local", "federated", "centralised"):
                model = models[name]
                said = model.probabilities[:, 1] if metric == "auroc" else model.decisions[:, 1]
                value = at(result, site)["values"][name]["value"]
                assert value == pytest.approx(reference(model.targets[here], said[here]))
                means.append(value)
        assert [p["name"] for p in result["places"]] == [*SIZES, POOLED, MEAN]
        averaged = [at(result, MEAN)["values"][m]["value"] for m in list(models)[1:]]
        assert averaged == pytest.approx(np.reshape(means, (3, 3)).mean(axis=0))
        said = models["local"].probabilities[:, 1]
        if metric == "auroc":
            value = at(result, POOLED)["values"]["local"]["value"]
            assert value == pytest.approx(roc_auc_score(models["local"].targets, said))


def test_the_interval_of_a_difference_is_that_of_repeated_rows():
    models, sites, patients = three()
    result = site_gain(models, sites, patients, resamples=300, seed=4)
    here = sites == "north"
    draws = int(np.random.SeedSequence([4, 1]).generate_state(1)[0])
    differences = []
    for weights in np.concatenate(list(cluster_weights(patients[here], 300, draws))):
        rows = np.repeat(np.flatnonzero(here), weights.astype(int))
        a, b = (
            roc_auc_score(models[m].targets[rows], models[m].probabilities[rows, 1]) for m in ("federated", "local")
        )
        differences.append(a - b)
    found = at(result, "north")["differences"]["local"]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=1e-9)
    # Whole patients are drawn: the two rows of one always come alike.
    assert at(result, "north")["patients"] == 20


@pytest.mark.slow
def test_words_where_the_answer_is_known():
    # Of so few patients a stronger one misranks too few in the west to be told from a perfect one.
    models, sites, patients = three(local=(0.0, 2.5, 30.0), federated=2.0)
    models["local"].probabilities[sites == "north"] = models["federated"].probabilities[sites == "north"]
    for metric in ("auroc", "accuracy", "brier"):
        result = site_gain(models, sites, patients, metric, resamples=400)
        words = [at(result, site)["word"] for site in SIZES]
        assert words == ["gains", "no evidence", "loses"]
        assert at(result, "north")["differences"]["local"]["value"] == 0
    text = " ".join(result["sentences"])
    assert "Of 3 sites" in text
    assert "1 gains, 1 loses, 1 shows no evidence either way" in text
    assert "east gains: Brier score" in text
    assert "corrected for 3 sites" in text


def test_p_values_are_corrected_for_the_sites_that_are_tested():
    models, sites, patients = three()
    result = site_gain(models, sites, patients, resamples=300, seed=1)
    found = [at(result, site)["differences"]["local"] for site in SIZES]
    ordered = sorted(found, key=lambda f: f["p"])
    largest = 0.0
    for rank, one in enumerate(ordered):
        largest = max(largest, min(1.0, (3 - rank) * one["p"]))
        assert one["p_holm"] == pytest.approx(largest)
    for name in (POOLED, MEAN):
        alone = at(result, name)["differences"]["local"]
        assert alone["p_holm"] == alone["p"]


@pytest.mark.slow
def test_many_sites_can_still_gain():
    # Twelve patients who are ill: all signs alike have p = 1 / 2048, and a 25th of 0.05 is needed.
    sizes = {f"s{i:02d}": 60 for i in range(25)}
    models, sites, patients = three(sizes, local=(0.0,) * 25, federated=8.0)
    result = site_gain(models, sites, patients, resamples=200)
    assert result["resamples"] == 2500
    assert sum(at(result, site)["word"] == "gains" for site in sizes) > 15


def test_a_site_with_a_single_row_of_a_class_is_not_judged():
    sizes = {"east": 60, "tiny": 4, "west": 50}
    models, sites, patients = three(sizes, relabelled=("tiny", [1, 0, 0, 0]))
    result = site_gain(models, sites, patients, resamples=200)
    tiny = at(result, "tiny")
    assert tiny["word"] == "too few rows"
    assert tiny["values"]["federated"]["low"] is None
    assert tiny["values"]["federated"]["value"] is not None
    assert at(result, MEAN)["left_out"] == ["tiny"]
    assert result["tested"] == 2
    notes = " ".join(result["notes"])
    assert "tiny (3 healthy), tiny (1 ill)" in notes
    assert "leaves out tiny" in notes
    assert "1 has too few rows to say" in result["sentences"][0]


def test_a_site_without_a_class_has_no_value():
    sizes = {"east": 60, "ill only": 20, "west": 50}
    models, sites, patients = three(sizes, relabelled=("ill only", 1))
    result = site_gain(models, sites, patients, resamples=200)
    here = at(result, "ill only")
    assert here["values"]["local"] == {"value": None, "low": None, "high": None}
    assert here["word"] == "too few rows"
    site_gain_figure(result)
    assert at(site_gain(models, sites, patients, "accuracy", resamples=200), "ill only")["word"] != "too few rows"


def test_each_site_decides_with_the_threshold_of_its_own_local_model():
    sites, truth, patients = material({"a": 40, "b": 40})
    score = np.where(sites == "a", 0.2, 0.7) + 0.1 * truth
    fixed = binary(truth, score)
    own = binary(truth, score, np.where(sites == "a", 0.25, 0.75))
    result = site_gain({"local": own, "federated": fixed}, sites, patients, "accuracy", resamples=200)
    for site in ("a", "b"):
        assert at(result, site)["values"]["local"]["value"] == 1
        assert at(result, site)["values"]["federated"]["value"] < 1
        assert at(result, site)["word"] == "loses"


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_more_classes(task):
    sites, _, patients = material()
    draw = np.random.default_rng(0)
    kinds = draw.integers(0, 3, len(sites))
    one_hot = np.eye(3)[kinds]
    targets = kinds if task == "multiclass" else one_hot.astype(int)

    def model(strength):
        logits = strength * one_hot + draw.normal(size=one_hot.shape)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        threshold = np.full(3, 0.4) if task == "multilabel" else None
        return Predictions(task, ("a", "b", "c"), targets, shares, threshold)

    models = {"local": model(0.2), "federated": model(4.0)}
    models["majority"] = constant(models["local"]).members[0]
    result = site_gain(models, sites, patients, "auroc", resamples=300)
    east = sites == "east"
    expected = roc_auc_score(one_hot[east], models["federated"].probabilities[east])
    assert at(result, "east")["values"]["federated"]["value"] == pytest.approx(expected)
    assert all(at(result, site)["word"] == "gains" for site in SIZES)


def test_one_site_alone():
    models, sites, patients = three({"only": 60}, local=(0.0,))
    result = site_gain(models, sites, patients, resamples=200)
    assert [p["name"] for p in result["places"]] == ["only", POOLED]
    assert "corrected" not in " ".join(result["sentences"])
    site_gain_figure(result)


def test_result_is_json_and_repeats(tmp_path):
    models, sites, patients = three()
    first = json.dumps(site_gain(models, sites, patients, resamples=50), allow_nan=False)
    assert first == json.dumps(site_gain(models, sites, patients, resamples=50))
    result = json.loads(first)
    assert [place["name"] for place in result["places"]] == [*SIZES, POOLED, MEAN]
    assert all("local" in place["differences"] for place in result["places"])
    assert all("word" in at(result, site) for site in SIZES)
    assert save(site_gain_figure(result), tmp_path / "gain.png").stat().st_size > 10_000


def test_without_local_models_there_is_no_word():
    models, sites, patients = three()
    pair = {name: models[name] for name in ("federated", "centralised")}
    result = site_gain(pair, sites, patients, resamples=50)
    assert "word" not in result["places"][0]
    assert result["sentences"][0].startswith("On all rows")
    site_gain_figure(result)


def test_other_rows_are_refused():
    models, sites, patients = three()
    with pytest.raises(ValueError, match="federated model's predictions are missing"):
        site_gain({"local": models["local"]}, sites, patients)
    turned = binary(1 - models["local"].targets, models["local"].probabilities[:, 1])
    with pytest.raises(ValueError, match="'local' are not of the federated"):
        site_gain({**models, "local": turned}, sites, patients)
    with pytest.raises(ValueError, match="149 sites"):
        site_gain(models, sites[1:], patients)


def test_models_that_answer_alike_are_not_certainly_equal_at_a_site():
    sites, truth, patients = material()
    models = {name: binary(truth, np.where(truth, 0.9, 0.1)) for name in ("local", "federated")}
    result = site_gain(models, sites, patients, resamples=50)
    widths = {}
    for place in result["places"]:
        of_site = np.full(len(sites), True) if place["name"] in (POOLED, MEAN) else sites == place["name"]
        counted = min(len(set(patients[of_site & (truth == kind)])) for kind in (0, 1))
        found = place["differences"]["local"]
        assert found["value"] == 0
        assert found["p"] == 1
        widths[place["name"]] = found["high"]
        if place["name"] != MEAN:
            assert found["high"] == pytest.approx(binomtest(0, counted).proportion_ci(method="exact").high)
            assert found["low"] == -found["high"]
    assert widths[MEAN] == max(widths[site] for site in SIZES)
