"""The two-sample test: how often it errs on parts drawn alike, what it finds, and what it is told of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from medimg.audit.exchangeable import LEVEL, Exchangeability, _rank_test, content_test, exchangeability, mix_test
from medimg.audit.members import AuditSubject
from medimg.audit.statistics import of_image
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature


def test_rank_test_equals_scipy():
    draw = np.random.default_rng(0)
    member = np.arange(60) < 25
    scores = np.round(draw.normal(0.5 * member), 1)
    area, p = _rank_test(scores, member, [0])
    found = mannwhitneyu(scores[member], scores[~member], alternative="greater")
    assert area == pytest.approx(found.statistic / (25 * 35))
    assert p == pytest.approx(found.pvalue, abs=0.02)


@pytest.mark.slow
def test_parts_drawn_alike_are_rarely_called_different():
    draw = np.random.default_rng(1)
    found = [mix_test(np.eye(3)[draw.integers(0, 3, 80)], np.arange(80) < 50, seed) for seed in range(100)]
    # 5% are allowed; of 100, more than 11 would happen once in 250.
    assert np.mean(np.array(found) < LEVEL) <= 0.11
    assert np.mean(found) > 0.4


@pytest.mark.slow
def test_the_classifier_is_rarely_mistaken():
    draw = np.random.default_rng(2)
    found = [content_test(draw.normal(size=(60, 10)), np.arange(60) < 30, seed)["p"] for seed in range(40)]
    assert np.sum(np.array(found) < LEVEL) <= 6


def test_a_difference_of_one_column_or_of_the_mix_is_found():
    draw = np.random.default_rng(3)
    features, member = draw.normal(size=(200, 20)), np.arange(200) < 120
    features[member, 7] += 1.0
    found = content_test(features, member, 0)
    assert found["p"] < 0.01
    assert found["auc"] > 0.6
    # Not in any column, but in two together.
    twisted = draw.normal(size=(400, 2))
    kind = np.arange(400) < 200
    twisted[:, 1] = np.where(kind, 1, -1) * np.abs(twisted[:, 1]) * np.sign(twisted[:, 0])
    assert content_test(twisted, kind, 0)["p"] < 0.01
    ill = draw.random(200) < np.where(member, 0.7, 0.4)
    assert mix_test(np.eye(2)[ill.astype(int)], member, 0) < 0.01


def test_statistics_see_what_sources_differ_in():
    draw = np.random.default_rng(4)
    grey = draw.integers(0, 256, (64, 48), np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    same = of_image(grey)
    assert np.isfinite(same).all()
    assert len(of_image(colour)) == len(of_image(grey.astype(np.uint16) * 257)) == len(same)
    assert not np.allclose(of_image(np.pad(grey, 4)), same)
    assert np.abs(of_image(colour) - same).max() == 2  # Channels alone: 3 for 1.
    assert of_image(np.zeros((1, 1), np.uint8)).shape == same.shape


def test_words_say_what_a_bound_rests_on():
    assert "drawn at random" in Exchangeability(True).sentence()
    alike = Exchangeability(False, 0.4, {"content": {"auc": 0.5, "p": 0.2}})
    assert not alike.shifted
    assert "no test can prove" in alike.sentence()
    tests = {"content": {"auc": 0.9, "p": 0.001}, "label mix": {"p": 0.5}}
    shifted = Exchangeability(False, 0.002, tests)
    assert shifted.shifted
    assert "differ in their content" in shifted.sentence()
    assert "no bound of epsilon" in shifted.sentence()
    assert pd.json_normalize(shifted.to_dict())["shift_found"].item()


def test_a_split_that_deals_large_patients_first_is_told():
    draw = np.random.default_rng(5)
    manifest = pd.DataFrame({"patient": [f"p{i}" for i in range(120) for _ in range(1 + (i < 40))]})
    manifest = manifest.assign(label="ill", site="", x=draw.normal(size=len(manifest)))
    dataset = Dataset(Path(), "drawn", "multiclass", ("ill",), manifest, features=(Feature("x", "continuous"),))

    def tested(member):
        rows = np.arange(len(manifest))
        return exchangeability(AuditSubject(None, dataset, manifest, member, (), manifest, rows, False), seed=0)

    # The 40 patients of two rows are members, but for a few.
    found = tested((manifest["patient"].str[1:].astype(int) % 120 < 60).to_numpy())
    assert found.shifted
    assert found.clearest == "number of rows of a patient"
    alike = tested((manifest["patient"].str[1:].astype(int) % 2 == 0).to_numpy())
    assert not alike.shifted
