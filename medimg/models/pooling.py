"""How the last maps become one vector per image."""

import tensorflow as tf

LAYERS = {
    "avg": tf.keras.layers.GlobalAveragePooling2D,
    # A finding that covers a hundredth of the image all but vanishes in an average; its maximum does not.
    "max": tf.keras.layers.GlobalMaxPooling2D,
}
