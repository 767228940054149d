"""Our Adam is Keras': the same weights, by the same variables."""

import numpy as np
import pytest
import tensorflow as tf

from medimg.training import adam

PAIRS = {"adam": (adam.Adam, tf.keras.optimizers.Adam), "adamw": (adam.AdamW, tf.keras.optimizers.AdamW)}
# Of gradients.
SCALES = (0.0, 1e-12, 1.0, 100.0)
OPTIONS = {
    "plain": lambda: {"learning_rate": 0.01},
    "betas": lambda: {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-3},
    "decay": lambda: {"learning_rate": tf.keras.optimizers.schedules.CosineDecay(0.1, 10), "weight_decay": 0.1},
    "clipped": lambda: {"learning_rate": 0.01, "global_clipnorm": 1.0},
    "amsgrad": lambda: {"learning_rate": 0.01, "amsgrad": True},
}


def _variables(dtype: str = "float32") -> list[tf.Variable]:
    random = np.random.default_rng(0)
    return [tf.Variable(random.normal(size=shape), dtype=dtype) for shape in ((3, 4), (4,), ())]


def _stepped(optimizer, variables: list[tf.Variable], steps: int, seed: int = 1) -> list[np.ndarray]:
    """Weights after steps of random gradients, of which some are tiny and some zero."""
    random = np.random.default_rng(seed)

    @tf.function
    def step(gradients):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for _ in range(steps):
        scale = random.choice(SCALES)
        step([tf.constant(random.normal(size=v.shape) * scale, v.dtype) for v in variables])
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("options", OPTIONS)
def test_weights_are_those_of_keras(name, options):
    ours, keras = PAIRS[name]
    assert issubclass(ours, keras)
    found, expected = (_stepped(kind(**OPTIONS[options]()), _variables(), 25) for kind in (ours, keras))
    assert not np.allclose(found[0], _variables()[0])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_a_saved_model_names_the_optimizer_of_keras(name):
    """Who opens it need not have medimg."""
    ours, keras = PAIRS[name]
    found = tf.keras.saving.serialize_keras_object(ours(0.01))
    assert found == tf.keras.saving.serialize_keras_object(keras(0.01)) | {"registered_name": ours.__name__}
    assert type(tf.keras.saving.deserialize_keras_object(found)) is keras


def test_float64_keeps_its_digits():
    found, expected = (_stepped(kind(0.01), _variables("float64"), 25) for kind in PAIRS["adam"])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_gradients_of_rows_move_what_they_move_in_keras():
    tables = [tf.Variable(tf.ones((5, 2))) for _ in range(2)]
    for kind, table in zip(PAIRS["adam"], tables, strict=True):
        optimizer = kind(0.1)
        for _ in range(3):
            optimizer.apply_gradients([(tf.IndexedSlices(tf.ones((2, 2)), tf.constant([0, 3])), table)])
    np.testing.assert_allclose(*(table.numpy() for table in tables), rtol=1e-6)
    assert not np.allclose(tables[0][0], tables[0][1])


@pytest.mark.parametrize("first", [0, 1])
def test_a_checkpoint_of_one_goes_on_with_the_other(first, tmp_path):
    kinds, expected = PAIRS["adam"], _stepped(adam.Adam(0.01), _variables(), 10)
    begun, variables = kinds[first](0.01), _variables()
    random = np.random.default_rng(1)
    scaled = []
    for _ in range(10):
        scale = random.choice(SCALES)
        scaled.append([random.normal(size=variable.shape) * scale for variable in variables])

    def apply(optimizer, to, some):
        for of in some:
            optimizer.apply_gradients([(tf.constant(g, v.dtype), v) for g, v in zip(of, to, strict=True)])

    apply(begun, variables, scaled[:5])
    path = tf.train.Checkpoint(optimizer=begun, variables=variables).write(str(tmp_path / "at"))
    other, restored = kinds[1 - first](0.01), [tf.Variable(tf.zeros_like(v)) for v in variables]
    other.build(restored)
    tf.train.Checkpoint(optimizer=other, variables=restored).read(path).assert_consumed()
    apply(other, restored, scaled[5:])
    for one, reference in zip(restored, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), reference, rtol=1e-5, atol=3e-6)
