"""A trained model as a graph of constants: a server has no variable to read, and no normalization left to compute."""

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# TensorFlow writes graphs as protocol buffers, which end at 2 GB; each signature's graph may hold the weights.
MOST_BYTES = 1 << 30


def frozen(model: tf.keras.Model):
    """A function of the model's inputs, float32 with a batch axis, that answers what the model does in inference.

    Of a model above `MOST_BYTES` the function keeps its variables.
    """
    folded = with_folded_norms(model)
    specs = [tf.TensorSpec(inputs.shape, inputs.dtype, inputs.name) for inputs in folded.inputs]
    forward = tf.function(lambda *inputs: folded(list(inputs), training=False)).get_concrete_function(*specs)
    size = sum(variable.shape.num_elements() * variable.dtype.size for variable in folded.variables)
    return forward if size > MOST_BYTES else convert_variables_to_constants_v2(forward)


def with_folded_norms(model: tf.keras.Model) -> tf.keras.Model:
    """A copy where a convolution's own weights do what the BatchNormalization behind it did in inference.

    TensorFlow does so itself where weights are constants, but not behind a depthwise convolution.
    """
    config = model.get_config()
    layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    sources = {}
    for name, layer in layers.items():
        inbound = tf.nest.flatten(layer.get("inbound_nodes", []))
        sources[name] = [source for source in inbound if isinstance(source, str) and source in layers]
    readers = [source for inbound in sources.values() for source in inbound]
    convolutions = {}
    for name, layer in layers.items():
        before = layers[sources[name][0]] if len(sources[name]) == 1 else layer
        is_alone = readers.count(before["config"]["name"]) == 1 and before["config"].get("activation") == "linear"
        if layer["class_name"] == "BatchNormalization" and before["class_name"] == "DepthwiseConv2D" and is_alone:
            convolutions[before["config"]["name"]] = name
            before["config"]["use_bias"] = True
            layer.update(class_name="Activation", registered_name=None, config={"name": name, "activation": "linear"})
            for changed in (before, layer):
                changed.pop("build_config", None)
    folded = type(model).from_config(config) if convolutions else model
    for layer in folded.layers if convolutions else []:
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in convolutions:
            layer.set_weights(_folded(weights, model.get_layer(convolutions[layer.name])))
        elif layer.weights:
            layer.set_weights(weights)
    return folded


def _folded(weights: list[np.ndarray], norm: tf.keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel (H, W, C, M) and bias (C * M,) of the convolution and the normalization together, computed in float64."""
    kernel, *bias = (weight.astype(np.float64) for weight in weights)
    mean, variance = (value.numpy().astype(np.float64) for value in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon) * (norm.gamma.numpy() if norm.scale else 1.0)
    offset = (sum(bias) - mean) * scale + (norm.beta.numpy() if norm.center else 0.0)
    return [kernel * scale.reshape(kernel.shape[2:]), offset]
