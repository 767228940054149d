"""Mixed precision and XLA: the same training within what fewer bits leave, and a model that knows nothing of them."""

import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.training.train import train

TINY = {"image_size": 32, "model_arg": {"width": "4", "stages": "2"}, "epochs": 2, "batch_size": 8, "seed": 3}
# Adam would make large steps of small roundings, and other programs draw dropout otherwise.
TINY |= {"optimizer": "sgd", "learning_rate": 0.1, "dropout": 0.0}


@pytest.fixture(scope="module")
def plain(noise, tmp_path_factory):
    run = train(noise.root, tmp_path_factory.mktemp("plain") / "run", TrainConfig(**TINY))
    return run.model().get_weights()


def trained(noise, out, **options):
    run = train(noise.root, out, TrainConfig(**TINY, **options))
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"xla": True}, 1e-5), ({"precision": "mixed_bfloat16"}, 0.01), ({"precision": "mixed_float16"}, 0.01)],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_the_weights_are_those_of_a_plain_training(options, tolerance, noise, plain, tmp_path):
    run = trained(noise, tmp_path / "run", **options)
    for own, other in zip(run.model().get_weights(), plain, strict=True):
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, other, atol=tolerance)
    if "precision" in options:
        # It did compute in another precision.
        assert any((own != other).any() for own, other in zip(run.model().get_weights(), plain, strict=True))
    with zipfile.ZipFile(run.root / "model.keras") as archive:
        assert "mixed" not in archive.read("config.json").decode()
    assert json.loads((run.root / "environment.json").read_text())


def test_steps_of_our_own_are_refused(noise, small_table, tmp_path):
    for data, options in (
        (noise, {"precision": "mixed_bfloat16", "paradigm": "fixmatch"}),
        (noise, {"xla": True, "dp_epsilon": 3.0}),
        (small_table, {"precision": "mixed_float16", "model": "mlp"}),
    ):
        with pytest.raises(InputError, match=r"--(precision|xla): is for"):
            train(data.root, tmp_path / "run", TrainConfig(**options))
    assert not (tmp_path / "run").exists()
