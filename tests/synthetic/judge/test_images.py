"""Planted generators of images."""

import numpy as np
import pandas as pd
import pytest

from medimg.errors import InputError
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge, measures
from synthetic.judge.report_folder import beside
from synthetic.judge.rows import load
from tests.synthetic.judge.conftest import as_synthetic_images, verdict

QUICK = JudgeConfig(train_with=("logistic-regression", "random-forest"), features="dct", bootstrap=200)


@pytest.mark.slow
def test_real_patients_held_out_pass(films, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path / "made", 0)
    found = judge(made.root, films.root, QUICK)
    assert found["verdict"] == "share", found["reasons"]
    assert "low frequencies" in found["fidelity"]["features"]
    assert {path.stem for path in beside(made.root).joinpath("figures").iterdir()} == {
        "samples",
        "brightness",
        "utility",
        "diversity",
        "distances",
    }


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "copied"), [(1.5, True), (12.0, False)])
def test_a_copycat_is_caught_by_privacy_even_under_noise(films, tmp_path, noise, copied):
    found = verdict(films, as_synthetic_images(films, films.rows("train"), tmp_path, noise), QUICK)
    assert found["verdict"] == "do-not-share"
    assert found["grades"]["privacy"] == "fail"
    assert found["privacy"]["copies"]["rate"] == (1.0 if copied else 0.0)
    assert found["privacy"]["membership"]["distance"]["auc"]["low"] > 0.9
    assert found["grades"]["diversity"] == "pass"


@pytest.mark.slow
def test_a_constant_generator_is_caught_by_diversity(films, tmp_path):
    rows = films.rows("val").drop_duplicates("label")
    made = as_synthetic_images(films, pd.concat([rows] * 40), tmp_path, 1)
    found = verdict(films, made, QUICK)
    assert found["grades"]["diversity"] == "fail"
    assert found["grades"]["privacy"] == "pass"
    assert found["diversity"]["spread"]["ratio"] < 0.1
    assert found["diversity"]["duplicates"] == {"synthetic": 1.0, "real": 0.0}
    manifold = found["fidelity"]["manifold"]
    assert manifold["synthetic"]["coverage"] < 0.5 * manifold["real"]["coverage"]


@pytest.mark.slow
def test_noise_is_caught_by_fidelity(films, tmp_path):
    found = verdict(films, as_synthetic_images(films, films.rows("val"), tmp_path, 150), QUICK)
    assert found["grades"]["fidelity"] == "fail"
    frechet = found["fidelity"]["frechet_distance"]
    assert frechet["synthetic"] > 3 * frechet["real"]


def test_a_weights_file_that_does_not_fit_is_named(films, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path, 0)
    config = JudgeConfig(train_with=("k-nn",), features=str(tmp_path / "none.h5"))
    with pytest.raises(InputError, match=r"none\.h5"):
        measures(load(made.root, films.root), config)


@pytest.mark.slow
def test_imagenet_features_and_the_small_cnn(films, pretrained_weights, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path, 0)
    weights = pretrained_weights / "mobilenet_2_5_224_tf_no_top.h5"
    config = JudgeConfig(
        train_with=("logistic-regression", "small-cnn"),
        features=str(weights),
        feature_model="mobilenet",
        feature_arg={"alpha": "0.25"},
        cnn_epochs=12,
        bootstrap=200,
    )
    found, judged = measures(load(made.root, films.root), config)
    assert judged.vectors.made.shape == (len(films.rows("val")), 256)
    assert weights.name in found["fidelity"]["features"]
    assert found["utility"]["synthetic"]["small-cnn"]["auroc"]["value"] > 0.7
    assert np.isfinite(found["fidelity"]["frechet_distance"]["synthetic"])
