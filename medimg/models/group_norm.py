"""BatchNorm -> GroupNorm, for differential privacy and federation (Wu and He 2018)."""

import tensorflow as tf

MOST_GROUPS = 32
# A group of one channel on a 1 x 1 map has no variance, so its output would not depend on the input.
FEWEST_CHANNELS = 4


def groups_for(channels: int) -> int:
    """The most groups, up to 32, that divide the channels and leave at least 4 channels in each."""
    return max(
        (g for g in range(1, MOST_GROUPS + 1) if channels % g == 0 and channels // g >= FEWEST_CHANNELS), default=1
    )


def with_group_norm(model: tf.keras.Model) -> tf.keras.Model:
    """A copy in which GroupNormalization stands for each BatchNormalization, all other weights kept."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "BatchNormalization":
            old = layer["config"]
            channels = model.get_layer(old["name"]).input.shape[-1]
            layer["class_name"] = "GroupNormalization"
            layer["registered_name"] = None
            layer["config"] = {
                "name": old["name"],
                "trainable": old["trainable"],
                "groups": groups_for(channels),
                "epsilon": old["epsilon"],
                "center": old["center"],
                "scale": old["scale"],
            }
            layer.pop("build_config", None)
    swapped = type(model).from_config(config)
    for layer in swapped.layers:
        if isinstance(layer, tf.keras.layers.GroupNormalization):
            # gamma and beta come over; the moving statistics have no counterpart.
            layer.set_weights(model.get_layer(layer.name).get_weights()[: len(layer.weights)])
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return swapped
