"""Cascading randomisation of a model (Adebayo et al., Sanity checks for saliency maps, 2018).

From the last layer back, weights are exchanged at random within each tensor. A map that stays as it was does not show
what the model has learnt.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

# Stages: the last layer alone, then a third of the others each.
STAGES = 4


def cascade(model: tf.keras.Model, copy: tf.keras.Model, seed: int) -> Iterator[tf.keras.Model]:
    """The copy with more and more of its layers randomised, changed anew for every stage.

    Args:
        model: whose weights it starts from.
        copy: a clone of it.
        seed: of the exchange.
    """
    copy.set_weights(model.get_weights())
    draw = np.random.default_rng(seed)
    layers = [layer for layer in reversed(copy.layers) if layer.get_weights()]
    parts = [layers[:1], *(part.tolist() for part in np.array_split(np.array(layers[1:], object), STAGES - 1))]
    for part in parts:
        for layer in part:
            layer.set_weights([draw.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
        yield copy
