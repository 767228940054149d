"""Every model of the registry, at its minimum size; weights files; norm; blocks."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from medimg.errors import InputError
from medimg.models.blocks import blocks, freeze
from medimg.models.build import build
from medimg.models.group_norm import groups_for
from medimg.models.head import is_head
from medimg.models.known_weights import identify, words
from medimg.models.preprocessing import Preprocessing
from medimg.models.registry import FAMILIES
from medimg.models.saving import load_model, save_model
from medimg.models.weights import load_backbone

MOBILENET = "mobilenet_7_5_224_tf_no_top.h5"
MOBILENET_V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


# Of nothing but the layers that the smallest and the largest are made of, of which both are exported.
BETWEEN = ("efficientnet_b1", "efficientnet_b2", "efficientnet_b3")
# Larger ones of the same layers: built, and no more.
LARGEST = ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7")
KINDS_OF_EFFICIENTNET = {
    *("InputLayer", "Preprocessing", "Rescaling", "Normalization", "ZeroPadding2D", "Conv2D", "DepthwiseConv2D"),
    *("BatchNormalization", "Activation", "GlobalAveragePooling2D", "Reshape", "Multiply", "Add", "Dropout", "Dense"),
}


@pytest.fixture(autouse=True)
def free_graphs():
    """Thirteen large models in one process would hold 7 GB."""
    yield
    tf.keras.backend.clear_session()


def pixels(n, size, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, size, size, channels)).astype(np.float32)


@pytest.fixture(scope="module", params=[name for name in FAMILIES if name not in (*BETWEEN, *LARGEST)])
def built(request):
    """(name, side of its images, model): of each family one, for the tests of all families."""
    size = FAMILIES[request.param].minimum_size
    tf.keras.utils.set_random_seed(0)
    return request.param, size, build(request.param, size, 3, 3)


@pytest.mark.slow
def test_every_model_builds_steps_saves_reloads_and_exports(built, tmp_path):
    name, size, model = built
    kinds = {type(layer).__name__ for layer in model.layers}
    assert (kinds == KINDS_OF_EFFICIENTNET) == name.startswith("efficientnet_b"), kinds
    assert not any(isinstance(layer, tf.keras.Model) for layer in model.layers)
    before = [w.numpy() for w in model.trainable_variables]
    x, y = pixels(4, size), np.array([0, 1, 2, 0])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling the step of a large model takes ten times as long as the step; one of them shows that it compiles.
    model.compile("adam", loss, run_eagerly=name != "mobilenet")
    assert np.isfinite(model.train_on_batch(x, y))
    assert any(np.any(a != b.numpy()) for a, b in zip(before, model.trainable_variables, strict=True))
    expected = model(x, training=False).numpy()
    save_model(model, tmp_path / "model.keras")
    np.testing.assert_allclose(load_model(tmp_path / "model.keras")(x, training=False), expected, atol=1e-5)
    model.export(str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    served = loaded.serve(x)
    np.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_is_of_the_same_layers(name):
    model = build(name, FAMILIES[name].minimum_size, 3, 2)
    assert {type(layer).__name__ for layer in model.layers} == KINDS_OF_EFFICIENTNET


@pytest.mark.slow
def test_the_largest_are_of_the_same_layers_and_take_their_native_size():
    model = build("efficientnet_b7", FAMILIES["efficientnet_b7"].native_size, 3, 2)
    assert {type(layer).__name__ for layer in model.layers} == KINDS_OF_EFFICIENTNET
    assert model.get_layer("pool").input.shape[1:] == (19, 19, 2560)


def attention_by_hand(maps: np.ndarray, model: tf.keras.Model, name: str, kind: str) -> np.ndarray:
    """Equations (2) and (3) of Woo et al., or those of Hu et al., in numpy."""
    w0, b0 = model.get_layer(f"{name}_squeeze").get_weights()
    w1, b1 = model.get_layer(f"{name}_excite").get_weights()

    def shared(vector):
        return np.maximum(vector @ w0 + b0, 0) @ w1 + b1

    weights = shared(maps.mean(axis=(1, 2))) + (shared(maps.max(axis=(1, 2))) if kind == "cbam" else 0)
    maps = maps / (1 + np.exp(-weights))[:, None, None]
    if kind == "se":
        return maps
    kernel, bias = model.get_layer(f"{name}_where_weights").get_weights()
    both = np.pad(np.stack([maps.mean(axis=-1), maps.max(axis=-1)], axis=-1), ((0, 0), (3, 3), (3, 3), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(both, (7, 7), axis=(1, 2))
    where = np.einsum("bhwcij,ijc->bhw", windows, kernel[..., 0]) + bias
    return maps / (1 + np.exp(-where))[..., None]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["se", "cbam"])
def test_attention_on_any_backbone_is_the_papers(kind, tmp_path):
    arguments = {"width": "8", "stages": "2"}
    model = build("baseline_cnn", 16, 3, 2, norm="group", model_arg={**arguments, "attention": kind})
    x = pixels(3, 16)
    last = model.get_layer("attention_average").input
    maps, given = tf.keras.Model(model.input, [last, model.get_layer("pool").input])(x)
    np.testing.assert_allclose(given, attention_by_hand(maps.numpy(), model, "attention", kind), atol=1e-5)
    # A plain model's weights are its backbone's, whatever comes after it; and its own head is new.
    plain = build("baseline_cnn", 16, 3, 2, norm="group", model_arg=arguments)
    save_model(plain, tmp_path / "plain.keras")
    model = build(
        "baseline_cnn", 16, 3, 2, str(tmp_path / "plain.keras"), "group", model_arg={**arguments, "attention": kind}
    )
    np.testing.assert_allclose(
        tf.keras.Model(model.input, model.get_layer("attention_average").input)(x),
        tf.keras.Model(plain.input, plain.get_layer("pool").input)(x),
        atol=1e-6,
    )
    freeze(model, None)
    trained = {layer.name for layer in model.layers if layer.trainable_variables}
    assert "logits" in trained
    assert "attention_squeeze" in trained
    assert not any(name.startswith("stage") for name in trained)
    save_model(model, tmp_path / "own.keras")
    np.testing.assert_allclose(load_model(tmp_path / "own.keras")(x), model(x), atol=1e-6)


def test_attention_cnn_attends_in_each_stage():
    model = build("attention_cnn", 16, 3, 2, model_arg={"width": "8", "stages": "2"})
    x = pixels(2, 16)
    for stage in (1, 2):
        name = f"stage{stage}_attention"
        ends = [model.get_layer(f"{name}_average").input, model.get_layer(f"{name}_where").output]
        maps, given = tf.keras.Model(model.input, ends)(x)
        np.testing.assert_allclose(given, attention_by_hand(maps.numpy(), model, name, "cbam"), atol=1e-5)
    with pytest.raises(InputError, match="attention=x: must be none or cbam or se"):
        build("mobilenet", 32, 3, 2, model_arg={"attention": "x"})


def test_files_of_weights_are_known_by_their_hash(pretrained_weights, tmp_path):
    found = identify(pretrained_weights / MOBILENET)
    assert found["family"] == "mobilenet alpha=0.75"
    assert "Apache-2.0" in words("x.h5", found)
    changed = tmp_path / "changed.h5"
    changed.write_bytes((pretrained_weights / MOBILENET).read_bytes() + b" ")
    assert set(identify(changed)) == {"sha256"}
    assert "not known" in words("x.h5", identify(changed))


def test_keras_asks_the_same_hashes_of_its_own_files():
    from keras.src.applications import efficientnet, efficientnet_v2, resnet

    from medimg.models import known_weights

    own = {"resnet50": resnet.WEIGHTS_HASHES["resnet50"][1]}
    own |= {f"efficientnet_b{i}": efficientnet.WEIGHTS_HASHES[f"b{i}"][1] for i in range(8)}
    own["efficientnet_v2_b0"] = efficientnet_v2.WEIGHTS_HASHES["b0"][1]
    ours = {known.family: one for one, known in known_weights._BY_MD5.items()}
    assert {name: ours[name] for name in own} == own
    assert set(ours) <= set(FAMILIES)


@pytest.mark.parametrize(
    ("file", "name", "alpha", "keras"),
    [
        (MOBILENET, "mobilenet", 0.75, tf.keras.applications.MobileNet),
        (MOBILENET_V2, "mobilenet_v2", 0.35, tf.keras.applications.MobileNetV2),
    ],
)
def test_imagenet_weights_load_and_give_keras_own_features(pretrained_weights, file, name, alpha, keras):
    file = pretrained_weights / file
    model = build(name, 64, 3, 2, str(file), model_arg={"alpha": alpha})
    reference = keras(input_shape=(64, 64, 3), alpha=alpha, include_top=False, weights=None, pooling="avg")
    reference.load_weights(file)
    x = pixels(2, 64)
    ours = tf.keras.Model(model.input, model.get_layer("pool").output)(x)
    np.testing.assert_allclose(ours, reference(x / 127.5 - 1.0), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "densenet121", "mobilenet_v2", "inception_v3"])
def test_preprocessing_is_that_of_keras(name):
    module = {
        "resnet50": tf.keras.applications.resnet50,
        "vgg16": tf.keras.applications.vgg16,
        "densenet121": tf.keras.applications.densenet,
        "mobilenet_v2": tf.keras.applications.mobilenet_v2,
        "inception_v3": tf.keras.applications.inception_v3,
    }[name]
    x = pixels(2, 8)
    ours = Preprocessing(FAMILIES[name].mode, 3)(x).numpy()
    np.testing.assert_allclose(ours, module.preprocess_input(x.copy()), atol=1e-4)


def test_grey_images_are_repeated_for_a_colour_backbone():
    grey = pixels(2, 8, 1)
    layer = Preprocessing("caffe", 3)
    np.testing.assert_array_equal(layer(grey), layer(np.repeat(grey, 3, axis=-1)))


@pytest.mark.slow
def test_efficientnet_divides_by_the_imagenet_deviation_once():
    # The reference: the published preprocessing (x/255 - mean) / std in front of the same convolutions.
    model = build("efficientnet_b0", 32, 3, 2)
    x = pixels(1, 32)
    inner = tf.keras.Model(model.input, model.get_layer("stem_conv_pad").input)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(inner(x), (x / 255 - mean) / std, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline_cnn", "mobilenet_v2", "resnet50"])
def test_group_norm_leaves_no_batch_norm_and_depends_on_the_input(name, tmp_path):
    size = FAMILIES[name].minimum_size
    model = build(name, size, 3, 2, norm="group")
    assert not any(isinstance(layer, tf.keras.layers.BatchNormalization) for layer in model.layers)
    x = pixels(2, size)
    out = model(x).numpy()
    assert np.abs(out[0] - out[1]).max() > 1e-6
    # GroupNorm has no batch statistics: an image's output does not depend on its neighbours.
    np.testing.assert_allclose(model(x, training=True)[:1] * 0 + out[:1], out[:1])
    np.testing.assert_allclose(model(x[:1]).numpy(), out[:1], atol=1e-5)
    save_model(model, tmp_path / "m.keras")
    np.testing.assert_allclose(load_model(tmp_path / "m.keras")(x), out, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4, 16, 24, 32, 64, 96, 960, 2048])
def test_groups_divide_the_channels(channels):
    groups = groups_for(channels)
    assert channels % groups == 0
    assert groups <= 32
    assert channels // groups >= min(4, channels)


@pytest.mark.parametrize("name", FAMILIES)
def test_too_small_images_are_refused(name):
    size = FAMILIES[name].minimum_size - 1
    with pytest.raises(InputError, match=f"--image-size {size}.*at least {size + 1}"):
        build(name, size, 3, 2)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="did you mean resnet50"):
        build("ResNet-50", 32, 3, 2)
    with pytest.raises(InputError, match="--model-arg depth: mobilenet has no such argument"):
        build("mobilenet", 32, 3, 2, model_arg={"depth": "3"})
    with pytest.raises(InputError, match="--model-arg alpha=x: must be float"):
        build("mobilenet", 32, 3, 2, model_arg={"alpha": "x"})


def test_weights_of_another_architecture_are_refused_by_layer(pretrained_weights):
    file = str(pretrained_weights / MOBILENET_V2)
    with pytest.raises(InputError, match=r"does not fit mobilenet_v2: layer 'Conv1' needs .*32"):
        build("mobilenet_v2", 64, 3, 2, file)
    with pytest.raises(InputError, match="does not fit resnet50: layer 'conv1_conv'"):
        build("resnet50", 64, 3, 2, file)


def test_bad_weights_files_are_refused(tmp_path):
    text = tmp_path / "weights.h5"
    text.write_text("not weights")
    with pytest.raises(InputError, match="neither a Keras"):
        build("mobilenet", 32, 3, 2, str(text))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(InputError, match="without Keras layers"):
        build("mobilenet", 32, 3, 2, str(tmp_path / "other.h5"))
    with pytest.raises(InputError, match="no such file"):
        build("mobilenet", 32, 3, 2, str(tmp_path / "absent.h5"))
    with pytest.raises(InputError, match="has no ImageNet weights"):
        build("baseline_cnn", 32, 3, 2, "imagenet")


def test_weights_whose_classifier_stands_where_the_model_has_a_layer_are_refused(tmp_path):
    inputs = tf.keras.Input((8, 8, 1))
    first = tf.keras.layers.Conv2D(2, 3, name="first")(inputs)
    outputs = tf.keras.layers.Dense(5, name="predictions")(tf.keras.layers.Flatten()(first))
    tf.keras.Model(inputs, outputs).save_weights(tmp_path / "shallow.h5")
    deep = tf.keras.Model(inputs, tf.keras.layers.Conv2D(4, 3, name="second")(first))
    with pytest.raises(InputError, match="does not fit deep: layer 'second' is missing from the file"):
        load_backbone(deep, str(tmp_path / "shallow.h5"), "deep")


def test_weights_round_trip_through_files(tmp_path):
    model = build("baseline_cnn", 32, 1, 2, model_arg={"width": "4"})
    model.save_weights(tmp_path / "weights.h5")
    save_model(model, tmp_path / "model.keras")
    x = pixels(2, 32, 1)
    features = tf.keras.Model(model.input, model.get_layer("pool").output)(x)
    for name in ("weights.h5", "model.keras"):
        again = build("baseline_cnn", 32, 1, 5, str(tmp_path / name), model_arg={"width": "4"})
        ours = tf.keras.Model(again.input, again.get_layer("pool").output)(x)
        np.testing.assert_allclose(ours, features, atol=1e-6)


@pytest.mark.slow
def test_blocks_partition_the_backbone_and_freezing_follows_them(built):
    _, _, model = built
    grouped = blocks(model)
    names = [layer.name for group in grouped for layer in group]
    assert names == [layer.name for layer in model.layers if not is_head(layer.name)]
    assert all(any(layer.weights for layer in group) for group in grouped[1:])
    freeze(model, None)
    assert len(model.trainable_variables) == 2
    freeze(model, len(grouped) - 1)
    top = {layer.name for layer in grouped[-1]}
    trained = {layer.name for layer in model.layers if layer.trainable_variables}
    assert all(name in top or is_head(name) for name in trained)
    assert len(trained) > 1
    freeze(model, 0)
    convolution = next(layer for layer in grouped[0] + grouped[1] if layer.weights)
    assert convolution.trainable or isinstance(convolution, tf.keras.layers.Normalization)


@pytest.mark.slow
def test_frozen_batch_norm_keeps_its_statistics():
    model = build("mobilenet_v2", 32, 3, 2, model_arg={"alpha": "0.35"})
    freeze(model, len(blocks(model)) - 2)
    moving = [v.numpy() for v in model.variables if "moving" in v.name]
    # One step of so deep a model is compiled in ten times as long.
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.train_on_batch(pixels(4, 32), np.array([0, 1, 0, 1]))
    now = [v.numpy() for v in model.variables if "moving" in v.name]
    assert all(np.array_equal(a, b) for a, b in zip(moving, now, strict=True))
