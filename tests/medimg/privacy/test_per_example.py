"""Norms and clipped sums of every kind of layer against one GradientTape an example."""

from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.head import POOLING as POOLS
from medimg.privacy.clipping import clipped_sum
from medimg.privacy.per_example import convolution, linear
from medimg.privacy.per_example.forward import kinds
from medimg.privacy.per_example.normalization import group_normalize

pytestmark = pytest.mark.slow

layers = tf.keras.layers
CROSS_ENTROPY = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
EXAMPLES = 5


def brute_force(model, x, y, units=None):
    """Gradients of each unit's summed loss, one example at a time: [unit][variable]."""
    units = range(len(x)) if units is None else units
    sums = {}
    for i, unit in enumerate(units):
        if unit < 0:
            continue
        with tf.GradientTape() as tape:
            outputs = model(x[i : i + 1], training=True)
            loss = tf.reduce_sum(CROSS_ENTROPY.call(y[i : i + 1], outputs))
        gradients = [
            np.asarray(tf.convert_to_tensor(g), np.float64) for g in tape.gradient(loss, model.trainable_variables)
        ]
        before = sums.get(unit, [0.0] * len(gradients))
        sums[unit] = [a + b for a, b in zip(before, gradients, strict=True)]
    return list(sums.values())


@contextmanager
def eagerly(yes: bool):
    tf.config.run_functions_eagerly(yes)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def norm(gradients):
    return np.sqrt(sum(np.sum(np.square(g)) for g in gradients))


def assert_exact(model, x, y, units=None, tolerance=1e-4, compiled=True):
    """Both the norms and the sum clipped at the median norm agree with brute force, in a graph or without one."""
    expected = brute_force(model, x, y, units)
    norms = np.array([norm(g) for g in expected])
    clip = float(np.median(norms))
    clipped = [
        sum(g[i] * min(1.0, clip / n) for g, n in zip(expected, norms, strict=True))
        for i in range(len(model.trainable_variables))
    ]
    identity = None if units is None else tf.constant(units)
    with eagerly(not compiled):
        result = tf.function(lambda: clipped_sum(model, CROSS_ENTROPY, x, y, identity, clip))()
    found = result.norms.numpy()
    assert int(result.units) == len(norms)
    np.testing.assert_allclose(np.sort(found[found > 0]), np.sort(norms), rtol=tolerance)
    largest = max(np.abs(wanted).max() for wanted in clipped)
    for got, wanted in zip(result.gradients, clipped, strict=True):
        # The gradient of a bias before a normalisation is 0 but for rounding.
        scale = max(np.abs(wanted).max(), 1e-3 * largest)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


def model_of(body, shape=(9, 8, 4), pool="avg"):
    """Input -> body -> pooled logits, all weights random."""
    tf.keras.utils.set_random_seed(3)
    pixels = tf.keras.Input(shape)
    x = body(pixels)
    if len(x.shape) == 4:
        x = POOLS[pool]()(x)
    model = tf.keras.Model(pixels, layers.Dense(3)(x))
    draw = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(draw.normal(0.1, 0.5, variable.shape))
    return model


