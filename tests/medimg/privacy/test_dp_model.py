"""fit of a private model: any optimizer, accumulation, checkpoints, ordinary weights."""

import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.models.blocks import freeze
from medimg.models.build import build
from medimg.models.saving import load_model, save_model
from medimg.privacy.dp_model import make_private

pytestmark = pytest.mark.slow

SIZE, INFINITE = 16, float("inf")


def small(seed=0, norm="group"):
    tf.keras.utils.set_random_seed(seed)
    arguments = {"width": "4", "stages": "1"}
    return build("baseline_cnn", SIZE, 1, 2, norm=norm, dropout=0.0, model_arg=arguments)


def arrays(n=12):
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 255, (n, SIZE, SIZE, 1)).astype(np.float32)
    return x, draw.integers(0, 2, n)


def batches(size, **extra):
    x, y = arrays()
    if not extra:
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)
    return tf.data.Dataset.from_tensor_slices((x, y, extra)).batch(size)


def compiled(model, optimizer="sgd", eagerly=False):
    """`eagerly` where only numbers are compared: tracing the step takes ten times as long as a few of them."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=eagerly)
    return model


def assert_same_weights(one, other, exactly=True):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        if exactly:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
        # The large epsilon keeps gradients of 0 but for rounding from becoming steps.
        lambda: tf.keras.optimizers.AdamW(1e-2, epsilon=1e-2),
    ],
)
def test_without_clip_and_noise_it_is_ordinary_training(optimizer):
    plain, private = small(), small()
    history = compiled(plain, optimizer(), eagerly=True).fit(batches(4), verbose=0)
    wrapped = compiled(make_private(private, INFINITE, 0.0, 4, seed=0), optimizer())
    found = wrapped.fit(batches(4), verbose=0)
    assert_same_weights(plain, private, exactly=False)
    for name in ("loss", "accuracy"):
        assert found.history[name] == pytest.approx(history.history[name], rel=1e-4)
    assert set(found.history) == {"loss", "accuracy"}


def test_the_inner_model_is_saved_as_an_ordinary_one(tmp_path):
    model = small()
    names = [w.name for w in model.weights]
    private = compiled(make_private(model, 1.0, 1.0, 4, seed=0, accumulation_steps=2))
    private.fit(batches(4), verbose=0)
    assert [w.name for w in model.weights] == [w.name for w in private.weights] == names
    # The layers are not called again on symbolic tensors: their one output stays theirs.
    assert model.get_layer("pool").output.shape == (None, 4)
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    x, _ = arrays()
    np.testing.assert_allclose(loaded(x), private(x, training=False), atol=1e-5)


def test_accumulated_parts_make_the_step_of_the_whole():
    unit = np.repeat(np.arange(6), 2)
    models = {}
    for name, size, steps in (("whole", 12, 1), ("parts", 4, 3), ("flagged", 4, 0)):
        models[name] = small()
        last = np.zeros((3, 1), bool) if steps == 0 else None
        data = batches(size, unit=unit)
        if steps == 0:
            last[-1] = True
            flags = tf.data.Dataset.from_tensor_slices(last)
            data = tf.data.Dataset.zip((data, flags)).map(
                lambda rows, flag: (rows[0], rows[1], {**rows[2], "last": flag})
            )
        private = make_private(models[name], 0.5, 1.0, 6, seed=3, accumulation_steps=steps)
        # Flags are what `medimg train` gives, so they are what is compiled here.
        compiled(private, tf.keras.optimizers.Adam(1e-2, epsilon=1e-3), name != "flagged").fit(data, verbose=0)
        assert int(private.optimizer.iterations) == 1
    assert_same_weights(models["whole"], models["parts"], exactly=False)
    assert_same_weights(models["whole"], models["flagged"], exactly=False)


def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path):
    straight = compiled(make_private(small(), 1.0, 1.0, 4, seed=5, accumulation_steps=2), "adam", eagerly=True)
    straight.fit(batches(4).repeat(2), verbose=0)
    first = compiled(make_private(small(), 1.0, 1.0, 4, seed=5, accumulation_steps=2), "adam", eagerly=True)
    # Stopped in the middle of a logical batch.
    first.fit(batches(4), verbose=0)
    saved = tf.train.Checkpoint(model=first, optimizer=first.optimizer)
    path = saved.write(str(tmp_path / "checkpoint"))
    second = compiled(make_private(small(9), 1.0, 1.0, 4, seed=6, accumulation_steps=2), "adam", eagerly=True)
    second.optimizer.build(second.trainable_variables)
    restored = tf.train.Checkpoint(model=second, optimizer=second.optimizer).read(path)
    restored.assert_existing_objects_matched()
    second.fit(batches(4), verbose=0)
    assert_same_weights(straight, second)


def test_seeds_decide_the_noise():
    weights = []
    for seed in (1, 1, 2):
        model = small()
        compiled(make_private(model, 1.0, 1.0, 4, seed), eagerly=True).fit(batches(4), verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 1e-3


def test_engines_train_alike():
    models = []
    for engine in ("medimg", "tf-privacy"):
        models.append(small())
        private = make_private(models[-1], 0.5, 1.0, 4, seed=0, engine=engine)
        compiled(private, eagerly=engine == "medimg").fit(batches(4), verbose=0)
    assert_same_weights(*models, exactly=False)


def test_only_the_head_of_a_frozen_backbone_moves():
    model = small(norm="batch")
    freeze(model, None)
    before = {w.name: w.numpy() for w in model.weights}
    compiled(make_private(model, 1.0, 1.0, 4, seed=0)).fit(batches(4), verbose=0)
    moved = {w.name for w in model.weights if not np.array_equal(before[w.name], w.numpy())}
    assert moved == {"logits/kernel:0", "logits/bias:0"}


def test_what_is_refused_at_once():
    with pytest.raises(InputError, match="--norm group"):
        make_private(small(norm="batch"), 1.0, 1.0, 4, seed=0)
    with pytest.raises(InputError, match="--dp-engine opacus"):
        make_private(small(), 1.0, 1.0, 4, seed=0, engine="opacus")
    with pytest.raises(InputError, match="can't accumulate"):
        make_private(small(), 1.0, 1.0, 4, 0, "tf-privacy", accumulation_steps=2)
    frozen = small()
    frozen.trainable = False
    with pytest.raises(InputError, match="no layer is trainable"):
        make_private(frozen, 1.0, 1.0, 4, seed=0)
    unflagged = compiled(make_private(small(), 1.0, 1.0, 4, seed=0, accumulation_steps=0))
    with pytest.raises(InputError, match='"last"'):
        unflagged.train_step(arrays())
