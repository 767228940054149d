"""The head of every model: attention where it is asked for, pooling, dropout and one layer of logits."""

import math

import tensorflow as tf

from medimg.models.attention import attend

# The head's layers, as explanation, features and fine-tuning find them.
POOL, DROPOUT, LOGITS = "pool", "dropout", "logits"
# What the names of the layers begin with that weigh the last maps.
ATTENTION = "attention"
# And of those that take columns beside pixels.
COLUMNS = "columns"
# Units that the columns become.
_COLUMN_UNITS = 16
# How the last maps become one vector per image.
POOLING = {
    "avg": tf.keras.layers.GlobalAveragePooling2D,
    # A finding that covers a hundredth of the image all but vanishes in an average; its maximum does not.
    "max": tf.keras.layers.GlobalMaxPooling2D,
}


def is_head(layer: str) -> bool:
    """Whether a layer of this name is new in every model, whatever weights its backbone starts from."""
    return layer in (POOL, DROPOUT, LOGITS) or layer.startswith((ATTENTION, COLUMNS))


def with_head(
    pixels, features, classes: int, dropout: float, pool: str, name: str, attention: str = "", columns: int = 0
) -> tf.keras.Model:
    """A model from a backbone's input and its last maps.

    Args:
        pixels: the input.
        features: (B, height, width, channels), of the backbone.
        classes: number of logits.
        dropout: share of the pooled features that a training step leaves out.
        pool: of `POOLING`.
        name: of the model.
        attention: on the last maps (`medimg.models.attention`); '': none.
        columns: of a table (`medimg.tables.preprocessing`), a second input that joins pooled features (late fusion).
    """
    layers = tf.keras.layers
    if attention:
        features = attend(features, attention, ATTENTION)
    x = POOLING[pool](name=POOL)(features)
    x, inputs = layers.Dropout(dropout, name=DROPOUT)(x), pixels
    if columns:
        beside = tf.keras.Input((columns,), name=COLUMNS)
        inputs = [pixels, beside]
        hidden = layers.Dense(_COLUMN_UNITS, "relu", name=f"{COLUMNS}_hidden")(beside)
        x = layers.Concatenate(name=f"{COLUMNS}_joined")([x, beside, hidden])
    # Small first logits: the loss starts near log(classes), whatever the scale of the features.
    start = tf.keras.initializers.RandomNormal(stddev=0.01 / math.sqrt(max(1, x.shape[-1] / 1024)))
    # float32 in a training of mixed precision too: losses and probabilities are made of them.
    logits = layers.Dense(classes, kernel_initializer=start, name=LOGITS, dtype=tf.float32)(x)
    return tf.keras.Model(inputs, logits, name=name)