def examples(model, n=EXAMPLES, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(0.3, 1.0, (n, *model.input_shape[1:])).astype(np.float32)
    return tf.constant(x), tf.constant(draw.integers(0, 3, n))


CONVOLUTIONS = {
    "same": {"filters": 6, "kernel_size": 3, "padding": "same"},
    "valid": {"filters": 6, "kernel_size": 3, "padding": "valid", "use_bias": False},
    "even kernel": {"filters": 5, "kernel_size": (2, 4), "padding": "same"},
    "stride, same": {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"},
    "stride, valid": {"filters": 6, "kernel_size": (3, 2), "strides": (2, 2), "padding": "valid"},
    "stride above kernel": {"filters": 6, "kernel_size": 2, "strides": 3, "padding": "same"},
    "1 x 1": {"filters": 6, "kernel_size": 1},
    "1 x 1, stride": {"filters": 6, "kernel_size": 1, "strides": 2, "padding": "same"},
    "dilation": {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "padding": "same"},
    "dilation, valid": {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 3), "padding": "valid"},
    "activation": {"filters": 6, "kernel_size": 3, "activation": "swish"},
    "groups": {"filters": 6, "kernel_size": 3, "groups": 2, "padding": "same"},
    "groups, stride": {"filters": 8, "kernel_size": 3, "groups": 4, "strides": 2, "padding": "same"},
}


@pytest.mark.parametrize("form", ["chosen", "by products", "kept"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(name, form, monkeypatch):
    if form != "chosen":
        by_products = form == "by products"
        monkeypatch.setattr(convolution, "_by_products", lambda *_: by_products)
        monkeypatch.setattr(linear, "_by_products", lambda *_: by_products)
    model = model_of(layers.Conv2D(**CONVOLUTIONS[name]))
    x, y = examples(model)
    # A form that is chosen is compiled; both forms are forced only to compare their numbers.
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[4, 9, 4, -1, 4], compiled=form == "chosen")


DEPTHWISE = {
    "same": {"kernel_size": 3, "padding": "same"},
    "valid, multiplier": {"kernel_size": (3, 2), "depth_multiplier": 2},
    "stride, same": {"kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False},
    "stride, valid, multiplier": {"kernel_size": 3, "strides": 2, "depth_multiplier": 3},
    "dilation": {"kernel_size": 3, "dilation_rate": 2, "padding": "same", "activation": "tanh"},
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_conv2d(name):
    model = model_of(layers.DepthwiseConv2D(**DEPTHWISE[name]))
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[0, 0, 1, 1, 1])


@pytest.mark.parametrize("name", DEPTHWISE)
def test_separable_conv2d(name):
    model = model_of(layers.SeparableConv2D(filters=5, **DEPTHWISE[name]))
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[0, 0, 1, 1, 1])


@pytest.mark.parametrize("by_products", [True, False])
@pytest.mark.parametrize("shape", [(7,), (6, 7), (3, 2, 7)])
def test_dense(shape, by_products, monkeypatch):
    monkeypatch.setattr(linear, "_by_products", lambda *_: by_products)

    def body(x):
        x = layers.Dense(5, activation="gelu")(x)
        return x if len(shape) == 1 else layers.Flatten()(x)

    model = model_of(body, shape)
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[3, 3, 3, 0, 0])


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.GroupNormalization(2),
        lambda: layers.GroupNormalization(-1, center=False),
        lambda: layers.GroupNormalization(1, scale=False, epsilon=0.1),
        lambda: layers.GroupNormalization(2, axis=1),
        layers.LayerNormalization,
        lambda: layers.LayerNormalization(axis=[1, 2, 3], epsilon=0.2),
        lambda: layers.LayerNormalization(scale=False),
    ],
)
def test_normalization(layer):
    # The maximum picks positions: the mean over positions of a normalised map would not depend on the input.
    model = model_of(lambda x: layer()(layers.Conv2D(8, 3)(x)), shape=(10, 6, 4), pool="max")
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[5, 2, 5, 2, -7])


