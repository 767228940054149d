"""Layer-wise perturbation: Gaussian noise on a generator's weights, in proportion to each layer's.

A heuristic: it blurs what single weights know, but nothing bounds what one patient could have changed in them, so no
epsilon can be named. The entry says so.
"""

import numpy as np
import tensorflow as tf

from medimg.privacy.draws.noise_seed import Secret


def perturb(model: tf.keras.Model, relative: float, secret: Secret) -> dict:
    """Add noise to every weight of a model, in place.

    Args:
        model: trained.
        relative: expected norm of an array's noise over the norm of the array.
        secret: whoever knows it can take the noise off.

    Returns:
        Plain values: mechanism, guarantee, and for each array its norm, the noise's standard deviation and its norm.
    """
    entries, weights = [], []
    for variable in model.weights:
        value = variable.numpy()
        norm = float(np.linalg.norm(value))
        deviation = relative * norm / value.size**0.5
        random = secret.generator(f"perturbation {variable.name}")
        noise = random.normal(0, deviation, value.shape)
        weights.append(value + noise.astype(value.dtype))
        entries.append(
            {
                "weights": variable.name,
                "norm": norm,
                "noise_deviation": deviation,
                "noise_norm": float(np.linalg.norm(noise)),
            }
        )
    model.set_weights(weights)
    return {
        "mechanism": "layer-wise perturbation: Gaussian noise on the generator's weights",
        "relative_noise": relative,
        "guarantee": "no formal guarantee",
        "layers": entries,
    }
