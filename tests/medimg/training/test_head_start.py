"""The last layer as scikit-learn's regression of the frozen features."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.training.features import extractor
from medimg.training.head_start import logistic_head
from medimg.training.train import train


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)) * [1, 10, 0.1, 3, 0] + [0, 5, -2, 0, 7]
    return x.astype(np.float32), rng.integers(0, 3, 120)


def standardised(x):
    return (x - x.mean(0)) / np.where(x.std(0) > 1e-5, x.std(0), np.inf)


def test_probabilities_are_scikit_learns(features):
    x, y = features
    for targets, classes in ((y, 3), (y % 2, 2)):
        kernel, bias = logistic_head([x], targets, classes, 2.0)
        expected = LogisticRegression(C=0.5, max_iter=5000, tol=1e-8).fit(standardised(x), targets)
        np.testing.assert_allclose(
            softmax(x @ kernel + bias, axis=1), expected.predict_proba(standardised(x)), atol=2e-3
        )
    # A view more of the same features is no example more.
    np.testing.assert_allclose(logistic_head([x, x], y, 3, 2.0)[0], logistic_head([x], y, 3, 2.0)[0], atol=1e-3)
    assert not kernel[4].any()


def test_labels_that_all_or_none_have_and_classes_without_examples(features):
    x, y = features
    several = np.stack([y == 0, np.ones(120), np.zeros(120)], axis=1).astype(np.float32)
    kernel, bias = logistic_head([x], several, 3, 1.0)
    chances = expit(x @ kernel + bias)
    assert chances[:, 1].min() > 0.99
    assert chances[:, 2].max() < 0.01
    alone = LogisticRegression(max_iter=5000, tol=1e-8).fit(standardised(x), y == 0)
    np.testing.assert_allclose(chances[:, 0], alone.predict_proba(standardised(x))[:, 1], atol=2e-3)
    kernel, bias = logistic_head([x], y % 2, 4, 1.0)
    assert softmax(x @ kernel + bias, axis=1)[:, 2:].max() < 0.01


def test_a_run_without_an_epoch_is_the_regression(noise, tmp_path):
    arguments = {"width": "4", "stages": "2"}
    config = TrainConfig(
        image_size=16, model_arg=arguments, freeze="backbone", head_start="logistic", head_penalty=1.0, epochs=0
    )
    run = train(noise.root, tmp_path / "run", config)
    model, rows = run.model(), noise.rows("train", labelled=True)

    from medimg.pipeline.pixels import PixelCache

    cache = PixelCache.build(noise.paths(rows), 16, model.input_shape[-1], 1.0, tmp_path, "train", lambda *_: None)
    pixels = cache.take(np.arange(len(rows))).astype(np.float32)
    pooled = extractor(model)(pixels).numpy()
    kernel, bias = logistic_head([pooled], noise.targets(rows), 2, 1.0)
    np.testing.assert_allclose(model(pixels), pooled @ kernel + bias, atol=1e-4)


def test_what_it_is_not_for_is_refused(noise, tmp_path):
    for more, named in (({"augment": "light"}, "--augment without --views"), ({"freeze": "none"}, "--freeze backbone")):
        config = TrainConfig(**{"image_size": 16, "freeze": "backbone", "head_start": "logistic", **more})
        with pytest.raises(InputError, match=named):
            train(noise.root, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