def test_group_normalize_is_that_of_keras_with_its_gradients():
    draw = np.random.default_rng(0)
    x, upstream = (tf.constant(draw.normal(2.0, 1.0, (4, 6, 5, 12)), tf.float64) for _ in range(2))
    layer = layers.GroupNormalization(3, dtype="float64")
    layer.build(x.shape)
    for variable in layer.trainable_variables:
        variable.assign(draw.normal(0.0, 1.0, variable.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = layer(x)
    wanted = tape.gradient(expected, [x, *layer.trainable_variables], upstream)
    with tf.GradientTape() as tape:
        copies = [tf.broadcast_to(v, [4, 12]) for v in (layer.gamma, layer.beta)]
        tape.watch([x, *copies])
        found = group_normalize(tf.reshape(x, [4, 30, 12]), *copies, 3, layer.epsilon)
    np.testing.assert_allclose(found, tf.reshape(expected, [4, 30, 12]), rtol=1e-9)
    got = tape.gradient(found, [x, *copies], tf.reshape(upstream, [4, 30, 12]))
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-8, atol=1e-12)
    for per_example, total in zip(got[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(tf.reduce_sum(per_example, 0), total, rtol=1e-9)


def test_embedding_counts_repeated_tokens_together():
    tokens = tf.keras.Input((6,), dtype="int32")
    hidden = layers.Flatten()(layers.Embedding(4, 3)(tokens))
    model = tf.keras.Model(tokens, layers.Dense(3)(hidden))
    draw = np.random.default_rng(0)
    x, y = tf.constant(draw.integers(0, 4, (EXAMPLES, 6))), tf.constant(draw.integers(0, 3, 5))
    model.layers[1].embeddings.assign(draw.normal(size=(4, 3)))
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[1, 1, 0, 1, 0])


def test_layers_called_several_times():
    convolution_ = layers.Conv2D(4, 3, padding="same")
    pointwise, norm_ = layers.Conv2D(4, 1), layers.GroupNormalization(2)
    separable = layers.SeparableConv2D(4, 3, padding="same", strides=1)

    def body(x):
        for _ in range(2):
            x = layers.ReLU()(norm_(pointwise(separable(convolution_(x)))))
            x = layers.MaxPooling2D(2)(x)
        return x

    model = model_of(body, shape=(8, 8, 4))
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[2, 2, 2, 0, 0])


@tf.keras.saving.register_keras_serializable(package="test")
class Squeeze(layers.Layer):
    """A layer that the registry does not know: scale * x^2 + offset."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))
        self.offset = self.add_weight(name="offset", shape=(shape[-1],))

    def call(self, inputs):
        return self.scale * inputs**2 + self.offset


class SubclassedConv(layers.Conv2D):
    """Same weights as Conv2D, another function."""

    def call(self, inputs):
        return super().call(inputs) ** 2


@pytest.mark.parametrize(
    "layer",
    [
        Squeeze,
        lambda: SubclassedConv(4, 3),
        lambda: layers.Conv2DTranspose(3, 3, strides=2),
        lambda: layers.PReLU(shared_axes=[1, 2]),
        lambda: layers.Conv2D(3, 3, activation=layers.PReLU(shared_axes=[1, 2])),
    ],
)
def test_unknown_layers_are_run_again(layer):
    model = model_of(layer())
    x, y = examples(model)
    assert_exact(model, x, y, compiled=False)
    assert_exact(model, x, y, units=[2, 2, 0, 0, 0])


def test_images_of_unknown_size():
    tf.keras.utils.set_random_seed(0)
    pixels = tf.keras.Input((None, None, 2))
    hidden = layers.Conv2D(3, 3)(pixels)
    model = tf.keras.Model(pixels, layers.Dense(3)(POOLS["avg"]()(hidden)))
    x = tf.random.normal([EXAMPLES, 7, 6, 2], seed=0)
    assert_exact(model, x, tf.constant([0, 1, 2, 0, 1]))


REFUSED = {
    "layer bn .*--norm group": layers.BatchNormalization(name="bn"),
    "regularisation losses.*adamw": layers.Conv2D(3, 3, kernel_regularizer="l2"),
    "layer c .*remove": layers.Conv2D(3, 3, activity_regularizer="l2", name="c"),
    "layer c .*float32": layers.Conv2D(3, 3, dtype="mixed_float16", name="c"),
    "layer many .*several inputs": lambda x: layers.MultiHeadAttention(2, 3, name="many")(x, x),
    "layer gru .*at random.*dropout to 0": lambda x: layers.GRU(3, dropout=0.5, name="gru")(layers.Reshape((-1, 4))(x)),
    "layer mask.*mask_zero": lambda x: layers.Masking(name="mask")(layers.Reshape((-1, 4))(x)),
    "layer norm .*statistics": layers.SpectralNormalization(layers.Conv2D(3, 3), name="norm"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cant_be_private_is_refused_by_name(message):
    model = model_of(lambda x: layers.Flatten()(REFUSED[message](x)))
    x, y = examples(model)
    with pytest.raises(InputError, match=message):
        clipped_sum(model, CROSS_ENTROPY, x, y, None, 1.0)


def test_a_frozen_backbone_keeps_its_batch_norm_and_costs_nothing():
    model = model_of(lambda x: layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(x)))
    for name in ("conv", "bn"):
        model.get_layer(name).trainable = False
    model.get_layer("bn").set_weights([np.full(4, v) for v in (1.5, 0.1, 0.3, 2.0)])
    x, y = examples(model)
    assert_exact(model, x, y)
    assert list(kinds(model)) == [model.layers[-1].name]
    graph = tf.function(lambda: clipped_sum(model, CROSS_ENTROPY, x, y, None, 1.0).gradients)
    library = graph.get_concrete_function().graph.as_graph_def().library.function
    operations = {node.op for function in library for node in function.node_def}
    assert "Conv2D" in operations
    assert not {o for o in operations if o.startswith(("Conv2DBackprop", "MaxPoolGrad"))}


def in_float64(model):
    """A copy that computes in float64 after its preprocessing: ReLU's corners hide no error there."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] not in ("InputLayer", "Preprocessing"):
            layer["config"]["dtype"] = "float64"
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.parametrize(
    ("name", "size", "arguments"),
    [
        ("baseline_cnn", 16, {"width": "4", "stages": "2"}),
        ("attention_cnn", 16, {"width": "4", "stages": "1", "attention": "se"}),
        pytest.param("alexnet", 32, None, marks=pytest.mark.slow),
        pytest.param("mobilenet", 32, {"alpha": "0.25"}, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 32, {"alpha": "0.35"}, marks=pytest.mark.slow),
        pytest.param("resnet50", 64, None, marks=pytest.mark.slow),
    ],
)
def test_models_of_the_registry(name, size, arguments):
    tf.keras.utils.set_random_seed(0)
    model = build(name, size, 3, 3, norm="group", dropout=0.0, model_arg=arguments)
    model = in_float64(model)
    draw = np.random.default_rng(0)
    x = tf.constant(draw.uniform(0, 255, (4, size, size, 3)).astype(np.float32))
    # Tracing the step of a deep model takes minutes; what these are made of is compiled above and in the CNN.
    compiled = name in ("baseline_cnn", "attention_cnn")
    assert_exact(model, x, tf.constant([0, 1, 2, 1]), units=[8, 3, 8, 0], tolerance=1e-8, compiled=compiled)
